"""Account files made anew, until each one's root is the one that its signed head names.

The slow way, for files that were lost or that a power cut left behind, and for a repo that was brought in; what a crash
of the process leaves is replayed from the checkpoint (replay.py). Does not own where the records come from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from itertools import islice

from ingest.log import AccountLog, Head
from ingest.pds.account_file import Flush, Root, Stored
from ingest.pds.account_files import AccountFiles
from ingest.pds.blob_refs import Ref, refs_of
from ingest.pds.head import EMPTY_ROOT
from ingest.pds.head import Head as FileHead
from ingest.repo.mst import Tree
from ingest.repo.mst_diff import mst_diff
from ingest.repo.reasons import Load
from schemas.cid import Cid
from schemas.errors import InvariantError
from schemas.syntax import Did

_PAGE = 500


def is_behind(head: FileHead, log: AccountLog) -> bool:
    """Whether the log's head of the account is another one than the file's.

    Of a partial repo (a migration of an account that the relay has seen) the log has not all: there is nothing to
    rebuild from, and the import brings the rest.
    """
    known, root = log.head(head.did), head.root
    if known is None or known.commit is None or known.partial:
        return False
    return root is None or root.cid != known.commit


async def rebuild(did: Did, files: AccountFiles, log: AccountLog) -> None:
    """Leave a file that says what the log says.

    The root is written last: a crash in between leaves a file without one, which is rebuilt again.
    """
    roots = await gather([did], files, log)
    await finish(did, roots[did], files)


async def gather(dids: Collection[Did], files: AccountFiles, log: AccountLog) -> dict[Did, Root]:
    """Leave files that hold what the log's records are, and nothing else yet; the roots that they must make."""
    roots = {did: _signed(did, log.head(did)) for did in dids}
    for did in roots:
        files.remove(did)
    with_records = [did for did, root in roots.items() if root.data != EMPTY_ROOT]
    if not with_records:
        return roots
    async for page in log.values(with_records):
        by_account: dict[Did, dict[str, Stored | None]] = {}
        for did, path, cid, value in page:
            stored = None if cid is None or value is None else Stored(cid, roots[did].rev, value)
            by_account.setdefault(did, {})[path] = stored
        for did, records in by_account.items():
            files.open(did).flush(Flush(None, {}, (), records, (), ()))
    return roots


async def finish(did: Did, root: Root, files: AccountFiles) -> None:
    """Make the tree of the file's records, and write it if its root is the signed one."""
    tree, after = Tree.empty(), ""
    while page := files.open(did).paths(after, _PAGE):
        refs: set[Ref] = set()
        for path, _ in page:
            found = files.open(did).record(path)
            assert found is not None
            tree.put(path, found.cid)
            refs |= refs_of(path, found.value)
        files.open(did).flush(Flush(None, {}, (), {}, refs, ()))
        after = page[-1][0]
        await asyncio.sleep(0)
    data, nodes = tree.write()
    if data != root.data:
        raise InvariantError(
            f"{did}: its records make the MST root {data}, its signed head {root.cid} says {root.data}: "
            "the log has lost records, or holds some of another history; restore the log, or import the repo again"
        )
    files.open(did).flush(Flush(root, nodes, (), {}, (), ()))


async def bring_in(
    head: FileHead, root: Root, changes: Iterable[tuple[str, Cid | None]], files: AccountFiles, load: Load
) -> None:
    """Bring the file of a head without overlay up to `root`, which the log holds: its records in pages, then the tree.

    `load` gives the blocks of records and of the new tree. A crash in between leaves a file whose root is not the
    log's, which is rebuilt.
    """
    tree, rest = head.tree.fork(), iter(changes)
    while page := list(islice(rest, _PAGE)):
        records: dict[str, Stored | None] = {}
        added: set[Ref] = set()
        removed: set[Ref] = set()
        file = files.open(head.did)
        for path, cid in page:
            old = file.record(path)
            if old is not None:
                removed |= refs_of(path, old.value)
            if cid is None:
                tree.delete(path)
                records[path] = None
                continue
            value = load(cid.raw)
            tree.put(path, cid)
            records[path] = Stored(cid, root.rev, value)
            added |= refs_of(path, value)
        file.flush(Flush(None, {}, (), records, added, removed - added))
        await asyncio.sleep(0)
    data, nodes = tree.write()
    if data != root.data:
        raise InvariantError(f"{head.did}: the changes make the MST root {data}, the signed commit says {root.data}")
    nodes.pop(EMPTY_ROOT.raw, None)
    files.open(head.did).flush(Flush(root, nodes, mst_diff(head.tree, tree).deleted, {}, (), ()))


def _signed(did: Did, known: Head | None) -> Root:
    if known is None or known.rev is None or known.data is None or known.commit is None or known.commit_block is None:
        raise InvariantError(f"{did}: the log has no signed head to rebuild from, found {known}")
    return Root(known.rev, known.data, known.commit, known.commit_block, 0)

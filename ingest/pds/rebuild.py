"""An account's file, made anew from the log's records until its root is the one that the signed head names.

The slow way, for a file that was lost or that a power cut left behind; what a crash of the process leaves is replayed
from the checkpoint (replay.py). Does not own the log's index, which is the truth here.
"""

from __future__ import annotations

import asyncio

from ingest.log import Log
from ingest.pds.account_file import Flush, Root, Stored
from ingest.pds.account_files import AccountFiles
from ingest.pds.blob_refs import Ref, refs_of
from ingest.pds.head import Head
from ingest.repo.mst import Tree
from schemas.errors import InvariantError
from schemas.syntax import Did

_PAGE = 500


def is_behind(head: Head, log: Log) -> bool:
    """Whether the log's head of the account is another one than the file's.

    Of a partial repo (a migration of an account that the relay has seen) the log has not all: there is nothing to
    rebuild from, and the import brings the rest.
    """
    known, root = log.head(head.did), head.root
    if known is None or known.commit is None or known.partial:
        return False
    return root is None or root.cid != known.commit


async def rebuild(did: Did, files: AccountFiles, log: Log) -> None:
    """Leave a file that says what the log says.

    The root is written last: a crash in between leaves a file without one, which is rebuilt again.
    """
    known = log.head(did)
    if known is None or known.rev is None or known.data is None or known.commit is None or known.commit_block is None:
        raise InvariantError(f"{did}: the log has no signed head to rebuild from, found {known}")
    files.remove(did)
    tree = Tree.empty()
    after = ""
    while page := log.paths(did, None, after, _PAGE):
        records: dict[str, Stored | None] = {}
        refs: set[Ref] = set()
        for path in page:
            found = log.record(did, path)
            if found is None:
                raise InvariantError(f"{did}: the log lists {path} and has no record there")
            cid, value, _ = found
            tree.put(path, cid)
            records[path] = Stored(cid, known.rev, value)
            refs |= refs_of(path, value)
        files.open(did).flush(Flush(None, {}, (), records, refs, ()))
        after = page[-1]
        await asyncio.sleep(0)
    data, nodes = tree.write()
    if data != known.data:
        raise InvariantError(
            f"{did}: the log's records make the MST root {data}, its signed head {known.commit} says {known.data}"
        )
    root = Root(known.rev, data, known.commit, known.commit_block, 0)
    files.open(did).flush(Flush(root, nodes, (), {}, (), ()))

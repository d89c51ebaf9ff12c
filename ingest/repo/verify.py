"""The checklist that stands between the network and the log: pure functions from a message to an entry or a reason.

Source: https://atproto.com/specs/sync#message-validation-checklist, with the limits of the lexicon.
Every check of a #commit and #sync that needs no I/O. Does not own: resolving the DID and asking again when a signature
fails (ingest/identity), the state of accounts and what follows a break in the chain (ingest/relay), the verdict in
shard order (`ingest.verdict`), what a record's bytes say: verified is not valid, and a block that is no record, too
large for one or not even DAG-CBOR is in the repo all the same (`processors.decode` judges it).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from ingest.repo.car import read_car, require_root
from ingest.repo.commit import SignedCommit, decode_commit
from ingest.repo.invert import invert
from ingest.repo.keys import PublicKey
from ingest.repo.messages import CommitMessage, SyncMessage
from ingest.repo.mst import EMPTY_ROOT, Tree
from ingest.repo.reasons import RepoReason
from schemas import limits
from schemas.cid import Cid
from schemas.entries import Commit, Op, Sync
from schemas.errors import Refused
from schemas.syntax import Nsid, RecordKey
from schemas.tid import Tid


class Previous(NamedTuple):
    """Where a repo stood after the last accepted entry."""

    rev: Tid
    data: Cid


class Verified(NamedTuple):
    """A #commit that holds, as an entry whose time is not stamped yet.

    `inverted`: its operations lead back to its prevData (or, in a repo's first commit, to the empty tree).
    `continuous`: it follows `previous`; False means that the account is out of step and needs a resync.
    """

    entry: Commit
    signed: SignedCommit
    inverted: bool
    continuous: bool


def verify_commit(
    message: CommitMessage,
    key: PublicKey,
    previous: Previous | tuple[Tid, Cid] | None,
    now_micros: int,
    *,
    lenient: bool = False,
) -> Verified:
    """Check a #commit. Raises Refused with a RepoReason. HOT.

    `previous` None means that nothing of this repo is known: then a commit without prevData passes, not inverted.
    `lenient` lets such commits pass always, as relays did before prevData came (2025).
    """
    if message.too_big:
        raise Refused(RepoReason.TOO_BIG, "tooBig is no longer sent: its host has to split the commit or send #sync")
    if message.rebase:
        raise Refused(RepoReason.REBASE, "rebase is no longer sent")
    if len(message.blocks) > limits.COMMIT_BLOCKS_MAX:
        raise Refused(
            RepoReason.BLOCKS_SIZE, f"{len(message.blocks)} bytes of blocks, at most {limits.COMMIT_BLOCKS_MAX}"
        )
    if len(message.ops) > limits.COMMIT_OPS_MAX:
        raise Refused(RepoReason.OPS_COUNT, f"{len(message.ops)} operations, at most {limits.COMMIT_OPS_MAX}")
    check_rev(message.rev, None if previous is None else previous[0], now_micros)
    roots, blocks = read_car(message.blocks)
    if require_root(roots, blocks) != message.commit:
        raise Refused(RepoReason.FIELD_MISMATCH, "the CAR's root is not the commit that the message names")
    signed = _signed(blocks[message.commit.raw], message, key)
    ops = _ops_with_records(message.ops, blocks)
    before, inverted = _before(message, previous, lenient=lenient)
    data = signed.data
    if inverted:
        _check_inversion(data, before, ops, blocks)
    else:
        _check_presence(data, ops, blocks)
    if previous is None:
        continuous = True
    elif message.prev_data is None:
        continuous = message.since == previous[0]
    else:
        continuous = message.prev_data == previous[1]
    entry = Commit(
        message.did,
        message.rev,
        message.since,
        message.commit,
        data,
        message.prev_data,
        ops,
        message.head,
        message.tail,
    )
    return Verified(entry, signed, inverted, continuous)


def verify_sync(
    message: SyncMessage, key: PublicKey, previous: Previous | tuple[Tid, Cid] | None, now_micros: int
) -> Sync:
    """Check a #sync, as an entry whose time is not stamped yet. Raises Refused with a RepoReason.

    Its rev may equal the last one (an account that comes back says where it stands), if its data does too.
    """
    if len(message.blocks) > limits.SYNC_BLOCKS_MAX:
        raise Refused(
            RepoReason.BLOCKS_SIZE, f"{len(message.blocks)} bytes of blocks, at most {limits.SYNC_BLOCKS_MAX}"
        )
    roots, blocks = read_car(message.blocks)
    root = require_root(roots, blocks)
    signed = _signed(blocks[root.raw], message, key)
    again = previous is not None and (signed.rev, signed.data) == previous
    check_rev(message.rev, None if previous is None or again else previous[0], now_micros)
    return Sync(message.did, message.rev, root, signed.data, message.head, message.tail)


def check_rev(rev: Tid, last: Tid | None, now_micros: int) -> None:
    """Raise Refused(REV_STALE) unless a rev is above the last, REV_FUTURE when it is too far ahead of the clock."""
    if last is not None and rev <= last:
        raise Refused(RepoReason.REV_STALE, f"rev {rev} is not above {last}")
    if rev.micros > now_micros + limits.FUTURE_REV_MICROS:
        ahead = (rev.micros - now_micros) // 1_000_000
        raise Refused(RepoReason.REV_FUTURE, f"rev {rev} is {ahead} s ahead of the clock")


def is_authoritative(host: str, endpoint: str | None) -> bool:
    """Whether `host` (host or host:port) is the PDS that an account's DID document names (a URL)."""
    if endpoint is None:
        return False
    try:
        parts = urlsplit(endpoint)
        named, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if not named:
        return False
    default = {"https": 443, "http": 80}.get(parts.scheme)
    return host.lower() in ({named, f"{named}:{default}"} if port in {None, default} else {f"{named}:{port}"})


def check_path(path: str) -> None:
    """Raise Refused(OP_PATH) unless a path is collection/rkey of valid syntax."""
    collection, slash, rkey = path.partition("/")
    if not slash or not _is_nsid(collection) or not RecordKey.is_valid(rkey):
        raise Refused(RepoReason.OP_PATH, f"expected collection/rkey, found {path[:100]!r}")


def _signed(block: bytes, message: CommitMessage | SyncMessage, key: PublicKey) -> SignedCommit:
    """The signed commit, which must say what its message says, signed by the account's key."""
    signed = decode_commit(block)
    if signed.did != message.did:
        raise Refused(RepoReason.FIELD_MISMATCH, f"the message is of {message.did}, its commit of {signed.did}")
    if signed.rev != message.rev:
        raise Refused(RepoReason.FIELD_MISMATCH, f"the message has rev {message.rev}, its commit {signed.rev}")
    if not signed.is_signed_by(key):
        raise Refused(RepoReason.SIGNATURE, f"the commit of {message.did} is not signed by {key.did_key}")
    return signed


def _ops_with_records(ops: tuple[Op, ...], blocks: dict[bytes, bytes]) -> tuple[Op, ...]:
    """The operations with their records out of the blocks, every path once."""
    seen: set[str] = set()
    out: list[Op] = []
    for op in ops:
        path, cid = op.path, op.cid
        check_path(path)
        if path in seen:
            raise Refused(RepoReason.OP_FIELDS, f"{path} stands twice")
        seen.add(path)
        if op.action == "delete":
            if cid is not None:
                raise Refused(RepoReason.OP_FIELDS, f"{path}: a delete has no cid")
            out.append(op)
            continue
        if cid is None or (op.action == "create" and op.prev is not None):
            raise Refused(RepoReason.OP_FIELDS, f"{path}: {op.action} wants a cid, and a create no prev")
        record = blocks.get(cid.raw)
        if record is None:
            raise Refused(RepoReason.RECORD_MISSING, f"{path}: the block of {cid} is not there")
        out.append(Op(op.action, path, cid, op.prev, record))
    return tuple(out)


def _before(
    message: CommitMessage, previous: Previous | tuple[Tid, Cid] | None, *, lenient: bool
) -> tuple[bytes, bool]:
    """The root that the inversion must lead to, and whether there is to be one."""
    if message.prev_data is not None:
        return message.prev_data.raw, True
    if message.since is None and not lenient:
        return EMPTY_ROOT, True
    if previous is not None and not lenient:
        raise Refused(RepoReason.PREV_DATA_MISSING, "prevData is missing: its host does not speak Sync 1.1")
    return b"", False


def _check_inversion(data: Cid, before: bytes, ops: tuple[Op, ...], blocks: dict[bytes, bytes]) -> None:
    changes: list[tuple[str, bytes | None, bytes | None]] = []
    for op in reversed(ops):
        if op.prev is None and op.action != "create":
            raise Refused(RepoReason.OP_FIELDS, f"{op.path}: {op.action} wants the prev that prevData rests on")
        changes.append((op.path, None if op.cid is None else op.cid.raw, None if op.prev is None else op.prev.raw))
    if invert(data.raw, blocks.__getitem__, changes) != before:
        raise Refused(RepoReason.INVERSION, "taking the operations back does not lead to prevData")


def _check_presence(data: Cid, ops: tuple[Op, ...], blocks: dict[bytes, bytes]) -> None:
    """All that can be said without prevData: the new tree holds what the operations say."""
    tree = Tree.open(data, blocks.__getitem__)
    for op in ops:
        if tree.find(op.path.encode()) != (None if op.cid is None else op.cid.raw):
            raise Refused(RepoReason.OP_MISMATCH, f"{op.path}: the new tree does not hold what the operation says")


@lru_cache(maxsize=4_096)
def _is_nsid(text: str) -> bool:
    return Nsid.is_valid(text)

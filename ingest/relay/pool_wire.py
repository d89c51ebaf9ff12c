"""What goes between the relay and its verifying processes: batches of jobs one way, of answers the other.

A batch is four bytes of length (little-endian) and MessagePack. A job is a decoded message without the halves of its
frame; an answer brings back the records and what the signed commit said, and the relay puts the entry together from
the message it has kept. So nothing is decoded twice and nothing is encoded again.
Does not own which process gets a job (`ingest.relay.pool`) nor what holds (`ingest.repo.verify`).
"""

from __future__ import annotations

import msgspec

from ingest.repo.commit import SignedCommit
from ingest.repo.keys import PublicKey
from ingest.repo.messages import CommitMessage, SyncMessage
from ingest.repo.reasons import RepoReason
from ingest.repo.verify import Verified, verify_commit, verify_sync
from schemas.cid import Cid
from schemas.entries import Action, Commit, Op, Sync
from schemas.errors import Refused
from schemas.syntax import Did
from schemas.tid import Tid

LENGTH_SIZE = 4
Before = tuple[str, bytes]
"""Rev and data (a binary CID) after an account's last accepted entry."""
Expected = tuple[Tid, Cid] | None


class CommitJob(msgspec.Struct, array_like=True, gc=False, tag="c"):
    """A #commit to verify. `ops` are (action, path, cid, prev); CIDs are binary; `key` is a multikey."""

    did: str
    rev: str
    since: str | None
    commit: bytes
    prev_data: bytes | None
    ops: list[tuple[Action, str, bytes | None, bytes | None]]
    blocks: bytes
    rebase: bool
    too_big: bool
    key: str
    before: Before | None
    now: int
    lenient: bool


class SyncJob(msgspec.Struct, array_like=True, gc=False, tag="s"):
    """A #sync to verify."""

    did: str
    rev: str
    blocks: bytes
    key: str
    before: Before | None
    now: int


class CommitHolds(msgspec.Struct, array_like=True, gc=False, tag="c"):
    """`records` in the order of the operations, None for a delete; the rest as in Verified and SignedCommit."""

    data: bytes
    prev: bytes | None
    sig: bytes
    block: bytes
    records: list[bytes | None]
    inverted: bool
    continuous: bool


class SyncHolds(msgspec.Struct, array_like=True, gc=False, tag="s"):
    commit: bytes
    data: bytes


class Refusal(msgspec.Struct, array_like=True, gc=False, tag="r"):
    reason: RepoReason
    detail: str


Job = CommitJob | SyncJob
Answer = CommitHolds | SyncHolds | Refusal

_encoder = msgspec.msgpack.Encoder()
_jobs = msgspec.msgpack.Decoder(list[Job])
_answers = msgspec.msgpack.Decoder(list[Answer])


def pack(batch: list[Job] | list[Answer]) -> bytearray:
    """A batch with its length."""
    out = bytearray(LENGTH_SIZE)
    _encoder.encode_into(batch, out, LENGTH_SIZE)
    out[:LENGTH_SIZE] = (len(out) - LENGTH_SIZE).to_bytes(LENGTH_SIZE, "little")
    return out


def unpack_jobs(data: bytes | memoryview) -> list[Job]:
    return _jobs.decode(data)


def unpack_answers(data: bytes | memoryview) -> list[Answer]:
    return _answers.decode(data)


def job_of(
    message: CommitMessage | SyncMessage, key: PublicKey, previous: Expected, now_micros: int, *, lenient: bool
) -> Job:
    """The job of a message. HOT."""
    # str(): MessagePack's encoder takes no subclasses.
    before = None if previous is None else (str(previous[0]), previous[1].raw)
    if isinstance(message, SyncMessage):
        return SyncJob(str(message.did), str(message.rev), message.blocks, key.multikey, before, now_micros)
    return CommitJob(
        str(message.did),
        str(message.rev),
        None if message.since is None else str(message.since),
        message.commit.raw,
        None if message.prev_data is None else message.prev_data.raw,
        [
            (op.action, op.path, None if op.cid is None else op.cid.raw, None if op.prev is None else op.prev.raw)
            for op in message.ops
        ],
        message.blocks,
        message.rebase,
        message.too_big,
        key.multikey,
        before,
        now_micros,
        lenient,
    )


def work(job: Job) -> Answer:
    """Verify what a job holds. HOT."""
    before = None if job.before is None else (Tid(job.before[0]), Cid(job.before[1]))
    key = PublicKey.from_multikey(job.key)
    try:
        if isinstance(job, SyncJob):
            sync = SyncMessage(0, Did(job.did), Tid(job.rev), job.blocks, "", b"", b"")
            held = verify_sync(sync, key, before, job.now)
            return SyncHolds(held.commit.raw, held.data.raw)
        message = CommitMessage(
            0,
            Did(job.did),
            Tid(job.rev),
            None if job.since is None else Tid(job.since),
            Cid(job.commit),
            None if job.prev_data is None else Cid(job.prev_data),
            tuple(
                Op(action, path, None if cid is None else Cid(cid), None if prev is None else Cid(prev))
                for action, path, cid, prev in job.ops
            ),
            job.blocks,
            "",
            job.rebase,
            job.too_big,
            b"",
            b"",
        )
        verified = verify_commit(message, key, before, job.now, lenient=job.lenient)
    except Refused as refused:
        if not isinstance(refused.reason, RepoReason):
            raise
        return Refusal(refused.reason, refused.detail)
    entry, signed = verified.entry, verified.signed
    return CommitHolds(
        entry.data.raw,
        None if signed.prev is None else signed.prev.raw,
        signed.sig,
        signed.block,
        [op.record for op in entry.ops],
        verified.inverted,
        verified.continuous,
    )


def outcome_of(message: CommitMessage | SyncMessage, answer: Answer) -> Verified | Sync:
    """What `verify_commit` or `verify_sync` would have given. Raises Refused with a RepoReason. HOT."""
    if isinstance(answer, Refusal):
        raise Refused(answer.reason, answer.detail)
    if isinstance(answer, SyncHolds):
        assert isinstance(message, SyncMessage)
        return Sync(message.did, message.rev, Cid(answer.commit), Cid(answer.data), message.head, message.tail)
    assert isinstance(message, CommitMessage)
    data = Cid(answer.data)
    ops = tuple(
        op if record is None else Op(op.action, op.path, op.cid, op.prev, record)
        for op, record in zip(message.ops, answer.records, strict=True)
    )
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
    prev = None if answer.prev is None else Cid(answer.prev)
    signed = SignedCommit(message.did, message.rev, data, prev, answer.sig, answer.block)
    return Verified(entry, signed, answer.inverted, answer.continuous)

"""Read frames of subscribeRepos into messages, strictly, split around their `seq`.

A #commit is read by the fast codec, which confuses links and byte strings and lets long integers pass; so the message
is encoded again by hand and must be the very bytes that came. Whatever differs, and every other kind, is read by the
book: strict DAG-CBOR, fields checked one by one, fields unknown here kept in head and tail.
Source: https://atproto.com/specs/event-stream. Does not own writing frames (`frame_parts`) nor what is true
(`ingest.repo.verify`).
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import libipld

from ingest.repo.frame_parts import (
    COMMIT_HEADER,
    account_frame,
    commit_frame,
    commit_parts,
    error_frame,
    identity_frame,
    info_frame,
    sync_frame,
)
from ingest.repo.messages import (
    AccountMessage,
    CommitMessage,
    ErrorMessage,
    IdentityMessage,
    InfoMessage,
    Message,
    SyncMessage,
    UnknownMessage,
)
from ingest.repo.reasons import RepoReason
from ingest.repo.wire import head as cbor_head
from schemas import cbor, limits
from schemas.cid import Cid
from schemas.entries import Action, Op, cbor_uint
from schemas.errors import Refused
from schemas.syntax import Did
from schemas.tid import Tid

__all__ = [
    "account_frame",
    "commit_frame",
    "decode_frame",
    "error_frame",
    "identity_frame",
    "info_frame",
    "split_frame",
    "sync_frame",
]

T = TypeVar("T")

_HEADER_SIZE = len(COMMIT_HEADER)
_ACTIONS = frozenset(("create", "update", "delete"))
_NUMBERED = frozenset(("#commit", "#sync", "#identity", "#account"))


def decode_frame(frame: bytes) -> Message:
    """One message; UnknownMessage for kinds not known here. Raises Refused with a FRAME_* reason. HOT."""
    if len(frame) > limits.FRAME_MAX:
        raise Refused(RepoReason.FRAME_SIZE, f"a frame of {len(frame)} bytes, at most {limits.FRAME_MAX}")
    if frame.startswith(COMMIT_HEADER):
        message = _decode_plain_commit(frame)
        if message is not None:
            return message
    return decode_by_the_book(frame)


def split_frame(frame: bytes) -> tuple[bytes, int, bytes]:
    """Head, seq and tail of a frame that has one: `head + cbor_uint(n) + tail` is it again with number n."""
    message = decode_frame(frame)
    if isinstance(message, InfoMessage | ErrorMessage | UnknownMessage):
        raise Refused(RepoReason.FRAME_FIELDS, "only #commit, #sync, #identity and #account have a seq")
    return message.head, message.seq, message.tail


def _decode_plain_commit(frame: bytes) -> CommitMessage | None:
    """A #commit of the usual fields in canonical form; None when it is anything else."""
    try:
        value = libipld.decode_dag_cbor(frame[_HEADER_SIZE:])
        ops = [(op["action"], op["path"], op["cid"], op.get("prev")) for op in value["ops"]]
        seq, did, rev, since, prev_data = (
            value["seq"],
            value["repo"],
            value["rev"],
            value["since"],
            value.get("prevData"),
        )
        commit, blocks, time, rebase, too_big = (
            value["commit"],
            value["blocks"],
            value["time"],
            value["rebase"],
            value["tooBig"],
        )
        head, tail = commit_parts(
            ops, rev, did, time, value["blobs"], since, blocks, commit, prev_data, rebase, too_big
        )
        if head + cbor_uint(seq) + tail != frame:
            return None
        _check_seq(seq)
        from_bytes = Cid.from_bytes
        for blob in value["blobs"]:
            from_bytes(blob)
        parsed = tuple(
            [
                Op(
                    action if action in _ACTIONS else _action(action),
                    path,
                    None if cid is None else from_bytes(cid),
                    None if prev is None else from_bytes(prev),
                )
                for action, path, cid, prev in ops
            ]
        )
        return CommitMessage(
            seq,
            Did.parse(did),
            Tid.parse(rev),
            None if since is None else Tid.parse(since),
            from_bytes(commit),
            None if prev_data is None else from_bytes(prev_data),
            parsed,
            blocks,
            time,
            rebase,
            too_big,
            head,
            tail,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, Refused):
        return None  # by the book it is, which names what is wrong


def decode_by_the_book(frame: bytes) -> Message:
    """The definition of what `decode_frame` accepts."""
    op, kind, payload, start = _envelope(frame)
    if op == -1:
        return ErrorMessage(_field(payload, "error", str), _optional(payload, "message", str))
    if op != 1 or kind is None:
        return UnknownMessage(op, kind)
    if kind == "#info":
        return InfoMessage(_field(payload, "name", str), _optional(payload, "message", str))
    if kind not in _NUMBERED:
        return UnknownMessage(op, kind)
    seq = _field(payload, "seq", int)
    _check_seq(seq)
    head, tail = _split(frame, start, payload, seq)
    time = _field(payload, "time", str)
    try:
        if kind == "#commit":
            since = _optional(payload, "since", str)
            return CommitMessage(
                seq,
                Did.parse(_field(payload, "repo", str)),
                Tid.parse(_field(payload, "rev", str)),
                None if since is None else Tid.parse(since),
                _field(payload, "commit", Cid),
                _optional(payload, "prevData", Cid),
                tuple(_op(item) for item in _field(payload, "ops", list)),
                _field(payload, "blocks", bytes),
                time,
                _optional(payload, "rebase", bool) or False,
                _optional(payload, "tooBig", bool) or False,
                head,
                tail,
            )
        did = Did.parse(_field(payload, "did", str))
        if kind == "#sync":
            rev = Tid.parse(_field(payload, "rev", str))
            return SyncMessage(seq, did, rev, _field(payload, "blocks", bytes), time, head, tail)
    except Refused as error:
        if isinstance(error.reason, RepoReason):
            raise
        reason = RepoReason.REV_SYNTAX if error.reason == "tid" else RepoReason.FRAME_FIELDS
        raise Refused(reason, error.detail) from error
    if kind == "#identity":
        return IdentityMessage(seq, did, _optional(payload, "handle", str), time, head, tail)
    active, status = _field(payload, "active", bool), _optional(payload, "status", str)
    return AccountMessage(seq, did, active, status, time, head, tail)


def _envelope(frame: bytes) -> tuple[int, str | None, dict[str, Any], int]:
    """Op and kind of the header, the payload, and where it starts."""
    try:
        parts = libipld.decode_dag_cbor_multi(frame)
    except (ValueError, RecursionError) as error:
        raise Refused(RepoReason.FRAME_ENCODING, f"not two DAG-CBOR values: {error}") from error
    if len(parts) != 2 or not isinstance(parts[0], dict):
        raise Refused(RepoReason.FRAME_ENCODING, f"expected a header and a payload, found {len(parts)} values")
    op, kind = parts[0].get("op"), parts[0].get("t")
    if type(op) is not int or not (kind is None or isinstance(kind, str)):
        raise Refused(RepoReason.FRAME_ENCODING, "expected a header with the integer op and, with op 1, the text t")
    header = cbor.encode({"op": op} if kind is None else {"op": op, "t": kind})
    if not frame.startswith(header):
        raise Refused(RepoReason.FRAME_ENCODING, "the header has other fields than op and t, or is not canonical")
    try:
        payload = cbor.decode(frame[len(header) :], limits.FRAME_MAX)
    except Refused as error:
        raise Refused(RepoReason.FRAME_ENCODING, f"payload: {error.detail}") from error
    if not isinstance(payload, dict):
        raise Refused(RepoReason.FRAME_ENCODING, "expected the payload to be a map")
    return op, kind, payload, len(header)


def _split(frame: bytes, start: int, payload: dict[str, Any], seq: int) -> tuple[bytes, bytes]:
    """The payload is canonical, so what stands before seq is as long as it is when encoded again."""
    at = start + len(cbor_head(0xA0, len(payload)))
    for key, value in payload.items():
        at += len(cbor.encode(key))
        if key == "seq":
            break
        at += len(cbor.encode(value))
    return frame[:at], frame[at + len(cbor_uint(seq)) :]


def _op(item: object) -> Op:
    if not isinstance(item, dict):
        raise Refused(RepoReason.FRAME_FIELDS, "expected each of ops to be a map")
    fields = cast("dict[str, Any]", item)
    if "cid" not in fields:
        raise Refused(RepoReason.FRAME_FIELDS, "expected an operation to have a cid, or null")
    return Op(
        _action(_field(fields, "action", str)),
        _field(fields, "path", str),
        _optional(fields, "cid", Cid),
        _optional(fields, "prev", Cid),
    )


def _action(value: str) -> Action:
    if value not in _ACTIONS:
        raise Refused(RepoReason.OP_FIELDS, f"expected create, update or delete, found {value[:40]!r}")
    return cast("Action", value)


def _check_seq(seq: int) -> None:
    if not 0 < seq <= limits.SEQ_MAX:
        raise Refused(RepoReason.FRAME_SEQ, f"expected a seq of 1 to {limits.SEQ_MAX}, found {seq}")


def _field(fields: dict[str, Any], name: str, kind: type[T]) -> T:
    value = fields.get(name)
    if type(value) is not kind:
        raise Refused(RepoReason.FRAME_FIELDS, f"expected {name} to be {kind.__name__}, found {type(value).__name__}")
    return value


def _optional(fields: dict[str, Any], name: str, kind: type[T]) -> T | None:
    return None if fields.get(name) is None else _field(fields, name, kind)

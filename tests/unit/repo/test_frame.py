"""Frames of the firehose: written and read both ways, split around seq, strict on the wire."""

from __future__ import annotations

import random

import pytest

from ingest.repo import frame
from ingest.repo.frame import (
    account_frame,
    commit_frame,
    decode_by_the_book,
    decode_frame,
    error_frame,
    identity_frame,
    info_frame,
    split_frame,
    sync_frame,
)
from ingest.repo.messages import (
    AccountMessage,
    CommitMessage,
    ErrorMessage,
    IdentityMessage,
    InfoMessage,
    SyncMessage,
    UnknownMessage,
)
from ingest.repo.reasons import RepoReason
from schemas import cbor, limits
from schemas.cid import Cid
from schemas.entries import Op, cbor_uint
from schemas.errors import Refused

DID = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
REV, SINCE = "3mptbypluud2a", "3mptbwv4pn32u"
TIME = "2026-01-01T00:00:00.000Z"
A, B, C = (Cid.of_cbor(bytes((n,))) for n in range(3))
OPS = (
    Op("create", "a.b.c/1", A),
    Op("update", "a.b.c/2", B, A),
    Op("delete", "a.b.c/3", None, C),
    Op("create", "a.b.c/" + "x" * 300, Cid.of_raw(b"x")),
)
FULL = {
    "did": DID,
    "rev": REV,
    "since": SINCE,
    "commit": A,
    "prev_data": B,
    "ops": OPS,
    "blocks": b"\x00" * 300,
    "time": TIME,
    "blobs": [C],
}
FIRST = {**FULL, "since": None, "prev_data": None, "ops": (), "blocks": b"", "blobs": ()}
SEQS = [1, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, limits.SEQ_MAX]


def payload(**changes: object) -> dict[str, object]:
    fields = {
        "seq": 7,
        "repo": DID,
        "rev": REV,
        "since": SINCE,
        "commit": A,
        "prevData": B,
        "blocks": b"x",
        "blobs": [],
        "time": TIME,
        "rebase": False,
        "tooBig": False,
        "ops": [{"action": "create", "path": "a.b.c/1", "cid": A}],
    }
    return {key: value for key, value in {**fields, **changes}.items() if value is not ...}


def framed(fields: object, kind: str = "#commit") -> bytes:
    return cbor.encode({"op": 1, "t": kind}) + cbor.encode(fields)


@pytest.mark.parametrize("fields", [FULL, FIRST])
@pytest.mark.parametrize("seq", SEQS)
def test_a_commit_goes_there_and_back_with_any_seq(fields, seq):
    head, tail = commit_frame(**fields)

    message = decode_frame(head + cbor_uint(seq) + tail)

    assert isinstance(message, CommitMessage)
    assert split_frame(head + cbor_uint(seq) + tail) == (head, seq, tail)
    assert (message.head, message.seq, message.tail) == (head, seq, tail)
    for name, value in fields.items():
        if name != "blobs":
            assert getattr(message, name) == value
    assert message == decode_by_the_book(head + cbor_uint(seq) + tail)


def test_a_commit_is_written_as_the_general_encoder_would():
    head, tail = commit_frame(**FULL)

    ops = [
        {"action": op.action, "path": op.path, "cid": op.cid} | ({} if op.prev is None else {"prev": op.prev})
        for op in OPS
    ]
    general = framed(payload(ops=ops, blocks=FULL["blocks"], blobs=[C]))

    assert head + cbor_uint(7) + tail == general


OTHERS = [
    (sync_frame(did=DID, rev=REV, blocks=b"x" * 40, time=TIME), SyncMessage, "#sync"),
    (identity_frame(did=DID, time=TIME, handle="a.test"), IdentityMessage, "#identity"),
    (identity_frame(did=DID, time=TIME, handle=None), IdentityMessage, "#identity"),
    (account_frame(did=DID, time=TIME, active=True, status=None), AccountMessage, "#account"),
    (account_frame(did=DID, time=TIME, active=False, status="takendown"), AccountMessage, "#account"),
]


@pytest.mark.parametrize(("parts", "kind", "name"), OTHERS)
@pytest.mark.parametrize("seq", SEQS)
def test_the_other_kinds_go_there_and_back(parts, kind, name, seq):
    head, tail = parts
    data = head + cbor_uint(seq) + tail

    message = decode_frame(data)

    assert isinstance(message, kind)
    assert split_frame(data) == (head, seq, tail)
    header = cbor.encode({"op": 1, "t": name})
    assert data.startswith(header)
    assert cbor.encode(cbor.decode(data[len(header) :])) == data[len(header) :]


def test_info_and_errors_have_no_seq():
    assert decode_frame(info_frame("OutdatedCursor")) == InfoMessage("OutdatedCursor", None)
    assert decode_frame(error_frame("FutureCursor", "wait")) == ErrorMessage("FutureCursor", "wait")
    for data in (info_frame("OutdatedCursor"), error_frame("FutureCursor")):
        with pytest.raises(Refused) as caught:
            split_frame(data)
        assert caught.value.reason == RepoReason.FRAME_FIELDS


def test_unknown_kinds_are_told_apart_to_be_ignored():
    assert decode_frame(framed({"x": 1}, "#new")) == UnknownMessage(1, "#new")
    assert decode_frame(cbor.encode({"op": 2}) + cbor.encode({})) == UnknownMessage(2, None)


def test_fields_that_are_not_known_here_are_kept():
    data = framed(payload(zzz={"a": [1]}, aaa=1))

    head, seq, tail = split_frame(data)

    assert seq == 7
    assert head + cbor_uint(2**40) + tail == framed(payload(zzz={"a": [1]}, aaa=1, seq=2**40))


def test_a_path_that_looks_like_what_follows_it_does_not_mislead_the_split():
    trap = f"a.b.c/crevm{REV}cseq\x07"
    data = framed(payload(ops=[{"action": "create", "path": trap, "cid": A}]))

    head, seq, tail = split_frame(data)

    assert head + cbor_uint(9) + tail == framed(payload(ops=[{"action": "create", "path": trap, "cid": A}], seq=9))
    assert seq == 7


MALFORMED = {
    "nothing": (b"", RepoReason.FRAME_ENCODING),
    "a header alone": (cbor.encode({"op": 1, "t": "#commit"}), RepoReason.FRAME_ENCODING),
    "three values": (framed(payload()) + b"\x00", RepoReason.FRAME_ENCODING),
    "a payload that is no map": (framed([]), RepoReason.FRAME_ENCODING),
    "a header that is no map": (b"\x01" + cbor.encode(payload()), RepoReason.FRAME_ENCODING),
    "a header with a field too many": (
        cbor.encode({"op": 1, "t": "#commit", "x": 1}) + cbor.encode(payload()),
        RepoReason.FRAME_ENCODING,
    ),
    "a header that is not minimal": (
        b"\xa2atg#commitbop\x18\x01" + cbor.encode(payload()),
        RepoReason.FRAME_ENCODING,
    ),
    "a seq that is not minimal": (framed(payload()).replace(b"cseq\x07", b"cseq\x18\x07"), RepoReason.FRAME_ENCODING),
    "100,000 arrays": (b"\x81" * 100_000, RepoReason.FRAME_ENCODING),
    "900 arrays deep": (framed(payload())[:-1] + b"\x81" * 900 + b"\x01", RepoReason.FRAME_ENCODING),
    "no seq": (framed(payload(seq=...)), RepoReason.FRAME_FIELDS),
    "a seq of nought": (framed(payload(seq=0)), RepoReason.FRAME_SEQ),
    "a negative seq": (framed(payload(seq=-1)), RepoReason.FRAME_SEQ),
    "a seq past 2^53": (framed(payload(seq=limits.SEQ_MAX + 1)), RepoReason.FRAME_SEQ),
    "a seq that is true": (framed(payload(seq=True)), RepoReason.FRAME_FIELDS),
    "a repo that is no DID": (framed(payload(repo="a.test")), RepoReason.FRAME_FIELDS),
    "a rev that is no TID": (framed(payload(rev="yesterday")), RepoReason.REV_SYNTAX),
    "a since that is no TID": (framed(payload(since="yesterday")), RepoReason.REV_SYNTAX),
    "a commit that is bytes": (framed(payload(commit=A.raw)), RepoReason.FRAME_FIELDS),
    "a prevData that is bytes": (framed(payload(prevData=B.raw)), RepoReason.FRAME_FIELDS),
    "blocks that are text": (framed(payload(blocks="x")), RepoReason.FRAME_FIELDS),
    "blocks that are a link": (framed(payload(blocks=A)), RepoReason.FRAME_FIELDS),
    "a rebase of 1": (framed(payload(rebase=1)), RepoReason.FRAME_FIELDS),
    "no time": (framed(payload(time=...)), RepoReason.FRAME_FIELDS),
    "ops that are no list": (framed(payload(ops={})), RepoReason.FRAME_FIELDS),
    "an op that is no map": (framed(payload(ops=[1])), RepoReason.FRAME_FIELDS),
    "an op without a cid": (framed(payload(ops=[{"action": "delete", "path": "a.b.c/1"}])), RepoReason.FRAME_FIELDS),
    "an op of another action": (
        framed(payload(ops=[{"action": "move", "path": "a.b.c/1", "cid": A}])),
        RepoReason.OP_FIELDS,
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_frame_is_refused_with_its_reason(name):
    data, reason = MALFORMED[name]

    with pytest.raises(Refused) as caught:
        decode_frame(data)

    assert caught.value.reason == reason, caught.value.detail


def test_a_frame_is_bounded():
    fields = payload(blocks=b"x" * limits.FRAME_MAX)
    over = framed(fields)
    exact = framed(payload(blocks=b"x" * (2 * limits.FRAME_MAX - len(over))))
    assert len(exact) == limits.FRAME_MAX

    assert isinstance(decode_frame(exact), CommitMessage)
    with pytest.raises(Refused) as caught:
        decode_frame(framed(payload(blocks=b"x" * (2 * limits.FRAME_MAX - len(over) + 1))))
    assert caught.value.reason == RepoReason.FRAME_SIZE


def test_the_fast_reader_accepts_nothing_that_the_book_refuses():
    rng = random.Random(7)
    head, tail = commit_frame(**FULL)
    good = head + cbor_uint(7) + tail
    accepted = refused = 0
    for _ in range(20_000):
        data = bytearray(good)
        for _ in range(rng.choice((0, 1, 1, 2))):
            at = rng.randrange(len(frame.COMMIT_HEADER), len(data))
            if rng.random() < 0.8:
                data[at] = rng.choice((rng.randrange(256), data[at] ^ 1))
            else:
                del data[at]
        raw = bytes(data)
        fast = frame._decode_plain_commit(raw)
        try:
            book = decode_by_the_book(raw)
        except Refused:
            assert fast is None, raw.hex()
            refused += 1
            continue
        assert fast is None or fast == book
        accepted += fast is not None

    assert accepted > 1_000
    assert refused > 1_000

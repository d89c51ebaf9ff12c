"""The bytes of log entries."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.cid import Cid
from schemas.entries import Account, Commit, Diff, FirehoseEvent, Identity, Moderation, Op, Sync, cbor_uint
from schemas.entry_codec import COMMIT, VERSION, decode, encode, frame_of
from schemas.errors import InvariantError
from schemas.syntax import Did, Handle
from schemas.tid import tid_from_micros
from tests.support.log_world import Repo, record_of

cids = st.binary(min_size=1, max_size=40).map(Cid.of_cbor)
tids = st.integers(0, 2**53 - 1).map(lambda us: tid_from_micros(us, 3))
dids = st.from_regex(r"did:plc:[a-z2-7]{24}", fullmatch=True).map(Did)
ops = st.builds(
    Op,
    st.sampled_from(["create", "update", "delete"]),
    st.text(min_size=1, max_size=20),
    st.none() | cids,
    st.none() | cids,
    st.none() | st.binary(max_size=30),
)
times = st.integers(0, 2**53)
entries = st.one_of(
    st.builds(
        Commit,
        dids,
        tids,
        st.none() | tids,
        cids,
        cids,
        st.none() | cids,
        st.lists(ops, max_size=4).map(tuple),
        st.binary(max_size=10),
        st.binary(max_size=60),
        times,
    ),
    st.builds(Sync, dids, tids, cids, cids, st.binary(max_size=9), st.binary(max_size=9), times),
    st.builds(
        Diff,
        dids,
        st.none() | tids,
        st.none() | cids,
        tids,
        cids,
        st.binary(max_size=9),
        cids,
        st.integers(0, 9),
        st.integers(1, 9),
        st.none() | st.integers(1, 2**43),
        st.lists(ops, max_size=4).map(tuple),
        times,
        st.booleans(),
    ),
    st.builds(Identity, dids, st.none() | st.just(Handle("a.test")), times),
    st.builds(Account, dids, st.sampled_from(["active", "deleted"]), times),
    st.builds(Moderation, dids.map(str), st.none() | st.text(max_size=9), times),
)


@given(entry=entries)
def test_what_is_encoded_decodes_to_the_same(entry):
    found = decode(encode(entry))

    assert found == entry
    assert [type(getattr(found, f)) for f in found.__struct_fields__] == [
        type(getattr(entry, f)) for f in entry.__struct_fields__
    ]


def test_records_of_a_commit_are_not_stored_beside_its_frame():
    repo = Repo(1)
    entry = repo.write("app.bsky.feed.post/a", record_of("x" * 1000))

    data = encode(entry)

    assert decode(data) == entry
    assert data.count(b"x" * 1000) == 1
    assert frame_of(data) == ("commit", entry.did, entry.head, entry.tail)


@pytest.mark.parametrize("data", [b"", b"\x01", bytes((VERSION + 1, COMMIT, 0x90)), bytes((VERSION, 99, 0x90))])
def test_an_unknown_version_or_kind_says_the_cure(data):
    with pytest.raises(InvariantError, match="upgrade"):
        decode(data)


def test_a_diff_that_is_told_of_is_no_other_entry_to_who_does_not_know_it():
    quiet = Repo(1).diff_entries([], 1)[0]
    told = msgspec.structs.replace(quiet, told=True)

    assert encode(quiet)[:2] == bytes((1, 3))
    assert encode(told)[:2] == bytes((1, 7))
    assert encode(told)[2:] == encode(quiet)[2:]
    assert decode(encode(told)).told
    assert not decode(encode(quiet)).told


def test_a_type_without_a_place_in_the_codec_is_refused():
    with pytest.raises(InvariantError, match="no place"):
        encode(Moderation(object(), None))


@given(seq=st.integers(0, 2**64 - 1))
def test_a_seq_is_a_minimal_cbor_integer(seq):
    from cbor2 import dumps

    assert cbor_uint(seq) == dumps(seq)
    assert FirehoseEvent(seq, Did("did:plc:a"), "sync", b"h", b"t", 0).frame() == b"h" + dumps(seq) + b"t"


def test_entries_are_immutable():
    with pytest.raises(AttributeError):
        Account(Did("did:plc:a"), "active").status = "deleted"
    assert msgspec.structs.replace(Account(Did("did:plc:a"), "active"), time=5).time == 5

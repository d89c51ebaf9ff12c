"""The bytes of the messages of `records`."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.cid import Cid
from schemas.entries import AccountEntry, HeadEntry, RecordEntry, TakedownEntry
from schemas.errors import InvariantError
from schemas.records_codec import (
    AccountState,
    DerivePlace,
    HeadGone,
    StateOnly,
    decode,
    encode,
    encode_own,
    read,
)
from schemas.syntax import Did, Handle
from schemas.tid import tid_from_micros

cids = st.binary(min_size=1, max_size=40).map(Cid.of_cbor)
tids = st.integers(0, 2**53 - 1).map(lambda us: tid_from_micros(us, 3))
dids = st.from_regex(r"did:(plc:[a-z2-7]{24}|web:[a-z.%]{1,9}[a-z])", fullmatch=True).map(Did)
numbers = st.integers(0, 2**53)
offsets = st.integers(1, 2**40)
paths = st.from_regex(r"[a-zA-Z0-9_~.:-]{1,20}", fullmatch=True)
statuses = st.sampled_from(["active", "deleted", "takendown"])
records = st.builds(RecordEntry, dids, paths, paths, cids, st.binary(max_size=30), tids, *[numbers] * 3, offsets)
deleted = st.builds(RecordEntry, dids, paths, paths, st.none(), st.none(), tids, *[numbers] * 3, offsets)
heads = st.builds(HeadEntry, dids, tids, cids, cids, st.binary(max_size=9), numbers, numbers, offsets)
handles = st.none() | st.just(Handle("a.test"))
accounts = st.builds(AccountEntry, dids, handles, statuses, *[numbers] * 3, offsets)
takedowns = st.builds(TakedownEntry, paths.map("at://did:web:a/b/{}".format), st.booleans(), numbers, numbers, offsets)
states = st.builds(AccountState, statuses, st.booleans(), st.none() | tids, st.just(False))
places = st.builds(DerivePlace, numbers, numbers, st.booleans(), numbers, numbers)


@given(st.one_of(records, deleted, heads, accounts, takedowns))
def test_a_reader_is_given_what_was_encoded(entry) -> None:
    key, value, headers = encode(entry)

    assert decode(key, value, headers, entry.offset) == entry


@given(accounts, states)
def test_an_account_carries_its_state(entry, state) -> None:
    content, found = read(*encode(entry, state), entry.offset)

    assert (content, found) == (entry, state)


@given(heads, st.booleans())
def test_a_head_carries_its_rev_and_whether_it_is_partial(entry, partial) -> None:
    _, found = read(*encode(entry, AccountState(partial=partial)), entry.offset)

    assert found == AccountState(rev=entry.rev, partial=partial)


@given(st.one_of(places, st.builds(HeadGone, dids), st.builds(StateOnly, dids, states)))
def test_what_is_derives_own_is_nothing_for_readers(content) -> None:
    message = encode_own(content)

    assert read(*message, 1) == (content, None)
    assert decode(*message, 1) is None


@given(records)
def test_a_deletion_has_the_key_of_what_it_deletes_and_no_value(entry) -> None:
    key, _, _ = encode(entry)
    gone, value, _ = encode(msgspec.structs.replace(entry, cid=None, value=None))

    assert (gone, value) == (key, None)
    assert key == f"at://{entry.did}/{entry.collection}/{entry.rkey}".encode()


def test_keys_of_one_account_are_all_different() -> None:
    did = Did("did:web:a")
    cid = Cid.of_cbor(b"")
    messages = [
        encode(HeadEntry(did, tid_from_micros(1, 1), cid, cid, b"", 1, 1, 1)),
        encode(AccountEntry(did, None, "active", 1, 1, 1, 1)),
        encode(TakedownEntry(str(did), True, 1, 1, 1)),
        encode_own(StateOnly(did, AccountState())),
        encode_own(DerivePlace()),
    ]

    assert len({key for key, _, _ in messages}) == len(messages)


@pytest.mark.parametrize("value", [b"\x02\x01\x90", b"\x01\x07\x90", b"\x01\x00\x90", b"\x01", b""])
def test_an_unknown_version_or_kind_stops_the_reader(value: bytes) -> None:
    with pytest.raises(InvariantError, match="newer headrace"):
        decode(b"at://did:web:a/b/c", value, [], 7)


def test_a_deletion_of_an_unknown_version_stops_the_reader() -> None:
    with pytest.raises(InvariantError, match="newer headrace"):
        decode(b"at://did:web:a/b/c", None, [("v", b"2")], 7)

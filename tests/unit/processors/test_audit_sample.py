"""What one pass keeps of a shard: some accounts, any as likely as another, and of each all that holds now."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import audit_sample
from processors.audit_sample import Sample, account_of
from schemas import records_codec
from schemas.cid import Cid
from schemas.entries import AccountEntry, HeadEntry, RecordEntry, TakedownEntry
from schemas.errors import InvariantError
from schemas.records_codec import AccountState, DerivePlace, HeadGone, StateOnly
from schemas.syntax import Did
from schemas.tid import Tid

REV, CID = Tid("3lbbbbbbbbb22"), Cid(b"\x01\x71\x12\x20" + b"\x07" * 32)
ACCOUNTS = [Did(f"did:plc:{letter * 24}") for letter in "abcdef"]


def record(did, rkey, value=b"\xa0"):
    cid = None if value is None else CID
    return records_codec.encode(RecordEntry(did, "app.bsky.feed.like", rkey, cid, value, REV, 1, 1, 1, 0))


def messages_of(did):
    return st.one_of(
        st.builds(record, st.just(did), st.sampled_from("xyz"), st.sampled_from([b"\xa0", b"\xf6", None])),
        st.sampled_from(
            [
                records_codec.encode(HeadEntry(did, REV, CID, CID, b"", 1, 1, 0)),
                records_codec.encode(AccountEntry(did, None, "active", None, 1, 1, 0)),
                records_codec.encode(TakedownEntry(did, "why", 1, 1, 0)),
                records_codec.encode(TakedownEntry(f"at://{did}/app.bsky.feed.like/x", None, 1, 1, 0)),
                records_codec.encode_own(HeadGone(did)),
                records_codec.encode_own(StateOnly(did, AccountState())),
            ]
        ),
    )


PLACE = records_codec.encode_own(DerivePlace())
STREAMS = st.lists(st.one_of(st.just(PLACE), *map(messages_of, ACCOUNTS)), max_size=60)


@given(STREAMS, STREAMS, st.integers(1, 7), st.integers(0, 2**64 - 1))
def test_each_account_of_a_sample_is_whole_and_no_other_is_let_in_later(passed, followed, most, salt):
    """Against all of the stream in plain dictionaries, also of what comes after the pass."""
    sample = Sample(most, salt)
    held: dict[str, dict[bytes, object]] = {}
    drawn: list[str] = []
    for offset, (key, value, headers) in enumerate([*passed, *followed], 1):
        if offset == len(passed) + 1:
            sample.draw_no_more()
            drawn = sample.dids
        sample.take(offset, key, value, headers)
        did = account_of(key, offset)
        if did is None:
            continue
        keys = held.setdefault(did.decode(), {})
        entry = records_codec.decode(key, value, headers, offset)
        if entry is None or (isinstance(entry, RecordEntry) and entry.value is None):
            keys.pop(key, None)
        else:
            keys[key] = entry
    if followed:
        assert sample.dids == drawn

    if not followed:
        assert len(sample.dids) == min(most, len(held))
    for did in sample.dids:
        assert sample.entries(did) == sorted(held[did].values(), key=lambda entry: entry.offset)


def test_an_account_is_as_likely_as_one_that_wrote_a_hundred_times_as_much():
    stream = [record(ACCOUNTS[0], f"k{n}") for n in range(300)] + [record(did, "x") for did in ACCOUNTS[1:]]
    found: Counter[str] = Counter()
    for salt in range(600):
        sample = Sample(1, salt)
        for offset, message in enumerate(stream, 1):
            sample.take(offset, *message)
        found.update(sample.dids)

    assert set(found) == set(ACCOUNTS)
    assert all(50 < times < 160 for times in found.values()), found


@pytest.mark.parametrize("limit", ["ENTRIES_MOST", "BYTES_MOST"])
def test_of_an_account_that_is_too_large_nothing_is_held(monkeypatch, limit):
    data = b"\xa0" * 100
    key, value, _ = record(ACCOUNTS[0], "k1", data)
    monkeypatch.setattr(audit_sample, limit, 3 if limit == "ENTRIES_MOST" else 3 * (len(key) + len(value)))
    sample = Sample(2, 0)
    for offset in range(1, 4):
        sample.take(offset, *record(ACCOUNTS[0], f"k{offset}", data))
    at_limit = sample.entries(ACCOUNTS[0])
    sample.take(4, *record(ACCOUNTS[0], "k1", data))
    again = sample.entries(ACCOUNTS[0])
    sample.take(5, *record(ACCOUNTS[0], "k5", data))

    assert [entry.offset for entry in at_limit] == [1, 2, 3]
    assert [entry.offset for entry in again] == [2, 3, 4]
    assert sample.entries(ACCOUNTS[0]) is None


def test_a_message_without_a_key_is_our_fault_and_stops_it():
    with pytest.raises(InvariantError, match=r"records@7: expected a key"):
        Sample(1, 0).take(7, None, b"", [])


def test_what_an_operator_leaves_out_need_not_be_known():
    """As who indexes the shard takes it: else each pass would end the process, with all of its lanes."""
    key, value, headers = record(ACCOUNTS[0], "x")
    sample = Sample(1, 0, skipped={2, 3})
    sample.take(1, key, value, headers)
    sample.take(2, key, b"\xff" + value[1:], headers)
    sample.take(3, None, b"", [])

    assert [entry.offset for entry in sample.entries(ACCOUNTS[0])] == [1]
    with pytest.raises(InvariantError, match="records@4"):
        sample.take(4, key, b"\xff" + value[1:], headers)

"""DAG-CBOR: the bytes say one thing, the values say it back, and links and byte strings stay what they are."""

from __future__ import annotations

import random

import cbor2
import libipld
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas import cbor
from schemas.cbor import CborReason, CborRefused
from schemas.cid import Cid
from schemas.errors import InvariantError
from schemas.limits import (
    CBOR_CONTAINER_MAX,
    CBOR_CONTAINERS_MAX,
    CBOR_DEPTH_MAX,
    CBOR_KEY_MAX,
    CID_MAX,
    FRAME_MAX,
    INT_MAX,
    INT_MIN,
    RECORD_CBOR_MAX,
)
from schemas.syntax import Did

cids = st.builds(Cid.of_cbor, st.binary(max_size=4)) | st.builds(Cid.of_raw, st.binary(max_size=4))
cid_like_bytes = cids.map(bytes) | cids.map(lambda cid: b"\0" + cid.raw) | cids.map(cbor.encode)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
keys = texts.filter(lambda key: key not in {"$link", "$bytes"})
scalars = (
    st.none() | st.booleans() | st.integers(INT_MIN, INT_MAX) | texts | st.binary(max_size=40) | cid_like_bytes | cids
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(keys, inner, max_size=6))


def same(one, other):
    """Equal in type as well: True is not 1."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def tagged(value):
    """The value as cbor2 knows it."""
    if isinstance(value, Cid):
        return cbor2.CBORTag(42, b"\0" + value.raw)
    if isinstance(value, dict):
        return {key: tagged(item) for key, item in value.items()}
    if isinstance(value, list):
        return [tagged(item) for item in value]
    return value


def nested(depth: int) -> bytes:
    return b"\x81" * (depth - 1) + b"\x80"


def refusal(data: bytes, limit: int = RECORD_CBOR_MAX) -> CborReason:
    with pytest.raises(CborRefused) as refused:
        cbor.decode(data, limit)
    return refused.value.reason


@settings(deadline=None, max_examples=300)
@given(values)
def test_a_value_comes_back_as_it_was(value):
    assert same(cbor.decode(cbor.encode(value)), value)


@settings(deadline=None, max_examples=300)
@given(values)
def test_the_bytes_are_those_of_an_independent_canonical_encoder(value):
    assert cbor.encode(value) == cbor2.dumps(tagged(value), canonical=True)


@settings(deadline=None, max_examples=300)
@given(values)
def test_an_independent_decoder_reads_the_same_value(value):
    assert same(cbor2.loads(cbor.encode(value), tag_hook=lambda tag, _: Cid(tag.value[1:])), value)


@settings(deadline=None, max_examples=500)
@given(values, st.data())
@example({"a": -2}, None)
def test_what_is_accepted_is_the_only_spelling_of_its_value(value, data):
    spelling = bytearray(cbor.encode(value))
    if data is not None:
        spelling[data.draw(st.integers(0, len(spelling) - 1))] = data.draw(st.integers(0, 255))

    try:
        read = cbor.decode(bytes(spelling))
    except CborRefused:
        return
    assert cbor.encode(read) == spelling


@settings(deadline=None, max_examples=500)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_and_nothing_else(data):
    try:
        value = cbor.decode(data)
    except CborRefused:
        return
    assert cbor.encode(value) == data


def test_a_million_random_signatures_stay_byte_strings():
    """libipld's encoder would write some of them as links: see the trap in PEERS.md."""
    source = random.Random(20260102)
    taken_for_links = 0

    for _ in range(10):
        block = source.randbytes(64 * 100_000)
        signatures = [block[start : start + 64] for start in range(0, len(block), 64)]
        data = cbor.encode(signatures)
        assert len(data) == 5 + 66 * 100_000  # a 64-byte string takes two bytes of head
        assert cbor.decode(data, limit=len(data)) == signatures
        taken_for_links += len(libipld.encode_dag_cbor(signatures)) != len(data)

    assert taken_for_links == 10, "the trap was not laid: no signature of this seed parses as a CID"


def test_a_byte_string_with_the_content_of_a_link_is_not_that_link():
    cid = Cid.of_cbor(b"")
    value = {"link": cid, "bytes": cid.raw, "tagged": b"\0" + cid.raw, "head": cbor.encode(cid)}

    assert same(cbor.decode(cbor.encode(value)), value)


def test_typed_text_and_tuples_are_written_as_text_and_lists():
    did = Did("did:plc:abc")

    assert cbor.encode({"did": did, did: (did, (1, None))}) == cbor.encode(
        {"did": str(did), str(did): [str(did), [1, None]]}
    )


@pytest.mark.parametrize(
    "value", [1.5, {"a": [1.0]}, {1: 2}, object(), {"a": {1, 2}}, 2**64, "\ud800", bytearray(b"a")]
)
def test_our_own_value_outside_the_data_model_is_our_own_fault(value):
    with pytest.raises(InvariantError):
        cbor.encode(value)


def test_size_is_held_at_the_limit_and_one_past_it():
    at_limit = cbor.encode("x" * (RECORD_CBOR_MAX - 5))

    assert len(at_limit) == RECORD_CBOR_MAX
    assert cbor.decode(at_limit) == "x" * (RECORD_CBOR_MAX - 5)
    assert refusal(cbor.encode("x" * (RECORD_CBOR_MAX - 4))) is CborReason.SIZE


def test_a_frame_may_have_a_limit_of_its_own():
    at_limit = cbor.encode(b"x" * (FRAME_MAX - 5))

    assert len(cbor.decode(at_limit, FRAME_MAX)) == FRAME_MAX - 5
    assert refusal(cbor.encode(b"x" * (FRAME_MAX - 4)), FRAME_MAX) is CborReason.SIZE


def test_depth_is_held_at_the_limit_and_one_past_it():
    padding = b"\x59\x20\x00" + bytes(0x2000)  # enough for the look at the heads that large input gets
    maps = b"\xa1\x61a"

    for make in (
        nested,
        lambda depth: b"\x82" + padding + nested(depth - 1),
        lambda depth: maps * (depth - 1) + b"\xa0",
        lambda depth: maps * (depth - 1) + b"\xa1\x61a" + cbor.encode(Cid.of_raw(b"")),
    ):
        assert cbor.decode(make(CBOR_DEPTH_MAX)) is not None
        assert refusal(make(CBOR_DEPTH_MAX + 1)) is CborReason.DEPTH


@pytest.mark.parametrize(
    "make", [lambda count: [None] * count, lambda count: {f"{number:06}": 0 for number in range(count)}]
)
def test_containers_are_held_at_the_limit_and_one_past_it(make):
    limit = 2 * RECORD_CBOR_MAX

    assert len(cbor.decode(cbor.encode(make(CBOR_CONTAINER_MAX)), limit)) == CBOR_CONTAINER_MAX
    assert refusal(cbor.encode(make(CBOR_CONTAINER_MAX + 1)), limit) is CborReason.CONTAINER


@pytest.mark.parametrize("empty", [[], {}])
def test_the_containers_of_one_value_are_held_at_the_limit_and_one_past_it(empty):
    at_limit = [[empty] * (CBOR_CONTAINERS_MAX - 5), [empty], []]

    assert cbor.decode(cbor.encode(at_limit)) == at_limit
    assert refusal(cbor.encode([*at_limit, []])) is CborReason.CONTAINER


@pytest.mark.parametrize("letter", ["k", "é", "語", "🙂"])
def test_keys_are_held_at_the_limit_in_bytes_and_one_past_it(letter):
    key = letter * (CBOR_KEY_MAX // len(letter.encode()))
    key += "k" * (CBOR_KEY_MAX - len(key.encode()))

    assert cbor.decode(cbor.encode([{key: 1}])) == [{key: 1}]
    assert refusal(cbor.encode([{key + "k": 1}])) is CborReason.KEY


def test_links_are_held_at_the_limit_and_one_past_it():
    longest = b"\x01\x55\x00" + bytes([CID_MAX - 4]) + bytes(CID_MAX - 4)
    too_long = b"\x01\x55\x00" + bytes([CID_MAX - 3]) + bytes(CID_MAX - 3)

    assert cbor.decode(cbor.encode([Cid(longest), Cid.of_raw(b"")])) == [Cid(longest), Cid.of_raw(b"")]
    assert refusal(cbor.encode([Cid.of_raw(b""), Cid(too_long)])) is CborReason.CID


@pytest.mark.parametrize("raw", [b"", b"\x01", b"\x01\x71\x12\x20" + bytes(31), b"\x12\x20" + bytes(32)])
def test_a_link_that_is_no_cid_is_refused(raw):
    for value in (Cid(raw), [Cid(raw)], {"a": {"b": Cid(raw)}, "c": Cid.of_raw(b"")}):
        assert refusal(cbor.encode(value)) is CborReason.CID


def test_integers_have_64_bits_with_sign():
    for number in (INT_MIN, INT_MAX, 2**53, -(2**53), 0x1B, 0x3B):
        assert cbor.decode(cbor.encode({"n": number})) == {"n": number}
    for number in (INT_MIN - 1, INT_MAX + 1, 2**64 - 1, -(2**64)):
        assert refusal(cbor.encode({"n": [number]})) is CborReason.INTEGER
    assert cbor.decode(cbor.encode({"t": b"\x1b\xff;\xff"})) == {"t": b"\x1b\xff;\xff"}


@pytest.mark.parametrize("key", ["$link", "$bytes"])
def test_a_map_that_json_would_take_for_a_link_or_bytes_is_refused(key):
    assert refusal(cbor.encode({"a": [{key: "x", "other": 1}]})) is CborReason.RESERVED
    assert cbor.decode(cbor.encode({"a": key})) == {"a": key}

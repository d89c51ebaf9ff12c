"""The data model in JSON: what may be said, what it becomes, and that it comes back the same."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import cbor, data
from schemas.cbor import CborRefused
from schemas.cid import Cid
from schemas.data import BlobRef, DataReason, DataRefused
from schemas.errors import InvariantError
from schemas.limits import (
    CBOR_CONTAINER_MAX,
    CBOR_CONTAINERS_MAX,
    CBOR_DEPTH_MAX,
    CBOR_KEY_MAX,
    INT_MAX,
    INT_MIN,
    RECORD_JSON_MAX,
)
from schemas.syntax import Did
from tests.support.invalid_blocks import INVALID_BLOCKS, SHOWN_BLOCKS

CID = Cid.of_raw(b"image")
BLOB = {"$type": "blob", "ref": CID, "mimeType": "image/jpeg", "size": 10}
JSON_BLOB = BLOB | {"ref": {"$link": str(CID)}}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
keys = texts.filter(lambda key: key not in {"$link", "$bytes", "$type"})
scalars = st.none() | st.booleans() | st.integers(INT_MIN, INT_MAX) | texts | st.binary(max_size=20) | st.just(CID)
inner = st.recursive(scalars, lambda held: st.lists(held, max_size=5) | st.dictionaries(keys, held, max_size=5))
records = st.dictionaries(keys, inner, max_size=5)


def reason(obj) -> DataReason:
    with pytest.raises(DataRefused) as refused:
        data.from_json(obj)
    return refused.value.reason


@settings(deadline=None, max_examples=300)
@given(records)
def test_every_way_to_json_says_the_same_and_comes_back(value):
    json = orjson.loads(data.dumps(value))

    assert json == data.to_json(value)
    assert orjson.loads(data.cbor_to_json(cbor.encode(value))) == json
    assert data.from_json(json) == value
    assert data.loads(data.dumps(value)) == value
    assert cbor.encode(data.from_json(json)) == cbor.encode(value)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60))
def test_cbor_that_is_accepted_has_a_json_form(block):
    try:
        value = cbor.decode(block)
    except CborRefused:
        return
    assert orjson.loads(data.cbor_to_json(block)) == data.to_json(value)


@pytest.mark.parametrize(
    "block", [b"", b"\xa1", b"\xfb\x3f\xf8" + bytes(6), b"\x81" * 300 + b"\x00", b"\x3b" + b"\xff" * 8]
)
def test_cbor_that_has_no_json_form_is_refused(block):
    with pytest.raises(CborRefused):
        data.cbor_to_json(block)


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        ([], DataReason.OBJECT),
        ("blah", DataReason.OBJECT),
        (None, DataReason.OBJECT),
        ({"$link": str(CID)}, DataReason.OBJECT),
        ({"$bytes": "YQ"}, DataReason.OBJECT),
        ({"a": 1.5}, DataReason.FLOAT),
        ({"a": [1.0]}, DataReason.FLOAT),
        ({"a": 2**63}, DataReason.INTEGER),
        ({"a": [-(2**63) - 1]}, DataReason.INTEGER),
        ({"$type": None}, DataReason.TYPE),
        ({"a": {"$type": ""}}, DataReason.TYPE),
        ({"a": {"$type": 3}}, DataReason.TYPE),
        ({"a": {"$type": {"$link": str(CID)}}}, DataReason.TYPE),
        ({"a": {"$link": 3}}, DataReason.LINK),
        ({"a": {"$link": "."}}, DataReason.LINK),
        ({"a": {"$link": str(CID), "other": 1}}, DataReason.LINK),
        ({"a": {"$link": str(CID), "$bytes": "YQ"}}, DataReason.LINK),
        ({"a": {"$bytes": 3}}, DataReason.BYTES),
        ({"a": {"$bytes": "YQ", "other": 1}}, DataReason.BYTES),
        ({"a": {"$bytes": "Y"}}, DataReason.BYTES),
        ({"a": {"$bytes": "YQ="}}, DataReason.BYTES),
        ({"a": {"$bytes": "YQ==="}}, DataReason.BYTES),
        ({"a": {"$bytes": "Y Q"}}, DataReason.BYTES),
        ({"a": {"$bytes": "-_-_"}}, DataReason.BYTES),
        ({"a": {"$bytes": "é"}}, DataReason.BYTES),
        ({"a": {key: item for key, item in JSON_BLOB.items() if key != "ref"}}, DataReason.BLOB),
        ({"a": JSON_BLOB | {"other": 1}}, DataReason.BLOB),
        ({"a": JSON_BLOB | {"ref": str(CID)}}, DataReason.BLOB),
        ({"a": JSON_BLOB | {"size": -1}}, DataReason.BLOB),
        ({"a": JSON_BLOB | {"size": True}}, DataReason.BLOB),
        ({"a": JSON_BLOB | {"size": "10"}}, DataReason.BLOB),
        ({"a": JSON_BLOB | {"mimeType": ""}}, DataReason.BLOB),
        ({"a": JSON_BLOB | {"mimeType": 3}}, DataReason.BLOB),
    ],
)
def test_json_outside_the_data_model_is_refused_with_its_reason(obj, expected):
    assert reason(obj) is expected


@pytest.mark.parametrize("text", ["YQ", "YQ=="])
def test_base64_is_read_with_and_without_padding(text):
    assert data.from_json({"a": {"$bytes": text}}) == {"a": b"a"}


def test_base64_is_written_without_padding():
    assert data.dumps({"a": b"a", "b": b""}) == b'{"a":{"$bytes":"YQ"},"b":{"$bytes":""}}'


def test_the_argument_is_left_as_it_is():
    obj = {"a": [{"$link": str(CID)}], "b": JSON_BLOB}
    before = orjson.dumps(obj)

    assert data.from_json(obj) == {"a": [CID], "b": BLOB}
    assert orjson.dumps(obj) == before


def test_integers_are_held_at_64_bits():
    assert data.from_json({"a": INT_MAX, "b": [INT_MIN]}) == {"a": INT_MAX, "b": [INT_MIN]}
    assert data.dumps({"a": INT_MAX, "b": [INT_MIN]}) == b'{"a":9223372036854775807,"b":[-9223372036854775808]}'
    with pytest.raises(DataRefused):
        data.loads(b'{"a":18446744073709551616}')


def test_depth_is_held_at_the_limit_and_one_past_it():
    def nested(depth, innermost):
        for _ in range(depth - 1):
            innermost = {"a": [innermost]} if depth % 2 else {"a": innermost}
        return innermost

    at_limit = nested(CBOR_DEPTH_MAX, {"link": {"$link": str(CID)}})

    assert cbor.decode(cbor.encode(data.from_json(at_limit))) == data.from_json(at_limit)
    assert reason({"a": at_limit}) is DataReason.DEPTH
    assert reason(nested(901, {})) is DataReason.DEPTH


def test_containers_are_held_at_the_limit_and_one_past_it():
    assert len(data.from_json({"a": [0] * CBOR_CONTAINER_MAX})["a"]) == CBOR_CONTAINER_MAX
    assert reason({"a": [0] * (CBOR_CONTAINER_MAX + 1)}) is DataReason.CONTAINER
    assert reason({str(number): 0 for number in range(CBOR_CONTAINER_MAX + 1)}) is DataReason.CONTAINER


@pytest.mark.parametrize("kind", [str, bytes])
def test_the_containers_of_one_text_are_held_at_the_limit_and_one_past_it(kind):
    """What JSON lets in must be what CBOR lets out; brackets within strings do not count."""
    half = CBOR_CONTAINERS_MAX // 2

    def text(containers: int) -> str | bytes:
        value = {"a": [[]] * half, "b": [{}] * (containers - half - 3), "c": "[{" * half}
        return orjson.dumps(value) if kind is bytes else orjson.dumps(value).decode()

    value = data.loads(text(CBOR_CONTAINERS_MAX))
    assert cbor.decode(cbor.encode(value)) == value
    with pytest.raises(DataRefused) as refused:
        data.loads(text(CBOR_CONTAINERS_MAX + 1))
    assert refused.value.reason is DataReason.CONTAINERS


@pytest.mark.parametrize("letter", ["k", "🙂"])
def test_keys_are_held_at_the_limit_in_bytes_and_one_past_it(letter):
    key = letter * (CBOR_KEY_MAX // len(letter.encode()))

    assert data.from_json({key: 1}) == {key: 1}
    assert reason({key + "k": 1}) is DataReason.KEY


def test_text_is_held_at_the_limit_in_bytes_and_one_past_it():
    at_limit = b'{"a":"' + b"x" * (RECORD_JSON_MAX - 8) + b'"}'

    assert len(at_limit) == RECORD_JSON_MAX
    assert len(data.loads(at_limit)["a"]) == RECORD_JSON_MAX - 8
    for too_long in (at_limit + b" ", at_limit.decode() + " ", '{"a":"' + "é" * (RECORD_JSON_MAX // 2) + '"}'):
        with pytest.raises(DataRefused) as refused:
            data.loads(too_long)
        assert refused.value.reason is DataReason.SIZE


@pytest.mark.parametrize("text", [b"", b"{", b'{"a":NaN}', b'{"a":"\\ud800"}', b"\xff", b"[" * 100_000])
def test_text_that_is_not_json_is_refused(text):
    with pytest.raises(DataRefused) as refused:
        data.loads(text)
    assert refused.value.reason is DataReason.JSON


def test_blobs_are_found_wherever_they_are():
    other = Cid.of_raw(b"other")
    value = {
        "avatar": BLOB,
        "embed": {"images": [{"image": BLOB | {"ref": other, "size": 0}}, [[BLOB]]]},
        "bad": [{"$type": "blob"}, BLOB | {"ref": "text"}, BLOB | {"size": True}, BLOB | {"mimeType": None}],
        "plain": {"ref": CID, "mimeType": "image/jpeg", "size": 10},
    }

    found = data.blobs_of(value)

    assert found[0] == BlobRef(CID, "image/jpeg", 10)
    assert sorted(found, key=str) == sorted([found[0], found[0], BlobRef(other, "image/jpeg", 0)], key=str)
    assert data.blobs_of({"a": [1, "blob", None, CID, b""]}) == []


def test_typed_text_is_written_as_text():
    assert data.dumps({"did": Did("did:plc:abc")}) == b'{"did":"did:plc:abc"}'


@pytest.mark.parametrize("value", [object(), {"a": {1}}, {1: 2}, 2**64, "\ud800"])
def test_our_own_value_outside_the_data_model_is_our_own_fault(value):
    with pytest.raises(InvariantError):
        data.dumps(value)


@pytest.mark.parametrize("block", INVALID_BLOCKS.values(), ids=INVALID_BLOCKS)
def test_whatever_stands_in_a_repo_is_shown_as_an_object_or_refused(block):
    """Beyond the data model's limits JSON may still say it; what it would say wrongly it does not say."""
    if block not in SHOWN:
        with pytest.raises(CborRefused):
            data.record_to_json(block)
        return
    assert orjson.loads(data.record_to_json(block))["text"] == "fine but for one thing"


SHOWN = {INVALID_BLOCKS[name] for name in SHOWN_BLOCKS}

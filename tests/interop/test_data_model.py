"""The protocol's own data model vectors: bytes and CIDs equal, records accepted or refused."""

from __future__ import annotations

import base64
import json

import orjson
import pytest

from schemas import cbor, data
from schemas.cid import Cid
from schemas.data import DataRefused

DATA_MODEL = "bluesky-social/atproto-interop-tests/data-model"


def test_each_fixture_has_the_same_bytes_and_cid_in_both_directions(vectors):
    cases = json.loads(vectors(f"{DATA_MODEL}/data-model-fixtures.json").read_text())

    for case in cases:
        text = case["cbor_base64"]
        block = base64.b64decode(text + "=" * (-len(text) % 4))
        value = data.from_json(case["json"])
        assert cbor.encode(value) == block
        assert cbor.decode(block) == value
        assert str(Cid.of_cbor(block)) == case["cid"]
        assert data.to_json(value) == case["json"]
        assert orjson.loads(data.cbor_to_json(block)) == case["json"]
    assert len(cases) >= 3


def test_each_valid_record_is_accepted_and_comes_back(vectors):
    cases = json.loads(vectors(f"{DATA_MODEL}/data-model-valid.json").read_text())

    for case in cases:
        value = data.from_json(case["json"])
        assert data.to_json(cbor.decode(cbor.encode(value))) == case["json"], case["note"]
    assert cases


def test_each_invalid_record_is_refused(vectors):
    cases = json.loads(vectors(f"{DATA_MODEL}/data-model-invalid.json").read_text())

    for case in cases:
        with pytest.raises(DataRefused):
            data.from_json(case["json"])
    assert cases

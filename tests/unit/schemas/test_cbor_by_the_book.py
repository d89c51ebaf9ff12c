"""What is taken for DAG-CBOR of the data model, beside a reader written by hand from the specification."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from schemas import cbor
from schemas.cbor import CborRefused
from schemas.data import to_json
from tests.oracle import strict
from tests.support.invalid_blocks import spoilt

RECORD = {"$type": "com.example.thing", "text": "ünal", "n": -7, "list": [True, None, {"a": b"bytes"}]}
BLOCKS = [cbor.encode(RECORD), *spoilt(RECORD).values()]


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(BLOCKS) | st.binary(max_size=40), st.integers(0, 80), st.binary(max_size=2))
def test_the_same_bytes_are_of_the_data_model_and_mean_the_same(block, at, patch):
    """But for links of other hashes, which only one of the two takes."""
    block = block[:at] + patch + block[at + len(patch) :]
    assume(b"\xd8\x2a" not in block)
    try:
        said = strict.read(block)
    except strict.NoRecord:
        with pytest.raises(CborRefused):
            cbor.decode(block)
    else:
        assert to_json(cbor.decode(block)) == said

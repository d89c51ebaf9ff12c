"""The matrix of hostile CBOR (LIBRARIES.md): each input is refused with its reason, in little memory."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from schemas import cbor
from schemas.cbor import CborReason, CborRefused
from schemas.limits import FRAME_MAX

FORM, DEPTH, CONTAINER, FLOAT = CborReason.FORM, CborReason.DEPTH, CborReason.CONTAINER, CborReason.FLOAT

# name -> (how to make the bytes, as an expression that the subprocess below can evaluate too; the reason)
MATRIX = {
    "900 nested arrays": ("b'\\x81' * 900 + b'\\x00'", DEPTH),
    "100,000 nested arrays": ("b'\\x81' * 100_000 + b'\\x00'", DEPTH),
    "1,000,000 nested arrays": ("b'\\x81' * 1_000_000 + b'\\x00'", DEPTH),
    "1,000,000 nested arrays, never ended": ("b'\\x81' * 1_000_000", DEPTH),
    "300,000 nested maps": ("b'\\xa1\\x61a' * 300_000 + b'\\x00'", DEPTH),
    "arrays that each claim a million, nested": ("b'\\x9a\\x00\\x0f\\x00\\x00' * 200_000", CONTAINER),
    "arrays that each claim 131,072, nested": ("b'\\x9a\\x00\\x02\\x00\\x00' * 200_000", DEPTH),
    "array length bomb 2^32": ("b'\\x9b\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x00'", FORM),
    "bytes length bomb 2^40": ("b'\\x5b\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00'", FORM),
    "1,000,000-element array": ("b'\\x9a\\x00\\x0f\\x42\\x40' + bytes(1_000_000)", CONTAINER),
    "5,000,000 empty maps": ("b'\\x98\\x26' + (b'\\x9a\\x00\\x02\\x00\\x00' + b'\\xa0' * 131_072) * 38", CONTAINER),
    "duplicate keys": ("b'\\xa2\\x61a\\x01\\x61a\\x02'", FORM),
    "unsorted keys": ("b'\\xa2\\x61b\\x01\\x61a\\x02'", FORM),
    "indefinite array": ("b'\\x9f\\x01\\xff'", FORM),
    "NaN": ("b'\\xfb\\x7f\\xf8' + bytes(6)", FORM),
    "half float": ("b'\\xf9\\x3e\\x00'", FORM),
    "bignum": ("b'\\xc2\\x49\\x01' + bytes(8)", FORM),
    "shared reference": ("b'\\xd8\\x1c\\x81\\xd8\\x1d\\x00'", FORM),
    "integer keys": ("b'\\xa1\\x01\\x02'", FORM),
    "undefined": ("b'\\xf7'", FORM),
    "trailing bytes": ("b'\\x01\\x01'", FORM),
    "datetime tag": ("b'\\xc0\\x61a'", FORM),
    "non-minimal integer": ("b'\\x18\\x05'", FORM),
    "float64": ("b'\\xfb\\x3f\\xf8' + bytes(6)", FLOAT),
    "float64 deep within": ("b'\\xa1\\x61a\\x81\\xfb\\x3f\\xf8' + bytes(6)", FLOAT),
    "negative zero": ("b'\\xfb\\x80' + bytes(7)", FLOAT),
    "single float": ("b'\\xfa\\x3f\\xc0\\x00\\x00'", FORM),
    "infinity": ("b'\\xfb\\x7f\\xf0' + bytes(6)", FORM),
    "non-minimal length": ("b'\\x78\\x01a'", FORM),
    "non-minimal tag": ("b'\\xd9\\x00\\x2a\\x45\\x00\\x01\\x55\\x00\\x00'", FORM),
    "indefinite text": ("b'\\x7f\\x61a\\xff'", FORM),
    "text that is no UTF-8": ("b'\\x62\\xc3\\x28'", FORM),
    "a surrogate in text": ("b'\\x63\\xed\\xa0\\x80'", FORM),
    "a key that is no UTF-8": ("b'\\xa1\\x61\\xff\\x00'", FORM),
    "simple value": ("b'\\xf8\\xff'", FORM),
    "break alone": ("b'\\xff'", FORM),
    "link without its zero": ("b'\\xd8\\x2a\\x44\\x01\\x55\\x00\\x00'", FORM),
    "link of text": ("b'\\xd8\\x2a\\x61a'", FORM),
    "link within a link": ("b'\\xd8\\x2a\\xd8\\x2a\\x41\\x00'", FORM),
    "nothing": ("b''", FORM),
    "truncated": ("b'\\xa1\\x61a'", FORM),
}

MEASURE = """
import json, resource, sys
from schemas import cbor
from schemas.limits import FRAME_MAX
cbor.decode(cbor.encode({"warm": ["up"]}))
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
answers = []
for source in json.load(sys.stdin):
    try:
        cbor.decode(eval(source), FRAME_MAX)
        answers.append("accepted")
    except cbor.CborRefused as refused:
        answers.append(refused.reason.value)
print(json.dumps([answers, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base]))
"""


@pytest.mark.parametrize("name", MATRIX)
def test_hostile_bytes_are_refused_with_their_reason(name):
    source, reason = MATRIX[name]

    with pytest.raises(CborRefused) as refused:
        cbor.decode(eval(source), FRAME_MAX)
    assert refused.value.reason is reason
    assert len(refused.value.detail) < 300


def test_the_whole_matrix_takes_at_most_64_mb():
    sources = [source for source, _ in MATRIX.values()]

    run = subprocess.run(
        [sys.executable, "-c", MEASURE], input=json.dumps(sources), capture_output=True, text=True, check=True
    )
    answers, kilobytes = json.loads(run.stdout)

    assert answers == [reason.value for _, reason in MATRIX.values()]
    assert kilobytes <= 64 * 1024

"""CIDs: the same bytes and text as everybody else's, and nothing that only looks like one."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.cid import Cid, CidReason, CidRefused
from schemas.limits import CID_MAX

EMPTY_RAW = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
EMPTY_CBOR = "bafyreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


def identity_cid(total: int) -> bytes:
    """A well-formed CID of `total` bytes: version 1, raw, the identity hash."""
    assert total - 4 < 128

    return b"\x01\x55\x00" + bytes([total - 4]) + b"x" * (total - 4)


def test_the_empty_block_has_the_cids_that_everybody_gives_it():
    assert str(Cid.of_raw(b"")) == EMPTY_RAW
    assert str(Cid.of_cbor(b"")) == EMPTY_CBOR
    assert Cid.of_raw(b"").digest == hashlib.sha256(b"").digest()
    assert (Cid.of_raw(b"").codec, Cid.of_cbor(b"").codec) == (0x55, 0x71)


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_text_and_bytes_both_give_the_cid_back(data):
    for cid in (Cid.of_raw(data), Cid.of_cbor(data)):
        assert Cid.parse(str(cid)) == cid
        assert Cid.from_bytes(bytes(cid)) == cid
        assert hash(Cid(bytes(bytearray(cid.raw)))) == hash(cid)
        assert cid.is_blessed


def test_cids_are_ordered_by_their_bytes():
    cids = [Cid.of_raw(bytes([number])) for number in range(50)]

    assert [cid.raw for cid in sorted(cids)] == sorted(cid.raw for cid in cids)


def test_a_cid_is_neither_bytes_nor_text_nor_changeable():
    cid = Cid.of_raw(b"")

    assert cid != cid.raw
    assert cid != str(cid)
    assert not isinstance(cid, (bytes, str))
    with pytest.raises(AttributeError):
        cid.raw = b""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", CidReason.TEXT),
        ("b", CidReason.FORM),
        (EMPTY_RAW.upper(), CidReason.TEXT),
        ("B" + EMPTY_RAW[1:].upper(), CidReason.TEXT),
        ("b" + EMPTY_RAW[1:].upper(), CidReason.TEXT),
        (EMPTY_RAW + "=", CidReason.TEXT),
        (EMPTY_RAW + "a", CidReason.TEXT),
        (EMPTY_RAW[:-1] + "v", CidReason.TEXT),  # the same bytes, but for bits that base32 leaves over
        (EMPTY_RAW[:-2], CidReason.FORM),
        (" " + EMPTY_RAW, CidReason.TEXT),
        (EMPTY_RAW + "\n", CidReason.TEXT),
        ("zb2rhe5P4gXftAwvA4eXQ5HJwsER2owDyS9sKaQRRVQPn93bA", CidReason.TEXT),
        ("QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n", CidReason.TEXT),
        ("b1", CidReason.TEXT),
        ("bé", CidReason.TEXT),
        ("b" + "a" * 400, CidReason.SIZE),
    ],
)
def test_text_that_is_not_canonical_base32_of_a_cid_is_refused(text, reason):
    with pytest.raises(CidRefused) as refused:
        Cid.parse(text)

    assert refused.value.reason is reason


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", CidReason.FORM),
        (b"\x01", CidReason.FORM),
        (b"\x00\x55\x12\x20" + b"x" * 32, CidReason.FORM),  # version 0
        (b"\x02\x55\x12\x20" + b"x" * 32, CidReason.FORM),
        (b"\x12\x20" + b"x" * 32, CidReason.FORM),  # CIDv0
        (b"\x01\x55\x12\x20" + b"x" * 31, CidReason.FORM),
        (b"\x01\x55\x12\x20" + b"x" * 33, CidReason.FORM),
        (b"\x01\xd5\x00\x12\x20" + b"x" * 32, CidReason.FORM),  # a varint that is longer than it need be
        (b"\x01" + b"\xff" * 12, CidReason.FORM),
    ],
)
def test_bytes_that_are_no_cid_are_refused(raw, reason):
    with pytest.raises(CidRefused) as refused:
        Cid.from_bytes(raw)

    assert refused.value.reason is reason


def test_a_cid_of_another_hash_is_kept_but_not_blessed():
    raw = b"\x01\x71\x13\x40" + b"x" * 64  # sha2-512

    cid = Cid.from_bytes(raw)

    assert (cid.raw, cid.is_blessed, cid.codec) == (raw, False, 0x71)
    assert Cid.parse(str(cid)) == cid


def test_a_cid_may_have_as_many_bytes_as_the_limit_and_no_more():
    longest = Cid.from_bytes(identity_cid(CID_MAX))
    too_long = Cid(identity_cid(CID_MAX + 1))

    assert len(longest.raw) == CID_MAX
    assert Cid.parse(str(longest)) == longest
    for attempt in (lambda: Cid.from_bytes(too_long.raw), lambda: Cid.parse(str(too_long))):
        with pytest.raises(CidRefused) as refused:
            attempt()
        assert refused.value.reason is CidReason.SIZE

"""Content identifiers: the SHA-256 of a block with its codec, as bytes in memory and base32 in text.

Source: https://atproto.com/specs/data-model#link-and-cid-formats.
Does not own the CBOR of a link (schemas/cbor.py) nor the lexicon's looser `cid` string format (schemas/syntax.py).
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha256
from typing import Self

import msgspec
from libipld import decode_multibase, encode_multibase

from schemas.errors import Refused
from schemas.limits import CID_MAX

DAG_CBOR = 0x71
RAW = 0x55
SHA2_256 = 0x12
CBOR_PREFIX = b"\x01\x71\x12\x20"
RAW_PREFIX = b"\x01\x55\x12\x20"
BLESSED_PREFIXES = (CBOR_PREFIX, RAW_PREFIX)
BLESSED_LENGTH = 36


class CidReason(StrEnum):
    """Why something is not a CID."""

    TEXT = "cid_text"
    FORM = "cid_form"
    SIZE = "cid_size"


class CidRefused(Refused):
    """Bytes or text that are no CID."""


class Cid(msgspec.Struct, frozen=True, order=True, gc=False):
    """A binary CID without the multibase zero. `Cid(raw)` does not check; `parse` and `from_bytes` do.

    Not `bytes`: a link and a byte string with the same content are different values of the data model.
    Compared, hashed and ordered by its bytes.
    """

    raw: bytes

    @classmethod
    def of_cbor(cls, data: bytes) -> Self:
        """The CID of a DAG-CBOR block."""
        return cls(CBOR_PREFIX + sha256(data).digest())

    @classmethod
    def of_raw(cls, data: bytes) -> Self:
        """The CID of a blob."""
        return cls(RAW_PREFIX + sha256(data).digest())

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Check that `raw` is a well-formed CIDv1 of at most 100 bytes; raises CidRefused."""
        if len(raw) != BLESSED_LENGTH or raw[:4] not in BLESSED_PREFIXES:
            _check(raw)
        return cls(bytes(raw))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read base32 text ("b..."), the one canonical spelling; raises CidRefused."""
        if not text.startswith("b"):
            raise CidRefused(CidReason.TEXT, f"expected base32 that starts with 'b', found {text[:80]!r}")
        if len(text) > 1 + -(-CID_MAX * 8 // 5):
            raise CidRefused(CidReason.SIZE, f"expected at most {CID_MAX} bytes, found {len(text)} characters")
        try:
            _, raw = decode_multibase(text)
        except ValueError as error:
            raise CidRefused(CidReason.TEXT, f"expected base32 (RFC 4648, lower case), found {text[:80]!r}") from error
        cid = cls.from_bytes(raw)
        if str(cid) != text:
            raise CidRefused(CidReason.TEXT, f"expected canonical base32 {cid}, found {text[:80]!r}")
        return cid

    @property
    def codec(self) -> int:
        """The multicodec of the content: 0x71 for DAG-CBOR, 0x55 for raw."""
        return _varint(self.raw, 1)[0]

    @property
    def digest(self) -> bytes:
        """The hash alone."""
        position = 1
        for _ in range(3):
            _, position = _varint(self.raw, position)
        return self.raw[position:]

    @property
    def is_blessed(self) -> bool:
        """CIDv1, DAG-CBOR or raw, SHA-256: the only CIDs that the protocol makes itself."""
        raw = self.raw
        return len(raw) == BLESSED_LENGTH and raw[:4] in BLESSED_PREFIXES

    def __str__(self) -> str:
        return encode_multibase("b", self.raw)

    def __bytes__(self) -> bytes:
        return self.raw

    def __repr__(self) -> str:
        return f"Cid({self})"


def _check(raw: bytes) -> None:
    if len(raw) > CID_MAX:
        raise CidRefused(CidReason.SIZE, f"expected at most {CID_MAX} bytes, found {len(raw)}")
    if not raw or raw[0] != 1:
        raise CidRefused(CidReason.FORM, f"expected CID version 1, found {raw[:4].hex() or 'nothing'}")
    _, position = _varint(raw, 1)
    _, position = _varint(raw, position)
    length, position = _varint(raw, position)
    if len(raw) - position != length:
        raise CidRefused(CidReason.FORM, f"expected a hash of {length} bytes, found {len(raw) - position}")


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    """An unsigned varint in its shortest form (https://github.com/multiformats/unsigned-varint) and where it ends."""
    value = 0
    for shift in range(0, 63, 7):
        if position >= len(raw):
            break
        byte = raw[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                break
            return value, position
    raise CidRefused(CidReason.FORM, f"expected a shortest-form varint in {raw[:40].hex()}")

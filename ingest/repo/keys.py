"""Signing keys of both protocol curves and their text forms: did:key and multikey (base58btc of a compressed point).

`sign` and `verify` hash with SHA-256 themselves; signatures are 64 bytes raw (r, s), always low-S; high-S, DER and any
other length do not verify (https://atproto.com/specs/cryptography). Parsed keys are cached, because a firehose verifies
one account's commits with one key again and again.
Does not own which key belongs to whom (ingest/identity).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Literal, Self

from ingest.repo import base58, k256, p256
from schemas.errors import Refused

Curve = Literal["k256", "p256"]

DID_KEY = "did:key:"
PARSED_KEYS = 65_536  # about 1 kB each

_MULTICODEC: dict[bytes, Curve] = {b"\xe7\x01": "k256", b"\x80\x24": "p256"}
_PREFIX: dict[Curve, bytes] = {curve: prefix for prefix, curve in _MULTICODEC.items()}
_LIBRARY = {"k256": k256, "p256": p256}


class KeyReason(StrEnum):
    MULTIBASE = "key_multibase"
    CURVE = "key_curve"
    POINT = "key_point"
    SECRET = "key_secret"  # noqa: S105 - a label


class KeyRefused(Refused):
    """A key that cannot be read; `reason` is a KeyReason."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key; equal when curve and point are.

    `verify(message, signature) -> bool` is bound at construction: it is called once a commit on the firehose.
    """

    curve: Curve
    point: bytes
    multikey: str = field(compare=False)
    verify: Callable[[bytes, bytes], bool] = field(compare=False, repr=False)

    @property
    def did_key(self) -> str:
        return DID_KEY + self.multikey

    @staticmethod
    def from_did_key(text: str) -> PublicKey:
        """Parse `did:key:z...`. Raises KeyRefused."""
        if not text.startswith(DID_KEY):
            raise KeyRefused(KeyReason.MULTIBASE, f"expected did:key:z..., found {text[:80]!r}")
        return _from_multikey(text[len(DID_KEY) :])

    @staticmethod
    def from_multikey(text: str) -> PublicKey:
        """Parse `z...`: multibase base58btc of a multicodec prefix and a compressed point. Raises KeyRefused."""
        return _from_multikey(text)

    @staticmethod
    def from_point(curve: Curve, point: bytes) -> PublicKey:
        """A key from its 33-byte or 65-byte point. Raises KeyRefused."""
        try:
            compressed = _LIBRARY[curve].compress(point)
        except ValueError as error:
            raise KeyRefused(KeyReason.POINT, f"{len(point)} bytes are not a point of {curve}") from error
        multikey = "z" + base58.encode(_PREFIX[curve] + compressed)
        return PublicKey(curve, compressed, multikey, _LIBRARY[curve].verifier(compressed))

    @staticmethod
    def from_legacy_multibase(curve: Curve, text: str) -> PublicKey:
        """The 2019 verification methods: the curve stands in the method's type, `z...` holds the bare point."""
        return PublicKey.from_point(curve, _base58btc(text))


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private key. `sign(message) -> bytes` gives 64 raw bytes, low-S, over sha256(message)."""

    curve: Curve
    public: PublicKey
    sign: Callable[[bytes], bytes] = field(compare=False, repr=False)
    _secret: bytes = field(repr=False)

    @classmethod
    def generate(cls, curve: Curve = "k256") -> Self:
        return cls.from_bytes(curve, _LIBRARY[curve].generate())

    @classmethod
    def from_bytes(cls, curve: Curve, raw: bytes) -> Self:
        """A key from its 32-byte secret. Raises KeyRefused."""
        if len(raw) != 32:
            raise KeyRefused(KeyReason.SECRET, f"a secret has 32 bytes, found {len(raw)}")
        library = _LIBRARY[curve]
        try:
            public = PublicKey.from_point(curve, library.point_of(raw))
        except ValueError as error:
            raise KeyRefused(KeyReason.SECRET, f"the secret is not in the range of {curve}") from error
        return cls(curve, public, library.signer(raw), raw)

    def to_bytes(self) -> bytes:
        return self._secret


@lru_cache(maxsize=PARSED_KEYS)
def _from_multikey(text: str) -> PublicKey:
    raw = _base58btc(text)
    curve = _MULTICODEC.get(raw[:2])
    if curve is None:
        raise KeyRefused(KeyReason.CURVE, f"expected a multicodec of k256 or p256, found {raw[:2].hex()!r}")
    if len(raw) != 35:
        raise KeyRefused(KeyReason.POINT, f"expected a compressed point of 33 bytes, found {len(raw) - 2}")
    return PublicKey.from_point(curve, raw[2:])


def _base58btc(text: str) -> bytes:
    if not text.startswith("z"):
        raise KeyRefused(KeyReason.MULTIBASE, f"expected multibase base58btc (z...), found {text[:80]!r}")
    try:
        return base58.decode(text[1:])
    except ValueError as error:
        raise KeyRefused(KeyReason.MULTIBASE, str(error)) from error

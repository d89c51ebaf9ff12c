"""secp256k1 on libsecp256k1 (through coincurve): compact 64-byte signatures, low-S, no DER on the way.

coincurve's own `verify` takes DER, which costs a third of the speed; its binding to the library does not.
Does not own the text forms of keys (keys.py).
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from coincurve import PrivateKey, PublicKey
from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT

_CONTEXT: Any = GLOBAL_CONTEXT.ctx


def compress(point: bytes) -> bytes:
    """The 33-byte form of a 33- or 65-byte point. Raises ValueError when it is not on the curve."""
    return PublicKey(point).format(compressed=True)


def verifier(point: bytes) -> Callable[[bytes, bytes], bool]:
    """`verify(message, signature)` for a point: True for a raw low-S signature of sha256(message), else False."""
    key = PublicKey(point)
    parsed: Any = key.public_key
    new, parse, check, context = (
        ffi.new,
        lib.secp256k1_ecdsa_signature_parse_compact,
        lib.secp256k1_ecdsa_verify,
        _CONTEXT,
    )

    def verify(message: bytes, signature: bytes) -> bool:
        if len(signature) != 64:
            return False
        compact = new("secp256k1_ecdsa_signature *")
        # The library's verify refuses high-S itself; parse refuses r or s at or above the order.
        return bool(
            parse(context, compact, signature) and check(context, compact, sha256(message).digest(), parsed),
        )

    return verify


def signer(secret: bytes) -> Callable[[bytes], bytes]:
    """`sign(message)`: the deterministic (RFC 6979) low-S signature of sha256(message), 64 bytes raw."""
    new, buffer, null, context = ffi.new, ffi.buffer, ffi.NULL, _CONTEXT
    make, serialize = lib.secp256k1_ecdsa_sign, lib.secp256k1_ecdsa_signature_serialize_compact

    def sign(message: bytes) -> bytes:
        signature = new("secp256k1_ecdsa_signature *")
        if not make(context, signature, sha256(message).digest(), secret, null, null):
            raise ValueError("secp256k1 could not sign: the secret is not valid for this curve")
        raw = new("unsigned char[64]")
        serialize(context, raw, signature)
        return bytes(buffer(raw, 64))

    return sign


def point_of(secret: bytes) -> bytes:
    """The compressed public point of a 32-byte secret. Raises ValueError when it is zero or past the order."""
    return PrivateKey(secret).public_key.format(compressed=True)


def generate() -> bytes:
    return PrivateKey().secret

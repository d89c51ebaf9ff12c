"""NIST P-256 on OpenSSL (through cryptography), which speaks DER and allows high-S: both are undone here.

Does not own the text forms of keys (keys.py).
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
HALF_ORDER = ORDER // 2

_CURVE = ec.SECP256R1()
_ECDSA = ec.ECDSA(SHA256())


def compress(point: bytes) -> bytes:
    """The 33-byte form of a 33- or 65-byte point. Raises ValueError when it is not on the curve."""
    return _compressed(ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, point))


def verifier(point: bytes) -> Callable[[bytes, bytes], bool]:
    """`verify(message, signature)` for a point: True for a raw low-S signature of sha256(message), else False."""
    check = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, point).verify

    def verify(message: bytes, signature: bytes) -> bool:
        if len(signature) != 64:
            return False
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        if not 0 < r < ORDER or not 0 < s <= HALF_ORDER:
            return False
        try:
            check(encode_dss_signature(r, s), message, _ECDSA)
        except InvalidSignature:
            return False
        return True

    return verify


def signer(secret: bytes) -> Callable[[bytes], bytes]:
    """`sign(message)`: a low-S signature of sha256(message), 64 bytes raw, with a fresh nonce each time."""
    make = _private(secret).sign

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(make(message, _ECDSA))
        if s > HALF_ORDER:
            s = ORDER - s
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return sign


def point_of(secret: bytes) -> bytes:
    """The compressed public point of a 32-byte secret. Raises ValueError when it is zero or past the order."""
    return _compressed(_private(secret).public_key())


def generate() -> bytes:
    return ec.generate_private_key(_CURVE).private_numbers().private_value.to_bytes(32, "big")


def _private(secret: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(secret, "big"), _CURVE)


def _compressed(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)

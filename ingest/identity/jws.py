"""ES256K and ES256 for PyJWT on our own keys: low-S enforced, the curve tied to the algorithm, nothing else registered.

Does not own claims (service_auth.py).
"""

from __future__ import annotations

from typing import Any, NoReturn

import jwt
from jwt.algorithms import Algorithm

from ingest.repo.keys import Curve, PrivateKey, PublicKey

ALGORITHMS: dict[Curve, str] = {"k256": "ES256K", "p256": "ES256"}


class _Ecdsa(Algorithm):
    def __init__(self, curve: Curve) -> None:
        self._curve = curve

    def prepare_key(self, key: Any) -> PrivateKey | PublicKey:
        if not isinstance(key, PrivateKey | PublicKey) or key.curve != self._curve:
            raise jwt.InvalidKeyError(f"expected a {self._curve} key")
        return key

    def sign(self, msg: bytes, key: PrivateKey) -> bytes:
        return key.sign(msg)

    def verify(self, msg: bytes, key: PublicKey, sig: bytes) -> bool:
        return key.verify(msg, sig)

    @staticmethod
    def to_jwk(key_obj: Any, as_dict: bool = False) -> NoReturn:  # noqa: FBT001, FBT002 - PyJWT's signature
        raise NotImplementedError("service keys travel as did:key, never as JWK")

    @staticmethod
    def from_jwk(jwk: Any) -> NoReturn:
        raise NotImplementedError("service keys travel as did:key, never as JWK")


def jws() -> jwt.PyJWS:
    """A signer and verifier that knows these two algorithms only (`none` and the HMACs are not there to be chosen)."""
    made = jwt.PyJWS(algorithms=[])
    for curve, name in ALGORITHMS.items():
        made.register_algorithm(name, _Ecdsa(curve))
    return made

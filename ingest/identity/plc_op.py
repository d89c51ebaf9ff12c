"""One did:plc operation: its three shapes, its bytes, its signature (https://web.plc.directory/spec/v0.1/did-plc).

An operation is kept as the JSON object it came as, because its CBOR is what is hashed and signed; `Operation` adds what
is derived from it. Does not own the chain of operations (plc.py) nor the limits of a directory (plc_limits.py).
"""

from __future__ import annotations

import re
from base64 import b32encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any, Literal, cast

from ingest.repo.keys import KeyRefused, PrivateKey, PublicKey
from schemas.cbor import encode
from schemas.cid import Cid
from schemas.errors import Refused
from schemas.syntax import Did

Json = dict[str, Any]
Kind = Literal["plc_operation", "plc_tombstone", "create"]

PDS_SERVICE = "AtprotoPersonalDataServer"

_SIGNATURE = re.compile(r"[A-Za-z0-9_-]{86}", re.ASCII)
_FIELDS: dict[str, frozenset[str]] = {
    "plc_operation": frozenset(
        ("type", "rotationKeys", "verificationMethods", "alsoKnownAs", "services", "prev", "sig"),
    ),
    "plc_tombstone": frozenset(("type", "prev", "sig")),
    "create": frozenset(("type", "signingKey", "recoveryKey", "handle", "service", "prev", "sig")),
}


class PlcReason(StrEnum):
    SHAPE = "plc_shape"
    LIMIT = "plc_limit"
    KEY = "plc_key"
    SIGNATURE = "plc_signature"
    GENESIS_HASH = "plc_genesis_hash"
    ORDER = "plc_order"
    LATE_RECOVERY = "plc_late_recovery"
    RATE = "plc_rate"
    NOT_REGISTERED = "plc_not_registered"
    TOMBSTONED = "plc_tombstoned"
    CID = "plc_cid"
    NULLIFIED = "plc_nullified"
    TIME = "plc_time"
    BUSY = "plc_busy"


class PlcRefused(Refused):
    """An operation or a request that does not hold; `detail` is worded as the public directory words it."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A signed operation of the right shape; whether the signature holds is asked of `signer`."""

    json: Json
    kind: Kind
    rotation_keys: tuple[str, ...]
    """did:keys in falling order of authority; of a legacy create the recovery key, then the signing key."""
    prev: str | None
    unsigned: bytes
    signed: bytes

    @property
    def cid(self) -> Cid:
        return Cid.of_cbor(self.signed)

    @property
    def did(self) -> Did:
        """The DID that this operation founds, were it the first."""
        return Did("did:plc:" + b32encode(sha256(self.signed).digest())[:24].decode().lower())

    def signer(self, keys: Sequence[str]) -> int:
        """The index of the first of `keys` (did:keys) whose signature this bears. Raises PlcRefused."""
        signature = _signature(self.json["sig"])
        if signature is not None:
            for index, text in enumerate(keys):
                try:
                    key = PublicKey.from_did_key(text)
                except KeyRefused as error:
                    raise PlcRefused(PlcReason.KEY, f"Unsupported key type {text}: {error.detail}") from error
                if key.verify(self.unsigned, signature):
                    return index
        raise PlcRefused(PlcReason.SIGNATURE, f"Invalid signature on op: {self.cid}")

    def data(self, did: str) -> Json | None:
        """The state it leaves (as GET /:did/data shows it), or None for a tombstone."""
        op = self.json
        if self.kind == "plc_tombstone":
            return None
        if self.kind == "create":
            return {
                "did": did,
                "verificationMethods": {"atproto": op["signingKey"]},
                "rotationKeys": list(self.rotation_keys),
                "alsoKnownAs": [f"at://{op['handle']}"],
                "services": {"atproto_pds": {"type": PDS_SERVICE, "endpoint": op["service"]}},
            }
        return {"did": did} | {
            name: op[name] for name in ("verificationMethods", "rotationKeys", "alsoKnownAs", "services")
        }


def parse(value: object) -> Operation:
    """Read parsed JSON. Raises PlcRefused(SHAPE) for a missing, foreign or wrongly typed field."""
    if not isinstance(value, dict):
        raise _misshapen("expected an object")
    kind = value.get("type")
    fields = _FIELDS.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise _misshapen("type is not plc_operation, plc_tombstone or create")
    if value.keys() != fields:
        raise _misshapen(f"{sorted(map(str, value.keys() ^ fields))[:8]} missing or unknown")
    prev = value["prev"]
    if kind == "plc_tombstone":
        _expect(isinstance(prev, str) and isinstance(value["sig"], str), "prev and sig are strings")
        keys: tuple[str, ...] = ()
    elif kind == "create":
        strings = ("signingKey", "recoveryKey", "handle", "service", "sig")
        _expect(prev is None and _all_strings(value[name] for name in strings), "strings, and a null prev")
        keys = (value["recoveryKey"], value["signingKey"])
    else:
        _check_operation(value)
        keys = tuple(value["rotationKeys"])
    unsigned = {name: field for name, field in value.items() if name != "sig"}
    return Operation(value, cast("Kind", kind), keys, prev, encode(unsigned), encode(value))


def sign(unsigned: Mapping[str, Any], key: PrivateKey) -> Json:
    """The operation with its `sig` (base64url without padding)."""
    body = dict(unsigned)
    return body | {"sig": urlsafe_b64encode(key.sign(encode(body))).rstrip(b"=").decode()}


def operation(
    *,
    rotation_keys: Sequence[str],
    verification_methods: Mapping[str, str],
    also_known_as: Sequence[str],
    services: Mapping[str, Mapping[str, str]],
    prev: str | None,
) -> Json:
    """An unsigned plc_operation; `prev` is None in a genesis operation, else the CID of the one before."""
    return {
        "type": "plc_operation",
        "rotationKeys": list(rotation_keys),
        "verificationMethods": dict(verification_methods),
        "alsoKnownAs": list(also_known_as),
        "services": {name: dict(service) for name, service in services.items()},
        "prev": prev,
    }


def account(signing_key: str, handle: str, pds: str, rotation_keys: Sequence[str], prev: str | None = None) -> Json:
    """The unsigned operation of an ordinary account: one handle, one signing key, one PDS."""
    return operation(
        rotation_keys=rotation_keys,
        verification_methods={"atproto": signing_key},
        also_known_as=[f"at://{handle}"],
        services={"atproto_pds": {"type": PDS_SERVICE, "endpoint": pds}},
        prev=prev,
    )


def updated(last: Operation, **changes: Any) -> Json:
    """The unsigned operation that follows `last`, with some of operation()'s arguments changed."""
    data = last.data("")
    if data is None:
        raise PlcRefused(PlcReason.ORDER, "Operations not correctly ordered")
    whole: dict[str, Any] = {
        "rotation_keys": data["rotationKeys"],
        "verification_methods": data["verificationMethods"],
        "also_known_as": data["alsoKnownAs"],
        "services": data["services"],
        "prev": str(last.cid),
    }
    return operation(**(whole | changes))


def tombstone(prev: str) -> Json:
    """The unsigned operation that ends a DID."""
    return {"type": "plc_tombstone", "prev": prev}


def _check_operation(value: Json) -> None:
    _expect(isinstance(value["sig"], str), "sig is a string")
    _expect(value["prev"] is None or isinstance(value["prev"], str), "prev is a string or null")
    for name in ("rotationKeys", "alsoKnownAs"):
        _expect(isinstance(value[name], list) and _all_strings(value[name]), f"{name} is a list of strings")
    methods, services = value["verificationMethods"], value["services"]
    _expect(isinstance(methods, dict) and _all_strings(methods.values()), "verificationMethods maps to strings")
    _expect(
        isinstance(services, dict)
        and all(
            isinstance(service, dict) and service.keys() == {"type", "endpoint"} and _all_strings(service.values())
            for service in services.values()
        ),
        "services map to {type, endpoint}",
    )


def _all_strings(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


def _expect(holds: bool, detail: str) -> None:  # noqa: FBT001 - reads as an assertion
    if not holds:
        raise _misshapen(detail)


def _misshapen(detail: str) -> PlcRefused:
    return PlcRefused(PlcReason.SHAPE, f"Not a valid operation: {detail}")


def _signature(text: str) -> bytes | None:
    """64 bytes of canonical base64url without padding, or None."""
    if not _SIGNATURE.fullmatch(text):
        return None
    raw = urlsafe_b64decode(text + "==")
    # 86 characters hold 516 bits: the 4 spare ones must be zero, or one signature would have 16 spellings.
    return raw if urlsafe_b64encode(raw).rstrip(b"=").decode() == text else None

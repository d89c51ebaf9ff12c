"""What a directory asks of new operations beyond validity: sizes and rates (did-method-plc, server constraints).

Audit logs of the past are not held to these (plc.py). The wording is the public directory's, its spelling included.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ingest.identity.plc_op import Operation, PlcReason, PlcRefused
from ingest.repo.keys import KeyRefused, PublicKey
from schemas.limits import (
    PLC_ALSO_KNOWN_AS_CHARS,
    PLC_ALSO_KNOWN_AS_MAX,
    PLC_OPERATION_MAX,
    PLC_OPERATIONS_DAY,
    PLC_OPERATIONS_HOUR,
    PLC_OPERATIONS_WEEK,
    PLC_ROTATION_KEYS_MAX,
    PLC_SERVICES_MAX,
    PLC_VERIFICATION_METHODS_MAX,
)

MAX_SERVICE_TYPE = 96
MAX_SERVICE_ENDPOINT = 256
MAX_ID = 32
MAX_DID_KEY = 256

HOUR_MS = 3_600_000
RATES = (
    (PLC_OPERATIONS_WEEK, 7 * 24 * HOUR_MS, "week"),
    (PLC_OPERATIONS_DAY, 24 * HOUR_MS, "day"),
    (PLC_OPERATIONS_HOUR, HOUR_MS, "hour"),
)

_DID_KEY = re.compile(r"did:key:z[1-9A-HJ-NP-Za-km-z]+", re.ASCII)


def check(op: Operation) -> None:
    """Raises PlcRefused(LIMIT, KEY or SHAPE) when a directory may not take this as a new operation."""
    if len(op.signed) > PLC_OPERATION_MAX:
        raise _limit(f"Operation too large ({PLC_OPERATION_MAX} bytes maximum in cbor encoding)")
    if op.kind == "create":
        raise PlcRefused(PlcReason.SHAPE, "Not a valid operation: the legacy create is no longer taken")
    if op.kind == "plc_operation":
        _check_aliases(op.json["alsoKnownAs"])
        _check_rotation_keys(op.rotation_keys)
        _check_services(op.json["services"])
        _check_methods(op.json["verificationMethods"])


def check_rate(created: Iterable[int], now: int) -> None:
    """`created` are the times (ms) of a DID's operations that stand. Raises PlcRefused(RATE)."""
    times = list(created)
    for limit, window, name in RATES:
        if sum(time > now - window for time in times) >= limit:
            raise PlcRefused(PlcReason.RATE, f"To many operations within last {name} (max {limit})")


def _check_aliases(aliases: list[str]) -> None:
    if len(aliases) > PLC_ALSO_KNOWN_AS_MAX:
        raise _limit(f"To many alsoKnownAs entries (max {PLC_ALSO_KNOWN_AS_MAX})")
    for index, alias in enumerate(aliases):
        if len(alias) > PLC_ALSO_KNOWN_AS_CHARS:
            raise _limit(f"alsoKnownAs entry too long (max {PLC_ALSO_KNOWN_AS_CHARS}): {alias}")
        if alias in aliases[:index]:
            raise _limit(f"duplicate alsoKnownAs entry: {alias}")


def _check_rotation_keys(keys: tuple[str, ...]) -> None:
    if len(keys) > PLC_ROTATION_KEYS_MAX:
        raise _limit(f"Too many rotationKey entries (max {PLC_ROTATION_KEYS_MAX})")
    for key in keys:
        try:
            PublicKey.from_did_key(key)
        except KeyRefused as error:
            raise PlcRefused(PlcReason.KEY, f"Invalid rotationKey: {key}") from error


def _check_services(services: dict[str, dict[str, str]]) -> None:
    if len(services) > PLC_SERVICES_MAX:
        raise _limit(f"To many service entries (max {PLC_SERVICES_MAX})")
    for name, service in services.items():
        if len(name) > MAX_ID:
            raise _limit(f"Service id too long (max {MAX_ID}): {name}")
        if len(service["type"]) > MAX_SERVICE_TYPE:
            raise _limit(f"Service type too long (max {MAX_SERVICE_TYPE})")
        if len(service["endpoint"]) > MAX_SERVICE_ENDPOINT:
            raise _limit(f"Service endpoint too long (max {MAX_SERVICE_ENDPOINT})")


def _check_methods(methods: dict[str, str]) -> None:
    if len(methods) > PLC_VERIFICATION_METHODS_MAX:
        raise _limit(f"To many Verification Method entries (max {PLC_VERIFICATION_METHODS_MAX})")
    for name, key in methods.items():
        if len(name) > MAX_ID:
            raise _limit(f"Verification Method id too long (max {MAX_ID}): {name}")
        # Any key type may sign for a service since 2025-06, hence the syntax alone.
        if len(key) > MAX_DID_KEY or not _DID_KEY.fullmatch(key):
            raise PlcRefused(PlcReason.KEY, f"Invalid verificationMethod key: {key}")


def _limit(message: str) -> PlcRefused:
    return PlcRefused(PlcReason.LIMIT, message)

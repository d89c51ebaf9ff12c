"""The chain of did:plc operations: what may follow what, who may sign it, and what a recovery undoes. Pure.

Rule 1. The first operation has no prev, and its hash is the DID.
Rule 2. Every other names the CID of an operation that stands and is no tombstone, and is younger than all before it.
Rule 3. It is signed by a rotation key of the operation it follows.
Rule 4. One that follows an older operation undoes (nullifies) all after it; it needs a key of higher authority than
        the one that signed the first it undoes, within 72 hours of that one.
Does not own shapes and bytes (plc_op.py), nor a directory's limits (plc_limits.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ingest.identity import plc_op
from ingest.identity.plc_op import Operation, PlcReason, PlcRefused
from ingest.repo.keys import KeyRefused, PublicKey
from schemas.cid import Cid
from schemas.limits import PLC_RECOVERY_MICROS
from schemas.syntax import Did

RECOVERY_WINDOW_MS = PLC_RECOVERY_MICROS // 1000

_MULTIKEY_CONTEXT = "https://w3id.org/security/multikey/v1"
_CURVE_CONTEXT = {
    "k256": "https://w3id.org/security/suites/secp256k1-2019/v1",
    "p256": "https://w3id.org/security/suites/ecdsa-2019/v1",
}


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An operation in a directory; `created` is unix milliseconds."""

    did: Did
    operation: Operation
    cid: Cid
    nullified: bool
    created: int


def accept(did: Did, standing: Sequence[LogEntry], op: Operation, now: int) -> Sequence[LogEntry]:
    """What `op` undoes, if it may follow at `now` (ms). `standing` are the entries not undone, oldest first.

    Raises PlcRefused.
    """
    if not standing:
        op.signer(op.rotation_keys)
        if op.prev is not None:
            raise PlcRefused(PlcReason.ORDER, "Improperly formatted operation, expected null prev on create")
        if op.did != did:
            raise PlcRefused(
                PlcReason.GENESIS_HASH,
                f"Hash of genesis operation does not match DID identifier: {op.did}",
            )
        return ()
    at = next((index for index, entry in enumerate(standing) if str(entry.cid) == op.prev), None)
    if at is None or standing[at].operation.kind == "plc_tombstone" or now <= standing[-1].created:
        raise PlcRefused(PlcReason.ORDER, "Operations not correctly ordered")
    keys, undone = standing[at].operation.rotation_keys, standing[at + 1 :]
    if undone:
        keys = keys[: undone[0].operation.signer(keys)]
    op.signer(keys)
    if undone and now - undone[0].created > RECOVERY_WINDOW_MS:
        raise PlcRefused(
            PlcReason.LATE_RECOVERY,
            "Recovery operation occurred outside of the allowed 72 hr recovery window. "
            f"Time lapsed: {now - undone[0].created}",
        )
    return undone


def validate_log(audit: Sequence[Any]) -> list[LogEntry]:
    """Replay an audit log (as GET /:did/log/audit gives it: parsed JSON), checking every CID and every nullified flag.

    Raises PlcRefused.
    """
    claimed: list[LogEntry] = []
    standing: list[LogEntry] = []
    for item in audit:
        entry = exported(item)
        if claimed and entry.did != claimed[0].did:
            raise PlcRefused(PlcReason.SHAPE, f"a log of one DID, found {entry.did} and {claimed[0].did}")
        if entry.cid != entry.operation.cid:
            raise PlcRefused(PlcReason.CID, f"expected {entry.operation.cid}, the log says {entry.cid}")
        undone = accept(entry.did, standing, entry.operation, entry.created)
        del standing[len(standing) - len(undone) :]
        standing.append(entry)
        claimed.append(entry)
    if not standing:
        raise PlcRefused(PlcReason.SHAPE, "an empty log")
    stands = {entry.cid for entry in standing}
    for entry in claimed:
        if entry.nullified is (entry.cid in stands):
            raise PlcRefused(PlcReason.NULLIFIED, f"the log says nullified={entry.nullified} of {entry.cid}")
    return [replace(entry, nullified=entry.cid not in stands) for entry in claimed]


def format_document(data: dict[str, Any]) -> dict[str, Any]:
    """The DID document of a state (Operation.data)."""
    did, context, methods = data["did"], ["https://www.w3.org/ns/did/v1", _MULTIKEY_CONTEXT], []
    for name, key in data["verificationMethods"].items():
        extra = _key_context(key)
        if extra is not None and extra not in context:
            context.append(extra)
        methods.append(
            {
                "id": f"{did}#{name}",
                "type": "Multikey",
                "controller": did,
                "publicKeyMultibase": key.removeprefix("did:key:"),
            },
        )
    return {
        "@context": context,
        "id": did,
        "alsoKnownAs": data["alsoKnownAs"],
        "verificationMethod": methods,
        "service": [
            {"id": f"#{name}", "type": service["type"], "serviceEndpoint": service["endpoint"]}
            for name, service in data["services"].items()
        ],
    }


def iso(created: int) -> str:
    """Unix milliseconds as `2023-01-01T00:00:00.000Z`."""
    return datetime.fromtimestamp(created // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{created % 1000:03d}Z"


def millis(text: str) -> int:
    """The inverse; UTC where no offset stands. Raises PlcRefused(SHAPE) for anything that is no time."""
    try:
        at = datetime.fromisoformat(text)
        return round(at.timestamp() * 1000) if at.tzinfo else round(at.replace(tzinfo=UTC).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise PlcRefused(PlcReason.SHAPE, f"not a time: {text[:80]}") from error


def _key_context(key: str) -> str | None:
    try:
        return _CURVE_CONTEXT[PublicKey.from_did_key(key).curve]
    except KeyRefused:
        return None


def exported(item: Any) -> LogEntry:
    """An entry as /log/audit and /export give it (parsed JSON). Raises PlcRefused, SyntaxRefused, CidRefused."""
    match item:
        case {"did": str(did), "operation": op, "cid": str(cid), "nullified": bool(nullified), "createdAt": str(at)}:
            return LogEntry(Did.parse(did), plc_op.parse(op), Cid.parse(cid), nullified, millis(at))
    raise PlcRefused(PlcReason.SHAPE, "a log entry is {did, operation, cid, nullified, createdAt}")

"""The JSON lines of Jetstream, version 1: one a record operation, one an identity, one an account event. Pure.

Source: https://github.com/bluesky-social/jetstream, pkg/models; the order of keys is that of the production service:
fields as its structs have them, records with sorted keys. Does not own who wants which line nor how lines travel.
"""

from __future__ import annotations

from typing import Any

import orjson

from schemas.cid import Cid
from schemas.data import record_to_json
from schemas.entries import Action


def commit_line(  # noqa: PLR0917 - in the order of the line
    did: str, time_us: int, rev: str, action: Action, path: str, record: bytes | None, cid: Cid | None
) -> bytes:
    """One operation; `record` is its DAG-CBOR. Raises CborRefused for a record that JSON cannot show."""
    collection, _, rkey = path.partition("/")
    commit: dict[str, Any] = {"rev": rev, "operation": action, "collection": collection, "rkey": rkey}
    if record is not None:
        commit["record"] = orjson.Fragment(_sorted(record))
        commit["cid"] = str(cid)
    return orjson.dumps({"did": did, "time_us": time_us, "kind": "commit", "commit": commit})


def identity_line(did: str, time_us: int, seq: int, time: str, handle: str | None) -> bytes:
    """A #identity."""
    said: dict[str, Any] = {"did": did}
    if handle is not None:
        said["handle"] = handle
    said |= {"seq": seq, "time": time}
    return orjson.dumps({"did": did, "time_us": time_us, "kind": "identity", "identity": said})


def account_line(did: str, time_us: int, seq: int, time: str, *, active: bool, status: str | None) -> bytes:
    """A #account."""
    said: dict[str, Any] = {"active": active, "did": did, "seq": seq}
    if status is not None:
        said["status"] = status
    said["time"] = time
    return orjson.dumps({"did": did, "time_us": time_us, "kind": "account", "account": said})


def _sorted(record: bytes) -> bytes:
    return orjson.dumps(_ordered(orjson.loads(record_to_json(record))))


def _ordered(value: Any) -> Any:
    """Sorted keys, but a blob's in the order of its struct. As deep as a record may be."""
    if isinstance(value, dict):
        keys = _BLOB if value.get("$type") == "blob" and value.keys() == _BLOB_KEYS else sorted(value)
        return {key: _ordered(value[key]) for key in keys}
    return [_ordered(item) for item in value] if isinstance(value, list) else value


_BLOB = ("$type", "ref", "mimeType", "size")
_BLOB_KEYS = set(_BLOB)

"""One write of a repo, judged before it touches the repo: its lexicon, its key, its size.

Pure. Does not own what the repo must hold for it (writer.py) nor whether its blobs are there (writer.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from ingest.pds.refusals import invalid_request
from schemas import cbor
from schemas.cid import Cid
from schemas.data import BlobRef, blobs_of
from schemas.errors import XrpcError
from schemas.lexicon import Catalogue, LexiconRefused
from schemas.limits import RECORD_BLOCK_MAX
from schemas.tid import TidClock

ValidationStatus = Literal["valid", "unknown"]
Action = Literal["create", "update", "put", "delete"]


class Unset:
    """A swap that the caller did not ask for (None asks that there be no record)."""


UNSET = Unset()


class Write(msgspec.Struct, frozen=True):
    """What a client asks for. `value` is of the data model (links are Cid, bytes are bytes), None for a delete.

    *put* creates or updates; `rkey` None lets the PDS choose. `if_absent_ok`: deleting what is not there does nothing.
    """

    action: Action
    collection: str
    rkey: str | None = None
    value: dict[str, Any] | None = None
    swap: Cid | Unset | None = UNSET
    if_absent_ok: bool = False


class Prepared(msgspec.Struct, frozen=True):
    """A write that may be tried. `record` is DAG-CBOR and `cid` its CID, both None for a delete."""

    action: Action
    path: str
    cid: Cid | None
    record: bytes | None
    blobs: Sequence[BlobRef]
    swap: Cid | Unset | None
    status: ValidationStatus | None
    if_absent_ok: bool


def prepare(write: Write, catalogue: Catalogue, keys: TidClock, *, validate: bool | None = None) -> Prepared:
    """HOT. `validate` None checks what has a known lexicon, True demands one, False skips it.

    Raises XrpcError InvalidRequest.
    """
    collection, value, rkey = write.collection, write.value, write.rkey
    if write.action == "delete":
        if rkey is None:
            raise invalid_request("a delete names its rkey")
        return Prepared("delete", f"{collection}/{rkey}", None, None, (), write.swap, None, write.if_absent_ok)
    if value is None:
        raise invalid_request("a record is an object")
    found = value.get("$type")
    if found is None:
        value = {"$type": collection, **value}
    elif found != collection:
        raise invalid_request(f"Invalid $type: expected {collection}, got {found}")
    rule = catalogue.record_key_rule(collection)
    if rkey is None:
        rkey = rule.removeprefix("literal:") if rule is not None and rule.startswith("literal:") else keys.next()
    elif validate is not False:
        _check_key(catalogue, collection, rkey)
    status: ValidationStatus | None = None
    if validate is not False:
        try:
            status = catalogue.check_record(collection, value)
        except LexiconRefused as refused:
            raise invalid_request(f"Invalid {collection} record: {refused.message}") from refused
        if status == "unknown" and validate:
            raise invalid_request(f"Lexicon not found: lex:{collection}")
    record = cbor.encode(value)
    if len(record) > RECORD_BLOCK_MAX:
        raise XrpcError("InvalidRequest", f"a record may have {RECORD_BLOCK_MAX} bytes, this one has {len(record)}")
    path = f"{collection}/{rkey}"
    return Prepared(write.action, path, Cid.of_cbor(record), record, blobs_of(value), write.swap, status, False)


def _check_key(catalogue: Catalogue, collection: str, rkey: str) -> None:
    try:
        catalogue.check_key(collection, rkey)
    except LexiconRefused as refused:
        raise invalid_request(refused.message) from refused

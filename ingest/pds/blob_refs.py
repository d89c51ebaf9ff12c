"""Which blobs a record refers to, as (the blob's binary CID, the record's path)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from schemas import cbor
from schemas.data import BlobRef, blobs_of
from schemas.errors import Refused

Ref = tuple[bytes, str]

_MARK = b"dblob"
"""Every typed blob has `$type: "blob"`: a record without these bytes has none, and need not be decoded."""


def refs_of(path: str, value: bytes) -> set[Ref]:
    return {(blob.cid.raw, path) for blob in blobs_in(value)}


def blobs_in(value: bytes) -> Iterable[BlobRef]:
    """The blobs of a record given as DAG-CBOR; none for bytes that are not of the data model."""
    if _MARK not in value:
        return ()
    try:
        record: Any = cbor.decode(value)
    except Refused:  # an imported record may be anything; what cannot be read refers to nothing
        return ()
    return blobs_of(record)

"""Validators of everything without parts but strings: null, boolean, integer, bytes, link, blob, unknown, token.

Does not own whether a blob exists: that is the PDS's to know.
"""

from __future__ import annotations

from schemas.cid import Cid
from schemas.lexicon.document import Blob, Boolean, Bytes, Integer
from schemas.lexicon.failure import Check, Failure, LexiconReason
from schemas.syntax import CidText

_BLOB_KEYS = {"$type", "ref", "mimeType", "size"}
_LEGACY_BLOB_KEYS = {"cid", "mimeType"}


def null(value: object) -> Failure | None:
    return None if value is None else Failure(LexiconReason.TYPE, "must be null")


def boolean(definition: Boolean) -> Check:
    const = definition.const

    def check(value: object) -> Failure | None:
        if type(value) is not bool:
            return Failure(LexiconReason.TYPE, "must be a boolean")
        if const is not None and value is not const:
            return Failure(LexiconReason.VALUE, f"must be {str(const).lower()}")
        return None

    return check


def integer(definition: Integer) -> Check:
    const, enum, minimum, maximum = definition.const, definition.enum, definition.minimum, definition.maximum

    def check(value: object) -> Failure | None:
        if type(value) is not int:
            return Failure(LexiconReason.TYPE, "must be an integer")
        if const is not None and value != const:
            return Failure(LexiconReason.VALUE, f"must be {const}")
        if enum is not None and value not in enum:
            return Failure(LexiconReason.VALUE, f"must be one of ({'|'.join(map(str, enum))})")
        if maximum is not None and value > maximum:
            return Failure(LexiconReason.VALUE, f"can not be greater than {maximum}")
        if minimum is not None and value < minimum:
            return Failure(LexiconReason.VALUE, f"can not be less than {minimum}")
        return None

    return check


def byte_string(definition: Bytes) -> Check:
    least, most = definition.min_length, definition.max_length

    def check(value: object) -> Failure | None:
        if not isinstance(value, bytes):
            return Failure(LexiconReason.TYPE, "must be a byte array")
        if most is not None and len(value) > most:
            return Failure(LexiconReason.LENGTH, f"must not be larger than {most} bytes")
        if least is not None and len(value) < least:
            return Failure(LexiconReason.LENGTH, f"must not be smaller than {least} bytes")
        return None

    return check


def link(value: object) -> Failure | None:
    return None if isinstance(value, Cid) else Failure(LexiconReason.TYPE, "must be a CID")


def unknown(value: object) -> Failure | None:
    """Any object that is not a blob."""
    if isinstance(value, dict) and value.get("$type") != "blob":
        return None
    return Failure(LexiconReason.TYPE, "must be an object")


def token(uri: str) -> Check:
    def check(value: object) -> Failure | None:
        return None if value == uri else Failure(LexiconReason.VALUE, f"must be {uri}")

    return check


def blob(definition: Blob) -> Check:
    """A blob, or its form from before 2023: `{cid, mimeType}`, which says nothing of the size."""
    most = definition.max_size
    accept = definition.accept
    prefixes: tuple[str, ...] | None = None
    exact: frozenset[str] = frozenset()
    if accept is not None and "*/*" not in accept:
        prefixes = tuple(glob[:-1] for glob in accept if glob.endswith("/*"))
        exact = frozenset(accept)

    def check(value: object) -> Failure | None:
        if not isinstance(value, dict):
            return Failure(LexiconReason.TYPE, "should be a blob ref")
        mime = value.get("mimeType")
        if value.get("$type") == "blob":
            size = value.get("size")
            if not isinstance(value.get("ref"), Cid) or type(size) is not int or size < 0 or value.keys() != _BLOB_KEYS:
                return Failure(LexiconReason.TYPE, "should be a blob ref")
            if most is not None and size > most:
                return Failure(LexiconReason.BLOB, f"must not be larger than {most} bytes")
        else:
            cid = value.get("cid")
            if not isinstance(cid, str) or not CidText.is_valid(cid) or value.keys() != _LEGACY_BLOB_KEYS:
                return Failure(LexiconReason.TYPE, "should be a blob ref")
        if not isinstance(mime, str):
            return Failure(LexiconReason.TYPE, "should be a blob ref")
        if prefixes is not None and mime not in exact and not mime.startswith(prefixes):
            return Failure(LexiconReason.BLOB, f"must be a blob of type {' or '.join(accept or ())}")
        return None

    return check

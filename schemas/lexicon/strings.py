"""Validators of strings: lengths in bytes and graphemes, formats, enumerations.

Lengths are counted only where the number of code points leaves a doubt: a code point is 1 to 4 bytes, and a
grapheme is at least one code point. Does not own the formats themselves (schemas/syntax.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import regex  # type: ignore[import-untyped]

from schemas.datetimes import micros
from schemas.lexicon.document import Format, String
from schemas.lexicon.failure import Check, Failure, LexiconReason
from schemas.syntax import AtIdentifier, AtUri, CidText, Did, Handle, Language, Nsid, RecordKey, Uri
from schemas.tid import Tid

_common_language = lru_cache(1024)(Language.is_valid)
_COMMON_LANGUAGE_LENGTH: Final = 16  # bounds what the cache holds: nobody fills it with long keys
_UTF8_MAX: Final = 4  # bytes of one code point


def _is_datetime(value: str) -> bool:
    return micros(value) is not None


def _is_language(value: str) -> bool:
    return _common_language(value) if len(value) <= _COMMON_LANGUAGE_LENGTH else Language.is_valid(value)


FORMATS: Final[dict[Format, tuple[Callable[[str], bool], str]]] = {
    "datetime": (_is_datetime, "must be an valid atproto datetime (both RFC-3339 and ISO-8601)"),
    "uri": (Uri.is_valid, "must be a uri"),
    "at-uri": (AtUri.is_valid, "must be a valid at-uri"),
    "did": (Did.is_valid, "must be a valid did"),
    "handle": (Handle.is_valid, "must be a valid handle"),
    "at-identifier": (AtIdentifier.is_valid, "must be a valid did or a handle"),
    "nsid": (Nsid.is_valid, "must be a valid nsid"),
    "cid": (CidText.is_valid, "must be a cid string"),
    "language": (_is_language, "must be a well-formed BCP 47 language tag"),
    "tid": (Tid.is_valid, "must be a valid TID"),
    "record-key": (RecordKey.is_valid, "must be a valid Record Key"),
}


def has_graphemes(count: int) -> Callable[[str], bool]:
    """Whether a text has at least `count` extended grapheme clusters (UAX 29), without counting further."""
    match = regex.compile(rf"\X{{{count}}}").match

    def holds(value: str) -> bool:
        if value.isascii():
            return len(value) - value.count("\r\n") >= count
        return len(value) >= count and match(value) is not None

    return holds


def string(definition: String) -> Check:
    """Order of the checks as in the reference: type, const, enum, bytes, graphemes, format."""
    words = _words(definition)
    bounds = _bounds(definition)
    is_format, said = FORMATS[definition.format] if definition.format is not None else (None, "")
    # Between these numbers of code points, no bound can be passed.
    surely = definition.min_length or 0 if not definition.min_graphemes else sys.maxsize
    at_most = min(
        sys.maxsize if definition.max_length is None else definition.max_length // _UTF8_MAX,
        sys.maxsize if definition.max_graphemes is None else definition.max_graphemes,
    )

    if words is None and bounds is None:
        if is_format is None:

            def plain(value: object) -> Failure | None:
                return None if isinstance(value, str) else Failure(LexiconReason.TYPE, "must be a string")

            return plain

        def formatted(value: object) -> Failure | None:
            if not isinstance(value, str):
                return Failure(LexiconReason.TYPE, "must be a string")
            return None if is_format(value) else Failure(LexiconReason.FORMAT, said)

        return formatted

    def check(value: object) -> Failure | None:
        if not isinstance(value, str):
            return Failure(LexiconReason.TYPE, "must be a string")
        failure = None
        if words is not None:
            failure = words(value)
        if failure is None and bounds is not None and not surely <= len(value) <= at_most:
            failure = bounds(value)
        if failure is None and is_format is not None and not is_format(value):
            failure = Failure(LexiconReason.FORMAT, said)
        return failure

    return check


def _words(definition: String) -> Callable[[str], Failure | None] | None:
    const, enum = definition.const, definition.enum
    if const is None and enum is None:
        return None

    def check(value: str) -> Failure | None:
        if const is not None and value != const:
            return Failure(LexiconReason.VALUE, f"must be {const}")
        if enum is not None and value not in enum:
            return Failure(LexiconReason.VALUE, f"must be one of ({'|'.join(enum)})")
        return None

    return check


def _bounds(definition: String) -> Callable[[str], Failure | None] | None:
    min_bytes, max_bytes = definition.min_length, definition.max_length
    min_graphemes, max_graphemes = definition.min_graphemes, definition.max_graphemes
    is_over = has_graphemes(max_graphemes + 1) if max_graphemes is not None else None
    is_enough = has_graphemes(min_graphemes) if min_graphemes is not None else None
    if min_bytes is None and max_bytes is None and min_graphemes is None and max_graphemes is None:
        return None

    def check(value: str) -> Failure | None:
        if min_bytes is not None or max_bytes is not None:
            size = len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
            if max_bytes is not None and size > max_bytes:
                return Failure(LexiconReason.LENGTH, f"must not be longer than {max_bytes} bytes")
            if min_bytes is not None and size < min_bytes:
                return Failure(LexiconReason.LENGTH, f"must not be shorter than {min_bytes} bytes")
        if is_over is not None and is_over(value):
            return Failure(LexiconReason.GRAPHEMES, f"must not be longer than {max_graphemes} graphemes")
        if is_enough is not None and not is_enough(value):
            return Failure(LexiconReason.GRAPHEMES, f"must not be shorter than {min_graphemes} graphemes")
        return None

    return check

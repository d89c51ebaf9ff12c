"""The protocol's string formats as types: parse once at the edge, trust inside.

`X(text)` does not check and is for text that has been checked; `X.parse(text)` checks and raises SyntaxRefused.
Sources: https://atproto.com/specs/did, handle, nsid, record-key, at-uri-scheme, lexicon; RFC 5646 for languages.

Does not own TIDs (schemas/tid.py), CIDs (schemas/cid.py), the meaning of datetimes (schemas/datetimes.py), and
never asks whether a name resolves.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import ClassVar, Self

from schemas.datetimes import micros
from schemas.errors import Refused
from schemas.limits import (
    AT_URI_MAX,
    CID_TEXT_MAX,
    CID_TEXT_MIN,
    DID_MAX,
    HANDLE_MAX,
    LANGUAGE_MAX,
    NSID_MAX,
    RKEY_MAX,
    URI_MAX,
)

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_ALPHA_LABEL = r"[a-zA-Z](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_DID = re.compile(r"did:[a-z]+:[a-zA-Z0-9._:%-]*[a-zA-Z0-9._-]").fullmatch
_HANDLE = re.compile(rf"(?:{_LABEL}\.)+{_ALPHA_LABEL}").fullmatch
_NSID = re.compile(rf"{_ALPHA_LABEL}(?:\.{_LABEL})+\.[a-zA-Z][a-zA-Z0-9]{{0,62}}").fullmatch
_RKEY = re.compile(rf"[a-zA-Z0-9_~.:-]{{1,{RKEY_MAX}}}").fullmatch
# What nearly every record refers to; a quick yes before the parts are looked at one by one.
_USUAL_AT_URI = re.compile(
    r"at://did:plc:[a-z2-7]{24}/(?:[a-z]{1,30}\.){2,4}[a-zA-Z]{1,30}/[a-z2-7]{13}",
).fullmatch
# What either reference accepts: TypeScript asks for a word before the colon and no whitespace, Go lets the scheme have
# dots and dashes and the rest begin with slashes.
_URI = re.compile(r"\w[\w+.-]*:[^\s\ufeff\x00-\x1f\x7f]+").fullmatch
_CID_TEXT = re.compile(rf"(?!Qmb)[a-zA-Z0-9+=]{{{CID_TEXT_MIN},{CID_TEXT_MAX}}}").fullmatch
_GRANDFATHERED = re.compile(
    r"""en-GB-oed|i-(?:ami|bnn|default|enochian|hak|klingon|lux|mingo|navajo|pwn|tao|tay|tsu)
        |sgn-(?:BE-FR|BE-NL|CH-DE)|art-lojban|cel-gaulish|no-(?:bok|nyn)|zh-(?:guoyu|hakka|min|min-nan|xiang)""",
    re.VERBOSE,
).fullmatch
_LANGUAGE = re.compile(
    r"""[a-z]{2,3}(?:-[A-Za-z]{3}){0,3}                         # language and its extensions
        (?:-[A-Za-z]{4})?                                       # script
        (?:-(?:[A-Za-z]{2}|[0-9]{3}))?                          # region
        (?P<variants>(?:-(?:[A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*)
        (?P<extensions>(?:-[0-9A-WY-Za-wy-z](?:-[A-Za-z0-9]{2,8})+)*)
        (?:-[xX](?:-[A-Za-z0-9]{1,8})+)?                        # private use
        |[xX](?:-[A-Za-z0-9]{1,8})+""",
    re.VERBOSE,
).fullmatch


class SyntaxReason(StrEnum):
    """Which format the text does not have."""

    DID = "did"
    HANDLE = "handle"
    NSID = "nsid"
    RECORD_KEY = "record_key"
    AT_URI = "at_uri"
    AT_IDENTIFIER = "at_identifier"
    LANGUAGE = "language"
    DATETIME = "datetime"
    URI = "uri"
    CID = "cid"
    TID = "tid"


class SyntaxRefused(Refused):
    """Text that does not have the form it should."""


class _Format(str):
    """A checked string; a subclass says in `_holds` what it checks."""

    __slots__ = ()
    reason: ClassVar[SyntaxReason]
    wanted: ClassVar[str]

    @classmethod
    def parse(cls, value: str) -> Self:
        """The value itself, typed; raises SyntaxRefused."""
        if not cls._holds(value):
            found = repr(value[:100]) + (f" of {len(value)} characters" if len(value) > 100 else "")
            raise SyntaxRefused(cls.reason, f"expected {cls.wanted}, found {found}")
        return cls(value)

    @classmethod
    def is_valid(cls, value: str) -> bool:
        return cls._holds(value)

    @staticmethod
    def _holds(value: str) -> bool:
        raise NotImplementedError


class Did(_Format):
    """A decentralised identifier, such as "did:plc:ewvi7nxzyoun6zhxrhs64oiz"."""

    __slots__ = ()
    reason = SyntaxReason.DID
    wanted = f"did:method:identifier of at most {DID_MAX} characters"

    @staticmethod
    def _holds(value: str) -> bool:
        return len(value) <= DID_MAX and _DID(value) is not None

    @property
    def method(self) -> str:
        """The part between the colons: "plc", "web"."""
        return self.split(":", 2)[1]


class Handle(_Format):
    """A domain name; `parse` lowers its case, so that equal handles are equal strings."""

    __slots__ = ()
    reason = SyntaxReason.HANDLE
    wanted = f"a domain name of at least two labels and at most {HANDLE_MAX} characters"

    @classmethod
    def parse(cls, value: str) -> Self:
        """The handle in lower case; raises SyntaxRefused."""
        return cls(super().parse(value).lower())

    @staticmethod
    def _holds(value: str) -> bool:
        return len(value) <= HANDLE_MAX and _HANDLE(value) is not None


class Nsid(_Format):
    """A name of a method or a collection, such as "app.bsky.feed.post"."""

    __slots__ = ()
    reason = SyntaxReason.NSID
    wanted = f"a reversed domain and a name, at most {NSID_MAX} characters"

    @staticmethod
    def _holds(value: str) -> bool:
        return len(value) <= NSID_MAX and _NSID(value) is not None

    @property
    def name(self) -> str:
        """The last segment."""
        return self[self.rindex(".") + 1 :]

    @property
    def authority(self) -> str:
        """The domain that owns the name, in its usual order and lower case."""
        return ".".join(reversed(self.split(".")[:-1])).lower()


class RecordKey(_Format):
    """A record's key within its collection."""

    __slots__ = ()
    reason = SyntaxReason.RECORD_KEY
    wanted = f"1 to {RKEY_MAX} of a-z A-Z 0-9 _ ~ . : -, not '.' or '..'"

    @staticmethod
    def _holds(value: str) -> bool:
        return _RKEY(value) is not None and value not in {".", ".."}


class AtIdentifier(_Format):
    """A DID or a handle; `parse` gives the exact type."""

    __slots__ = ()
    reason = SyntaxReason.AT_IDENTIFIER
    wanted = "a DID or a handle"

    @staticmethod
    def _holds(value: str) -> bool:
        return Did.is_valid(value) if value.startswith("did:") else Handle.is_valid(value)

    @staticmethod
    def of(value: str) -> Did | Handle:
        """The same, as its exact type; raises SyntaxRefused."""
        return Did.parse(value) if value.startswith("did:") else Handle.parse(value)


class AtUri(_Format):
    """at://authority[/collection[/rkey]], the strict form of lexicons: no fragment, no query, no trailing slash."""

    __slots__ = ()
    reason = SyntaxReason.AT_URI
    wanted = f"at://authority[/collection[/rkey]] of at most {AT_URI_MAX} characters"

    @staticmethod
    def _holds(value: str) -> bool:
        if _USUAL_AT_URI(value) is not None:
            return True
        if len(value) > AT_URI_MAX or not value.startswith("at://"):
            return False
        parts = value.split("/")
        count = len(parts)
        return (
            count <= 5
            and AtIdentifier.is_valid(parts[2])
            and (count < 4 or Nsid.is_valid(parts[3]))
            and (count < 5 or RecordKey.is_valid(parts[4]))
        )

    @classmethod
    def make(cls, did: str, collection: str | None = None, rkey: str | None = None) -> Self:
        """The URI of parts that have been checked."""
        if collection is None:
            return cls(f"at://{did}")
        return cls(f"at://{did}/{collection}" if rkey is None else f"at://{did}/{collection}/{rkey}")

    @property
    def authority(self) -> Did | Handle:
        """The DID or handle that owns the record."""
        text = self.split("/", 3)[2]
        return Did(text) if text.startswith("did:") else Handle(text.lower())

    did_or_handle = authority

    @property
    def collection(self) -> Nsid | None:
        parts = self.split("/", 4)
        return Nsid(parts[3]) if len(parts) > 3 else None

    @property
    def rkey(self) -> RecordKey | None:
        parts = self.split("/", 4)
        return RecordKey(parts[4]) if len(parts) > 4 else None


class Language(_Format):
    """A BCP 47 tag, such as "pt-BR": well-formed (RFC 5646 2.1), and no variant or singleton twice (2.2.9)."""

    __slots__ = ()
    reason = SyntaxReason.LANGUAGE
    wanted = f"a BCP 47 language tag of at most {LANGUAGE_MAX} characters"

    @staticmethod
    def _holds(value: str) -> bool:
        if len(value) > LANGUAGE_MAX:
            return False
        if _GRANDFATHERED(value) is not None:
            return True
        form = _LANGUAGE(value)
        if form is None:
            return False
        variants = (form["variants"] or "").lower().split("-")[1:]
        singletons = [part for part in (form["extensions"] or "").lower().split("-") if len(part) == 1]
        return len(set(variants)) == len(variants) and len(set(singletons)) == len(singletons)


class Datetime(_Format):
    """An RFC 3339 moment with its zone, kept as it was written; `micros` gives its time."""

    __slots__ = ()
    reason = SyntaxReason.DATETIME
    wanted = "a moment like 2026-01-02T03:04:05.678Z"

    @staticmethod
    def _holds(value: str) -> bool:
        return micros(value) is not None

    @property
    def micros(self) -> int:
        """Unix microseconds."""
        us = micros(self)
        if us is None:
            raise SyntaxRefused(self.reason, f"expected {self.wanted}, found {str(self)!r}")
        return us


class Uri(_Format):
    """Any URI: a scheme and something without whitespace."""

    __slots__ = ()
    reason = SyntaxReason.URI
    wanted = f"scheme:rest without whitespace, of at most {URI_MAX} characters"

    @staticmethod
    def _holds(value: str) -> bool:
        return len(value) <= URI_MAX and _URI(value) is not None


class CidText(_Format):
    """The lexicon's `cid` format: any multibase text; `Cid.parse` is what links must satisfy."""

    __slots__ = ()
    reason = SyntaxReason.CID
    wanted = "a CID in text form"

    @staticmethod
    def _holds(value: str) -> bool:
        return _CID_TEXT(value) is not None

"""From definitions to validators, each made once, when it is first needed.

A validator is a closure over the validators of its parts. Does not own the order of documents nor who asks.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.lexicon import containers, scalars
from schemas.lexicon.document import (
    Array,
    Blob,
    Boolean,
    Bytes,
    CidLink,
    Document,
    Integer,
    Null,
    Object,
    Record,
    Ref,
    String,
    Token,
    Union,
    Unknown,
)
from schemas.lexicon.failure import Check, Failure, LexiconReason, LexiconRefused
from schemas.lexicon.strings import string


class Compiler:
    """Validators by the full name of their definition, over one set of documents."""

    __slots__ = ("_checks", "_documents", "_open")

    def __init__(self, documents: Mapping[str, Document]) -> None:
        self._documents = documents
        self._checks: dict[str, Check] = {}
        self._open: set[str] = set()

    def named(self, uri: str) -> Check:
        """The validator of "nsid" or "nsid#name"; raises LexiconRefused when there is none such."""
        uri = uri.removesuffix("#main")
        found = self._checks.get(uri)
        if found is not None:
            return found
        if uri in self._open:
            return self._later(uri)
        nsid, _, name = uri.partition("#")
        document = self._documents.get(nsid)
        definition = document.defs.get(name or "main") if document is not None else None
        if definition is None:
            raise LexiconRefused(uri, f"Lexicon not found: {uri}", LexiconReason.DOCUMENT)
        self._open.add(uri)
        try:
            self._checks[uri] = check = self.check(definition, nsid, uri)
        finally:
            self._open.discard(uri)
        return check

    def check(self, definition: object, nsid: str, uri: str = "") -> Check:
        """The validator of a definition that stands in the document `nsid`; raises LexiconRefused."""
        match definition:
            case String():
                return string(definition)
            case Integer():
                return scalars.integer(definition)
            case Boolean():
                return scalars.boolean(definition)
            case Ref():
                return self.named(_absolute(definition.ref, nsid))
            case Union():
                uris = [_absolute(ref, nsid).removesuffix("#main") for ref in definition.refs]
                return containers.union({each: self.named(each) for each in uris}, closed=definition.closed)
            case Array():
                return containers.array(definition, self.check(definition.items, nsid))
            case Object():
                return self._object(definition, nsid)
            case Record():
                return self.check(definition.record, nsid)
            case Blob():
                return scalars.blob(definition)
            case Bytes():
                return scalars.byte_string(definition)
            case CidLink():
                return scalars.link
            case Unknown():
                return scalars.unknown
            case Null():
                return scalars.null
            case Token():
                return scalars.token(uri)
        raise LexiconRefused(uri, f"Not a definition of values: {uri}", LexiconReason.DOCUMENT)

    def _object(self, definition: Object, nsid: str) -> Check:
        properties = {}
        for key, field in definition.properties.items():
            check = self.check(field, nsid)
            properties[key] = containers.nullable(check) if key in definition.nullable else check
        # A default satisfies a requirement, as in the reference.
        required = tuple(key for key in definition.required if default_of(definition.properties[key]) is None)
        return containers.structure(properties, required)

    def _later(self, uri: str) -> Check:
        """For a definition that contains itself."""
        checks = self._checks

        def check(value: object) -> Failure | None:
            return checks[uri](value)

        return check


def default_of(field: object) -> bool | int | str | None:
    """What an absent property counts as."""
    return field.default if isinstance(field, (Boolean, Integer, String)) else None


def _absolute(ref: str, nsid: str) -> str:
    return nsid + ref if ref.startswith("#") else ref

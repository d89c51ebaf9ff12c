"""The catalogue: every lexicon by NSID, its methods, its records, the keys that records may have.

Does not own where documents come from (shipped.py) nor what to do with a collection that it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

from schemas.lexicon.compile import Compiler
from schemas.lexicon.document import Document, Procedure, Query, Record, Subscription
from schemas.lexicon.failure import Check, LexiconReason, LexiconRefused
from schemas.lexicon.method import Method
from schemas.syntax import Nsid, RecordKey
from schemas.tid import Tid


class Catalogue:
    """Validators over `documents`. Nothing is read or compiled before it is asked for; then it is kept."""

    def __init__(self, documents: Mapping[str, Document]) -> None:
        self.documents = documents
        self._compiler = Compiler(documents)
        self._methods: dict[str, Method] = {}
        self._records: dict[str, Check] = {}
        self._keys: dict[str, str] = {}

    def method(self, nsid: str) -> Method | None:
        """The method of this name, or None when the lexicons have none."""
        found = self._methods.get(nsid)
        if found is None:
            definition = self._main(nsid)
            if isinstance(definition, (Query, Procedure, Subscription)):
                found = self._methods[nsid] = Method(nsid, definition, self._compiler)
        return found

    @cached_property
    def methods(self) -> Mapping[str, Method]:
        """All methods by NSID, sorted; reads every document."""
        found = {nsid: self.method(nsid) for nsid in sorted(self.documents)}
        return MappingProxyType({nsid: method for nsid, method in found.items() if method is not None})

    def check_record(self, collection: str, value: Any) -> Literal["valid", "unknown"]:
        """Whether the record is as its lexicon says, or its lexicon is not known; raises LexiconRefused.

        Either way its `$type` is the collection.
        """
        check = self._records.get(collection)
        if not isinstance(value, dict):
            raise LexiconRefused("Record", "Record must be an object")
        kind = value.get("$type")
        if kind != collection:
            _refuse_type(collection, kind)
        if check is None:
            check = self._record(collection)
            if check is None:
                return "unknown"
        failure = check(value)
        if failure is not None:
            raise failure.at("Record")
        return "valid"

    def record_key_rule(self, collection: str) -> str | None:
        """What the lexicon says of the keys: "tid", "nsid", "any" or "literal:<key>"; None for unknown collections."""
        rule = self._keys.get(collection)
        if rule is None:
            definition = self._main(collection)
            if isinstance(definition, Record):
                rule = self._keys[collection] = definition.key
        return rule

    def check_key(self, collection: str, rkey: str) -> None:
        """Raises LexiconRefused unless the collection may have a record of this key."""
        rule = self.record_key_rule(collection)
        if rule == "tid":
            holds = Tid.is_valid(rkey)
        elif rule is not None and rule.startswith("literal:"):
            holds = rkey == rule[8:]
        elif rule == "nsid":
            holds = RecordKey.is_valid(rkey) and Nsid.is_valid(rkey)
        else:
            holds = RecordKey.is_valid(rkey)
        if not holds:
            said = f"Record key must be {_KEYS.get(rule or 'any', rule)}, found {rkey[:80]!r}"
            raise LexiconRefused("Record key", said, LexiconReason.KEY)

    def _main(self, nsid: str) -> object:
        document = self.documents.get(nsid)
        return document.defs.get("main") if document is not None else None

    def _record(self, collection: str) -> Check | None:
        if collection not in self.documents:
            return None
        if not isinstance(self._main(collection), Record):
            raise LexiconRefused("Record", f"Not a record lexicon: {collection}", LexiconReason.DOCUMENT)
        check = self._records[collection] = self._compiler.named(collection)
        return check


_KEYS = {"tid": "a valid TID", "nsid": "a valid nsid", "any": "a valid Record Key"}


def _refuse_type(collection: str, found: object) -> None:
    if isinstance(found, str):
        said = f"Invalid $type: expected {collection}, got {found[:80]}"
        raise LexiconRefused("Record/$type", said, LexiconReason.VALUE)
    raise LexiconRefused("Record/$type", "Record/$type must be a string")

"""Validators of what has parts: arrays, objects, unions. They are made of the validators of their parts.

Does not own how a reference finds its definition (compile.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.lexicon.document import Array
from schemas.lexicon.failure import Check, Failure, LexiconReason

_NO_TYPE = 'must be an object which includes the "$type" property'


def array(definition: Array, item: Check) -> Check:
    least = definition.min_length or 0
    most = definition.max_length

    def check(value: object) -> Failure | None:
        if not isinstance(value, list):
            return Failure(LexiconReason.TYPE, "must be an array")
        if most is not None and len(value) > most:
            return Failure(LexiconReason.LENGTH, f"must not have more than {most} elements")
        if len(value) < least:
            return Failure(LexiconReason.LENGTH, f"must not have fewer than {least} elements")
        for index, element in enumerate(value):
            failure = item(element)
            if failure is not None:
                failure.steps.append(index)
                return failure
        return None

    return check


def nullable(inner: Check) -> Check:
    def check(value: object) -> Failure | None:
        return None if value is None else inner(value)

    return check


def structure(properties: Mapping[str, Check], required: tuple[str, ...]) -> Check:
    """An object; properties that the lexicon does not name are free."""
    known = properties.get

    def check(value: object) -> Failure | None:
        if not isinstance(value, dict):
            return Failure(LexiconReason.TYPE, "must be an object")
        failures: dict[str, Failure] | None = None
        for key, item in value.items():
            inner = known(key)
            if inner is not None:
                failure = inner(item)
                if failure is not None:
                    failures = {key: failure} if failures is None else {**failures, key: failure}
        for key in required:
            if key not in value:
                return first(failures or {}, value)
        return None if failures is None else first(failures, value)

    def first(failures: Mapping[str, Failure], value: Mapping[str, object]) -> Failure | None:
        """The first in the lexicon's order, so that the answer does not hang on the order of the keys."""
        for key in properties:
            failure = failures.get(key)
            if failure is not None:
                failure.steps.append(key)
                return failure
            if key in required and key not in value:
                return Failure(LexiconReason.REQUIRED, f'must have the property "{key}"')
        return None

    return check


def union(members: Mapping[str, Check], *, closed: bool) -> Check:
    """`members` are by `$type`; an open union lets any other named object pass."""
    known = members.get
    said = f"$type must be one of {', '.join(members)}"

    def check(value: object) -> Failure | None:
        kind = value.get("$type") if isinstance(value, dict) else None
        if not isinstance(kind, str):
            return Failure(LexiconReason.UNION, _NO_TYPE)
        member = known(kind) or known(kind.removesuffix("#main"))
        if member is not None:
            return member(value)
        if closed:
            return Failure(LexiconReason.UNION, said)
        # A blob is a value of its own kind, not an object that somebody named "blob".
        if kind in {"blob", ""} or kind.count("#") > 1:
            return Failure(LexiconReason.UNION, _NO_TYPE)
        return None

    return check

"""Parameters: from the strings of a query to typed values, with defaults.

Source: https://atproto.com/specs/xrpc#lexicon-http-endpoints. An empty value is an absent one, as in the reference;
parameters that the lexicon does not name are dropped. Does not own URL decoding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from schemas.lexicon.compile import Compiler, default_of
from schemas.lexicon.document import Array, Boolean, Integer, Params
from schemas.lexicon.failure import Check, LexiconReason, LexiconRefused

Reader = Callable[["QueryLike"], dict[str, Any]]
_INTEGER = re.compile(r"-?[0-9]{1,16}").fullmatch
_BOOLEANS = {"true": True, "false": False}


class QueryLike(Protocol):
    """A multidict, or a mapping to a string or to a list of them."""

    def get(self, key: str, /) -> Any: ...


class _Parameter(NamedTuple):
    name: str
    convert: Callable[[str], object]
    check: Check
    many: bool
    default: object
    required: bool


def reader(definition: Params | None, compiler: Compiler, nsid: str) -> Reader:
    """The function that reads these parameters; it raises LexiconRefused."""
    if definition is None:
        return lambda _query: {}
    parameters = tuple(
        _Parameter(
            name,
            _conversion(field.items if isinstance(field, Array) else field),
            compiler.check(field, nsid),
            isinstance(field, Array),
            default_of(field),
            name in definition.required,
        )
        for name, field in definition.properties.items()
    )

    def read(query: QueryLike) -> dict[str, Any]:
        values: dict[str, Any] = {}
        get = query.get
        for name, convert, check, many, default, required in parameters:
            text = get(name)
            value: object
            if text is None:
                value = default
            elif many:
                value = [convert(each) for each in _all(query, name, text) if each] or None
            else:
                if not isinstance(text, str):
                    text = text[0] if text else ""
                value = convert(text) if text else default
            if value is not None:
                failure = check(value)
                if failure is not None:
                    raise failure.at(name)
                values[name] = value
            elif required:
                raise LexiconRefused("Params", f'Params must have the property "{name}"', LexiconReason.REQUIRED)
        return values

    return read


def _conversion(field: object) -> Callable[[str], object]:
    """What does not convert stays text, which the check then refuses in its own words."""
    match field:
        case Integer():
            return lambda text: int(text) if _INTEGER(text) else text
        case Boolean():
            return lambda text: _BOOLEANS.get(text, text)
    return lambda text: text


def _all(query: QueryLike, name: str, found: str | Sequence[str]) -> Sequence[str]:
    getall = getattr(query, "getall", None)
    if getall is not None:
        return getall(name)  # type: ignore[no-any-return]
    return [found] if isinstance(found, str) else found

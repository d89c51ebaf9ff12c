"""Lexicon documents as data: what each definition may say, read and checked by their types.

Source: https://atproto.com/specs/lexicon. Does not own what a definition demands of values (compile.py).
Descriptions and other unknown fields are dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from schemas.lexicon.failure import LexiconReason, LexiconRefused
from schemas.syntax import Nsid


class _Node(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", rename="camel"):
    """A definition; its tag is what the document calls `type`."""


class Null(_Node, frozen=True, tag="null"):
    pass


class Boolean(_Node, frozen=True, tag="boolean"):
    default: bool | None = None
    const: bool | None = None


class Integer(_Node, frozen=True, tag="integer"):
    default: int | None = None
    minimum: int | None = None
    maximum: int | None = None
    enum: tuple[int, ...] | None = None
    const: int | None = None


Format = Literal[
    "datetime", "uri", "at-uri", "did", "handle", "at-identifier", "nsid", "cid", "language", "tid", "record-key"
]


class String(_Node, frozen=True, tag="string"):
    """Lengths are UTF-8 bytes; `known_values` are a hint and bind nobody."""

    format: Format | None = None
    default: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    min_graphemes: int | None = None
    max_graphemes: int | None = None
    enum: tuple[str, ...] | None = None
    const: str | None = None
    known_values: tuple[str, ...] | None = None


class Bytes(_Node, frozen=True, tag="bytes"):
    min_length: int | None = None
    max_length: int | None = None


class CidLink(_Node, frozen=True, tag="cid-link"):
    pass


class Blob(_Node, frozen=True, tag="blob"):
    accept: tuple[str, ...] | None = None
    max_size: int | None = None


class Unknown(_Node, frozen=True, tag="unknown"):
    pass


class Token(_Node, frozen=True, tag="token"):
    pass


class Ref(_Node, frozen=True, tag="ref"):
    ref: str


class Union(_Node, frozen=True, tag="union"):
    refs: tuple[str, ...]
    closed: bool = False


class Array(_Node, frozen=True, tag="array"):
    items: Field
    min_length: int | None = None
    max_length: int | None = None


class Object(_Node, frozen=True, tag="object"):
    properties: dict[str, Field] = {}
    required: tuple[str, ...] = ()
    nullable: tuple[str, ...] = ()


Field = Null | Boolean | Integer | String | Bytes | CidLink | Blob | Unknown | Ref | Union | Array | Object


class Params(_Node, frozen=True, tag="params"):
    properties: dict[str, Boolean | Integer | String | Unknown | Array] = {}
    required: tuple[str, ...] = ()


class Body(msgspec.Struct, frozen=True):
    encoding: str
    schema: Ref | Union | Object | None = None


class Message(msgspec.Struct, frozen=True):
    schema: Union


class Error(msgspec.Struct, frozen=True):
    name: str


class _Method(_Node, frozen=True):
    parameters: Params | None = None
    input: Body | None = None
    output: Body | None = None
    message: Message | None = None
    errors: tuple[Error, ...] = ()


class Query(_Method, frozen=True, tag="query"):
    pass


class Procedure(_Method, frozen=True, tag="procedure"):
    pass


class Subscription(_Method, frozen=True, tag="subscription"):
    pass


class Record(_Node, frozen=True, tag="record"):
    record: Object | Ref  # a union of two, so that msgspec asks for the `type`; parse_lexicon refuses the second
    key: str = "any"


class PermissionSet(_Node, frozen=True, tag="permission-set"):
    permissions: tuple[dict[str, Any], ...]


Main = Query | Procedure | Subscription | Record | PermissionSet
Definition = (
    Null | Boolean | Integer | String | Bytes | CidLink | Blob | Unknown | Token | Array | Object | Query | Procedure
) | (Subscription | Record | PermissionSet)


class Document(msgspec.Struct, frozen=True):
    """One lexicon: its NSID and its definitions by name, of which `main` is the one that the NSID names."""

    lexicon: Literal[1]
    id: str
    defs: dict[str, Definition]


_decoder = msgspec.json.Decoder(Document)


def parse_lexicon(document: object) -> Document:
    """Check a lexicon document, given as JSON bytes or as what a JSON reader made of them; raises LexiconRefused."""
    try:
        parsed = _decoder.decode(document) if isinstance(document, bytes) else msgspec.convert(document, Document)
        _verify(parsed)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _refused(str(error)) from error
    return parsed


def _verify(document: Document) -> None:
    """The rules that types do not say."""
    if not Nsid.is_valid(document.id):
        raise _refused(f"id must be a valid nsid, found {document.id[:80]!r}")
    for name, definition in document.defs.items():
        if name != "main" and isinstance(definition, Main):
            raise _refused(f"{name} must be the main definition to be a record, a method or a permission set")
        if isinstance(definition, Record) and isinstance(definition.record, Ref):
            raise _refused(f"{name} must have an object as its record")
        for node in _objects(definition):
            missing = [key for key in node.required if key not in node.properties]
            if missing:
                raise _refused(f"{name} must define the properties that it requires: {missing[:5]}")


def _refused(said: str) -> LexiconRefused:
    return LexiconRefused("Lexicon", f"Lexicon {said}", LexiconReason.DOCUMENT)


def _objects(node: object) -> Iterator[Object | Params]:
    """Every definition with properties, at any depth."""
    match node:
        case Object() | Params():
            yield node
            for field in node.properties.values():
                yield from _objects(field)
        case Array():
            yield from _objects(node.items)
        case Record():
            yield from _objects(node.record)
        case Query() | Procedure() | Subscription():
            yield from _objects(node.parameters)
            for body in (node.input, node.output):
                if body is not None:
                    yield from _objects(body.schema)

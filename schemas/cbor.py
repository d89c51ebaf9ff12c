"""Strict DAG-CBOR (DRISL), with links as `Cid` and byte strings as `bytes`, in both directions.

Sources: https://atproto.com/specs/data-model, https://atproto.com/guides/data-validation,
https://ipld.io/specs/codecs/dag-cbor/spec/#strictness. cbrrr gives the strictness and keeps the types (libipld gives
links and byte strings alike as `bytes`, and writes a byte string that happens to parse as a CID as a link); the gates
for depth, size, floats and the form of links stand here. Nothing here recurses.

Does not own the JSON form (schemas/data.py) nor CARs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from types import NoneType
from typing import Any, TypeAlias

from cbrrr import decode_dag_cbor, encode_dag_cbor

from schemas.cid import Cid, CidRefused
from schemas.errors import InvariantError, Refused
from schemas.limits import (
    CBOR_CONTAINER_MAX,
    CBOR_CONTAINERS_MAX,
    CBOR_DEPTH_MAX,
    CBOR_KEY_MAX,
    INT_MAX,
    INT_MIN,
    RECORD_CBOR_MAX,
)

Value: TypeAlias = "bool | int | str | bytes | Cid | list[Value] | dict[str, Value] | None"

_SCALARS = frozenset((str, int, bool, bytes, NoneType))
_SCALARS_AND_LINKS = _SCALARS | {Cid}
_BYTES, _TEXT, _ARRAY, _MAP, _TAG = 2, 3, 4, 5, 6
_FLOAT_HEAD = b"\xfb"
_OTHER_LINK = re.compile(rb"\xd8\x2a(?!\x58\x25\x00\x01[\x71\x55]\x12\x20)").search
# cbrrr allocates each array at the length that its head claims: nested claims would multiply. Among this few bytes
# they cost little, and depth and lengths may be looked at afterwards.
SMALL = 4_096


class CborReason(StrEnum):
    """Which rule the bytes break."""

    SIZE = "cbor_size"
    FORM = "cbor_form"
    DEPTH = "cbor_depth"
    CONTAINER = "cbor_container"
    KEY = "cbor_key"
    FLOAT = "cbor_float"
    INTEGER = "cbor_integer"
    RESERVED = "cbor_reserved"
    CID = "cbor_cid"


class CborRefused(Refused):
    """Bytes that are not strict DAG-CBOR of the atproto data model, or beyond its limits."""


def decode(data: bytes, limit: int = RECORD_CBOR_MAX) -> Value:
    """One whole value; raises CborRefused. `limit` is the most bytes allowed."""
    if len(data) > limit:
        raise CborRefused(CborReason.SIZE, f"expected at most {limit} bytes, found {len(data)}")
    if len(data) > SMALL:
        check_heads(data)
    try:
        value: Any = decode_dag_cbor(data, cid_ctor=Cid)
    except ValueError as error:
        raise CborRefused(CborReason.FORM, f"expected strict DAG-CBOR, found {data[:16].hex()}...: {error}") from error
    _check(value, data)
    return value  # type: ignore[no-any-return]


def encode(value: Any) -> bytes:
    """Canonical DAG-CBOR. Subclasses of str and tuples are written as str and list.

    Raises InvariantError on what the data model does not have: our own code made the value.
    """
    try:
        data: bytes = encode_dag_cbor(value, cid_type=Cid)
    except (TypeError, ValueError):
        try:
            value = _plain(value)
            data = encode_dag_cbor(value, cid_type=Cid)
        except (TypeError, ValueError) as error:
            raise InvariantError(f"expected a value of the data model (see schemas/cbor.py Value): {error}") from error
    if _FLOAT_HEAD in data and float in map(type, _nodes(value)):
        raise InvariantError("expected no floating-point numbers: the data model has none")
    return data


def check_heads(data: bytes) -> None:
    """Refuse depth, length and number of containers by reading the heads alone, before anything is built.

    Says nothing of malformed bytes: it stops where they begin, and so does the decoder.
    """
    outer: list[int] = []
    left, position, end, containers = 1, 0, len(data), 0
    while True:
        while left == 0:
            if not outer:
                return
            left = outer.pop()
        if position >= end:
            return
        left -= 1
        head = data[position]
        position += 1
        kind, count = head >> 5, head & 31
        if count > 27:
            return
        if count >= 24:
            width = 1 << (count - 24)
            count = int.from_bytes(data[position : position + width], "big")
            position += width
        if kind in (_BYTES, _TEXT):
            position += count
        elif kind in (_ARRAY, _MAP):
            if count > CBOR_CONTAINER_MAX:
                raise _too_long(count)
            containers += 1
            if containers > CBOR_CONTAINERS_MAX:
                raise CborRefused(
                    CborReason.CONTAINER, f"expected at most {CBOR_CONTAINERS_MAX} maps and arrays in all"
                )
            outer.append(left)
            if len(outer) > CBOR_DEPTH_MAX:
                raise _too_deep()
            left = count if kind == _ARRAY else 2 * count
        elif kind == _TAG:
            left += 1


def _check(value: Any, data: bytes) -> None:
    """The gates that cbrrr does not have, level by level: depth is counted without recursion."""
    small = len(data) <= CBOR_KEY_MAX
    # Where each tag 42 of the bytes heads a blessed CID, links need no second look.
    plain = _SCALARS_AND_LINKS if _OTHER_LINK(data) is None else _SCALARS
    level: list[Any] = [value]
    depth = 0
    while level:
        below: list[Any] = []
        containers = False
        for node in level:
            kind = type(node)
            if kind is dict:
                for item in node.values():
                    if type(item) not in plain:
                        below.append(item)  # noqa: PERF401 - most nodes hold none, and a comprehension costs a call
                if "$link" in node or "$bytes" in node:
                    raise _reserved(node)
                if not small:
                    _check_keys(node)
            elif kind is list:
                for item in node:
                    if type(item) not in plain:
                        below.append(item)  # noqa: PERF401 - most nodes hold none, and a comprehension costs a call
            else:
                _check_leaf(node)
                continue
            containers = True
            if len(node) > CBOR_CONTAINER_MAX:
                raise _too_long(len(node))
        depth += containers
        if depth > CBOR_DEPTH_MAX:
            raise _too_deep()
        level = below
    if _may_hold_wide_integer(data):
        _check_integers(value)


def _may_hold_wide_integer(data: bytes) -> bool:
    """Whether an eight-byte integer that does not fit 63 bits could begin somewhere."""
    for head in (0x1B, 0x3B):
        if head in data:
            position = data.find(head)
            while position >= 0:
                if data[position + 1 : position + 2] >= b"\x80":
                    return True
                position = data.find(head, position + 1)
    return False


def _check_leaf(node: Any) -> None:
    if type(node) is float:
        raise CborRefused(CborReason.FLOAT, f"expected no floating-point numbers, found {node!r}")
    if type(node) is Cid:
        try:
            Cid.from_bytes(node.raw)
        except CidRefused as refused:
            raise CborRefused(CborReason.CID, refused.detail) from refused


def _check_keys(node: dict[str, Any]) -> None:
    for key in node:
        if len(key) * 4 > CBOR_KEY_MAX and len(key.encode()) > CBOR_KEY_MAX:
            raise CborRefused(CborReason.KEY, f"expected keys of at most {CBOR_KEY_MAX} bytes, found {key[:40]!r}...")


def _check_integers(value: Any) -> None:
    for node in _nodes(value):
        if type(node) is int and not INT_MIN <= node <= INT_MAX:
            raise CborRefused(CborReason.INTEGER, f"expected an integer of 64 bits with sign, found {node}")


def _reserved(node: dict[str, Any]) -> CborRefused:
    found = sorted(node.keys() & {"$link", "$bytes"})
    return CborRefused(CborReason.RESERVED, f"expected no map with the JSON form's own keys, found {found}")


def _too_long(count: int) -> CborRefused:
    return CborRefused(CborReason.CONTAINER, f"expected at most {CBOR_CONTAINER_MAX} entries, found {count}")


def _too_deep() -> CborRefused:
    return CborRefused(CborReason.DEPTH, f"expected at most {CBOR_DEPTH_MAX} containers within each other, found more")


def _plain(value: Any) -> Any:
    """The same value in the exact types that the encoder knows."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key) if isinstance(key, str) else key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _nodes(value: Any) -> list[Any]:
    """The value and what its maps and lists hold but for text, without recursion."""
    nodes: list[Any] = [value]
    for node in nodes:
        kind = type(node)
        if kind is dict:
            nodes += [item for item in node.values() if type(item) is not str]
        elif kind is list:
            nodes += [item for item in node if type(item) is not str]
    return nodes

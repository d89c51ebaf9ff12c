"""Strict DAG-CBOR (DRISL), with links as `Cid` and byte strings as `bytes`, in both directions.

Sources: https://atproto.com/specs/data-model, https://atproto.com/guides/data-validation,
https://ipld.io/specs/codecs/dag-cbor/spec/#strictness. cbrrr gives the strictness and keeps the types (libipld gives
links and byte strings alike as `bytes`, and writes a byte string that happens to parse as a CID as a link); the gates
for depth, size, floats and the form of links stand here. Nothing here recurses.

Does not own the JSON form (schemas/data.py) nor CARs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from types import NoneType
from typing import Any, TypeAlias

from cbrrr import decode_dag_cbor, encode_dag_cbor

from schemas.cid import BLESSED_LENGTH, BLESSED_PREFIXES, Cid, CidRefused
from schemas.errors import InvariantError, Refused
from schemas.limits import CBOR_CONTAINER_MAX, CBOR_DEPTH_MAX, CBOR_KEY_MAX, INT_MAX, INT_MIN, RECORD_CBOR_MAX

Value: TypeAlias = "bool | int | str | bytes | Cid | list[Value] | dict[str, Value] | None"

_SCALARS = frozenset((str, int, bool, bytes, NoneType))
_BYTES, _TEXT, _ARRAY, _MAP, _TAG = 2, 3, 4, 5, 6
_FLOAT_HEAD = b"\xfb"
_LINK_KEY, _BYTES_KEY = b"\x65$link", b"\x66$bytes"
_WIDE_INTEGER = re.compile(rb"[\x1b\x3b][\x80-\xff]").search
_NOT_CONTAINER_HEADS = bytes({*range(256)} - {*range(_ARRAY << 5, _TAG << 5)})
# Below this many bytes that could open a container, decoding first and looking at depth after costs little memory.
_FEW_CONTAINERS = 4_096


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
    if len(data) > _FEW_CONTAINERS and len(data.translate(None, _NOT_CONTAINER_HEADS)) > _FEW_CONTAINERS:
        check_heads(data)
    try:
        value: Any = decode_dag_cbor(data, cid_ctor=Cid)
    except ValueError as error:
        raise CborRefused(CborReason.FORM, f"expected strict DAG-CBOR, found {data[:16].hex()}...: {error}") from error
    _check(value, check_keys=len(data) > CBOR_KEY_MAX or _LINK_KEY in data or _BYTES_KEY in data)
    if _WIDE_INTEGER(data) is not None:
        _check_integers(value)
    return value  # type: ignore[no-any-return]


def encode(value: Any) -> bytes:
    """Canonical DAG-CBOR. Subclasses of str and tuples are written as str and list.

    Raises InvariantError on what the data model does not have: our own code made the value.
    """
    try:
        data: bytes = encode_dag_cbor(value, cid_type=Cid)
    except (TypeError, ValueError):
        try:
            data = encode_dag_cbor(_plain(value), cid_type=Cid)
        except (TypeError, ValueError) as error:
            raise InvariantError(f"expected a value of the data model (see schemas/cbor.py Value): {error}") from error
    if _FLOAT_HEAD in data and any(isinstance(node, float) for node in walk(value)):
        raise InvariantError("expected no floating-point numbers: the data model has none")
    return data


def check_heads(data: bytes) -> None:
    """Refuse depth and container length by reading the heads alone, before anything is built.

    Says nothing of malformed bytes: it stops where they begin, and so does the decoder.
    """
    outer: list[int] = []
    left, position, end = 1, 0, len(data)
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
            outer.append(left)
            if len(outer) > CBOR_DEPTH_MAX:
                raise _too_deep()
            left = count if kind == _ARRAY else 2 * count
        elif kind == _TAG:
            left += 1


def _check(value: Value, *, check_keys: bool) -> None:
    """The gates that cbrrr does not have, level by level: depth is counted without recursion."""
    scalars = _SCALARS
    level: list[Any] = [value]
    depth = 0
    while level:
        below: list[Any] = []
        containers = False
        for node in level:
            kind = type(node)
            if kind is dict:
                below += [item for item in node.values() if type(item) not in scalars]
                if check_keys:
                    _check_keys(node)
            elif kind is list:
                below += [item for item in node if type(item) not in scalars]
            else:
                if kind is Cid:
                    if node.raw[:4] not in BLESSED_PREFIXES or len(node.raw) != BLESSED_LENGTH:
                        _check_cid(node)
                elif kind is float:
                    raise CborRefused(CborReason.FLOAT, f"expected no floating-point numbers, found {node!r}")
                continue
            containers = True
            if len(node) > CBOR_CONTAINER_MAX:
                raise _too_long(len(node))
        depth += containers
        if depth > CBOR_DEPTH_MAX:
            raise _too_deep()
        level = below


def _check_keys(node: dict[str, Any]) -> None:
    for key in node:
        if key in ("$link", "$bytes"):
            raise CborRefused(CborReason.RESERVED, f"expected no map with the key {key}: it is JSON's way to say it")
        if len(key) * 4 > CBOR_KEY_MAX and len(key.encode()) > CBOR_KEY_MAX:
            raise CborRefused(CborReason.KEY, f"expected keys of at most {CBOR_KEY_MAX} bytes, found {key[:40]!r}...")


def _check_integers(value: Any) -> None:
    for node in walk(value):
        if type(node) is int and not INT_MIN <= node <= INT_MAX:
            raise CborRefused(CborReason.INTEGER, f"expected an integer of 64 bits with sign, found {node}")


def _check_cid(cid: Cid) -> None:
    try:
        Cid.from_bytes(cid.raw)
    except CidRefused as refused:
        raise CborRefused(CborReason.CID, refused.detail) from refused


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


def walk(value: Any) -> Iterator[Any]:
    """The value and everything within it, without recursion."""
    nodes: list[Any] = [value]
    while nodes:
        node = nodes.pop()
        yield node
        if isinstance(node, Mapping):
            nodes += node.values()
        elif isinstance(node, (list, tuple)):
            nodes += node

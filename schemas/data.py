"""The atproto data model in JSON: links as {"$link"}, byte strings as {"$bytes"}, no floats, 64-bit integers.

Source: https://atproto.com/specs/data-model. In memory a link is a `Cid`, a byte string is `bytes`, and the rest is
what JSON has. Does not own CBOR (schemas/cbor.py) nor lexicons: it knows no field but `$type` and those of a blob.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

import orjson
from cbrrr import decode_dag_cbor

from schemas.cbor import SMALL, CborReason, CborRefused, Value, check_heads
from schemas.cid import Cid, CidRefused
from schemas.errors import InvariantError, Refused
from schemas.limits import (
    CBOR_CONTAINER_MAX,
    CBOR_CONTAINERS_MAX,
    CBOR_DEPTH_MAX,
    CBOR_KEY_MAX,
    INT_MAX,
    INT_MIN,
    RECORD_JSON_MAX,
)


class DataReason(StrEnum):
    """Which rule of the data model the JSON breaks."""

    SIZE = "data_size"
    JSON = "data_json"
    OBJECT = "data_object"
    FLOAT = "data_float"
    INTEGER = "data_integer"
    TYPE = "data_type"
    LINK = "data_link"
    BYTES = "data_bytes"
    BLOB = "data_blob"
    DEPTH = "data_depth"
    CONTAINER = "data_container"
    CONTAINERS = "data_containers"
    KEY = "data_key"


class DataRefused(Refused):
    """JSON that is not of the atproto data model."""


@dataclass(frozen=True, slots=True)
class BlobRef:
    """What a record says of a blob; `size` is in bytes."""

    cid: Cid
    mime: str
    size: int


def loads(data: bytes | str, limit: int = RECORD_JSON_MAX) -> dict[str, Value]:
    """Read JSON text of at most `limit` bytes into the data model; raises DataRefused."""
    size = len(data) if isinstance(data, bytes) else len(data.encode())
    if size > limit:
        raise DataRefused(DataReason.SIZE, f"expected at most {limit} bytes of JSON, found {size}")
    try:
        parsed = orjson.loads(data)
    except ValueError as error:
        raise DataRefused(DataReason.JSON, f"expected JSON: {error}") from error
    value = from_json(parsed)
    # What is let in here a reader of the CBOR must take too. Brackets bound the number without walking the value.
    if size > CBOR_CONTAINERS_MAX and _brackets(data) > CBOR_CONTAINERS_MAX:
        found = _containers(value)
        if found > CBOR_CONTAINERS_MAX:
            raise DataRefused(
                DataReason.CONTAINERS, f"expected at most {CBOR_CONTAINERS_MAX} objects and arrays, found {found}"
            )
    return value


def from_json(obj: Any) -> dict[str, Value]:
    """Turn what orjson read into the data model; the argument is left as it is. Raises DataRefused."""
    value = _object(obj, 1) if type(obj) is dict else None
    if type(value) is not dict:
        raise DataRefused(DataReason.OBJECT, f"expected an object at the top, found {str(obj)[:80]}")
    return value


def to_json(value: Any) -> Any:
    """Turn a value of the data model into what orjson writes."""
    kind = type(value)
    if kind is dict:
        return {key: to_json(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [to_json(item) for item in value]
    if kind is Cid or kind is bytes:
        return _wrapped(value)
    return value


def dumps(value: Any) -> bytes:
    """The value as JSON text; raises InvariantError on what is not of the data model."""
    try:
        return orjson.dumps(value, default=_wrapped)
    except TypeError as error:
        raise InvariantError(f"expected a value of the data model (see schemas/cbor.py Value): {error}") from error


def cbor_to_json(data: bytes) -> bytes:
    """JSON text straight from a block. HOT.

    All that `schemas.cbor.decode` accepts has one, and much that is only beyond its limits; raises CborRefused on other
    bytes.
    """
    if len(data) > SMALL:
        check_heads(data)
    try:
        return orjson.dumps(decode_dag_cbor(data, atjson_mode=True))
    except (ValueError, TypeError) as error:
        raise CborRefused(CborReason.FORM, f"expected DAG-CBOR that JSON can hold: {error}") from error


def record_to_json(data: bytes) -> bytes:
    """`cbor_to_json` of a repo's record, which may be any bytes; raises CborRefused unless they are a map."""
    if data[:1] < b"\xa0" or data[:1] > b"\xbf":
        raise CborRefused(CborReason.FORM, f"expected a map, found {data[:16].hex()}")
    return cbor_to_json(data)


def blobs_of(value: Any) -> list[BlobRef]:
    """Every well-formed blob within the value, outer before inner."""
    found: list[BlobRef] = []
    nodes: list[Any] = [value]
    containers = _CONTAINERS
    for node in nodes:
        if type(node) is dict:
            if node.get("$type") == "blob":
                ref, mime, size = node.get("ref"), node.get("mimeType"), node.get("size")
                if type(ref) is Cid and type(mime) is str and type(size) is int:
                    found.append(BlobRef(ref, mime, size))
                continue
            nodes += [item for item in node.values() if type(item) in containers]
        elif type(node) is list:
            nodes += [item for item in node if type(item) in containers]
    return found


_CONTAINERS = frozenset((dict, list))
_LONG_KEY = CBOR_KEY_MAX // 4
_BLOB_KEYS = {"$type", "ref", "mimeType", "size"}


def _wrapped(value: Any) -> dict[str, str]:
    if type(value) is Cid:
        return {"$link": str(value)}
    if type(value) is bytes:
        return {"$bytes": binascii.b2a_base64(value, newline=False).rstrip(b"=").decode()}
    raise TypeError(f"{type(value).__name__} is not in the data model")


def _object(node: dict[str, Any], depth: int) -> Value:
    if "$link" in node:
        return _link(node)
    if "$bytes" in node:
        return _bytes(node)
    _check_container(node, depth)
    value: dict[str, Value] = {}
    for key, item in node.items():
        kind = type(item)
        if kind is str:
            value[key] = item
        elif kind is dict:
            value[key] = _object(item, depth + 1)
        elif kind is list:
            value[key] = _array(item, depth + 1)
        elif kind is int:
            value[key] = item if INT_MIN <= item <= INT_MAX else _refuse_integer(item)
        elif item is None or kind is bool:
            value[key] = item
        else:
            _refuse_float(item)
        if len(key) > _LONG_KEY and len(key.encode()) > CBOR_KEY_MAX:
            raise DataRefused(DataReason.KEY, f"expected keys of at most {CBOR_KEY_MAX} bytes, found {key[:40]!r}...")
    if "$type" in value:
        _check_type(value)
    return value


def _array(node: list[Any], depth: int) -> Value:
    _check_container(node, depth)
    value: list[Value] = []
    for item in node:
        kind = type(item)
        if kind is dict:
            value.append(_object(item, depth + 1))
        elif kind is list:
            value.append(_array(item, depth + 1))
        elif kind is int:
            value.append(item if INT_MIN <= item <= INT_MAX else _refuse_integer(item))
        elif kind is str or item is None or kind is bool:
            value.append(item)
        else:
            _refuse_float(item)
    return value


def _check_container(node: dict[str, Any] | list[Any], depth: int) -> None:
    if depth > CBOR_DEPTH_MAX:
        raise DataRefused(DataReason.DEPTH, f"expected at most {CBOR_DEPTH_MAX} containers within each other")
    if len(node) > CBOR_CONTAINER_MAX:
        raise DataRefused(DataReason.CONTAINER, f"expected at most {CBOR_CONTAINER_MAX} entries, found {len(node)}")


def _brackets(text: bytes | str) -> int:
    return text.count(b"[") + text.count(b"{") if isinstance(text, bytes) else text.count("[") + text.count("{")


def _containers(value: Any) -> int:
    nodes: list[Any] = [value]
    for node in nodes:
        nodes += [item for item in (node.values() if type(node) is dict else node) if type(item) in _CONTAINERS]
    return len(nodes)


def _check_type(value: dict[str, Value]) -> None:
    name = value["$type"]
    if type(name) is not str or not name:
        raise DataRefused(DataReason.TYPE, f"expected $type to be a non-empty string, found {name!r:.80}")
    if name != "blob":
        return
    size, mime = value.get("size"), value.get("mimeType")
    if value.keys() != _BLOB_KEYS:
        raise DataRefused(DataReason.BLOB, f"expected a blob with $type, ref, mimeType, size, found {sorted(value)}")
    if type(value["ref"]) is not Cid or type(mime) is not str or not mime or type(size) is not int or size < 0:
        raise DataRefused(DataReason.BLOB, "expected a blob whose ref is a link, mimeType a string, size a count")


def _link(node: dict[str, Any]) -> Cid:
    text = node["$link"]
    if len(node) != 1 or type(text) is not str:
        raise DataRefused(DataReason.LINK, f'expected {{"$link": text}} and nothing else, found {str(node)[:120]}')
    try:
        return Cid.parse(text)
    except CidRefused as refused:
        raise DataRefused(DataReason.LINK, refused.detail) from refused


def _bytes(node: dict[str, Any]) -> bytes:
    text = node["$bytes"]
    if len(node) != 1 or type(text) is not str:
        raise DataRefused(DataReason.BYTES, f'expected {{"$bytes": text}} and nothing else, found {str(node)[:120]}')
    padded = text if text.endswith("=") else text + "=" * (-len(text) % 4)
    try:
        return binascii.a2b_base64(padded, strict_mode=True)
    except ValueError as error:
        raise DataRefused(DataReason.BYTES, f"expected base64 (RFC 4648, section 4): {error}") from error


def _refuse_integer(item: int) -> NoReturn:
    raise DataRefused(DataReason.INTEGER, f"expected an integer of 64 bits with sign, found {item}")


def _refuse_float(item: Any) -> NoReturn:
    raise DataRefused(DataReason.FLOAT, f"expected no floating-point numbers, found {item!r:.80}")

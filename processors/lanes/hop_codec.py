"""Bytes of what travels over a hop: edges, fans and watermarks. A generation's own, so that it has one version.

A message is one byte of version, one of kind, and MessagePack. What is of another version or does not decode was
written by another release of ours: it stops the lane (a new generation has hops of its own). Does not own topics.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from schemas.errors import InvariantError
from views.table import Key, Row
from views.view import Edge, Fan, Source

VERSION: Final = 1

_EDGE_KIND, _FAN_KIND, _WATERMARK_KIND = 1, 2, 3
_EDGE_HEAD, _FAN_HEAD, _WATERMARK_HEAD = (bytes((VERSION, kind)) for kind in (1, 2, 3))
_Drops = tuple[Key, ...]
_Puts = tuple[Row, ...]


def _as_text(value: object) -> str:
    """A `Did` or a `Handle` is text to whoever reads a row."""
    if isinstance(value, str):
        return str(value)
    raise InvariantError(f"a hop's message holds {type(value).__name__}; expected text, numbers and bytes")


_encode = msgspec.msgpack.Encoder(enc_hook=_as_text).encode
_edge = msgspec.msgpack.Decoder(tuple[Source, str, str, _Drops, _Puts, Key, tuple[tuple[int, int], ...]]).decode
_fan = msgspec.msgpack.Decoder(tuple[Source, tuple[str, ...], _Drops, _Puts, int | None]).decode
_watermark = msgspec.msgpack.Decoder(tuple[int, tuple[int, ...]]).decode


class Watermark(msgspec.Struct, frozen=True):
    """`offsets` of `records` up to which what `sender` (a shard of the stage before) had to send stands before this.

    In `edges` it is the sender's own offset alone; in `fanout` one offset for each shard of `records`.
    """

    sender: int
    offsets: tuple[int, ...]


def encode_edge(edge: Edge) -> bytes:
    fields: Any = (edge.src, edge.view, edge.subject, edge.drops, edge.puts, edge.counted, edge.deltas)
    return _EDGE_HEAD + _encode(fields)


def encode_fan(fan: Fan) -> bytes:
    return _FAN_HEAD + _encode((fan.src, fan.readers, fan.drops, fan.puts, fan.complete_since))


def encode_watermark(watermark: Watermark) -> bytes:
    return _WATERMARK_HEAD + _encode((watermark.sender, watermark.offsets))


def decode(value: bytes) -> Edge | Fan | Watermark:
    """Raises InvariantError."""
    if len(value) < 2 or value[0] != VERSION or not _EDGE_KIND <= value[1] <= _WATERMARK_KIND:
        raise InvariantError(
            f"a hop's message begins with {value[:2].hex() or 'nothing'}; expected version {VERSION:02x} and kind 01"
            " to 03: it is of another release, so build a new generation with this one (`headrace views build`)"
        )
    kind, body = value[1], memoryview(value)[2:]
    try:
        if kind == _EDGE_KIND:
            return Edge(*_edge(body))
        if kind == _FAN_KIND:
            return Fan(*_fan(body))
        return Watermark(*_watermark(body))
    except msgspec.MsgspecError as error:
        raise InvariantError(
            f"a hop's message of kind {kind} and {len(value)} bytes does not decode ({error}):"
            " the hop is damaged, build a new generation (`headrace views build`)"
        ) from error

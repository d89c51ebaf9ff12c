"""Canonical DAG-CBOR by hand, piece by piece, for the few maps whose shape the protocol fixes (commits, frames).

Does not own values of any other shape (`schemas.cbor`).
"""

from __future__ import annotations

LINK = b"\xd8\x2aX\x25\x00"
"""What stands before the 36 bytes of a blessed CID."""


def head(major: int, value: int) -> bytes:
    """A minimal head: `major` is the major type shifted to its place (0x60 for text), `value` a length or integer."""
    if value < 24:
        return bytes((major | value,))
    if value < 1 << 8:
        return bytes((major | 24, value))
    if value < 1 << 16:
        return bytes((major | 25,)) + value.to_bytes(2, "big")
    if value < 1 << 32:
        return bytes((major | 26,)) + value.to_bytes(4, "big")
    return bytes((major | 27,)) + value.to_bytes(8, "big")


def text(value: str) -> bytes:
    """A string."""
    data = value.encode()
    size = len(data)
    return (_TEXT[size] if size < 256 else head(0x60, size)) + data


def link(raw: bytes) -> bytes:
    """A CID, from its binary form."""
    return LINK + raw if len(raw) == 36 else b"\xd8\x2a" + head(0x40, len(raw) + 1) + b"\x00" + raw


_TEXT = [head(0x60, size) for size in range(256)]

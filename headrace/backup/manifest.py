"""What a backup says of itself: the archive's last member, `manifest.json`.

Blobs are counted and not listed: each one's name is the hash of its content. Does not own where it is written.
"""

from __future__ import annotations

import msgspec

NAME = "manifest.json"
FORMAT = 1
MAX = 1 << 20  # bytes; it has a line a file


class Kept(msgspec.Struct, frozen=True):
    """A file that is not a blob; `size` is in bytes, `sha256` in hex."""

    size: int
    sha256: str


class Log(msgspec.Struct, frozen=True):
    """`seq` is the last one of the firehose."""

    id: str
    shards: int
    seq: int


class Manifest(msgspec.Struct, frozen=True):
    """`made` is unix microseconds; `version` the release that made it."""

    format: int
    made: int
    version: str
    files: dict[str, Kept]
    blobs: int
    blob_bytes: int
    missing: int
    """Blobs that accounts have and whose files were not there, or not what their names say."""
    log: Log | None = None


def encoded(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2)


def decoded(data: bytes) -> Manifest:
    """Raises msgspec.DecodeError."""
    return msgspec.json.decode(data, type=Manifest)

"""Blobs on disk: DIR/blobs/<prefix>/<did>/<cid>, and DIR/blobs/incoming for what is being received.

A file appears under its CID only whole, hashed and fsynced. Does not own which blobs an account has (blob_index.py).
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ingest.pds.mime import sniff
from ingest.pds.paths import account_path
from ingest.pds.secrets import fsync_directory, private_directory
from schemas.cid import Cid
from schemas.errors import XrpcError

_RAW_CID = b"\x01\x55\x12\x20"
_SNIFFED = 8192
_READ_SIZE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Incoming:
    """A received blob that has no name yet; `mime` is what its bytes say, or what the client said."""

    path: Path
    cid: Cid
    size: int
    mime: str


class BlobFiles:
    def __init__(self, root: Path) -> None:
        self._root = private_directory(root)
        self._incoming = private_directory(root / "incoming")
        for left_over in self._incoming.iterdir():  # what a crash left half-received
            left_over.unlink()

    def path(self, did: str, cid: Cid) -> Path:
        return account_path(self._root, did) / str(cid)

    async def receive(self, chunks: AsyncIterator[bytes], claimed_mime: str, limit: int) -> Incoming:
        """Write a stream to a temporary file. Raises XrpcError 413 when it is longer than `limit` bytes."""
        path = self._incoming / secrets.token_hex(16)
        digest, size, first = sha256(), 0, b""
        try:
            with path.open("xb", buffering=0) as file:
                async for chunk in chunks:
                    size += len(chunk)
                    _check_size(size, limit)
                    if len(first) < _SNIFFED:
                        first += chunk[: _SNIFFED - len(first)]
                    digest.update(chunk)
                    file.write(chunk)
                mime = await asyncio.to_thread(_settle, file.fileno(), first)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Incoming(path, Cid(_RAW_CID + digest.digest()), size, mime or claimed_mime)

    def keep(self, did: str, incoming: Incoming) -> None:
        """Give it its name, durably. Blocking: call in a thread."""
        path = self.path(did, incoming.cid)
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fsync_directory(path.parent.parent)
            fsync_directory(self._root)
        incoming.path.rename(path)
        fsync_directory(path.parent)

    def drop_incoming(self, incoming: Incoming) -> None:
        incoming.path.unlink(missing_ok=True)

    def remove(self, did: str, cid: Cid) -> None:
        self.path(did, cid).unlink(missing_ok=True)

    def remove_all(self, did: str) -> None:
        """Blocking: call in a thread."""
        shutil.rmtree(account_path(self._root, did), ignore_errors=True)

    async def read(self, did: str, cid: Cid) -> AsyncIterator[bytes]:
        """The bytes, in pieces; FileNotFoundError when it is gone."""
        with await asyncio.to_thread(self.path(did, cid).open, "rb") as file:
            while chunk := await asyncio.to_thread(file.read, _READ_SIZE):
                yield chunk


def _settle(descriptor: int, first: bytes) -> str | None:
    """What is slow at the end of a file: make it durable, and say its type."""
    os.fsync(descriptor)
    return sniff(first)


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise XrpcError("PayloadTooLarge", f"blobs may have {limit} bytes, this one has more", 413)

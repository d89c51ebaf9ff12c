"""Secrets of one PDS: small files in its data directory, made at first use, readable by the owner alone.

Does not own accounts' keys (accounts.py).
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from ingest.repo.keys import PrivateKey
from schemas.errors import InvariantError

JWT_SECRET = "jwt_secret"  # noqa: S105 - a file's name
PLC_ROTATION_KEY = "plc_rotation_key"

_FILE_MODE = 0o600
_DIR_MODE = 0o700


def private_directory(path: Path) -> Path:
    """Make `path` if it is absent, and close it to other users."""
    path.mkdir(parents=True, exist_ok=True, mode=_DIR_MODE)
    path.chmod(_DIR_MODE)
    return path


def private_file(path: Path) -> Path:
    """Make `path` if it is absent, and close it to other users: SQLite gives its side files the same mode."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, _FILE_MODE))
    path.chmod(_FILE_MODE)
    return path


def load_or_create(path: Path) -> bytes:
    """The secret at `path` as ASCII hex (32 random bytes), made durable before it is first used."""
    try:
        found = path.read_bytes().strip()
    except FileNotFoundError:
        found = secrets.token_hex(32).encode()
        write_private(path, found)
    if len(found) < 32:
        raise InvariantError(f"{path}: expected a secret of at least 32 characters, found {len(found)}")
    return found


def load_or_create_key(path: Path) -> PrivateKey:
    """A secp256k1 key kept as hex at `path`."""
    return PrivateKey.from_bytes("k256", bytes.fromhex(load_or_create(path).decode()))


def write_private(path: Path, content: bytes) -> None:
    """Write `content` whole or not at all: a temporary file, fsync, rename, fsync of the directory."""
    temporary = path.with_name(path.name + ".tmp")
    descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, _FILE_MODE)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(path)
    fsync_directory(path.parent)


def fsync_directory(path: Path) -> None:
    """Make renames inside `path` durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

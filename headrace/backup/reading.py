"""A backup read from its beginning to its end: every member checked against the manifest, or its own name.

`verify` writes nothing; `extract` writes what it reads, into a directory that is thrown away when anything is wrong.
Does not own the envelope (`seal.py`) nor what becomes of the files (`restore.py`).
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from headrace.backup import manifest as manifests
from headrace.backup.contents import is_blob, may_hold
from headrace.backup.manifest import NAME as MANIFEST
from headrace.backup.manifest import Kept, Manifest
from headrace.backup.refusals import BackupRefused, Reason
from headrace.backup.seal import Opened, is_whole, opened
from ingest.pds.secrets import private_directory
from schemas.cid import Cid
from schemas.errors import Refused

_READ: Final = 1 << 20

Write = Callable[[bytes], object]


def verify(path: Path, key: bytes | None) -> Manifest:
    """What the backup holds. Raises BackupRefused naming the file, and the member where one is known; OSError."""
    return _read(path, key, None)


def extract(path: Path, key: bytes | None, into: Path) -> Manifest:
    """As `verify`; the members are left in `into`, each durable. Nothing is written of a file whose checksum is wrong.

    Raises BackupRefused, OSError; `into` may hold some of them then.
    """
    return _read(path, key, into)


def _read(path: Path, key: bytes | None, into: Path | None) -> Manifest:
    if not is_whole(path):
        where = _where(path, key)
        raise BackupRefused(Reason.DAMAGED, f"{path} is damaged{where}: use another copy, or another backup")
    return _members(path, key, into)


def _where(path: Path, key: bytes | None) -> str:
    """Of a file that is known to be damaged, the member in which it shows."""
    try:
        _members(path, key, None)
    except BackupRefused as refused:
        return f" ({refused.detail})"
    return " (outside of the files that it holds)"


def _members(path: Path, key: bytes | None, into: Path | None) -> Manifest:
    found: dict[str, Kept] = {}
    blobs = size = 0
    said: Manifest | None = None
    with opened(path, key) as archive, _tar(path, archive) as tar:
        for member in tar:
            name = member.name
            if not may_hold(name) or not member.isreg() or name in found or said is not None:
                raise BackupRefused(Reason.DAMAGED, f"{path}: found {name!r}, which no backup of headrace holds there")
            content = tar.extractfile(member)
            assert content is not None
            if name == MANIFEST:
                said = _manifest(path, content.read(manifests.MAX))
                continue
            with _target(into, name) as write:
                kept = _copied(content, write)
            if is_blob(name):
                _check_blob(path, name, kept)
                blobs, size = blobs + 1, size + kept.size
            else:
                found[name] = kept
    if said is None:
        raise BackupRefused(Reason.DAMAGED, f"{path}: it ends before its manifest")
    _compare(path, said, found, blobs, size)
    return said


def _compare(path: Path, said: Manifest, found: dict[str, Kept], blobs: int, size: int) -> None:
    for name in said.files.keys() | found.keys():
        if said.files.get(name) != found.get(name):
            raise BackupRefused(
                Reason.DAMAGED, f"{path}: {name}: expected {said.files.get(name)}, found {found.get(name)}"
            )
    if (blobs, size) != (said.blobs, said.blob_bytes):
        raise BackupRefused(
            Reason.DAMAGED,
            f"{path}: expected {said.blobs} blobs of {said.blob_bytes} bytes in all, found {blobs} of {size}",
        )


def _check_blob(path: Path, name: str, kept: Kept) -> None:
    try:
        wanted = Cid.parse(name.rpartition("/")[2]).digest.hex()
    except Refused as refused:
        raise BackupRefused(Reason.DAMAGED, f"{path}: {name}: expected a blob's name ({refused.detail})") from None
    if kept.sha256 != wanted:
        raise BackupRefused(Reason.DAMAGED, f"{path}: {name}: its content is not what its name says")


def _manifest(path: Path, data: bytes) -> Manifest:
    try:
        found = manifests.decoded(data)
    except msgspec.DecodeError as error:
        raise BackupRefused(Reason.DAMAGED, f"{path}: {MANIFEST}: {error}") from None
    if found.format > manifests.FORMAT:
        raise BackupRefused(
            Reason.NEWER, f"{path}: it was made by headrace {found.version}, which keeps more: use that version"
        )
    return found


def _copied(content: IO[bytes], write: Write) -> Kept:
    digest, size = sha256(), 0
    while data := content.read(_READ):
        digest.update(data)
        size += len(data)
        write(data)
    return Kept(size, digest.hexdigest())


@contextmanager
def _target(into: Path | None, name: str) -> Iterator[Write]:
    """Where a member goes: `may_hold` has said that its name stays inside of `into`."""
    if into is None:
        yield len
        return
    path = into / name
    for parent in reversed(path.relative_to(into).parents[:-1]):
        private_directory(into / parent)
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield file.write
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _tar(path: Path, archive: Opened) -> Iterator[tarfile.TarFile]:
    stream: Any = archive  # of a file it has what tarfile calls
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            yield tar
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise BackupRefused(Reason.DAMAGED, f"{path}: expected a tar archive, found: {error}") from error

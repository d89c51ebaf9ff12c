"""The envelope of a backup: two lines of head, the archive, 32 bytes of SHA-256 over all that precedes them.

    headrace-backup 1
    {"encrypted":false}
    the archive (tar)
    SHA-256 of everything above

With a key the second line has a salt, and the archive is cut into pieces of 1 MiB, each sealed with AES-256-GCM: the
key is HKDF-SHA256 of the key file's content, the nonce the piece's number (11 bytes) and whether it is the last (1
byte), and the head is authenticated with each. So no piece can be changed, moved, left out or cut off unseen.
Does not own what is in the archive (`create.py`, `restore.py`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from headrace.backup.refusals import BackupRefused, Reason

FORMAT: Final = 1
_MAGIC: Final = b"headrace-backup "
_HEAD_MAX: Final = 1_024
_DIGEST: Final = 32
_PIECE: Final = 1 << 20
_TAG: Final = 16
_SALT: Final = 32
_KEY_CHARACTERS: Final = 32
_KEY_MAX: Final = 4_096


class _Head(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    encrypted: bool = False
    salt: str = ""


class Sealer:
    """A file to write the archive to; `finish` ends it. `key` is the key file's content, or None."""

    def __init__(self, out: BinaryIO, key: bytes | None) -> None:
        self._out = out
        self._digest = hashlib.sha256()
        salt = os.urandom(_SALT)
        head = _Head() if key is None else _Head(encrypted=True, salt=salt.hex())
        self._head = _MAGIC + b"%d\n" % FORMAT + _encoded(head) + b"\n"
        self._cipher = None if key is None else _cipher(key, salt)
        self._waiting = bytearray()
        self._number = 0
        self._put(self._head)

    def write(self, data: bytes) -> int:
        if self._cipher is None:
            self._put(data)
            return len(data)
        self._waiting += data
        while len(self._waiting) > _PIECE:  # one stays: only the end knows which is the last
            self._seal(bytes(self._waiting[:_PIECE]), last=False)
            del self._waiting[:_PIECE]
        return len(data)

    def finish(self) -> str:
        """The SHA-256 that the file ends in, as hex."""
        if self._cipher is not None:
            self._seal(bytes(self._waiting), last=True)
        digest = self._digest.digest()
        self._out.write(digest)
        return digest.hex()

    def _seal(self, piece: bytes, *, last: bool) -> None:
        assert self._cipher is not None
        self._put(self._cipher.encrypt(_nonce(self._number, last=last), piece, self._head))
        self._number += 1

    def _put(self, data: bytes) -> None:
        self._digest.update(data)
        self._out.write(data)


class Opened:
    """The archive of a sealed file, to be read from its beginning. Raises BackupRefused."""

    def __init__(self, path: Path, file: BinaryIO, key: bytes | None) -> None:
        self._path, self._file = path, file
        self._raw, head = _read_head(path, file)
        self._end = file.seek(0, os.SEEK_END) - _DIGEST
        if self._end < len(self._raw):
            raise BackupRefused(Reason.DAMAGED, f"{path}: it ends before its checksum; use another copy")
        file.seek(len(self._raw))
        self._at = len(self._raw)
        self._cipher: AESGCM | None = None
        if head.encrypted:
            if key is None:
                raise BackupRefused(Reason.KEY, f"{path} is encrypted: name its key with --key-file")
            self._cipher = _cipher(key, bytes.fromhex(head.salt))
        self._ready = b""
        self._number = 0

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        if self._cipher is None:
            data = self._file.read(min(size, self._end - self._at))
            self._at += len(data)
            return data
        if not self._ready and self._at < self._end:
            self._ready = self._piece(self._cipher)
        data, self._ready = self._ready[:size], self._ready[size:]
        return data

    def _piece(self, cipher: AESGCM) -> bytes:
        sealed = self._file.read(min(_PIECE + _TAG, self._end - self._at))
        self._at += len(sealed)
        try:
            found = cipher.decrypt(_nonce(self._number, last=self._at == self._end), sealed, self._raw)
        except InvalidTag:
            raise BackupRefused(
                Reason.KEY, f"{self._path}: piece {self._number} does not open: expected the key that it was made with"
            ) from None
        self._number += 1
        return found


@contextmanager
def opened(path: Path, key: bytes | None) -> Iterator[Opened]:
    with path.open("rb") as file:
        yield Opened(path, file, key)


def is_whole(path: Path) -> bool:
    """Whether the file's checksum is that of its content. Reads all of it; raises BackupRefused for no backup."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        raw, _ = _read_head(path, file)
        left = file.seek(0, os.SEEK_END) - _DIGEST
        if left < len(raw):
            return False
        file.seek(0)
        while left and (data := file.read(min(_PIECE, left))):
            digest.update(data)
            left -= len(data)
        return file.read() == digest.digest()


def read_key(path: Path) -> bytes:
    """A key file's content. Raises BackupRefused, OSError."""
    with path.open("rb") as file:
        found = file.read(_KEY_MAX).strip()
    if len(found) < _KEY_CHARACTERS:
        raise BackupRefused(
            Reason.KEY,
            f"{path}: expected {_KEY_CHARACTERS} characters or more for a key, found {len(found)}:"
            f" make one with (umask 077; openssl rand -hex 32 > {path}), and keep a copy elsewhere",
        )
    return found


def _read_head(path: Path, file: BinaryIO) -> tuple[bytes, _Head]:
    first, second = file.readline(_HEAD_MAX), file.readline(_HEAD_MAX)
    number = first.removeprefix(_MAGIC).strip()
    if not first.startswith(_MAGIC) or not number.isdigit():
        raise BackupRefused(Reason.DAMAGED, f"{path}: expected a backup of headrace, found another beginning")
    if int(number) > FORMAT:
        raise BackupRefused(
            Reason.NEWER,
            f"{path}: expected a backup of format {FORMAT} or older, found {int(number)}: use the version that made it",
        )
    head = _Head()
    try:
        head = msgspec.json.decode(second, type=_Head)
        salt = len(bytes.fromhex(head.salt))
    except (msgspec.DecodeError, ValueError):
        salt = -1
    if int(number) != FORMAT or salt != (_SALT if head.encrypted else 0):
        raise BackupRefused(Reason.DAMAGED, f"{path}: its head is damaged; use another copy")
    return first + second, head


def _encoded(head: _Head) -> bytes:
    return msgspec.json.encode(msgspec.to_builtins(head) or {"encrypted": False})


def _cipher(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, salt, _MAGIC + b"%d" % FORMAT).derive(key))


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes((last,))

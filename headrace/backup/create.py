"""`headrace backup create`: one file of what a data directory holds and nobody could compute again.

The directory may be in use: the backup is of one instant of it (`instant.py`), with every blob that the records of that
instant may refer to (`blobs.py`). It appears under its name whole, or not at all. Does not own the envelope
(`seal.py`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final

from headrace.backup import instant as instants
from headrace.backup.blobs import HeldBlobs, is_whole
from headrace.backup.contents import ACCOUNTS, BLOBS, DATABASES, PLC, SECRETS, STAGING, strangers
from headrace.backup.instant import Instant
from headrace.backup.manifest import FORMAT, Kept, Log, Manifest, encoded
from headrace.backup.manifest import NAME as MANIFEST
from headrace.backup.refusals import BackupRefused, Reason
from headrace.backup.seal import Sealer
from headrace.lock import DirectoryLock, LockedError
from headrace.wiring.views import LOG
from ingest.log_sqlite.examine import written
from ingest.pds.secrets import fsync_directory
from schemas import crash

# A blob's row is there before its file; the clock may have been set meanwhile.
_MARGIN_SECONDS: Final = 600
_NAMED: Final = 5

Say = Callable[[str], None]


def create(directory: Path, file: Path, key: bytes | None, say: Say) -> dict[str, Any]:
    """What was made. `say` hears of progress, and of what is amiss.

    Raises BackupRefused, InvariantError for damage in the directory, OSError.
    """
    if not any((directory / name).exists() for name in DATABASES):
        raise BackupRefused(
            Reason.SOURCE, f"{directory}: expected one of {', '.join(DATABASES)}, found none: name another with --data"
        )
    if file.exists():
        raise BackupRefused(Reason.TARGET, f"{file} is there already: name another, a backup overwrites none")
    for name in strangers(path.name for path in directory.iterdir()):
        say(f"{name} is left out: it is none of headrace's files")
    with _staging(directory) as staging:
        held = HeldBlobs(directory / BLOBS, staging / BLOBS)
        since = int(time.time()) - _MARGIN_SECONDS
        held.link()

        def meanwhile(instant: Instant) -> None:
            if ACCOUNTS in instant.names:
                held.link_since(instant, since)

        with (
            instants.fixed(directory, DATABASES, (ACCOUNTS, PLC), meanwhile) as instant,
            _appearing(file) as out,
        ):
            sealer = Sealer(out, key)
            manifest = _Archive(directory, staging, sealer, say).put_all(instant, held)
            digest = sealer.finish()
    found: dict[str, Any] = {"backup": str(file), "bytes": file.stat().st_size, "sha256": digest}
    return found | about(manifest)


def about(manifest: Manifest) -> dict[str, Any]:
    """What the command lines show of a manifest."""
    shown: dict[str, Any] = {
        "version": manifest.version,
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(manifest.made // 1_000_000)),
        "files": {name: kept.size for name, kept in manifest.files.items()},
        "blobs": manifest.blobs,
        "blob_bytes": manifest.blob_bytes,
        "blobs_missing": manifest.missing,
    }
    if manifest.log is not None:
        shown |= {"shards": manifest.log.shards, "seq": manifest.log.seq}
    return shown


class _Archive:
    """Members put one after the other; what they are, kept for the manifest."""

    def __init__(self, directory: Path, staging: Path, sealer: Sealer, say: Say) -> None:
        self._directory, self._staging, self._say = directory, staging, say
        self._made = time.time_ns() // 1_000
        stream: Any = sealer  # of a file it has what tarfile calls
        self._tar = tarfile.TarFile.open(mode="w|", fileobj=stream, format=tarfile.PAX_FORMAT)
        self._files: dict[str, Kept] = {}
        self._log: Log | None = None

    def put_all(self, instant: Instant, held: HeldBlobs) -> Manifest:
        for name in SECRETS:
            with contextlib.suppress(FileNotFoundError):
                content = (self._directory / name).read_bytes()
                self._put(name, BytesIO(content), len(content))
        for name in instant.names:
            self._put_database(instant, name)
        blobs, size, missing = self._put_blobs(instant, held) if ACCOUNTS in instant.names else (0, 0, 0)
        manifest = Manifest(FORMAT, self._made, version("headrace"), self._files, blobs, size, missing, log=self._log)
        self._add(MANIFEST, BytesIO(content := encoded(manifest)), len(content))
        self._tar.close()
        return manifest

    def _put_database(self, instant: Instant, name: str) -> None:
        copy = self._staging / name
        instant.copy(name, copy)
        if name == LOG:
            found = written(copy)
            self._log = Log(found.log_id, found.shards, found.newest_seq)
        size = copy.stat().st_size
        self._say(f"{name}: {size:,} bytes")
        with copy.open("rb") as file:
            self._put(name, file, size)
        for end in ("", "-wal", "-shm"):
            copy.with_name(name + end).unlink(missing_ok=True)

    def _put_blobs(self, instant: Instant, held: HeldBlobs) -> tuple[int, int, int]:
        """(put, their bytes, missing)."""
        count = total = missing = 0
        for did, name, path in held.all(instant):
            if not is_whole(path):
                if self._is_wanted(did, path.name):
                    missing += 1
                    if missing <= _NAMED:
                        self._say(f"{name} is missing, or not what its name says: the backup is made without it")
                continue
            size = path.stat().st_size
            with path.open("rb") as file:
                self._add(name, file, size)
            count, total = count + 1, total + size
        self._say(f"{BLOBS}: {count:,}, {total:,} bytes")
        return count, total, missing

    def _is_wanted(self, did: str, cid: str) -> bool:
        """Whether the account still has the blob: one that was being deleted is nobody's loss."""
        return instants.has_blob(self._directory / ACCOUNTS, did, cid)

    def _put(self, name: str, file: BinaryIO, size: int) -> None:
        hashing = _Hashing(file)
        self._add(name, hashing, size)
        self._files[name] = Kept(size, hashing.digest.hexdigest())

    def _add(self, name: str, file: Any, size: int) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.mtime = size, 0o600, self._made // 1_000_000
        self._tar.addfile(member, file)


class _Hashing:
    """A file that is hashed as it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


@contextlib.contextmanager
def _staging(directory: Path) -> Iterator[Path]:
    """A directory of one backup's own beside what it copies; what a dead one left in it is removed."""
    staging = directory / STAGING
    try:
        lock = DirectoryLock(staging)
    except LockedError as error:
        raise BackupRefused(
            Reason.SOURCE, f"{directory}: process {error.pid} makes a backup of it: wait until it has ended"
        ) from None
    try:
        _clear(staging)
        yield staging
    finally:
        _clear(staging)
        (staging / "lock").unlink(missing_ok=True)
        staging.rmdir()
        lock.release()


def _clear(staging: Path) -> None:
    for path in staging.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()


@contextlib.contextmanager
def _appearing(file: Path) -> Iterator[BinaryIO]:
    """To be written, and under its name only once it is whole and durable."""
    partial = file.with_name(file.name + ".partial")
    descriptor = os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    crash.point("backup.before_rename")
    partial.rename(file)
    fsync_directory(file.parent)

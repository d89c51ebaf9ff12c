"""`headrace restore`: a data directory out of a backup, to start `headrace up`, or its role, upon.

1. Everything is written into DIR/restoring, checked and made durable there; what is wrong leaves nothing.
2. Then it is moved to its place. A process that died on the way leaves DIR/restoring, and nothing starts upon it.
3. The log goes on above every number that its firehose may have given since; sessions have ended; views and accounts'
   files are made again at the first start, which also tells the network of every repo (`ingest/pds/announce.py`).

Does not own what a backup is (`reading.py`).
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any, Final

from headrace.backup.contents import ACCOUNTS
from headrace.backup.create import about
from headrace.backup.manifest import Manifest
from headrace.backup.reading import extract
from headrace.backup.refusals import BackupRefused, Reason
from headrace.lock import NAME as LOCK
from headrace.lock import RESTORING, DirectoryLock
from headrace.wiring.views import LOG
from ingest.log_sqlite import restored as logs_restored
from ingest.pds.accounts_restored import end_sessions
from ingest.pds.announce import MARK
from ingest.pds.secrets import fsync_directory, private_directory, write_private
from schemas import crash
from views.generations_sqlite import FILE as GENERATIONS
from views.generations_sqlite import keep_skips

# What an empty volume may hold, and what a restore leaves that died while it wrote.
_EMPTY: Final = frozenset((LOCK, "lost+found", RESTORING))


def restore(file: Path, directory: Path, key: bytes | None) -> dict[str, Any]:
    """What was restored. Raises BackupRefused, LockedError, DirectoryError, OSError."""
    there = sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []
    if not _EMPTY.issuperset(there):
        raise BackupRefused(
            Reason.TARGET,
            f"{directory}: expected an empty directory or none, found {', '.join(there[:5])}: name another with --data",
        )
    lock = DirectoryLock(directory, restoring=True)
    try:
        directory.chmod(0o700)
        staging = directory / RESTORING
        if staging.exists():
            shutil.rmtree(staging)
        private_directory(staging)
        try:
            manifest = extract(file, key, staging)
            following = _mend(staging, manifest)
            _settle(staging)
        except BaseException:
            shutil.rmtree(staging)
            raise
        _move(staging, directory)
    finally:
        lock.release()
    found = {"restored": str(directory), **about(manifest)}
    return found if following is None else found | {"next_seq": following}


def _mend(staging: Path, manifest: Manifest) -> int | None:
    """What must not be as it was; the log's next seq, if there is a log."""
    following = None
    if (staging / LOG).exists():
        following = logs_restored.go_on(staging / LOG, time.time() - manifest.made / 1_000_000)
    if (staging / ACCOUNTS).exists():
        end_sessions(staging / ACCOUNTS)
        if following is not None:  # in a cluster the log is elsewhere, and has gone on
            write_private(staging / MARK, b"")
    if (staging / GENERATIONS).exists():
        keep_skips(staging / GENERATIONS)
    return following


def _settle(staging: Path) -> None:
    """Make what SQLite wrote, and every name, durable."""
    for folder, _, files in os.walk(staging):
        for name in files:
            if name.endswith(".sqlite"):
                _fsync(Path(folder, name))
        fsync_directory(Path(folder))


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move(staging: Path, directory: Path) -> None:
    for path in sorted(staging.iterdir()):
        path.rename(directory / path.name)
        crash.point("restore.mid_move")
    fsync_directory(directory)
    staging.rmdir()
    fsync_directory(directory)

"""One process a data directory: an advisory lock that the kernel drops when the process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

NAME = "lock"
# While a restore writes; left behind by one that died.
RESTORING = "restoring"


class DirectoryError(Exception):
    """The data directory cannot be made or written. Choose another with --data."""

    def __init__(self, directory: Path, cause: OSError) -> None:
        super().__init__(f"{directory} cannot hold data ({cause.strerror}). Choose another directory with --data")


class HalfRestoredError(DirectoryError):
    """A restore into the directory did not end. Restore again into an empty one."""

    def __init__(self, directory: Path) -> None:
        Exception.__init__(
            self,
            f"{directory} holds half of a backup ({RESTORING}): a restore into it did not end. "
            "Empty it, and run headrace restore again",
        )


class LockedError(Exception):
    """Another process serves the directory. Stop it (`pid`), or choose another directory with --data."""

    def __init__(self, directory: Path, pid: str) -> None:
        super().__init__(
            f"{directory} is in use by process {pid or 'unknown'}. Stop it, or choose another directory with --data"
        )
        self.pid = pid


class DirectoryLock:
    """Held from `__init__` to `release`. Raises LockedError, DirectoryError; `restoring` is for who restores it."""

    def __init__(self, directory: Path, *, restoring: bool = False) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._descriptor = os.open(directory / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DirectoryError(directory, error) from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = os.read(self._descriptor, 20).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise LockedError(directory, pid) from None
        if (directory / RESTORING).exists() and not restoring:
            os.close(self._descriptor)
            raise HalfRestoredError(directory)
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        os.close(self._descriptor)

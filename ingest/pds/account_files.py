"""The open account files: at most `limit`, the least recently used closed first.

Closing and checkpointing fsync, so they run in a thread of their own. Does not own what is in a file
(account_file.py).
"""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw

from ingest.pds import account_file
from ingest.pds.account_file import AccountFile
from ingest.pds.paths import account_path
from ingest.pds.secrets import private_directory

_WAL_MAX = 4 * 1024 * 1024


class AccountFiles:
    def __init__(self, root: Path, limit: int) -> None:
        self._root = private_directory(root)
        self._limit = limit
        self._open: OrderedDict[str, AccountFile] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, "account-files")

    def __len__(self) -> int:
        """Files that are open."""
        return len(self._open)

    def path(self, did: str) -> Path:
        return account_path(self._root, did, ".sqlite")

    def open(self, did: str) -> AccountFile:
        """The file, made if it is absent. Use it before the next await: it may be closed by then."""
        file = self._open.get(did)
        if file is not None:
            self._open.move_to_end(did)
            return file
        file = self._open[did] = AccountFile(self.path(did))
        if len(self._open) > self._limit:
            self._thread.submit(self._open.popitem(last=False)[1].close)
        return file

    def tend(self, did: str) -> None:
        """After a flush: move a large WAL into the file, beside the loop."""
        path = self.path(did)
        try:
            size = path.with_name(path.name + "-wal").stat().st_size
        except FileNotFoundError:
            return
        if size > _WAL_MAX:
            self._thread.submit(_checkpoint, path)

    def remove(self, did: str) -> None:
        """Delete an account's file."""
        file = self._open.pop(did, None)
        if file is not None:
            file.close()
        # Behind whatever this thread still does with the file.
        self._thread.submit(account_file.remove, self.path(did)).result()

    def close(self) -> None:
        for file in self._open.values():
            file.close()
        self._open.clear()
        self._thread.shutdown()


def _checkpoint(path: Path) -> None:
    if not path.exists():
        return
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    finally:
        connection.close()

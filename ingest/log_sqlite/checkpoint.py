"""Moves the write-ahead log into the database beside the writer, so that no commit waits for it.

A passive checkpoint runs in its own thread and connection while batches go on. What they wrote meanwhile is moved by a
second, short one between two batches: only when nothing is left over does SQLite start the file again from its
beginning. Without that step it would grow for as long as somebody writes.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import apsw

from schemas.errors import InvariantError

PAGES = 4000  # 32 MB: fewer checkpoints move the same page less often, and halt the writer less often


class Checkpointer:
    """One a log; every method is called on the loop."""

    def __init__(self, path: Path, writer: apsw.Connection) -> None:
        self._writer = writer
        self._side = apsw.Connection(str(path))
        self._side.set_busy_timeout(5000)
        self._side.wal_autocheckpoint(0)
        self._thread = ThreadPoolExecutor(1, "headrace-checkpoint")
        self._pages = 0
        self._running: asyncio.Future[None] | None = None
        writer.set_wal_hook(self._committed)

    async def turn(self, writer_thread: Executor) -> None:
        """Between two batches: begin a checkpoint if one is due, or finish the one that has run beside them."""
        if self._running is None:
            if self._pages > PAGES:
                loop = asyncio.get_running_loop()
                self._running = loop.run_in_executor(self._thread, _move, self._side)
        elif self._running.done():
            self._running.result()
            self._running = None
            await asyncio.get_running_loop().run_in_executor(writer_thread, _move, self._writer)
            self._pages = 0

    async def close(self) -> None:
        if self._running is not None:
            await asyncio.wait((self._running,))
        self._thread.shutdown()
        self._side.close()

    def _committed(self, _: apsw.Connection, __: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK


def _move(con: apsw.Connection) -> None:
    busy = con.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()[0][0]
    if busy not in (0, 1):  # 1: a reader holds a snapshot; the next turn goes further
        raise InvariantError(f"wal_checkpoint answered {busy}, expected 0 or 1")

"""Frames on their way from a host into the relay, given to a tee as they came, byte for byte.

A tee comes before the intake: what reaches the log has been given to it, and a host's cursor is saved only behind what
the tee has on disk. A tee whose disk is slow lets the stream wait, so that what it keeps has no holes. Does not own
where frames are kept.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from ingest.relay.subscription import Host, Subscribes


class Tee(Protocol):
    """Keeps frames of any number of hosts, each in the order in which they came."""

    def connected(self, host: str) -> None:
        """A connection begins: its first frames may be ones that were given before."""
        ...

    def begins_anew(self, host: str) -> None:
        """Its numbers have begun anew: what comes after this has nothing to do with the numbers before."""
        ...

    async def take(self, host: str, frame: bytes) -> None:
        """HOT: give a frame; waits for room."""
        ...

    async def flush(self) -> None:
        """Return once what was given before is on disk. Raises what has ended the tee."""
        ...


class Teed:
    """`Subscribes` of one host, with a tee on it."""

    def __init__(self, under: Subscribes, tee: Tee, host: Host) -> None:
        self._under = under
        self._tee = tee
        self._host = host
        self._numberings = host.numberings

    @asynccontextmanager
    async def subscribe(self, url: str, cursor: int | None, *, upstream: bool) -> AsyncIterator[AsyncIterator[bytes]]:
        if self._host.numberings != self._numberings:
            self._numberings = self._host.numberings
            self._tee.begins_anew(self._host.name)
        async with self._under.subscribe(url, cursor, upstream=upstream) as frames:
            self._tee.connected(self._host.name)
            yield self._given(frames)

    async def _given(self, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for frame in frames:
            await self._tee.take(self._host.name, frame)
            yield frame

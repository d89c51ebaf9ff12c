"""Players: an archive's frames put into the log of a target of this run's own, through its ingest hook, at a rate.

Frames are due like requests, and sent when they are; a target that takes them more slowly is seen by when the last was
taken. Does not own the archive (`archive/`), its synthesis (`synthesis/`) nor players that are relays (`upstream.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Any

import aiohttp
import msgspec

from headrace import client
from headrace.commands.uploads import OPTIONS_MAX, Options
from headrace.load.archive.blocks import Kind
from headrace.load.archive.reader import ALL, Archive, Wanted
from headrace.load.archive.writer import DOCUMENTS, ArchiveWriter
from headrace.load.plan import Plan, Players
from headrace.load.player import PlayerError
from headrace.load.result import Player
from headrace.load.synthesis.pool import SynthesisStoppedError, synthesise
from headrace.load.synthesis.steps import START, Population
from schemas.errors import Refused

_FRAMES = frozenset({Kind.COMMIT, Kind.SYNC, Kind.IDENTITY, Kind.ACCOUNT})
_AT_ONCE = 64  # frames of one piece before the load
_PIECE = 0.02  # seconds of frames sent at once


def archive_of(name: str, plan: Plan, folder: Path, workers: int, stop: Event) -> Archive:
    """The archive that is played; made here when the plan names none, until `stop` is set. Raises PlayerError."""
    players, seed = plan.players[name], plan.seed
    try:
        if players.archive:
            return Archive(Path(players.archive))
        directory = folder / f"archive-{name}"
        events = int(players.rate * (plan.load.seconds - players.begin))
        with ArchiveWriter(directory, source=f"synthesis of seed {seed}") as writer:
            synthesise(Population(seed, players.accounts, events), writer, workers=workers, stop=stop)
        return Archive(directory)
    except Refused as refused:
        raise PlayerError(str(refused)) from None
    except SynthesisStoppedError:
        raise PlayerError(f"{name}: stopped before all was made that it plays") from None


class Playing:
    """One player. `begin` is of CLOCK_MONOTONIC."""

    def __init__(self, name: str, players: Players, archive: Archive, data: Path) -> None:
        self._name, self._players, self._archive, self._data = name, players, archive, data
        self._options = b"{}"
        self.sent = 0

    async def found(self) -> int:
        """Before the load, as fast as the target takes it: a synthetic network's accounts come into being."""
        if self._players.archive:
            return 0
        frames = (item.data for item in self._archive.items(Wanted(until=START)) if item.kind in _FRAMES)
        try:
            said = await client.send(self._data, "ingest/frames", self._unpaced(frames), self._name)
        except (client.NotRunningError, client.RefusedError) as error:
            raise PlayerError(str(error)) from None
        return int(said["accepted"])

    async def _unpaced(self, frames: Iterator[bytes]) -> AsyncIterator[bytes]:
        yield len(self._options).to_bytes(4, "little") + self._options
        while piece := list(islice(frames, _AT_ONCE)):
            yield b"".join(len(data).to_bytes(4, "little") + data for data in piece)

    async def run(self, begin: float, seconds: float) -> Player:
        """Until the archive or the load ends, and the target has taken what was sent."""
        begin += self._players.begin
        await asyncio.sleep(max(0.0, begin - time.monotonic()))  # a connection before would have to live through faults
        error, found = "", dict[str, Any]()
        try:
            found = await client.send(
                self._data, "ingest/frames", self._pieces(begin, seconds - self._players.begin), self._name
            )
        except (client.NotRunningError, client.RefusedError, aiohttp.ClientError, OSError) as failed:
            error = str(failed)
        accepted, refused = int(found.get("accepted", 0)), int(found.get("refused", 0))
        return Player(self._name, self.sent, accepted, refused, round(time.monotonic() - begin, 3), error)

    async def _pieces(self, begin: float, seconds: float) -> AsyncIterator[bytes]:
        yield len(self._options).to_bytes(4, "little") + self._options
        wanted = ALL if self._players.archive else Wanted(since=START)
        frames = (item.data for item in self._archive.items(wanted) if item.kind in _FRAMES)
        while (at := time.monotonic() - begin) < seconds:
            due = int(max(0.0, at) * self._players.rate) - self.sent
            piece = list(islice(frames, max(0, due)))
            if due > 0 and not piece:
                return
            self.sent += len(piece)
            if piece:
                yield b"".join(len(data).to_bytes(4, "little") + data for data in piece)
            await asyncio.sleep(_PIECE)

    def prepare(self) -> None:
        """Read the documents, which go first. Raises PlayerError."""
        documents = {}
        for item in self._archive.items(holds=DOCUMENTS):
            if item.kind == Kind.DOCUMENT:
                found = msgspec.json.decode(item.data)
                documents[str(found["id"])] = found
        text = msgspec.json.encode(documents).decode()
        options = msgspec.json.encode(Options(text, trust_handles=True))
        if len(options) > OPTIONS_MAX:
            raise PlayerError(f"{self._name}: documents of {len(options)} bytes; {OPTIONS_MAX} can be sent")
        self._options = options

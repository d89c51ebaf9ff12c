"""Players: an archive's frames put into the log of a target of this run's own, through its ingest hook, at a rate.

Frames are due like requests, and sent when they are; a target that takes them more slowly is seen by when the last was
taken. Does not own the archive (`archive/`), its synthesis (`synthesis/`) nor players that are relays (`upstream.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from threading import Event

import aiohttp
import msgspec

from headrace import client
from headrace.commands.uploads import Options
from headrace.load.archive.blocks import Item, Kind
from headrace.load.archive.reader import ALL, Archive, Wanted
from headrace.load.archive.writer import DOCUMENTS, ArchiveWriter
from headrace.load.plan import Plan, Players
from headrace.load.player import PlayerError
from headrace.load.result import Player
from headrace.load.synthesis.pool import SynthesisStoppedError, synthesise
from headrace.load.synthesis.steps import START, Population
from headrace.load.tempo import Tempo
from schemas.errors import Refused

_FRAMES = frozenset({Kind.COMMIT, Kind.SYNC, Kind.IDENTITY, Kind.ACCOUNT})
_UPLOAD = 10_000  # frames of one upload, which carries the documents of their accounts
_AT_ONCE = 64  # frames of one piece before the load
_PIECE = 0.02  # seconds of frames sent at once
_MOST = 256  # frames of one piece: who is far behind, or plays flat out, sends piece after piece


def archive_of(name: str, plan: Plan, folder: Path, workers: int, stop: Event) -> Archive:
    """The archive that is played; made here when the plan names none, until `stop` is set. Raises PlayerError."""
    players, seed = plan.players[name], plan.seed
    try:
        if players.archive:
            return Archive(Path(players.archive))
        directory = folder / f"archive-{name}"
        events = Tempo(players).frames(plan.load.seconds - players.begin)
        population = Population(seed, players.accounts, events)
        if players.followers:
            population = Population(seed, players.followers + 1, events, famous=True)
        with ArchiveWriter(directory, source=f"synthesis of seed {seed}") as writer:
            synthesise(population, writer, workers=workers, stop=stop)
        return Archive(directory)
    except Refused as refused:
        raise PlayerError(str(refused)) from None
    except SynthesisStoppedError:
        raise PlayerError(f"{name}: stopped before all was made that it plays") from None


class Playing:
    """One player. `begin` is of CLOCK_MONOTONIC."""

    def __init__(self, name: str, players: Players, archive: Archive, data: Path) -> None:
        self._name, self._players, self._archive, self._data = name, players, archive, data
        self._documents: dict[int, bytes] = {}
        self._recorded = ALL if players.archive else Wanted(since=START)
        self._tempo = Tempo(players, next((item.time for item in self._frames(self._recorded)), 0))
        self.sent = 0

    async def found(self) -> int:
        """Before the load, as fast as the target takes it: a synthetic network's accounts come into being."""
        if self._players.archive:
            return 0
        frames, accepted = self._frames(Wanted(until=START)), 0
        try:
            while upload := list(islice(frames, _UPLOAD)):
                said = await client.send(self._data, "ingest/frames", self._unpaced(upload), self._name)
                accepted += int(said["accepted"])
        except (client.NotRunningError, client.RefusedError) as error:
            raise PlayerError(str(error)) from None
        return accepted

    async def run(self, begin: float, seconds: float) -> Player:
        """Until the archive or the load ends, and the target has taken what was sent."""
        begin, seconds = begin + self._players.begin, seconds - self._players.begin
        await asyncio.sleep(max(0.0, begin - time.monotonic()))  # a connection before would have to live through faults
        frames, accepted, refused, error = self._frames(self._recorded), 0, 0, ""
        try:
            while time.monotonic() - begin < seconds and (upload := list(islice(frames, _UPLOAD))):
                paced = self._paced(upload, begin, seconds)
                found = await client.send(self._data, "ingest/frames", paced, self._name)
                accepted += int(found.get("accepted", 0))
                refused += int(found.get("refused", 0))
        except (client.NotRunningError, client.RefusedError, aiohttp.ClientError, OSError) as failed:
            error = str(failed)
        return Player(self._name, self.sent, accepted, refused, round(time.monotonic() - begin, 3), error)

    def prepare(self) -> None:
        """Read the documents: of each account the newest."""
        for item in self._archive.items(holds=DOCUMENTS):
            if item.kind == Kind.DOCUMENT:
                self._documents[item.did_key] = item.data

    def _frames(self, wanted: Wanted) -> Iterator[Item]:
        return (item for item in self._archive.items(wanted) if item.kind in _FRAMES)

    async def _unpaced(self, upload: list[Item]) -> AsyncIterator[bytes]:
        yield self._options(upload)
        frames = iter(upload)
        while piece := list(islice(frames, _AT_ONCE)):
            yield _piece(piece)

    async def _paced(self, upload: list[Item], begin: float, seconds: float) -> AsyncIterator[bytes]:
        yield self._options(upload)
        left = deque(upload)
        while left and (at := time.monotonic() - begin) < seconds:
            piece = self._due(left, at)
            self.sent += len(piece)
            if piece:
                yield _piece(piece)
            await asyncio.sleep(0 if len(piece) == _MOST else _PIECE)

    def _due(self, left: deque[Item], at: float) -> list[Item]:
        """Take out what is due of what is left, at most `_MOST`."""
        piece: list[Item] = []
        if self._players.rate:
            most = min(_MOST, len(left), int(self._tempo.due(at)) - self.sent)
            return [left.popleft() for _ in range(most)]
        while left and len(piece) < _MOST and self._tempo.when(0, left[0].time) <= at:
            piece.append(left.popleft())
        return piece

    def _options(self, upload: list[Item]) -> bytes:
        """What comes first: the documents of the accounts whose frames follow."""
        keys = dict.fromkeys(item.did_key for item in upload)
        documents = [msgspec.json.decode(self._documents[key]) for key in keys if key in self._documents]
        text = msgspec.json.encode({str(each["id"]): each for each in documents}).decode()
        options = msgspec.json.encode(Options(text, trust_handles=True))
        return len(options).to_bytes(4, "little") + options


def _piece(items: list[Item]) -> bytes:
    return b"".join(len(item.data).to_bytes(4, "little") + item.data for item in items)

"""A player that is a relay or a host: its archive is served as one, and the target reads it, verifies it, takes it in.

Of a relay the accounts' operations are brought to the target's did:plc directory first; of a host their documents are
shown by one in front of it (`front.py`). What founds a synthetic network comes as fast as it is read, before the load;
then every frame is due at the player's tempo. Does not own the archive, how it is served (`serve_archive.py`) nor
players that write to the log (`players.py`).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from math import inf
from types import TracebackType
from typing import Self

import aiohttp
import msgspec

from headrace.load.archive.blocks import Item, Kind
from headrace.load.archive.reader import Archive, Wanted
from headrace.load.archive.writer import DOCUMENTS
from headrace.load.plan import Players
from headrace.load.player import PlayerError
from headrace.load.result import Player
from headrace.load.serve_archive import ArchiveHost
from headrace.load.started import Setting
from headrace.load.synthesis.steps import START
from headrace.load.tempo import Tempo
from ingest.identity.plc_op import parse
from schemas.errors import Refused

_AT_ONCE = 16  # operations on their way to the directory
_LOOK = 0.25  # seconds between two looks at what the target has taken
_QUIET = 3  # looks in a row that find nothing under way
_FOUNDED_SECONDS = 900.0
_MANY = 10_000_000  # of one account in an hour: quotas are not what is measured
_TAKEN, _DROPPED, _UNDER_WAY = (
    f"headrace_relay_{each}" for each in ("messages_total", "dropped_total", "under_way_messages")
)
_COUNTED = re.compile(rf"^({_TAKEN}|{_DROPPED}|{_UNDER_WAY})\{{[^}}]*\}} (\S+)$", re.MULTILINE)
_TIMEOUT = aiohttp.ClientTimeout(total=10)


class Upstream:
    """Use as a context: it is served from its beginning, and nothing is sent before `found`."""

    def __init__(self, name: str, players: Players, archive: Archive) -> None:
        self.name = name
        self._players, self._archive = players, archive
        self._founded = 0 if players.archive else sum(1 for _ in archive.items(Wanted(until=START)))
        recorded = archive.items(Wanted() if players.archive else Wanted(since=START))
        self._tempo = Tempo(players, next((item.time for item in recorded), 0))
        self._is_open = False
        self._begin: float | None = None
        self._seconds = 0.0
        self.host = ArchiveHost(archive.directory, self._due, whole=True)
        self._zero = 0.0
        self._seen: dict[str, float] = {}
        self._taken = self._dropped = 0.0

    async def __aenter__(self) -> Self:
        await self.host.__aenter__()
        self._zero = time.monotonic()
        self.host.play()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.host.__aexit__(kind, error, trace)

    @property
    def is_host(self) -> bool:
        """Whether the target crawls it."""
        return self._players.through == "host"

    @property
    def settings(self) -> dict[str, Setting]:
        """What the target needs to read it; the first of them also of others."""
        url = self.host.url
        reads = {"relay_crawl": url} if self.is_host else {"relay_upstreams": url.replace("http:", "ws:", 1)}
        return {**reads, "relay_account_events_hour": _MANY, "allow_private_addresses": "true"}

    async def found(self, plc: str, ops: str) -> int:
        """Let the accounts be known and come into being; how many frames did. Raises PlayerError."""
        if self.is_host:
            if not await asyncio.to_thread(self._is_documented):
                raise PlayerError(
                    f"{self.name}: {self._archive.directory} holds no DID documents, and nobody can tell whose keys its"
                    " frames are signed with: record it with --plc, or give it new identities with headrace load"
                    " synthesise --re-sign"
                )
        else:
            await self._bring(plc)
        self._is_open = True
        try:
            async with asyncio.timeout(_FOUNDED_SECONDS):
                await self._until_taken(ops, self._founded)
        except TimeoutError:
            raise PlayerError(
                f"{self.name}: the target took {self._taken:.0f} of {self._founded} founding frames"
                f" in {_FOUNDED_SECONDS:.0f} s"
            ) from None
        return self._founded

    def _is_documented(self) -> bool:
        return any(item.kind == Kind.DOCUMENT for item in self._archive.items(holds=DOCUMENTS))

    async def _bring(self, plc: str) -> None:
        """The accounts' operations to the directory."""
        operations = await asyncio.to_thread(lambda: list(self._operations()))
        if not operations:
            raise PlayerError(
                f"{self.name}: {self._archive.directory} holds no did:plc operations, and nobody can tell who its"
                " accounts are: give it new identities with headrace load synthesise --re-sign"
            )
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            waiting = iter(operations)

            async def bring() -> None:
                for did, operation in waiting:
                    async with session.post(f"{plc}/{did}", json=operation) as response:
                        if response.status != 200:
                            raise PlayerError(
                                f"{self.name}: the target's directory answered {response.status} to {did}"
                            )

            await asyncio.gather(*(bring() for _ in range(_AT_ONCE)))

    async def run(self, ops: str, begin: float, seconds: float) -> Player:
        """Until the load ends, and the target has taken what was sent. `begin` is of CLOCK_MONOTONIC."""
        sent, taken, dropped = self.host.sent, self._taken, self._dropped
        begin += self._players.begin
        self._seconds = max(0.0, seconds - self._players.begin)
        self._begin = begin
        left = self._ahead()
        await asyncio.sleep(max(0.0, begin - time.monotonic()))
        error = ""
        try:
            await self._until_taken(ops, self._founded + left)
        except (TimeoutError, aiohttp.ClientError, OSError) as failed:
            error = str(failed) or type(failed).__name__
        took = round(time.monotonic() - begin, 3)
        # The target counts all whom it reads together: of several players none has more taken than it sent.
        sent, refused = self.host.sent - sent, int(self._dropped - dropped)
        accepted = max(0, min(sent, int(self._taken - taken)) - refused)
        return Player(self.name, sent, accepted, refused, took, error)

    def _due(self, number: int, at: int) -> float:
        """In seconds after the host began; never, until the run says so."""
        if not self._players.archive and at < START:
            return 0.0 if self._is_open else inf
        if self._begin is None or not self._is_open:
            return inf
        after = self._tempo.when(number - self._founded, at)
        return inf if after > self._seconds else self._begin - self._zero + after

    def _ahead(self) -> int:
        """How many frames are due of what is to be played, until the load ends."""
        events = self.host.events - self._founded
        if self._players.rate:
            return min(events, int(self._tempo.due(self._seconds)))
        items = self._archive.items()
        return sum(self._tempo.when(number, item.time) <= self._seconds for number, item in enumerate(items))

    def _operations(self) -> Iterator[tuple[str, object]]:
        """Of each account the first, which says who it is."""
        known: set[int] = set()
        for item in self._archive.items(holds=DOCUMENTS):
            if item.kind == Kind.OPERATION and item.did_key not in known:
                known.add(item.did_key)
                yield _identity(item)

    async def _until_taken(self, ops: str, frames: int) -> None:
        """Frames of the archive that are in the log, or refused."""
        quiet = 0
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            while quiet < _QUIET:
                await asyncio.sleep(_LOOK)
                under_way = await self._look(session, ops)
                quiet = quiet + 1 if under_way == 0 and self.host.sent >= frames else 0

    async def _look(self, session: aiohttp.ClientSession, ops: str) -> float:
        """Count on, over restarts of the target; how many messages are read and not yet in the log, or -1."""
        try:
            async with session.get(f"{ops}/metrics") as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return -1.0  # its deaths are counted elsewhere
        now = dict[str, float]()
        for name, value in _COUNTED.findall(text):
            now[name] = now.get(name, 0.0) + float(value)
        self._taken += self._more(now, _TAKEN)
        self._dropped += self._more(now, _DROPPED)
        return now.get(_UNDER_WAY, -1.0)

    def _more(self, now: dict[str, float], name: str) -> float:
        value, before = now.get(name, 0.0), self._seen.get(name, 0.0)
        self._seen[name] = value
        return value - before if value >= before else value


def _identity(item: Item) -> tuple[str, object]:
    operation = msgspec.json.decode(item.data)
    try:
        return str(parse(operation).did), operation
    except Refused as refused:
        raise PlayerError(f"an operation of the archive does not hold: {refused}") from None

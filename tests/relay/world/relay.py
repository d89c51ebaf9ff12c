"""A relay with its real log, store and connections, in this process; `reopen` opens the same files again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from ingest.identity.did_doc import DidDocument
from ingest.identity.resolver import IdentityResolver
from ingest.identity.ssrf import LOOPBACK, AddressGuard
from ingest.log_sqlite.log import SqliteLog
from ingest.relay.outgoing import Outgoing
from ingest.relay.own_accounts import OthersOnly
from ingest.relay.parts import RelayParts, RelaySettings
from ingest.relay.patience import Patience
from ingest.relay.relay import Relay
from ingest.relay.tee import Tee
from ingest.relay.verifier import InlineVerifier
from schemas.entries import Entry
from schemas.syntax import Did, Handle
from tests.relay.world.host import START
from tests.relay.world.people import People

SECONDS = 60.0
NOW = START + 86_400_000_000


async def until(holds: Callable[[], Any], what: str = "", seconds: float = SECONDS) -> None:
    """Return once `holds()`; AssertionError after a minute."""
    try:
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110 - whatever it is, nothing tells of it
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"did not come to hold within {seconds} s: {what or holds}") from None


async def no_handle(_did: Did, _document: DidDocument, _fresh: bool) -> Handle | None:  # noqa: FBT001
    return None


class World:
    """`async with World(tmp_path, people, hosts=(...)) as world`. `settings` are of `RelaySettings`.

    `neighbours`: hosts of a cluster that the relay is of, of whose accounts it takes nothing.
    """

    def __init__(
        self,
        directory: Path,
        people: People,
        *,
        crawl: tuple[str, ...] = (),
        hosted: Callable[[str], bool] = lambda _: False,
        patience: Patience | None = None,
        neighbours: frozenset[str] = frozenset(),
        **settings: Any,
    ) -> None:
        self.directory = directory
        self.people = people
        self.crawl = crawl
        self.hosted = hosted
        self.patience = patience
        self.neighbours = neighbours
        self.tee: Tee | None = None
        given = {"private": True, "first_pause": 0.02, "save_seconds": 0.05, "introduce": False}
        self.settings = RelaySettings(**given | settings)
        self.log: SqliteLog
        self.relay: Relay
        self.resolver: IdentityResolver
        self.outgoing: Outgoing

    async def __aenter__(self) -> Self:
        await self.open()
        for name in self.crawl:
            await self.relay.add_host(name)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log = await self.open_log()
        self.resolver = self.people.resolver()
        self.outgoing = Outgoing(AddressGuard(LOOPBACK), private=True, patience=self.patience)
        self.relay = await Relay.open(
            RelayParts(
                path=self.directory / "relay.sqlite",
                log=self.log,
                resolver=OthersOnly(self.resolver, lambda: self.neighbours),
                handle_of=no_handle,
                verifier=InlineVerifier(),
                outgoing=self.outgoing,
                hosted=self.hosted,
                settings=self.settings,
                now=lambda: NOW,
                tee=self.tee,
            )
        )

    async def open_log(self) -> Any:
        """A log of its own, on SQLite."""
        return await SqliteLog.open(self.directory / "log.sqlite")

    async def close(self) -> None:
        await self.relay.close()
        await self.outgoing.close()
        await self.resolver.close()
        await self.log.close()

    async def reopen(self) -> None:
        await self.close()
        await self.open()

    @property
    def dropped(self) -> Counter[str]:
        """Reasons, of all hosts."""
        total: Counter[str] = Counter()
        for host in self.relay.known:
            total.update(host.dropped)
        return total

    async def taken(self, host: Any) -> None:
        """Return once all that a host has said is in the log or refused, and nobody catches up."""
        relay = self.relay

        def done() -> bool:
            known = relay.host(host.name)
            return known is not None and (known.seq or 0) >= host.seq and not len(relay.resync)

        await until(done, f"{host.name} at {host.seq}: {self.dropped}")

    async def entries(self) -> list[Entry]:
        """All that is in `commits`, in order."""
        found: list[Entry] = []
        after = 0
        while page := await self.log.read_commits(0, after, 1_000):
            after = page[-1][0]
            found += [entry for _, entry in page]
        return found

    def paths(self, did: str) -> list[str]:
        return self.log.paths(did, limit=10_000)

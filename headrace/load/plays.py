"""All players of a run: their archives, made before the target starts; what they need of it; and their beginning.

Does not own how each plays (`players.py`, `upstream.py`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self

from headrace.load.archive.reader import Archive
from headrace.load.famous import Famous
from headrace.load.front import Front
from headrace.load.plan import Plan
from headrace.load.players import Playing, archive_of
from headrace.load.result import Player
from headrace.load.series import Series
from headrace.load.serve_archive import ArchiveHost
from headrace.load.started import Setting, Started
from headrace.load.target import RunningTarget
from headrace.load.upstream import Upstream
from headrace.load.world import World

_READY_SECONDS = 120.0


class Plays:
    """Use as a context: relays and hosts are served in it."""

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], None]) -> None:
        self._plan, self._folder, self._say = plan, folder, say
        self._stack = AsyncExitStack()
        self._upstreams: list[Upstream] = []
        self._playing: list[Playing] = []
        self._famous: dict[str, Famous] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def serve(self) -> dict[str, Setting]:
        """Begin those that are read; the settings with which the target does. Raises PlayerError, TargetError."""
        for name, players in self._plan.players.items():
            if players.through != "log":
                made = Upstream(name, players, await self._archive(name))
                self._upstreams.append(await self._stack.enter_async_context(made))
        settings: dict[str, Setting] = {}
        for upstream in self._upstreams:
            settings.update(upstream.settings)
        for key in ("relay_upstreams", "relay_crawl"):
            if key in settings:
                settings[key] = ",".join(str(each.settings[key]) for each in self._upstreams if key in each.settings)
        hosts = [each.host for each in self._upstreams if each.is_host]
        if hosts:
            settings["plc_url"] = await self._directory(hosts)
        return settings

    async def _directory(self, hosts: list[ArchiveHost]) -> str:
        """One of the run's own behind, and before it what knows the accounts of hosts. Raises TargetError."""
        plc = Started("plc", "plc", self._folder / "players-plc", {}, _READY_SECONDS)
        self._stack.push_async_callback(plc.close)
        await plc.start()
        front = await self._stack.enter_async_context(Front(plc.addresses["plc"].rstrip("/"), hosts))
        return front.url

    async def prepare(self, target: RunningTarget, world: World) -> None:
        """Before the load: synthetic networks come into being. Raises PlayerError."""
        for name, players in self._plan.players.items():
            if players.through == "log":
                playing = Playing(name, players, await self._archive(name), target.data)
                await asyncio.to_thread(playing.prepare)
                self._founded(name, await playing.found())
                self._playing.append(playing)
        for upstream in self._upstreams:
            if upstream.is_host:
                await target.trust(upstream.host.url)
            self._founded(upstream.name, await upstream.found(target.plc, target.relay))
        for name, players in self._plan.players.items():
            if players.followers and not players.archive:
                famous = self._famous[name] = Famous(players, self._plan.seed)
                await famous.follow(target.url, world)

    def begin(self, target: RunningTarget, begin: float) -> list[asyncio.Task[Player]]:
        """Each of them, as a task. `begin` is of CLOCK_MONOTONIC."""
        seconds = self._plan.load.seconds
        return [
            *(asyncio.create_task(each.run(begin, seconds)) for each in self._playing),
            *(asyncio.create_task(each.run(target.relay, begin, seconds)) for each in self._upstreams),
        ]

    async def check(self, url: str, world: World, players: list[Player], series: Series) -> None:
        """When the views have seen everything: is it shown as it was played."""
        for player in players:
            if player.name in self._famous and not player.error:
                await self._famous[player.name].check(url, world, player, series)

    def _founded(self, name: str, frames: int) -> None:
        self._say(f"{name}: {frames} frames of accounts that came into being")

    async def _archive(self, name: str) -> Archive:
        """What a player plays. A thread makes it, which is told when nobody waits for it any more."""
        self._say(f"making ready what {name} plays")
        stop = Event()
        try:
            return await asyncio.to_thread(archive_of, name, self._plan, self._folder, os.cpu_count() or 1, stop)
        finally:
            stop.set()

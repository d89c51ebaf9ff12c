"""A cluster of all roles on a stack of its own with somebody in it: accounts that write and read, a host that speaks.

What they do goes on through every fault; what is answered with an error is counted. Does not own the roles
(`roles.py`), the stack (`stack.py`) nor what is looked at (`prometheus.py`).
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp

from ingest.relay.directory import HostLimits
from ingest.relay.hosts_store import HostRow, HostsStore
from tests.relay.world.host import START, Host
from tests.relay.world.people import People, served
from tests.support.devstack.stack import Stack
from tests.support.roles import Role, RolesCluster

PEOPLE = 2
EVERY = 0.5  # seconds between two things that somebody does
READY_SECONDS = 600.0  # a store that has just begun makes every table, and a broker every topic
_ANSWER_SECONDS = aiohttp.ClientTimeout(total=15)
_NOW = "2026-11-21T10:00:00.000Z"


class Crowd:
    """Its loop runs in a thread of its own: who watches may wait without one. `did` counts by what was answered."""

    def __init__(self) -> None:
        self.did: Counter[str] = Counter()
        self.posts: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._stack = AsyncExitStack()
        self._busy: list[Future[None]] = []
        self.host: Host
        self.plc: str

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        for work in self._busy:
            work.cancel()
        self._run(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def live(self, cluster: RolesCluster) -> None:
        """Everybody joins and begins."""
        for number in range(PEOPLE):
            token, did = self._run(self._join(cluster["pds"].url, f"busy{number}"))
            self._keep(lambda token=token, did=did: self._write(cluster["pds"].url, token, did))
            self._keep(lambda token=token: self._read(cluster["pds"].url, token))
        self._keep(self._speak)

    def rest(self, url: str, name: str) -> str:
        """Somebody joins, posts once, and does nothing more; the post's URI."""
        token, did = self._run(self._join(url, name))
        self._run(self._write(url, token, did))
        return next(uri for uri in reversed(self.posts) if uri.startswith(f"at://{did}/"))

    async def _open(self) -> None:
        people = People()
        self.host = await self._stack.enter_async_context(Host(people))
        self.plc = await self._stack.enter_async_context(served(people))
        self._http = await self._stack.enter_async_context(aiohttp.ClientSession(timeout=_ANSWER_SECONDS))
        self._member = self.host.add(9_001)

    async def _join(self, url: str, name: str) -> tuple[str, str]:
        new = {"handle": f"{name}.test", "email": f"{name}@example.com", "password": "a long password"}
        async with self._http.post(f"{url}/xrpc/com.atproto.server.createAccount", json=new) as answer:
            made = await answer.json()
            assert answer.status == 200, made
            return made["accessJwt"], made["did"]

    async def _write(self, url: str, token: str, did: str) -> None:
        kind = "app.bsky.feed.post"
        record = {"$type": kind, "text": "busy", "createdAt": _NOW}
        body = {"repo": did, "collection": kind, "record": record}
        headers = {"Authorization": f"Bearer {token}"}
        address = f"{url}/xrpc/com.atproto.repo.createRecord"
        async with self._http.post(address, json=body, headers=headers) as answer:
            self.did[f"write {answer.status}"] += 1
            if answer.status == 200:
                self.posts.append((await answer.json())["uri"])

    async def _read(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        async with self._http.get(f"{url}/xrpc/app.bsky.feed.getTimeline", headers=headers) as answer:
            self.did[f"read {answer.status}"] += 1
            await answer.read()

    async def _speak(self) -> None:
        await self.host.say(self._member.write())
        self.did["said"] += 1

    def _keep(self, step: Callable[[], Awaitable[None]]) -> None:
        async def on() -> None:
            while True:
                try:
                    await step()
                except (aiohttp.ClientError, TimeoutError) as error:
                    self.did[type(error).__name__] += 1
                await asyncio.sleep(EVERY)

        self._busy.append(asyncio.run_coroutine_threadsafe(on(), self._loop))

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


def relay(cluster: RolesCluster, crowd: Crowd) -> Role:
    """It reads the crowd's host, as a trusted one."""
    role = cluster.role("relay", plc_url=crowd.plc, relay_port="0")
    role.directory.mkdir(parents=True)
    store = HostsStore(role.directory / "relay.sqlite")
    store.put_host(HostRow(0, crowd.host.name, crowd.host.url, None, START, False, False, True, False, HostLimits()))
    store.close()
    return role


def canary(cluster: RolesCluster) -> Role:
    pds, appview = cluster["pds"].url, cluster["appview"].url
    given = {"canary_pds": pds, "appview_url": appview, "canary_handle": "canary.test", "canary_seconds": "2"}
    return cluster.role("canary", **given)


@contextmanager
def busy_cluster(directory: Path, stack: Stack, name: str, **settings: str) -> Iterator[tuple[RolesCluster, Crowd]]:
    """Every role there is, each once, and the crowd that is in it."""
    cql = (stack.hosts[0], stack.port)
    made = RolesCluster(directory, stack.servers, cql, name, log_level="warning", **settings)
    made.patience = READY_SECONDS
    with Crowd() as crowd:
        try:
            made.start()
            relay(made, crowd).begin()
            canary(made).start()
            made["relay"].await_ready()
            crowd.live(made)
            yield made, crowd
        finally:
            made.kill()

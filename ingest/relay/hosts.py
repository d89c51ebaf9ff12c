"""The hosts while a relay runs: each with its subscription, which ends and begins anew as what is known of it changes.

Does not own which hosts may be read (`ingest.relay.admission`), what is asked of a relay (`ingest.relay.relay`), nor
the file (`ingest.relay.hosts_store`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping

import structlog

from ingest.relay.directory import HostView
from ingest.relay.hosts_store import HostRow, HostsStore
from ingest.relay.subscription import Host, Subscription

_WAKE_SECONDS = 60.0  # how often requests may hurry a host that cannot be reached

_log = structlog.get_logger()


class Hosts:
    """Iterates as they came. `subscribed` makes a host's subscription; `ended` is told of each that ends by itself.

    `teed` returns once the tee has what cursors may pass.
    """

    def __init__(
        self,
        store: HostsStore,
        subscribed: Callable[[Host], Subscription],
        ended: Callable[[asyncio.Task[None]], None],
        *,
        accounts: int,
        teed: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._subscribed = subscribed
        self._ended = ended
        self._accounts = accounts
        self._teed = teed
        self._hosts: dict[str, Host] = {}
        self._by_number: dict[int, str] = {}
        self._subscriptions: dict[str, tuple[Subscription, asyncio.Task[None]]] = {}
        self._woken: dict[str, float] = {}
        self._changes = asyncio.Lock()
        self._changing: str | None = None

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts.values())

    def get(self, name: str) -> Host | None:
        return self._hosts.get(name.lower())

    def page(self, after: int, limit: int) -> list[tuple[int, Host]]:
        """At most `limit` with a number above `after`."""
        numbers = [number for number in self._by_number if number > after][:limit]
        return [(number, self._hosts[self._by_number[number]]) for number in numbers]

    def open(self) -> None:
        """Go on with each that the file knows."""
        for row in self._store.hosts():
            self._enter(row)

    async def close(self) -> None:
        """Disconnect."""
        async with self._changes:
            for name in list(self._subscriptions):
                await self._stop(name)

    def add(self, row: HostRow) -> Host:
        """A new one; it is read at once."""
        _log.info("a host to read", host=row.hostname, upstream=row.upstream)
        return self._enter(self._store.put_host(row))

    async def change(self, name: str, other: Callable[[HostRow], HostRow]) -> Host:
        """Another row: the host begins anew where its messages under way end. One change after the other.

        It holds at once, and whatever comes of it: who asks for the host meanwhile is told so.
        """
        async with self._changes:
            host = self._hosts[name]
            if host.row == (row := other(host.row)):
                return host
            host.row = self._store.put_host(row)
            self._changing = name
            try:
                await self._stop(name)
                await self._teed()
                cursor = host.progress.reached
                self._store.put_cursor(name, cursor)
                self._store.flush()
                host.row = host.row._replace(cursor=cursor)
            finally:
                self._changing = None
                changed = self._enter(host.row)
                changed.accepted, changed.dropped = host.accepted, host.dropped
            return changed

    def wake(self, host: Host) -> None:
        """Somebody asks for it: one that is not connected is tried now, though not too often."""
        if host.row.banned or host.name == self._changing:
            return
        clock = asyncio.get_running_loop().time()
        running = self._subscriptions.get(host.name)
        if host.connected or clock - self._woken.get(host.name, -_WAKE_SECONDS) < _WAKE_SECONDS:
            return
        self._woken[host.name] = clock
        if running is None or running[1].done():
            self._start(host)
        else:
            running[0].wake()

    def cut(self, host: Host) -> None:
        """Close its connection; it is opened again after the backoff."""
        running = self._subscriptions.get(host.name)
        if running is not None:
            running[0].cut()

    def reached(self) -> dict[str, int | None]:
        """What cursors may say now, by host."""
        return {host.name: host.progress.reached for host in self}

    def put_cursors(self, upto: Mapping[str, int | None] | None = None) -> None:
        """HOT for many hosts: no more than a look at each. `upto`: what `reached` said before."""
        for host in self:
            reached = host.progress.reached if upto is None else upto.get(host.name, host.row.cursor)
            if reached != host.row.cursor:
                host.row = host.row._replace(cursor=reached)
                self._store.put_cursor(host.name, reached)

    def _enter(self, row: HostRow) -> Host:
        counts = self._store.counts
        host = Host(row, accounts=lambda: counts[row.hostname], limit=self._accounts)
        self._hosts[row.hostname] = host
        self._by_number[row.number] = row.hostname
        if not row.banned:
            self._start(host)
        return host

    def _start(self, host: Host) -> None:
        subscription = self._subscribed(host)
        task = asyncio.get_running_loop().create_task(subscription.run(), name=f"host {host.name}")
        task.add_done_callback(self._ended)
        self._subscriptions[host.name] = (subscription, task)

    async def _stop(self, name: str) -> None:
        running = self._subscriptions.pop(name, None)
        if running is not None:
            running[1].cancel()
            await asyncio.gather(running[1], return_exceptions=True)


def view_of(host: Host) -> HostView:
    """A host as it is shown."""
    row = host.row
    return HostView(
        row.hostname,
        row.url,
        host.status,
        host.progress.reached,
        host.accounts,
        row.limits,
        row.upstream,
        row.trusted,
        row.added,
        host.failures,
    )

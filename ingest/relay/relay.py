"""A relay: hosts and their subscriptions, the intake they share, repairs, and what is saved of it all.

`ingest.relay.directory.RelayDirectory` over `HostsStore` and a log. Cursors are saved every few seconds and at the
end, after what they cover is in the log. Does not own the log, HTTP, nor who may call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog

from ingest.identity.resolver import DidResolver
from ingest.log import Head, RepoIndex
from ingest.relay.directory import AccountView, HostLimits, HostView
from ingest.relay.hostnames import Origin, is_under, parse_host
from ingest.relay.hosts_store import HostRow, HostsStore
from ingest.relay.intake import HandleOf, Intake
from ingest.relay.lines import Lines
from ingest.relay.outgoing import Outgoing
from ingest.relay.quotas import Rate, Windows
from ingest.relay.reasons import RelayReason
from ingest.relay.repo_diff import RepoLog
from ingest.relay.resync import Resync
from ingest.relay.subscription import Host, Subscription
from ingest.relay.verifier import Verifier
from schemas.crash import point
from schemas.entries import Moderation
from schemas.errors import Refused
from schemas.syntax import Did

SAVE_SECONDS = 4.0  # as the reference relay
_WAKE_SECONDS = 60.0  # how often requests may hurry a host that cannot be reached
_END_SECONDS = 1.0
_CHECKS = 8  # hosts looked at because somebody asked, at once
_DAY_MICROS = 86_400_000_000
_TAKEDOWN = "relay"

_log = structlog.get_logger()


class RelayLog(RepoLog, RepoIndex, Protocol):
    """What a relay needs of a log."""


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """`ours`: names that this process itself answers to, never crawled. `private`: http and private addresses."""

    ours: frozenset[str] = frozenset()
    private: bool = False
    lenient: bool = False
    backlog: bool = True
    whole: bool = False
    introduce: bool = True
    host_accounts: int = 100
    new_hosts_day: int = 50
    account_events_hour: int = 5_000
    repo_limit: int = 100_000_000
    save_seconds: float = SAVE_SECONDS
    first_pause: float = 1.0


@dataclass(frozen=True, slots=True)
class RelayParts:
    """What a relay is made of; the relay closes none of it but its own file. `path` is that file."""

    path: Path
    log: RelayLog
    resolver: DidResolver
    handle_of: HandleOf
    verifier: Verifier
    outgoing: Outgoing
    hosted: Callable[[str], bool]
    settings: RelaySettings
    now: Callable[[], int] = lambda: time.time_ns() // 1000


class Relay:
    """Make one with `Relay.open(parts)`, end it with `close`; `stopped` tells when it has ended by itself."""

    def __init__(self, parts: RelayParts) -> None:
        settings = parts.settings
        self._parts = parts
        self._settings = settings
        self._log = parts.log
        self._now = parts.now
        self.store = HostsStore(parts.path)
        self.lines = Lines()
        self.intake = Intake(
            self.lines,
            parts.log,
            parts.resolver,
            parts.verifier,
            hosted=parts.hosted,
            handle_of=parts.handle_of,
            accounts=self.store,
            quota=Windows(Rate(settings.account_events_hour, 3_600)),
            lenient=settings.lenient,
            introduce=settings.introduce,
            whole=settings.whole,
            now=parts.now,
        )
        self.resync = self.intake.repairs = Resync(
            parts.log,
            self.intake,
            self.lines,
            parts.resolver,
            saved=self.store,
            fetch=parts.outgoing,
            repo_limit=settings.repo_limit,
            now=parts.now,
        )
        self._bans = set(self.store.domain_bans())
        self._hosts: dict[str, Host] = {}
        self._by_number: dict[int, str] = {}
        self._subscriptions: dict[str, tuple[Subscription, asyncio.Task[None]]] = {}
        self._woken: dict[str, float] = {}
        self._checks = asyncio.Semaphore(_CHECKS)
        self._tasks: list[asyncio.Task[Any]] = []
        self._failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, parts: RelayParts) -> Relay:
        """Read the hosts that are known, and go on with each."""
        relay = cls(parts)
        for row in relay.store.hosts():
            relay._enter(row)
        relay._keep(relay.resync.run())
        relay._keep(relay._save_often())
        relay._keep(relay.lines.failed())
        return relay

    async def stopped(self) -> BaseException:
        """Returns when the relay has ended by itself, with why: the process is to end."""
        return await asyncio.shield(self._failure)

    async def close(self) -> None:
        """Disconnect, give what is under way a moment, save."""
        for name in list(self._subscriptions):
            await self._stop(name)
        try:
            await self.lines.settle(_END_SECONDS)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._put_cursors()
            await self.lines.close()
            self.store.close()

    @property
    def known(self) -> Iterable[Host]:
        """All hosts, as they came."""
        return self._hosts.values()

    # what is asked

    def hosts(self, after: int, limit: int) -> list[tuple[int, HostView]]:
        numbers = [number for number in self._by_number if number > after][:limit]
        return [(number, self._view(self._hosts[self._by_number[number]])) for number in numbers]

    def host(self, hostname: str) -> HostView | None:
        found = self._hosts.get(hostname.lower())
        return None if found is None else self._view(found)

    def domain_bans(self) -> list[str]:
        return sorted(self._bans)

    def accounts(self, after: int, limit: int) -> list[AccountView]:
        found = self.store.accounts(after, limit)
        return [self._account(number, did, host, self._log.head(did)) for number, did, host in found]

    def account(self, did: str) -> AccountView | None:
        found, head = self.store.account(did), self._log.head(did)
        if found is None:
            return None if head is None else self._account(0, head.did, None, head)
        return self._account(found[0], Did(did), found[1], head)

    # what is done

    async def request_crawl(self, hostname: str, *, via: tuple[str, ...] = ()) -> HostView:
        origin = self._allowed(hostname)
        if any(name.lower() in self._settings.ours for name in via):
            raise Refused(RelayReason.LOOP, f"the request for {origin.hostname} has come through here before")
        known = self._hosts.get(origin.hostname)
        if known is not None:
            self._wake(known)
            return self._view(known)
        async with self._checks:
            self._check_new_hosts()
            await self._parts.outgoing.check_pds(origin.url)
            self._check_new_hosts()
            if origin.hostname not in self._hosts:
                self._add(origin, asked=True)
        return self._view(self._hosts[origin.hostname])

    async def add_host(self, hostname: str, *, upstream: bool = False, trusted: bool = False) -> HostView:
        origin = self._allowed(hostname)
        known = self._hosts.get(origin.hostname)
        if known is None:
            self._add(origin, upstream=upstream, trusted=trusted)
        elif (known.row.upstream, known.row.trusted) != (upstream, trusted):
            await self._change(known, known.row._replace(upstream=upstream, trusted=trusted))
        else:
            self._wake(known)
        return self._view(self._hosts[origin.hostname])

    async def ban_host(self, hostname: str, *, banned: bool) -> HostView:
        host = self._host(hostname)
        if host.row.banned != banned:
            host = await self._change(host, host.row._replace(banned=banned))
        return self._view(host)

    async def set_limits(self, hostname: str, limits: HostLimits, *, trusted: bool) -> HostView:
        host = self._host(hostname)
        host.row = self.store.put_host(host.row._replace(limits=limits, trusted=trusted))
        host.buckets.change(host.rates())
        return self._view(host)

    async def disconnect(self, hostname: str) -> HostView:
        host = self._host(hostname)
        running = self._subscriptions.get(host.name)
        if running is not None:
            running[0].cut()
        return self._view(host)

    async def ban_domain(self, domain: str, *, banned: bool) -> None:
        name = parse_host(domain, private=self._settings.private).hostname
        self.store.ban_domain(name, banned=banned)
        if not banned:
            self._bans.discard(name)
            return
        self._bans.add(name)
        for host in list(self._hosts.values()):
            if is_under(host.name, {name}) and not host.row.banned:
                await self._change(host, host.row._replace(banned=True))

    async def take_down(self, did: Did, *, taken_down: bool) -> AccountView:
        if self.account(did) is None:
            raise Refused(RelayReason.ACCOUNT_UNKNOWN, f"{did} was never seen here")
        await self._log.append(Moderation(did, _TAKEDOWN if taken_down else None))
        found = self.account(did)
        assert found is not None
        return found

    def _allowed(self, hostname: str) -> Origin:
        origin = parse_host(hostname, private=self._settings.private)
        if origin.hostname in self._settings.ours:
            raise Refused(RelayReason.HOST_OURS, f"{origin.hostname} is this server: its accounts are here already")
        known = self._hosts.get(origin.hostname)
        if is_under(origin.hostname, self._bans) or (known is not None and known.row.banned):
            raise Refused(RelayReason.HOST_BANNED, f"{origin.hostname} is banned here")
        return origin

    def _check_new_hosts(self) -> None:
        most = self._settings.new_hosts_day
        if self.store.asked_since(self._now() - _DAY_MICROS) >= most:
            raise Refused(RelayReason.NEW_HOSTS_QUOTA, f"{most} new hosts were taken in within a day: ask tomorrow")

    def _host(self, hostname: str) -> Host:
        found = self._hosts.get(hostname.lower())
        if found is None:
            raise Refused(RelayReason.HOST_UNKNOWN, f"{hostname[:253]} is not known here")
        return found

    def _add(self, origin: Origin, *, upstream: bool = False, trusted: bool = False, asked: bool = False) -> None:
        row = HostRow(0, origin.hostname, origin.url, None, self._now(), False, upstream, trusted, asked, HostLimits())
        self._enter(self.store.put_host(row))
        _log.info("a host to read", host=origin.hostname, upstream=upstream)

    async def _change(self, host: Host, row: HostRow) -> Host:
        """Another row: the host begins anew where its messages under way end."""
        await self._stop(host.name)
        cursor = host.progress.reached
        self.store.put_cursor(host.name, cursor)
        self.store.flush()
        changed = self._enter(self.store.put_host(row)._replace(cursor=cursor))
        changed.accepted, changed.dropped = host.accepted, host.dropped
        return changed

    def _enter(self, row: HostRow) -> Host:
        counts = self.store.counts
        host = Host(row, accounts=lambda: counts[row.hostname], limit=self._settings.host_accounts)
        self._hosts[row.hostname] = host
        self._by_number[row.number] = row.hostname
        if not row.banned:
            self._start(host)
        return host

    def _start(self, host: Host) -> None:
        subscription = Subscription(
            host,
            self.intake,
            self._parts.outgoing,
            backlog=self._settings.backlog,
            first_pause=self._settings.first_pause,
        )
        task = asyncio.get_running_loop().create_task(subscription.run(), name=f"host {host.name}")
        task.add_done_callback(self._ended)
        self._subscriptions[host.name] = (subscription, task)

    async def _stop(self, name: str) -> None:
        running = self._subscriptions.pop(name, None)
        if running is not None:
            running[1].cancel()
            await asyncio.gather(running[1], return_exceptions=True)

    def _wake(self, host: Host) -> None:
        clock = asyncio.get_running_loop().time()
        running = self._subscriptions.get(host.name)
        if host.connected or clock - self._woken.get(host.name, -_WAKE_SECONDS) < _WAKE_SECONDS:
            return
        self._woken[host.name] = clock
        if running is None or running[1].done():
            self._start(host)
        else:
            running[0].wake()

    async def _save_often(self) -> None:
        while True:
            await asyncio.sleep(self._settings.save_seconds)
            self.save()

    def save(self) -> None:
        """Cursors, and what belongs to them. HOT for many hosts: no more than a look at each."""
        self._put_cursors()
        point("relay.before_cursors")
        self.store.flush()
        point("relay.after_cursors")
        for host in self._hosts.values():
            host.buckets.change(host.rates())

    def _put_cursors(self) -> None:
        for host in self._hosts.values():
            reached = host.progress.reached
            if reached != host.row.cursor:
                host.row = host.row._replace(cursor=reached)
                self.store.put_cursor(host.name, reached)

    def _keep(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled() or self._failure.done():
            return
        cause = task.exception() or task.result()
        if isinstance(cause, BaseException):
            self._failure.set_result(cause)

    def _view(self, host: Host) -> HostView:
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

    def _account(self, number: int, did: Did, host: str | None, head: Head | None) -> AccountView:
        known = Head(did) if head is None else head
        status = known.effective_status
        if status == "active" and self.resync.holds(did):
            status = "desynchronized"
        return AccountView(did, host, status, known.rev, known.data, known.commit, number)

"""A relay: hosts and their subscriptions, the intake they share, repairs, and what is saved of it all.

`ingest.relay.directory.RelayDirectory` over `HostsStore` and a log. Cursors are saved every few seconds and at the
end, after what they cover is in the log. Does not own the log, HTTP, nor who may call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ingest.relay.admission import Admission, banned_host
from ingest.relay.backfill_parts import backfills
from ingest.relay.backfill_view import BackfillView
from ingest.relay.directory import AccountView, HostLimits, HostView, NewHosts
from ingest.relay.hostnames import Origin, is_under
from ingest.relay.hosts import Hosts, view_of
from ingest.relay.hosts_store import HostRow, HostsStore
from ingest.relay.intake import Intake
from ingest.relay.lines import Lines
from ingest.relay.parts import RelayParts
from ingest.relay.quotas import Rate, Windows
from ingest.relay.reasons import RelayReason
from ingest.relay.resync import Resync
from ingest.relay.seen_accounts import SeenAccounts
from ingest.relay.strangers import Strangers
from ingest.relay.subscription import Host, Subscription
from ingest.relay.tee import Teed
from schemas.crash import point
from schemas.errors import Refused
from schemas.syntax import Did

_END_SECONDS = 1.0
_CHECKS = 8  # hosts looked at because somebody asked, at once


class Relay:
    """Make one with `Relay.open(parts)`, end it with `close`; `stopped` tells when it has ended by itself."""

    def __init__(self, parts: RelayParts) -> None:
        settings = parts.settings
        self._parts = parts
        self._settings = settings
        self.store = HostsStore(parts.path)
        self.lines = Lines()
        self._admission = Admission(self.store, settings, parts.now)
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
        self.resync = self.intake.judge.repairs = Resync(
            parts.log,
            self.intake,
            self.lines,
            parts.resolver,
            saved=self.store,
            fetch=parts.outgoing,
            repo_limit=settings.repo_limit,
            now=parts.now,
        )
        self.strangers = self.intake.strangers = Strangers(
            self.intake.take,
            self.lines,
            parts.resolver,
            self.resync,
            self.store,
            first_pause=settings.first_pause,
        )
        self.resync.waits = self.strangers.waits
        self.resync.is_banned = self.intake.authority.is_banned = self._is_banned
        self._accounts = SeenAccounts(self.store, parts.log, self.resync.holds)
        self._hosts = Hosts(
            self.store, self._subscription, self._ended, accounts=settings.host_accounts, teed=self._teed
        )
        self.backfills, self._backfill_store = backfills(
            parts, self.intake, self.resync, host_of=self._hosts.get, allowed=self._allowed
        )
        self._checks = asyncio.Semaphore(_CHECKS)
        self._tasks: list[asyncio.Task[Any]] = []
        self._failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, parts: RelayParts) -> Relay:
        """Read the hosts that are known, and go on with each."""
        relay = cls(parts)
        relay._hosts.open()
        relay.strangers.recall(relay._hosts.get)
        relay._keep(relay.resync.run())
        relay._keep(relay.strangers.run())
        relay._keep(relay.backfills.run())
        relay._keep(relay._save_often())
        relay._keep(relay.lines.failed())
        return relay

    async def stopped(self) -> BaseException:
        """Returns when the relay has ended by itself, with why: the process is to end."""
        return await asyncio.shield(self._failure)

    async def close(self) -> None:
        """Disconnect, give what is under way a moment, save."""
        await self._hosts.close()
        try:
            await self.lines.settle(_END_SECONDS)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            try:
                await self._teed()
                self._hosts.put_cursors()
            finally:
                await self.lines.close()
                self._backfill_store.close()
                self.store.close()

    @property
    def known(self) -> Iterable[Host]:
        """All hosts, as they came."""
        return self._hosts

    def running(self, hostname: str) -> Host | None:
        """A host as it is read now; None when it is not known."""
        return self._hosts.get(hostname)

    # what is asked

    def hosts(self, after: int, limit: int) -> list[tuple[int, HostView]]:
        return [(number, view_of(host)) for number, host in self._hosts.page(after, limit)]

    def host(self, hostname: str) -> HostView | None:
        found = self._hosts.get(hostname)
        return None if found is None else view_of(found)

    def domain_bans(self) -> list[str]:
        return self._admission.domain_bans()

    def accounts(self, after: int, limit: int) -> list[AccountView]:
        return self._accounts.accounts(after, limit)

    def account(self, did: str) -> AccountView | None:
        return self._accounts.account(did)

    # what is done

    async def request_crawl(self, hostname: str, *, via: tuple[str, ...] = ()) -> HostView:
        origin = self._allowed(hostname)
        self._admission.check_via(origin, via)
        known = self._hosts.get(origin.hostname)
        if known is not None:
            self._hosts.wake(known)
            return view_of(known)
        async with self._checks:
            self._admission.check_new()
            await self._parts.outgoing.check_pds(origin.url)
            self._admission.check_new()
            return view_of(self._hosts.get(origin.hostname) or self._add(origin, asked=True))

    async def add_host(self, hostname: str, *, upstream: bool = False, trusted: bool = False) -> HostView:
        origin = self._allowed(hostname)
        known = self._hosts.get(origin.hostname)
        if known is None:
            known = self._add(origin, upstream=upstream, trusted=trusted)
        elif (known.row.upstream, known.row.trusted) != (upstream, trusted):
            known = await self._hosts.change(known.name, lambda row: row._replace(upstream=upstream, trusted=trusted))
        else:
            self._hosts.wake(known)
        return view_of(known)

    async def backfill_host(self, hostname: str, *, upstream: bool = False, trusted: bool = False) -> BackfillView:
        """A host that is read already stays what it is, unless it is said to be more."""
        known = self._hosts.get(self._allowed(hostname).hostname)
        if known is not None:
            upstream, trusted = upstream or known.row.upstream, trusted or known.row.trusted
        return self.backfills.of_host(await self.add_host(hostname, upstream=upstream, trusted=trusted))

    async def ban_host(self, hostname: str, *, banned: bool) -> HostView:
        return view_of(await self._hosts.change(self._host(hostname).name, lambda row: row._replace(banned=banned)))

    async def set_limits(self, hostname: str, limits: HostLimits, *, trusted: bool) -> HostView:
        host = self._host(hostname)
        host.row = self.store.put_host(host.row._replace(limits=limits, trusted=trusted))
        host.buckets.change(host.rates())
        return view_of(host)

    async def disconnect(self, hostname: str) -> HostView:
        host = self._host(hostname)
        self._hosts.cut(host)
        return view_of(host)

    async def ban_domain(self, domain: str, *, banned: bool) -> None:
        name = self._admission.ban_domain(domain, banned=banned)
        for host in list(self._hosts) if banned else ():
            if is_under(host.name, {name}) and not host.row.banned:
                await self._hosts.change(host.name, lambda row: row._replace(banned=True))

    def new_hosts(self) -> NewHosts:
        return self._admission.new_hosts

    def take_new_hosts(self, wanted: NewHosts) -> None:
        self._admission.take_new_hosts(wanted)

    async def take_down(self, did: Did, *, taken_down: bool) -> AccountView:
        return await self._accounts.take_down(did, taken_down=taken_down)

    def _allowed(self, hostname: str) -> Origin:
        origin = self._admission.origin(hostname)
        known = self._hosts.get(origin.hostname)
        if known is not None and known.row.banned:
            raise banned_host(origin.hostname)
        return origin

    def _is_banned(self, url: str) -> bool:
        parts = urlsplit(url)
        # An address may name the usual port, or the root of all names: it is the same host.
        names = {parts.netloc.lower(), (parts.hostname or "").removesuffix(".")}
        known = [host for host in map(self._hosts.get, names) if host is not None]
        return any(host.row.banned for host in known) or any(map(self._admission.is_banned, names))

    def _host(self, hostname: str) -> Host:
        found = self._hosts.get(hostname)
        if found is None:
            raise Refused(RelayReason.HOST_UNKNOWN, f"{hostname[:253]} is not known here")
        return found

    def _add(self, origin: Origin, *, upstream: bool = False, trusted: bool = False, asked: bool = False) -> Host:
        row = HostRow(
            0, origin.hostname, origin.url, None, self._parts.now(), False, upstream, trusted, asked, HostLimits()
        )
        return self._hosts.add(row)

    def _subscription(self, host: Host) -> Subscription:
        outgoing, tee = self._parts.outgoing, self._parts.tee
        return Subscription(
            host,
            self.intake,
            outgoing if tee is None else Teed(outgoing, tee, host),
            backlog=self._settings.backlog,
            first_pause=self._settings.first_pause,
        )

    async def _save_often(self) -> None:
        while True:
            await asyncio.sleep(self._settings.save_seconds)
            reached = self._hosts.reached() if self._parts.tee is not None else None
            await self._teed()
            self.save(reached)

    async def _teed(self) -> None:
        """What has come up to now is on the tee's disk: cursors may pass it."""
        if self._parts.tee is not None:
            await self._parts.tee.flush()

    def save(self, upto: Mapping[str, int | None] | None = None) -> None:
        """Cursors (`upto` those), and what belongs to them. HOT for many hosts: no more than a look at each."""
        self._hosts.put_cursors(upto)
        point("relay.before_cursors")
        self.store.flush()
        point("relay.after_cursors")
        for host in self._hosts:
            host.buckets.change(host.rates())

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

"""The composition root of a relay's reading side: hosts in, log out. Beside a PDS in one process, or in its own role.

Does not own the listener (`headrace/wiring/relay_listener.py`) nor what a relay does (`ingest.relay`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from socket import socket
from urllib.parse import urlsplit

from headrace.metrics.backfill import BackfillCollector
from headrace.metrics.relay import RelayCollector
from headrace.metrics.tee import TeeCollector
from headrace.running import Running
from headrace.settings import Settings, SettingsError, where
from headrace.tee import WAITING_BYTES, ArchiveTee
from ingest.identity.did_doc import DidDocument
from ingest.identity.resolver import DidResolver, IdentityResolver
from ingest.identity.ssrf import LOOPBACK, AddressGuard
from ingest.relay import lines, resync, strangers
from ingest.relay.backfill_settings import BackfillSettings
from ingest.relay.outgoing import Outgoing
from ingest.relay.parts import RelayLog, RelayParts, RelaySettings
from ingest.relay.pool import VerifierPool
from ingest.relay.relay import Relay
from ingest.relay.verifier import InlineVerifier, Verifier
from schemas.errors import Refused
from schemas.syntax import Did, Handle

FILE = "relay.sqlite"


def is_wanted(settings: Settings) -> bool:
    """Whether this process is to read other people's hosts: it is told to, or did so before."""
    return bool(settings.relay_crawl or settings.relay_upstreams or (settings.data / FILE).exists())


def own_names(settings: Settings, sockets: Iterable[socket]) -> frozenset[str]:
    """What other people's servers, and requests to crawl, may call this one."""
    names = {settings.hostname.lower()}
    if settings.public_url is not None:
        names.add(urlsplit(settings.public_url).netloc.lower())
    for bound in sockets:
        port = bound.getsockname()[1]
        names |= {f"{name}:{port}" for name in ("localhost", "127.0.0.1", settings.hostname.lower())}
    return frozenset(names)


async def crawl(
    running: Running,
    settings: Settings,
    *,
    log: RelayLog,
    resolver: IdentityResolver,
    hosted: Callable[[str], bool],
    ours: frozenset[str],
    dids: DidResolver | None = None,
) -> Relay:
    """A relay that reads; it ends with `running`, before its log. Raises SettingsError for a host that is none.

    `dids` tells who accounts are, where that is not `resolver` alone.
    """
    private = settings.allow_private_addresses
    outgoing = Outgoing(AddressGuard(LOOPBACK if private else ()), private=private)
    running.push(outgoing.close)

    async def handle_of(did: Did, document: DidDocument, fresh: bool) -> Handle | None:  # noqa: FBT001 - the port's
        if not document.handles:
            return None
        claimed = document.handles[0]
        return claimed if await resolver.handle(claimed, refresh=fresh) == did else None

    tee = None if settings.relay_tee is None else _tee(running, settings.relay_tee, dids or resolver)
    relay = await Relay.open(
        RelayParts(
            path=settings.data / FILE,
            log=log,
            resolver=dids or resolver,
            handle_of=handle_of,
            verifier=await _verifier(running, settings.relay_processes),
            outgoing=outgoing,
            hosted=hosted,
            tee=tee,
            settings=RelaySettings(
                ours=ours,
                private=private,
                lenient=settings.relay_lenient,
                backlog=settings.relay_backlog,
                whole=settings.relay_whole_repos,
                host_accounts=settings.relay_host_accounts,
                new_hosts_day=settings.relay_new_hosts_day,
                account_events_hour=settings.relay_account_events_hour,
                repo_limit=settings.relay_repo_limit,
                backfill=BackfillSettings(
                    settings.relay_backfill_per_second,
                    settings.relay_backfill_at_once_host,
                    settings.relay_backfill_at_once,
                ),
            ),
        )
    )
    running.push(relay.close)
    running.keep(relay.stopped(), "relay")
    running.registry.register(RelayCollector(relay))
    running.registry.register(BackfillCollector(relay.backfills))
    _show_queues(running, relay)
    for name, hosts in (("relay_crawl", settings.relay_crawl), ("relay_upstreams", settings.relay_upstreams)):
        for host in hosts:
            try:
                await relay.add_host(host, upstream=name == "relay_upstreams")
            except Refused as refused:
                raise SettingsError(f"{name}: {refused.detail}. Change it: {where(name)}") from None
    return relay


def _tee(running: Running, directory: Path, dids: DidResolver) -> ArchiveTee:
    tee = ArchiveTee(directory, dids)
    running.push(tee.close)
    running.keep(tee.run(), "tee")
    running.registry.register(TeeCollector(tee))
    running.queue("relay_tee", lambda: tee.waiting_bytes, WAITING_BYTES, "bytes")
    return tee


def _show_queues(running: Running, relay: Relay) -> None:
    under_way, repairs, unresolved = relay.lines, relay.resync, relay.strangers
    running.queue("relay_under_way", lambda: under_way.messages, lines.ROOM)
    running.queue("relay_under_way", lambda: under_way.size, lines.ROOM_BYTES, "bytes")
    running.queue("relay_repairs", lambda: len(repairs), resync.ACCOUNTS_MAX)
    running.queue("relay_repairs", lambda: repairs.held_bytes, resync.HELD_BYTES, "bytes")
    running.queue("relay_unresolved", lambda: len(unresolved), strangers.ACCOUNTS_MAX)
    running.queue("relay_unresolved", lambda: unresolved.held_bytes, strangers.HELD_BYTES, "bytes")


async def _verifier(running: Running, processes: int) -> Verifier:
    """It outlives the relay that asks it."""
    if not processes:
        return InlineVerifier()
    pool = VerifierPool(processes)
    running.push(pool.close)
    await pool.start()
    return pool

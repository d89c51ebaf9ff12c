"""Which hosts may be read: none that is banned, none that is this server, and not too many new ones a day.

Does not own the hosts that are read (`ingest.relay.hosts`), nor what an operator may (`ingest.relay.relay`).
"""

from __future__ import annotations

from collections.abc import Callable

from ingest.relay.directory import NewHosts
from ingest.relay.hostnames import Origin, is_under, parse_host
from ingest.relay.hosts_store import HostsStore
from ingest.relay.parts import RelaySettings
from ingest.relay.reasons import RelayReason
from schemas.errors import Refused

_DAY_MICROS = 86_400_000_000
_TAKEN, _PER_DAY = "new_hosts_taken", "new_hosts_per_day"  # of the file


class Admission:
    """`now` gives unix microseconds."""

    def __init__(self, store: HostsStore, settings: RelaySettings, now: Callable[[], int]) -> None:
        self._store = store
        self._settings = settings
        self._now = now
        self._bans = set(store.domain_bans())
        per_day = store.choice(_PER_DAY)
        self.new_hosts = NewHosts(store.choice(_TAKEN) != 0, settings.new_hosts_day if per_day is None else per_day)

    def domain_bans(self) -> list[str]:
        return sorted(self._bans)

    def ban_domain(self, domain: str, *, banned: bool) -> str:
        """The domain as it is banned now, or no more. Raises Refused(HOST_SYNTAX)."""
        name = parse_host(domain, private=self._settings.private).hostname
        self._store.ban_domain(name, banned=banned)
        if banned:
            self._bans.add(name)
        else:
            self._bans.discard(name)
        return name

    def origin(self, hostname: str) -> Origin:
        """Where a host that may be read is. Raises Refused: HOST_SYNTAX, HOST_OURS, HOST_BANNED (its domain)."""
        origin = parse_host(hostname, private=self._settings.private)
        if origin.hostname in self._settings.ours:
            raise Refused(RelayReason.HOST_OURS, f"{origin.hostname} is this server: its accounts are here already")
        if self.is_banned(origin.hostname):
            raise banned_host(origin.hostname)
        return origin

    def is_banned(self, hostname: str) -> bool:
        """By its domain."""
        return is_under(hostname, self._bans)

    def take_new_hosts(self, wanted: NewHosts) -> None:
        """From now on, and after a restart."""
        self._store.choose(_TAKEN, int(wanted.taken))
        self._store.choose(_PER_DAY, wanted.per_day)
        self.new_hosts = wanted

    def check_via(self, origin: Origin, via: tuple[str, ...]) -> None:
        """Raises Refused(LOOP) for a request that has come through here before."""
        if any(name.lower() in self._settings.ours for name in via):
            raise Refused(RelayReason.LOOP, f"the request for {origin.hostname} has come through here before")

    def check_new(self) -> None:
        """Raises Refused(NEW_HOSTS_QUOTA) when no more may come by requests today, or none ever."""
        taken, most = self.new_hosts
        if not taken:
            raise Refused(RelayReason.NEW_HOSTS_QUOTA, "no new hosts are taken in by requests: ask the operator")
        if self._store.asked_since(self._now() - _DAY_MICROS) >= most:
            raise Refused(RelayReason.NEW_HOSTS_QUOTA, f"{most} new hosts were taken in within a day: ask tomorrow")


def banned_host(hostname: str) -> Refused:
    return Refused(RelayReason.HOST_BANNED, f"{hostname} is banned here")

"""What may be asked of a relay about hosts and accounts, and what an operator may do to them: the endpoints' port.

`ingest.relay.relay` is the adapter. Does not own HTTP, who may call (`api`), nor frames: the firehose that is served
is the log's (`ingest.log.FirehoseReader`).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import msgspec

from schemas.cid import Cid
from schemas.entries import Status
from schemas.syntax import Did
from schemas.tid import Tid

RELAY_SERVER = "atproto-relay"
"""What a relay's Server header holds, so that relays do not read each other in a ring (indigo does the same)."""

HostStatus = Literal["active", "idle", "offline", "throttled", "banned"]
"""As com.atproto.sync.defs#hostStatus: connected; connected and silent; not reachable; held back; refused."""


class HostLimits(msgspec.Struct, frozen=True):
    """How much a host may send; None: what the relay's settings give, which grows with the host's accounts."""

    accounts: int | None = None
    per_second: int | None = None
    per_hour: int | None = None
    per_day: int | None = None


class HostView(msgspec.Struct, frozen=True):
    """A host as it is known. `hostname` is its name in every call: "pds.example.com", or "localhost:2583".

    `url` is its origin (http or https), `seq` the cursor that is saved (None before the first message),
    `account_count` how many accounts were seen of it, `upstream` whether it is a relay that this one reads, `added`
    the unix microseconds at which it came, `failures` attempts to connect since the last one that held.
    """

    hostname: str
    url: str
    status: HostStatus
    seq: int | None
    account_count: int
    limits: HostLimits
    upstream: bool = False
    trusted: bool = False
    added: int = 0
    failures: int = 0


class AccountView(msgspec.Struct, frozen=True):
    """An account as the log holds it; `host` is the hostname it was last seen at.

    `status` is what readers apply (a takedown here lies over what its host says); "desynchronized" while its repo is
    caught up with. `rev`, `data` and `commit` are None when the log holds no repo of it. `number` orders
    `accounts()`: a cursor.
    """

    did: Did
    host: str | None
    status: Status
    rev: Tid | None
    data: Cid | None
    commit: Cid | None
    number: int


class NewHosts(NamedTuple):
    """Whether requests to crawl may bring hosts that are not known yet, and how many a day."""

    taken: bool
    per_day: int


class HostDirectory(Protocol):
    """The hosts. Order: as they came."""

    def hosts(self, after: int, limit: int) -> list[tuple[int, HostView]]:
        """At most `limit` (number, host) with a number above `after`; banned ones too. The number is a cursor."""
        ...

    def host(self, hostname: str) -> HostView | None:
        """One of them; None when it is not known."""
        ...

    def domain_bans(self) -> list[str]:
        """Domains whose hosts, and those under them, are refused."""
        ...


class AccountDirectory(Protocol):
    """The accounts that were seen of hosts. Order: as they came."""

    def accounts(self, after: int, limit: int) -> list[AccountView]:
        """At most `limit` with a number above `after`; deleted ones too."""
        ...

    def account(self, did: str) -> AccountView | None:
        """One of them; None when it was never seen."""
        ...


class CrawlRequests(Protocol):
    async def request_crawl(self, hostname: str, *, via: tuple[str, ...] = ()) -> HostView:
        """Somebody asks that a host be read; one that is known is only woken. `via`: relays that passed this on.

        `hostname` may be a URL. Raises Refused: HOST_SYNTAX, HOST_BANNED, HOST_OURS, LOOP, NEW_HOSTS_QUOTA,
        HOST_UNREACHABLE, HOST_NO_PDS, HOST_IS_RELAY, or an IdentityReason when its address is refused.
        """
        ...


class HostAdmin(Protocol):
    """What an operator does to hosts. Each raises Refused(HOST_UNKNOWN) of a host that is not known."""

    async def add_host(self, hostname: str, *, upstream: bool = False, trusted: bool = False) -> HostView:
        """As `request_crawl`, without the quota of new hosts and without asking the host first; lifts no ban."""
        ...

    async def ban_host(self, hostname: str, *, banned: bool) -> HostView:
        """A banned host is disconnected and not read again until it is unbanned."""
        ...

    async def set_limits(self, hostname: str, limits: HostLimits, *, trusted: bool) -> HostView:
        """A trusted host has the trusted rate and no quota of accounts where `limits` says nothing."""
        ...

    async def disconnect(self, hostname: str) -> HostView:
        """Close the connection; it is opened again after the backoff."""
        ...

    async def ban_domain(self, domain: str, *, banned: bool) -> None:
        """Also disconnects and bans the hosts at and under it; unbanning leaves those to `ban_host`."""
        ...


class CrawlAdmin(Protocol):
    def new_hosts(self) -> NewHosts: ...

    def take_new_hosts(self, wanted: NewHosts) -> None:
        """From now on, and after a restart, whatever the settings say."""
        ...


class AccountAdmin(Protocol):
    async def take_down(self, did: Did, *, taken_down: bool) -> AccountView:
        """Lay a takedown over an account, or lift it; emits #account. Raises Refused(ACCOUNT_UNKNOWN)."""
        ...


class RelayDirectory(HostDirectory, AccountDirectory, CrawlRequests, HostAdmin, CrawlAdmin, AccountAdmin, Protocol):
    """All of it."""

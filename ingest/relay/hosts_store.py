"""What a relay keeps beside its log, in one SQLite file: hosts with their cursors, whose account is where, repairs.

With them what accounts that wait have said of themselves (`ingest.relay.told_store`). Changes gather in memory and are
written by `flush`, all in one transaction. So a cursor, the accounts met below it and the repairs that hold messages
below it are on disk together; the log made those messages durable before. What a crash loses is read from the hosts
again. Does not own what a host may do (`ingest.relay.hosts`).
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import msgspec

from ingest.relay.directory import HostLimits
from ingest.relay.told_store import TABLE as TOLD
from ingest.relay.told_store import ToldStore
from schemas.errors import InvariantError
from schemas.syntax import Did

FORMAT = 1
_CACHED = 200_000  # accounts whose host is remembered, some 150 bytes each
_PENDING = 10_000  # accounts and repairs that wait to be written

_TABLES = """
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hosts(
  number INTEGER PRIMARY KEY, hostname TEXT NOT NULL UNIQUE, url TEXT NOT NULL, cursor INTEGER, added INTEGER NOT NULL,
  banned INTEGER NOT NULL, upstream INTEGER NOT NULL, trusted INTEGER NOT NULL, asked INTEGER NOT NULL,
  limits BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS accounts(number INTEGER PRIMARY KEY, did TEXT NOT NULL UNIQUE, host TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS accounts_by_host ON accounts(host);
CREATE TABLE IF NOT EXISTS repairs(did TEXT PRIMARY KEY, url TEXT NOT NULL, tries INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS domain_bans(domain TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_HOST = "number, hostname, url, cursor, added, banned, upstream, trusted, asked, limits"


class HostRow(NamedTuple):
    """A host as it is kept. `asked`: somebody asked for it by requestCrawl; `added` is unix microseconds."""

    number: int
    hostname: str
    url: str
    cursor: int | None
    added: int
    banned: bool
    upstream: bool
    trusted: bool
    asked: bool
    limits: HostLimits


class HostsStore:
    """One process has the file; calls are quick and on the loop."""

    def __init__(self, path: Path | str) -> None:
        self._con = con = apsw.Connection(str(path))
        con.set_busy_timeout(5000)
        con.execute("PRAGMA journal_mode=WAL")
        con.execute("PRAGMA synchronous=NORMAL")
        with con:
            con.execute(_TABLES + TOLD)
            con.execute("INSERT OR IGNORE INTO meta VALUES('format', ?)", (FORMAT,))
        ((found,),) = con.execute("SELECT value FROM meta WHERE key='format'").fetchall()
        if found != FORMAT:
            raise InvariantError(f"{path}: format {found}, expected {FORMAT}; another version of headrace made it")
        self._known: OrderedDict[str, str | None] = OrderedDict()
        self._new: dict[str, str] = {}
        self._cursors: dict[str, int | None] = {}
        self._repairs: dict[str, tuple[str, int] | None] = {}
        self.told = ToldStore(con)
        self.counts: Counter[str] = Counter(dict(self._rows("SELECT host, count(*) FROM accounts GROUP BY host")))
        """Accounts by host."""

    def _rows(self, sql: str, arguments: tuple[Any, ...] = ()) -> list[Any]:
        """All rows at once: a statement left open would hold back the file's checkpoints."""
        return self._con.execute(sql, arguments).fetchall()

    def close(self) -> None:
        self.flush()
        self._con.close()

    def flush(self) -> None:
        """Write what has gathered; all of it or nothing."""
        if not (self._new or self._cursors or self._repairs or self.told):
            return
        con = self._con
        gone = [(did,) for did, repair in self._repairs.items() if repair is None]
        with con:
            con.executemany(
                "INSERT INTO accounts(did, host) VALUES(?, ?) ON CONFLICT(did) DO UPDATE SET host=excluded.host",
                self._new.items(),
            )
            con.executemany("DELETE FROM repairs WHERE did=?", gone)
            con.executemany(
                "INSERT OR REPLACE INTO repairs VALUES(?, ?, ?)",
                [(did, *repair) for did, repair in self._repairs.items() if repair is not None],
            )
            con.executemany(
                "UPDATE hosts SET cursor=? WHERE hostname=?", [(seq, host) for host, seq in self._cursors.items()]
            )
            self.told.write()
        self.told.written()
        self._new.clear()
        self._cursors.clear()
        self._repairs.clear()

    # hosts

    def hosts(self) -> list[HostRow]:
        return [_row(row) for row in self._rows(f"SELECT {_HOST} FROM hosts ORDER BY number")]  # noqa: S608

    def put_host(self, row: HostRow) -> HostRow:
        """Write a host at once, but its cursor; a new one (number 0) is given its number."""
        limits = msgspec.msgpack.encode(row.limits)
        flags = (row.banned, row.upstream, row.trusted, row.asked, limits)
        with self._con:
            self._rows(
                "INSERT INTO hosts(hostname, url, added, banned, upstream, trusted, asked, limits) "
                "VALUES(?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(hostname) DO UPDATE SET url=excluded.url, "
                "banned=excluded.banned, upstream=excluded.upstream, trusted=excluded.trusted, "
                "asked=excluded.asked, limits=excluded.limits",
                (row.hostname, row.url, row.added, *flags),
            )
        found = self._rows("SELECT number FROM hosts WHERE hostname=?", (row.hostname,))
        return row._replace(number=found[0][0])

    def put_cursor(self, hostname: str, seq: int | None) -> None:
        """All that came up to `seq` is in the log, refused, or held by a repair."""
        self._cursors[hostname] = seq

    # accounts

    def host_of(self, did: str) -> str | None:
        """HOT: the host an account was last seen at."""
        known = self._known
        if did in known:
            known.move_to_end(did)
            return known[did]
        host = self._new.get(did)
        if host is None:
            rows = self._rows("SELECT host FROM accounts WHERE did=?", (did,))
            host = rows[0][0] if rows else None
        self._remember(did, host)
        return host

    def see(self, did: Did, host: str) -> None:
        old = self.host_of(did)
        if old == host:
            return
        if old is not None:
            self.counts[old] -= 1
            if not self.counts[old]:
                del self.counts[old]  # an account may name another host as often as it likes
        self.counts[host] += 1
        self._new[did] = host
        self._remember(did, host)
        if len(self._new) >= _PENDING:
            self.flush()

    def accounts(self, after: int, limit: int) -> list[tuple[int, Did, str]]:
        """(number, account, host) above `after`."""
        self.flush()
        sql = "SELECT number, did, host FROM accounts WHERE number>? ORDER BY number LIMIT ?"
        return [(number, Did(did), host) for number, did, host in self._rows(sql, (after, limit))]

    def account(self, did: str) -> tuple[int, str] | None:
        """(number, host)."""
        if did in self._new:
            self.flush()
        rows = self._rows("SELECT number, host FROM accounts WHERE did=?", (did,))
        return (rows[0][0], rows[0][1]) if rows else None

    def _remember(self, did: str, host: str | None) -> None:
        self._known[did] = host
        self._known.move_to_end(did)
        if len(self._known) > _CACHED:
            self._known.popitem(last=False)

    # repairs

    def repairs(self) -> list[tuple[Did, str, int]]:
        """(account, its host's origin, tries so far)."""
        self.flush()
        rows = self._rows("SELECT did, url, tries FROM repairs")
        return [(Did(did), url, tries) for did, url, tries in rows]

    def put_repair(self, did: Did, url: str, tries: int) -> None:
        self._repairs[did] = (url, tries)
        if len(self._repairs) >= _PENDING:
            self.flush()

    def drop_repair(self, did: Did) -> None:
        self._repairs[did] = None

    # bans

    def domain_bans(self) -> list[str]:
        return [domain for (domain,) in self._rows("SELECT domain FROM domain_bans ORDER BY domain")]

    def ban_domain(self, domain: str, *, banned: bool) -> None:
        sql = "INSERT OR IGNORE INTO domain_bans VALUES(?)" if banned else "DELETE FROM domain_bans WHERE domain=?"
        with self._con:
            self._rows(sql, (domain,))

    # what an operator has set

    def choice(self, name: str) -> int | None:
        rows = self._rows("SELECT value FROM meta WHERE key=?", (name,))
        return int(rows[0][0]) if rows else None

    def choose(self, name: str, value: int) -> None:
        with self._con:
            self._rows("INSERT OR REPLACE INTO meta VALUES(?, ?)", (name, value))

    def asked_since(self, since: int) -> int:
        """How many hosts came by requests since then."""
        rows = self._rows("SELECT count(*) FROM hosts WHERE asked AND added>?", (since,))
        return int(rows[0][0])


def _row(row: tuple[int, str, str, int | None, int, int, int, int, int, bytes]) -> HostRow:
    number, hostname, url, cursor, added, banned, upstream, trusted, asked, limits = row
    found = msgspec.msgpack.decode(limits, type=HostLimits)
    return HostRow(
        number, hostname, url, cursor, added, bool(banned), bool(upstream), bool(trusted), bool(asked), found
    )

"""What is kept of backfills, in the relay's file: jobs with their cursors, accounts that wait, those that failed.

An account that is done has no row any more: the log says where it stands, so one that is looked at twice is fetched
once. A page of a host's list and the cursor behind it are written together. Does not own what is done with an account
(`ingest.relay.backfill_account`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import msgspec

from ingest.relay.backfill_list import Listed
from ingest.relay.backfill_reasons import BackfillReason
from schemas.entries import Status
from schemas.syntax import Did
from schemas.tid import Tid

JOBS_KEPT = 100
FAILURES_KEPT = 100_000  # of a job
_DETAIL = 300

_TABLES = """
CREATE TABLE IF NOT EXISTS backfill_jobs(
  id INTEGER PRIMARY KEY, host TEXT NOT NULL, url TEXT NOT NULL, upstream INTEGER NOT NULL, cursor TEXT,
  listed INTEGER NOT NULL, state TEXT NOT NULL, added INTEGER NOT NULL, ended INTEGER, accounts INTEGER NOT NULL,
  done BLOB NOT NULL, trouble TEXT);
CREATE TABLE IF NOT EXISTS backfill_accounts(
  id INTEGER PRIMARY KEY, job INTEGER NOT NULL, did TEXT NOT NULL, rev TEXT, status TEXT NOT NULL,
  tries INTEGER NOT NULL, due INTEGER NOT NULL, UNIQUE(job, did));
CREATE INDEX IF NOT EXISTS backfill_accounts_due ON backfill_accounts(job, due);
CREATE TABLE IF NOT EXISTS backfill_failures(
  job INTEGER NOT NULL, did TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, PRIMARY KEY(job, did))
  WITHOUT ROWID;
"""
_JOB = "id, host, url, upstream, cursor, listed, state, added, ended, accounts, done, trouble"


class JobRow(NamedTuple):
    """A backfill: of a host's accounts, or of those that were named (`host` empty).

    `state` is "running", "done" or "stopped"; `listed`: no account comes any more; `accounts`: how many have come;
    `done`: how many were done, by what became of them; `trouble`: why the list ended early. Unix microseconds.
    """

    id: int
    host: str
    url: str
    upstream: bool
    cursor: str | None
    listed: bool
    state: str
    added: int
    ended: int | None
    accounts: int
    done: Counter[str]
    trouble: str | None


class Waiting(NamedTuple):
    """An account that is not done. `rev` is what its host's list says, where one was read."""

    id: int
    did: Did
    rev: Tid | None
    status: Status
    tries: int


class BackfillStore:
    """Calls are quick and on the loop; the file is the hosts' too (`ingest.relay.hosts_store`)."""

    def __init__(self, path: Path | str) -> None:
        self._con = con = apsw.Connection(str(path))
        con.set_busy_timeout(5000)
        con.execute("PRAGMA journal_mode=WAL")
        con.execute("PRAGMA synchronous=NORMAL")
        with con:
            con.execute(_TABLES)

    def close(self) -> None:
        self._con.close()

    def _rows(self, sql: str, arguments: tuple[Any, ...] = ()) -> list[Any]:
        """All rows at once: a statement left open would hold back the file's checkpoints."""
        return self._con.execute(sql, arguments).fetchall()

    def restart(self) -> None:
        """What waited waits no longer; a job whose accounts were still being named has those that came."""
        with self._con:
            self._rows("UPDATE backfill_accounts SET due=0")
            self._rows(
                "UPDATE backfill_jobs SET listed=1, trouble=? WHERE state='running' AND host='' AND NOT listed",
                ("the naming of its accounts broke off",),
            )

    # jobs

    def jobs(self) -> list[JobRow]:
        return [_job(row) for row in self._rows(f"SELECT {_JOB} FROM backfill_jobs ORDER BY id")]  # noqa: S608

    def job(self, number: int) -> JobRow | None:
        rows = self._rows(f"SELECT {_JOB} FROM backfill_jobs WHERE id=?", (number,))  # noqa: S608
        return _job(rows[0]) if rows else None

    def add_job(self, host: str, url: str, *, upstream: bool, now: int) -> JobRow:
        """A new one; the oldest that are over are forgotten."""
        with self._con:
            ((number,),) = self._rows(
                "INSERT INTO backfill_jobs(host, url, upstream, listed, state, added, accounts, done) "
                "VALUES(?, ?, ?, 0, 'running', ?, 0, ?) RETURNING id",
                (host, url, upstream, now, _pack(Counter())),
            )
            old = self._rows(
                "SELECT id FROM backfill_jobs WHERE state!='running' ORDER BY id DESC LIMIT -1 OFFSET ?", (JOBS_KEPT,)
            )
            for (gone,) in old:
                self._rows("DELETE FROM backfill_failures WHERE job=?", (gone,))
                self._rows("DELETE FROM backfill_jobs WHERE id=?", (gone,))
        found = self.job(number)
        assert found is not None
        return found

    def listed(self, job: int, trouble: str | None = None) -> None:
        """No account comes any more."""
        self._rows("UPDATE backfill_jobs SET listed=1, trouble=? WHERE id=?", (trouble, job))

    def end_job(self, job: int, state: str, now: int) -> None:
        with self._con:
            self._rows("UPDATE backfill_jobs SET state=?, ended=? WHERE id=?", (state, now, job))
            self._rows("DELETE FROM backfill_accounts WHERE job=?", (job,))

    # accounts

    def add(self, job: int, listed: Iterable[Listed], *, cursor: str | None = None, bad: int = 0) -> int:
        """Accounts that come, and where the list goes on behind them; how many are new here.

        `bad`: entries of the list that could not be read, which have failed.
        """
        count = 0
        with self._con:
            for account in listed:
                count += len(
                    self._rows(
                        "INSERT OR IGNORE INTO backfill_accounts(job, did, rev, status, tries, due) "
                        "VALUES(?, ?, ?, ?, 0, 0) RETURNING id",
                        (job, account.did, account.rev, account.status),
                    )
                )
            self._rows("UPDATE backfill_jobs SET accounts=accounts+?, cursor=? WHERE id=?", (count + bad, cursor, job))
            if bad:
                self._count(job, BackfillReason.LIST_ENTRY.value, bad)
        return count

    def waiting(self, job: int) -> int:
        ((count,),) = self._rows("SELECT count(*) FROM backfill_accounts WHERE job=?", (job,))
        return int(count)

    def due(self, job: int, now: int, limit: int) -> list[Waiting]:
        """At most `limit` accounts whose time has come, longest first."""
        rows = self._rows(
            "SELECT id, did, rev, status, tries FROM backfill_accounts WHERE job=? AND due<=? ORDER BY due, id LIMIT ?",
            (job, now, limit),
        )
        return [
            Waiting(at, Did(did), None if rev is None else Tid(rev), status, tries)
            for at, did, rev, status, tries in rows
        ]

    def next_due(self, job: int, now: int) -> int | None:
        """When the next account's time comes, of those whose time has not; None when there is none."""
        ((due,),) = self._rows("SELECT min(due) FROM backfill_accounts WHERE job=? AND due>?", (job, now))
        return None if due is None else int(due)

    def later(self, account: Waiting, due: int, tries: int) -> None:
        self._rows("UPDATE backfill_accounts SET due=?, tries=? WHERE id=?", (due, tries, account.id))

    def done(self, job: int, account: Waiting, became: str, detail: str | None = None) -> None:
        """It waits no more. With a `detail` it has failed, for the reason `became`."""
        with self._con:
            self._count(job, became, 1)
            self._rows("DELETE FROM backfill_accounts WHERE id=?", (account.id,))
            if detail is not None:
                self._rows(
                    "INSERT OR REPLACE INTO backfill_failures SELECT ?, ?, ?, ? "
                    "WHERE (SELECT count(*) FROM (SELECT 1 FROM backfill_failures WHERE job=? LIMIT ?)) < ?",
                    (job, account.did, became, detail[:_DETAIL], job, FAILURES_KEPT, FAILURES_KEPT),
                )

    def failures(self, job: int, after: str, limit: int) -> list[tuple[str, str, str]]:
        """(account, reason, detail) in the order of their DIDs."""
        sql = "SELECT did, reason, detail FROM backfill_failures WHERE job=? AND did>? ORDER BY did LIMIT ?"
        return self._rows(sql, (job, after, limit))

    def _count(self, job: int, became: str, more: int) -> None:
        ((packed,),) = self._rows("SELECT done FROM backfill_jobs WHERE id=?", (job,))
        counts = _unpack(packed)
        counts[became] += more
        self._rows("UPDATE backfill_jobs SET done=? WHERE id=?", (_pack(counts), job))


def _pack(counts: Counter[str]) -> bytes:
    return msgspec.msgpack.encode(dict(counts))


def _unpack(packed: bytes) -> Counter[str]:
    return Counter(msgspec.msgpack.decode(packed, type=dict[str, int]))


def _job(row: Any) -> JobRow:
    number, host, url, upstream, cursor, listed, state, added, ended, accounts, done, trouble = row
    return JobRow(
        number, host, url, bool(upstream), cursor, bool(listed), state, added, ended, accounts, _unpack(done), trouble
    )

"""The did:plc operations of a directory, verified, as far as they are needed: one SQLite file, one row a DID.

A row has the operation that rules and those before it that a recovery may still undo (72 hours of them and the one
before), compressed; what is older can be neither followed nor undone. Operations that do not hold are refused by
reason and their DID is left to the directory from then on. A page of an export and the place that it leads to are one
transaction, so a crash repeats a page or does not. The rules are `plc.accept`'s.
Does not own fetching, nor when the file is believed (`plc_mirror.py`).
"""

from __future__ import annotations

import re
import zlib
from base64 import b32decode
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from time import time_ns
from typing import Any

import apsw
import orjson

from ingest.identity import plc, plc_op
from ingest.identity.plc import RECOVERY_WINDOW_MS, LogEntry
from ingest.identity.plc_op import PlcReason, PlcRefused
from ingest.identity.reasons import IdentityReason, IdentityRefused
from schemas.crash import point
from schemas.errors import InvariantError, Refused
from schemas.syntax import Did

FORMAT = 1
OVERLAP_MS = 10_000
"""Operations may come to be seen out of the order of their times by so much; they are asked for again."""
FUTURE_MS = 300_000
OPERATION_MAX = 16_384  # bytes of CBOR; directories of the past took more than today's 4,000
STANDING_MAX = 1_000  # operations of a DID within 72 hours; a directory takes 100 a week
EDGE_MAX = 50_000

_TABLES = """
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dids(did BLOB PRIMARY KEY, standing BLOB NOT NULL, refused TEXT) WITHOUT ROWID;
"""
_PLC = re.compile(r"did:plc:[a-z2-7]{24}", re.ASCII)
# What operations have in common, for the compression: the end is what is cheapest to name.
_DICTIONARY = (
    b'"https://morel.us-east.host.bsky.network""plc_tombstone"did:key:zDn"atproto_labeler":{"type":"AtprotoLabeler"'
    b'"prev":"bafyrei"[[17000000000000,{"sig":"","prev":null,"type":"plc_operation","services":{"atproto_pds":{"type":'
    b'"AtprotoPersonalDataServer","endpoint":"https://pds.host.bsky.network"}},"alsoKnownAs":["at://user.bsky.social"],'
    b'"rotationKeys":["did:key:zQ3shhCGUqDKjStzuDxPkTxN6ujddP4RkEKJJouJGRRkaLGbg","did:key:zQ3shpKnbdPx3g3CmPf5cRVTPe1'
    b'HtSwVn5ish3wSnDPQCbLJK"],"verificationMethods":{"atproto":"did:key:zQ3sh"}}]]'
)


class MirrorStore:
    """`take` pages in one thread, `document` in another. `now` gives unix milliseconds."""

    def __init__(self, path: Path, source: str, now: Callable[[], int] = lambda: time_ns() // 1_000_000) -> None:
        """Raises InvariantError for a file of another format or directory, or that is damaged."""
        self._now = now
        try:
            self._writer, self._reader = _connect(path), _connect(path)
            meta = dict(_rows(self._writer, "SELECT key, value FROM meta"))
        except (apsw.NotADBError, apsw.CorruptError) as error:
            raise InvariantError(f"{path} is damaged ({error}): remove it, and it is fetched anew") from error
        expected = {"format": FORMAT, "source": source}
        for key, value in expected.items():
            if meta.setdefault(key, value) != value:
                raise InvariantError(
                    f"{path}: {key} {meta[key]}, expected {value}: remove it, and it is fetched anew, or set it back"
                )
        self.cursor: int = meta.get("cursor", 0)
        """The newest time (unix ms) of an operation taken."""
        self._edge: dict[str, int] = orjson.loads(meta.get("edge", b"{}"))
        with self._writer:
            self._put_meta(expected)
        self.dids: int = meta.get("dids", 0)
        self.taken = 0
        self.refused: Counter[str] = Counter()
        """Operations that did not hold, by reason, and those of a DID that one of them has left to the directory."""

    def take(self, lines: Sequence[bytes]) -> int:
        """Verify a page of /export and write what holds, with the place that it leads to; how many were new."""
        page: dict[str, tuple[list[LogEntry], str | None]] = {}
        edge, cursor, new = dict(self._edge), self.cursor, 0
        taken, refused = 0, Counter[str]()
        for line in lines:
            entry = self._parsed(line, page, refused)
            if entry is None or str(entry.cid) in edge:
                continue
            new += 1
            standing, why = self._state(entry.did, page)
            if why is None:
                try:
                    page[entry.did] = (_followed(standing, entry), None)
                    taken += 1
                except Refused as error:
                    why = error.reason.value
            if why is not None:
                page[entry.did] = ([], why)
                refused[why] += 1
            cursor = max(cursor, entry.created)
            edge[str(entry.cid)] = entry.created
        edge = {cid: created for cid, created in edge.items() if created >= cursor - OVERLAP_MS}
        edge = dict(sorted(edge.items(), key=lambda item: item[1])[-EDGE_MAX:])
        added = self._write(page, cursor, edge)
        self._edge, self.cursor = edge, cursor
        self.taken += taken
        self.refused.update(refused)
        self.dids += added
        return new

    def document(self, did: Did) -> dict[str, Any] | None:
        """The DID document of a well-formed did:plc, or None where the directory is to be asked.

        Raises IdentityRefused(TOMBSTONED).
        """
        rows = _rows(self._reader, "SELECT standing, refused FROM dids WHERE did=?", (_key(did),))
        if not rows or rows[0][1] is not None:
            return None
        last = plc_op.parse(_unpacked(rows[0][0])[-1][1])
        data = last.data(did)
        if data is None:
            raise IdentityRefused(IdentityReason.TOMBSTONED, f"DID not available: {did}")
        return plc.format_document(data)

    def close(self) -> None:
        self._reader.close()
        self._writer.close()

    def _parsed(
        self, line: bytes, page: dict[str, tuple[list[LogEntry], str | None]], refused: Counter[str]
    ) -> LogEntry | None:
        """None for what is no operation; if it says whose it would be, that DID is left to the directory."""
        item: Any = None
        try:
            item = orjson.loads(line)
            entry = plc.exported(item)
            _check(entry, self._now())
        except orjson.JSONDecodeError:
            refused[PlcReason.SHAPE.value] += 1
        except Refused as error:
            refused[error.reason.value] += 1
            did = item.get("did") if isinstance(item, dict) else None
            if isinstance(did, str) and _PLC.fullmatch(did):
                page[did] = ([], error.reason.value)
        else:
            return entry
        return None

    def _state(self, did: Did, page: dict[str, tuple[list[LogEntry], str | None]]) -> tuple[list[LogEntry], str | None]:
        """The operations that stand, and why the DID is left to the directory."""
        if did not in page:
            rows = _rows(self._writer, "SELECT standing, refused FROM dids WHERE did=?", (_key(did),))
            page[did] = ([], None) if not rows else (_entries(did, rows[0][0]), rows[0][1])
        return page[did]

    def _write(self, page: dict[str, tuple[list[LogEntry], str | None]], cursor: int, edge: dict[str, int]) -> int:
        """How many DIDs are new."""
        con = self._writer
        rows = [(_key(did), _packed(standing), why) for did, (standing, why) in page.items()]
        with con:
            before = con.total_changes()
            con.executemany("INSERT OR IGNORE INTO dids VALUES(?, ?, ?)", rows)
            added = con.total_changes() - before
            con.executemany(
                "UPDATE dids SET standing=?, refused=? WHERE did=?", [(packed, why, did) for did, packed, why in rows]
            )
            self._put_meta({"cursor": cursor, "edge": orjson.dumps(edge), "dids": self.dids + added})
            point("mirror.before_commit")
        point("mirror.after_commit")
        return added

    def _put_meta(self, values: dict[str, Any]) -> None:
        self._writer.executemany("INSERT OR REPLACE INTO meta VALUES(?, ?)", values.items())


def _check(entry: LogEntry, now: int) -> None:
    """What `plc.accept` does not look at. Raises PlcRefused."""
    if not _PLC.fullmatch(entry.did):
        raise PlcRefused(PlcReason.SHAPE, f"expected a did:plc, found {entry.did[:80]}")
    if entry.cid != entry.operation.cid:
        raise PlcRefused(PlcReason.CID, f"expected {entry.operation.cid}, the directory says {entry.cid}")
    if len(entry.operation.signed) > OPERATION_MAX:
        raise PlcRefused(PlcReason.LIMIT, f"an operation of {len(entry.operation.signed)} bytes")
    if entry.created > now + FUTURE_MS:
        raise PlcRefused(PlcReason.TIME, f"{plc.iso(entry.created)} is yet to come")


def _followed(standing: list[LogEntry], entry: LogEntry) -> list[LogEntry]:
    """What stands after an operation, as far as it may still be needed. Raises PlcRefused."""
    if any(entry.cid == before.cid for before in standing):
        return standing  # told again
    undone = plc.accept(entry.did, standing, entry.operation, entry.created)
    left = [*standing[: len(standing) - len(undone)], entry]
    first = next(index for index, each in enumerate(left) if each.created >= entry.created - RECOVERY_WINDOW_MS)
    left = left[max(0, first - 1) :]
    if len(left) > STANDING_MAX:
        raise PlcRefused(PlcReason.LIMIT, f"more than {STANDING_MAX} operations of {entry.did} within 72 hours")
    return left


def _key(did: str) -> bytes:
    return b32decode(did[8:].upper())


def _packed(standing: list[LogEntry]) -> bytes:
    packer = zlib.compressobj(6, zdict=_DICTIONARY)
    return packer.compress(orjson.dumps([[each.created, each.operation.json] for each in standing])) + packer.flush()


def _unpacked(packed: bytes) -> list[tuple[int, Any]]:
    found: list[tuple[int, Any]] = orjson.loads(zlib.decompressobj(zdict=_DICTIONARY).decompress(packed))
    return found


def _entries(did: Did, packed: bytes) -> list[LogEntry]:
    parsed = [(created, plc_op.parse(op)) for created, op in _unpacked(packed)]
    return [LogEntry(did, op, op.cid, nullified=False, created=created) for created, op in parsed]


def _rows(con: apsw.Connection, sql: str, arguments: tuple[Any, ...] = ()) -> list[Any]:
    return con.execute(sql, arguments).fetchall()


def _connect(path: Path) -> apsw.Connection:
    con = apsw.Connection(str(path))
    con.set_busy_timeout(5000)
    con.execute("PRAGMA journal_mode=WAL")
    # A power cut may lose pages, never tear them: they are fetched again, as the cursor is lost with them.
    con.execute("PRAGMA synchronous=NORMAL")
    with con:
        con.execute(_TABLES)
    return con

"""What the page of the river is told: a bounded answer, made at most twice a second however many look.

Totals since the start at each stage, so that whoever looks counts rates; lag and freshness; rows of the views; the
slowest endpoints; the newest posts that everybody may see. Does not own the page (`api/ops_page.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from prometheus_client import Histogram

import views
from api.appview.present_post import Posts
from api.appview.reader import AppViewReader
from api.appview.rules import visible_post
from api.metrics import HttpMetrics
from ingest.log_sqlite.log import SqliteLog
from processors.rebuild.copy import Copy
from schemas.entries import RecordEntry
from views.record import POST
from views.store_sqlite_counts import count_rows

COUNTED = 100_000  # rows at most, of a table
_KEPT_SECONDS = 0.5
_COUNTS_SECONDS = 10.0
_LOOKED_AT = 1_024  # entries of the log that one answer reads at most, of all shards
_CANDIDATES = 48  # posts, newest last, of which the page shows those that may be seen
_POSTS = 8
_ENDPOINTS = 8
_TEXT = 600  # characters; the lexicon lets a post have 3,000 bytes
_SIGNED_IN_ONLY = "!no-unauthenticated"


class Watch:
    """`look` gives the answer. `reader` and `live` are of the generation that is read now; `fresh` is in seconds."""

    def __init__(
        self,
        version: str,
        log: SqliteLog,
        metrics: HttpMetrics,
        *,
        live: Callable[[], Copy],
        reader: Callable[[], AppViewReader],
        fresh: Callable[[], float],
    ) -> None:
        self._version = version
        self._log = log
        self._metrics = metrics
        self._live = live
        self._reader = reader
        self._fresh = fresh
        self._turn = asyncio.Lock()
        self._told: tuple[float, dict[str, Any]] | None = None
        self._rows: tuple[float, list[dict[str, Any]]] | None = None
        self._looked = [0] * log.shards
        self._newest: deque[str] = deque(maxlen=_CANDIDATES)

    async def look(self) -> dict[str, Any]:
        async with self._turn:
            now = time.monotonic()
            if self._told is None or now - self._told[0] >= _KEPT_SECONDS:
                self._told = (time.monotonic(), await self._look(now))
            return self._told[1]

    async def _look(self, now: float) -> dict[str, Any]:
        log, runner = self._log, self._live().runner
        answered = sum(value for _, value in _samples(self._metrics.requests, "_total"))
        return {
            "version": self._version,
            "at": round(now * 1000),
            "ready": runner.ready,
            "generation": self._live().name,
            "stages": {
                "log": log.appended,
                "records": sum(log.records_end(shard) for shard in range(log.shards)),
                "views": runner.entries,
                "requests": int(answered),
                "firehose": int(sum(value for _, value in _samples(self._metrics.frames, "_total"))),
            },
            "behind": runner.behind(),
            "freshness": self._fresh(),
            "subscribers": int(sum(value for _, value in _samples(self._metrics.subscribers, ""))),
            "views": await self._counts(now),
            "endpoints": _slowest(self._metrics.seconds),
            "posts": await self._posts(),
        }

    async def _counts(self, now: float) -> list[dict[str, Any]]:
        if self._rows is None or now - self._rows[0] >= _COUNTS_SECONDS:
            tables = [view.table for view in views.ALL]
            found = await asyncio.to_thread(count_rows, self._live().path, tables, COUNTED)
            rows = [{"view": name, "rows": rows, "more": rows == COUNTED} for name, rows in found.items()]
            self._rows = (now, rows)
        return self._rows[1]

    async def _posts(self) -> list[dict[str, Any]]:
        """Of the newest that the log has, those that the views show to somebody who is not signed in."""
        await self._follow()
        uris = list(dict.fromkeys(reversed(self._newest)))
        loaded = self._reader().loader(None)
        await loaded.load_posts(uris)
        shown = Posts(loaded)
        found: list[dict[str, Any]] = []
        for uri in uris:
            row = visible_post(loaded, uri)
            if row is None or len(found) == _POSTS:
                continue
            post = orjson.loads(shown.post(uri, row))
            author = post["author"]
            if any(label["val"] == _SIGNED_IN_ONLY for label in author.get("labels", ())):
                continue
            text = post["record"]["text"][:_TEXT]
            found.append({"handle": author["handle"], "text": text, "at": post["indexedAt"]})
        return found

    async def _follow(self) -> None:
        most = max(1, _LOOKED_AT // self._log.shards)
        news: list[RecordEntry] = []
        for shard, looked in enumerate(self._looked):
            end = self._log.records_end(shard)
            after = max(looked, end - most)
            if after < end:
                entries = await self._log.read_records(shard, after, most)
                self._looked[shard] = entries[-1].offset if entries else end
                news += [entry for entry in entries if _is_post(entry)]  # type: ignore[misc]
        news.sort(key=lambda entry: entry.time)
        self._newest.extend(entry.uri for entry in news)


def _is_post(entry: object) -> bool:
    return isinstance(entry, RecordEntry) and entry.collection == POST and entry.value is not None


def _samples(metric: Any, end: str) -> Iterator[tuple[dict[str, str], float]]:
    for family in metric.collect():
        for sample in family.samples:
            if sample.name == family.name + end:
                yield sample.labels, sample.value


def _slowest(seconds: Histogram) -> list[dict[str, Any]]:
    """By what 99 in 100 requests took at most, since the start: the bucket's bound; None above the last."""
    buckets: dict[str, list[tuple[float, float]]] = {}
    for labels, count in _samples(seconds, "_bucket"):
        buckets.setdefault(labels["nsid"], []).append((float(labels["le"]), count))
    sums = {labels["nsid"]: value for labels, value in _samples(seconds, "_sum")}
    found = []
    for nsid, counts in buckets.items():
        asked = counts[-1][1]
        if asked:
            within = next(bound for bound, count in counts if count >= 0.99 * asked)
            found.append((within, sums[nsid] / asked, nsid, int(asked)))
    found.sort(reverse=True)
    return [
        {"nsid": nsid, "requests": asked, "mean": mean, "within": None if within == float("inf") else within}
        for within, mean, nsid, asked in found[:_ENDPOINTS]
    ]

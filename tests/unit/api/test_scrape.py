"""A real scrape of a whole network: what happened is counted, under labels that are bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.admission import KINDS
from api.appview.late import Part
from headrace.metrics.embedded import NetworkCollector
from headrace.settings import load
from headrace.wiring.embedded import Network
from ingest.log_sqlite.log import SqliteLog
from ingest.pds.rate_limit import BY_METHOD, GLOBAL
from processors.run_embedded import EmbeddedRunner
from schemas import lexicon
from tests.support import docs
from tests.support.fast_network import FastNetwork, dids

CREATE = "com.atproto.repo.createRecord"
HANDLE = "com.atproto.identity.updateHandle"


class Scraped:
    """`value(name, label=...)` of a page of /metrics; 0 for what is not there."""

    def __init__(self, page: str) -> None:
        self.page = page
        families = list(text_string_to_metric_families(page))
        self.kinds = {family.name + ("_total" if family.type == "counter" else ""): family.type for family in families}
        self.labels = [(sample.name, sample.labels) for family in families for sample in family.samples]
        self._values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        return self._values.get((name, frozenset(labels.items())), 0.0)


@pytest.fixture
async def scraped(tmp_path: Path) -> AsyncIterator[Scraped]:
    settings = load({"data": tmp_path / "data"}).model_copy(update={"port": 0, "plc_port": 0, "ops_port": 0})
    network = await Network.open(settings)
    token = await asyncio.to_thread((settings.data / "ops_token").read_text)
    try:
        async with aiohttp.ClientSession() as session:
            await _live(network.addresses["xrpc"], session)
            await _ingest_noise(network.addresses["ops"], token.strip(), session)
            async with session.get(f"{network.addresses['ops']}/metrics") as answer:
                yield Scraped(await answer.text())
    finally:
        await network.close()


async def _call(session: aiohttp.ClientSession, url: str, body: Any, token: str = "") -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with session.post(url, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def _live(url: str, session: aiohttp.ClientSession) -> None:
    """An account, a post, one that fails its lexicon, a rate limit passed, strange methods, a refused subscriber."""
    account = {"handle": "alice.test", "email": "a@example.com", "password": "wheel-and-water"}
    _, alice = await _call(session, f"{url}/xrpc/com.atproto.server.createAccount", account)
    token = alice["accessJwt"]
    write = {"repo": alice["did"], "collection": "app.bsky.feed.post"}
    good = {"text": "up", "createdAt": "2026-01-02T03:04:05Z"}
    assert (await _call(session, f"{url}/xrpc/{CREATE}", {**write, "record": good}, token))[0] == 200
    bad = {**write, "record": {"text": 1}, "validate": False}
    assert (await _call(session, f"{url}/xrpc/{CREATE}", bad, token))[0] == 200
    statuses = [(await _call(session, f"{url}/xrpc/{HANDLE}", {"handle": "x.invalid"}, token))[0] for _ in range(11)]
    assert statuses[9:] == [400, 429]
    for nsid in ("com.example.noSuchMethod", "app.bsky.feed.searchPosts", "no nsid"):
        await _call(session, f"{url}/xrpc/{nsid}", {})
    async with session.ws_connect(f"{url}/xrpc/com.atproto.sync.subscribeRepos?cursor=999999") as socket:
        while (await socket.receive()).type not in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE):
            continue
    # The viewer's read waits for the views: what was written before it is counted in them.
    async with session.get(
        f"{url}/xrpc/app.bsky.feed.getTimeline", headers={"Authorization": f"Bearer {token}"}
    ) as answer:
        assert len((await answer.json())["feed"]) == 1


async def _ingest_noise(url: str, token: str, session: aiohttp.ClientSession) -> None:
    upload = b"\x02\0\0\0{}" + (3).to_bytes(4, "little") + b"abc"
    for kind, status in (("frames", 200), ("car", 400)):
        headers = {"Authorization": f"Bearer {token}"}
        async with session.post(f"{url}/ingest/{kind}", data=upload, headers=headers) as answer:
            assert answer.status == status


async def test_what_happened_is_counted(scraped: Scraped) -> None:
    value = scraped.value

    assert value("headrace_xrpc_requests_total", nsid=CREATE, status="200") == 2
    assert value("headrace_xrpc_request_duration_seconds_count", nsid=CREATE) == 2
    assert value("headrace_xrpc_requests_total", nsid="app.bsky.feed.searchPosts", status="400") == 1
    assert value("headrace_xrpc_rate_limited_requests_total", rule="update-handle") == 1
    assert value("headrace_firehose_cut_subscribers_total", reason="future_cursor") == 1
    assert value("headrace_ingest_refused_entries_total", source="frames", reason="frame_encoding") == 1
    assert (
        sum(
            "headrace_ingest_refused_entries_total" in name and found["source"] == "car"
            for name, found in scraped.labels
        )
        == 1
    )
    assert value("headrace_views_projected_records_total") == 1
    assert (
        value("headrace_views_invalid_records_total", reason="lexicon_required")
        + value("headrace_views_invalid_records_total", reason="lexicon_type")
        == 1
    )
    assert value("headrace_views_batches_total") >= 2
    assert value("headrace_log_appended_entries_total") >= 5
    assert value("headrace_views_behind_entries") == 0
    assert value("headrace_views_freshness_seconds") == 0
    assert value("headrace_views_ready") == 1
    assert value("headrace_log_commit_duration_seconds_count") >= 3
    assert value("headrace_log_commit_entries_sum") == value("headrace_log_appended_entries_total")
    assert value("headrace_account_files_open") == 1
    assert ("headrace_identity_lookups_total", {"cache": "handle", "outcome": "miss"}) in scraped.labels
    assert value("headrace_build_info", version="0.1.0") == 1


async def test_every_metric_is_documented_and_none_is_a_creation_time(scraped: Scraped) -> None:
    page = (docs.DOCS / "metrics.md").read_text()

    assert len(scraped.kinds) > 20
    assert [name for name, kind in scraped.kinds.items() if f"| `{name}` | {kind} |" not in page] == []
    assert "_created" not in scraped.page


async def test_every_label_keeps_its_bounds(scraped: Scraped) -> None:
    rules = {rule.name for rules in BY_METHOD.values() for rule in rules} | {GLOBAL.name}
    methods = lexicon.load().methods
    bounds = {
        "nsid": lambda _, found: found in methods,
        "status": lambda _, found: found in {"101", "200", "400", "401", "404", "429", "500", "501", "503"},
        "rule": lambda _, found: found in rules,
        "kind": lambda _, found: found in KINDS,
        "source": lambda _, found: found in {"frames", "car"},
        "shard": lambda _, found: 0 <= int(found) < 64,
        "cache": lambda _, found: found in {"did", "handle"},
        "outcome": lambda _, found: found in {"hit", "miss"},
        "version": lambda _, found: found == "0.1.0",
        "generation": lambda _, found: found == "g1",
        "part": lambda _, found: found in {part.value for part in Part},
        "queue": lambda _, found: found == "log",
        "le": lambda _, __: True,
        "reason": _is_reason,
    }

    assert len(scraped.labels) > 50
    for name, labels in scraped.labels:
        for label, found in labels.items():
            assert bounds[label](name, found), (name, label, found)


def _is_reason(name: str, found: str) -> bool:
    enums, words = docs.REASONS[name]
    return found in words or any(found in {member.value for member in enum} for enum in enums)


async def test_lag_counts_the_shards_that_are_behind_alone(tmp_path: Path) -> None:
    network = await FastNetwork(tmp_path, dids(4), shards=4).open()
    try:
        await network.begin()
        await network.settle()
        at_rest = _lag(network.log, network.runner, network.clock + 60_000_000)
        await network.close_views()
        # An entry that nobody follows any more: the view of its shard is behind by it, the others by nothing.
        network.clock += 5_000_000
        await network.log.append(network.repos[dids(1)[0]].commit())
        behind = _lag(network.log, network.runner, network.clock + 1_000_000)
    finally:
        await network.log.close()

    assert at_rest == (0.0, 0.0)
    assert behind[0] >= 1
    assert 5.0 < behind[1] < 15.0


def _lag(log: SqliteLog, runner: EmbeddedRunner, now: int) -> tuple[float, float]:
    families = {family.name: family for family in NetworkCollector("0", log, lambda: runner, lambda: now).collect()}
    return (
        families["headrace_views_behind_entries"].samples[0].value,
        families["headrace_views_freshness_seconds"].samples[0].value,
    )

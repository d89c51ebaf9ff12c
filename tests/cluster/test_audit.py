"""The auditor of a cluster: a sound generation has nothing to name, also under load and over a flip; what is changed by
hand in the store is named.
"""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
import pytest_asyncio

from headrace import auditing_cluster
from headrace.auditing_cluster import audit_shards
from ingest.log_kafka.client import KafkaSettings
from processors import audit
from processors.audit_kafka import GivenUpError, ShardAudits
from tests.support.cluster_generations import SHARDS, Cluster
from tests.support.cql_store import driver
from tests.support.roles import Role
from views import ALL, author_feed, follows_by_actor, interactions, likes_by_actor, posts, records
from views.cql.text import equal, named, quoted
from views.store_scylla import CqlSettings

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]
FAST = 1_000_000  # entries and rows a second
PATIENCE = 300.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(kafka_servers, cql_address, cluster_name, tmp_path_factory):
    kafka = KafkaSettings(servers=kafka_servers, cluster=cluster_name)
    cql = CqlSettings(hosts=(cql_address[0],), port=cql_address[1], keyspace=cluster_name, driver=driver())
    made = await Cluster().open(kafka, cql, tmp_path_factory.mktemp("log"))
    await made.work("g1")
    await made.feed.send()
    await made.seen("g1")
    yield made
    await made.close()


@pytest.fixture(autouse=True)
def every_subject(monkeypatch):
    """Chance is for large networks."""
    monkeypatch.setattr(audit, "SUBJECTS_MOST", 1_000)
    monkeypatch.setattr(audit, "FOLLOWED_MOST", 1_000)


def audits_of(cluster, name):
    skips = cluster.generations.skips_of(name)
    return ShardAudits(cluster.kafka, cluster.stores[name], ALL, shards=SHARDS, rate=FAST, skips=skips)


async def on() -> bool:
    return True


async def everything(audits):
    found = []
    for shard in range(SHARDS):
        found += await audits.audit(shard, on)
    return found


async def test_a_generation_that_followed_the_log_has_nothing_to_name(cluster):
    audits = audits_of(cluster, "g1")

    assert await everything(audits) == []
    assert audits.auditor.audited == len(cluster.network.dids)
    assert audits.auditor.divergent == 0


async def test_nothing_is_named_while_everybody_writes(cluster):
    audits, ends = audits_of(cluster, "g1"), list(cluster.feed.ends)
    writing = asyncio.create_task(cluster.act(150))
    passes = 0
    while not writing.done() or passes < 2:
        assert await everything(audits) == []
        passes += 1
    await writing

    assert sum(cluster.feed.ends) > sum(ends)
    assert audits.auditor.audited == passes * len(cluster.network.dids)
    await cluster.seen("g1")
    assert await everything(audits) == []


async def test_a_pass_ends_when_its_shard_is_lost(cluster):
    audits, asked = audits_of(cluster, "g1"), []

    async def lost() -> bool:
        asked.append(True)
        return len(asked) < 3

    with pytest.raises(GivenUpError):
        await audits.audit(0, lost)
    assert await everything(audits) == []


async def test_a_flip_ends_the_audits_of_one_generation_and_begins_those_of_the_other(cluster, monkeypatch):
    monkeypatch.setattr(auditing_cluster, "LIVE_SECONDS", 0.1)
    await cluster.generations.build("g2")
    await cluster.work("g2")
    audits, tasks = {}, []
    for name in ("g1", "g2"):
        audits[name] = audits_of(cluster, name)
        mine = cluster.runners[name].lanes
        shards = lambda mine=mine: mine.shards("records")  # noqa: E731
        running = audit_shards(audits[name], shards, cluster.registry.live, name, 0.01)
        tasks.append(asyncio.create_task(running))

    async def audited(name):
        before = audits[name].auditor.audited
        async with asyncio.timeout(PATIENCE):
            while audits[name].auditor.audited < before + 6:
                assert not any(task.done() for task in tasks)
                await asyncio.sleep(0.05)

    await cluster.ready("g2")
    writing = asyncio.create_task(cluster.act(60))
    await audited("g1")
    assert audits["g2"].auditor.audited == 0
    await cluster.generations.flip("g2")
    await audited("g2")
    resting = audits["g1"].auditor.audited
    await audited("g2")
    await writing
    assert audits["g1"].auditor.audited == resting
    await cluster.generations.flip("g1")
    await audited("g1")

    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended
    assert [each.auditor.divergent for each in audits.values()] == [0, 0]
    await cluster.rest("g2")
    await cluster.generations.drop("g2")


# Behind all others: a statement by hand has the clock's timestamp, and no later write of the log wins over it.
ROWS = (posts.TABLE, records.TABLE, follows_by_actor.TABLE, likes_by_actor.TABLE, interactions.TABLE, author_feed.TABLE)
LAST = {posts.TABLE: "cid", records.TABLE: "bytes", interactions.TABLE: "cid", author_feed.TABLE: "repost_cid"}


@pytest.mark.parametrize(
    ("table", "how"),
    [(table, "lost") for table in ROWS]
    + [(table, "changed") for table in LAST]
    + [(table, "miscounted") for table in ROWS if table.statics],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
async def test_what_is_changed_by_hand_is_named(cluster, table, how):
    await cluster.seen("g1")
    store, audits = cluster.stores["g1"], audits_of(cluster, "g1")
    statics = how == "miscounted"
    # Of a subject that is gone the log knows nothing, and the auditor neither.
    live = {row[0] async for row in store.scan(posts.TABLE)}
    scanned = [row async for row in (store.scan_statics(table) if statics else store.scan(table))]
    known = [row for row in scanned if row[0] in live] if table is interactions.TABLE else scanned
    row = next(row for row in known if not statics or row[table.partition_size])
    size = table.partition_size if statics else table.key_size
    columns = [*table.partition, *(table.statics if statics else (*table.clustering, *table.columns))]
    where = equal(columns[:size])
    if how == "lost":
        await by_hand(cluster, f"DELETE FROM {named(store.keyspace, table)} WHERE {where}", row[:size])
    else:
        column = table.statics[0] if statics else next(c for c in table.columns if c.name == LAST[table])
        other = row[size] + 1 if statics else b"\xa0" if column.kind == "blob" else "other"
        text = f"UPDATE {named(store.keyspace, table)} SET {quoted(column)} = ? WHERE {where}"
        await by_hand(cluster, text, (other, *row[:size]))

    found = await everything(audits)

    names = ", ".join(map(quoted, columns))
    marks = ", ".join("?" * len(columns))
    await by_hand(cluster, f"INSERT INTO {named(store.keyspace, table)} ({names}) VALUES ({marks})", row)
    assert audits.auditor.divergent == len(found) >= 1
    named_rows = {(each.view, each.key, each.statics) for each in found}
    assert (table.name, row[:size], statics) in named_rows
    if table is not records.TABLE:  # of which others' rows are asked whether they have one
        assert {view for view, _, _ in named_rows} == {table.name}
    assert await everything(audits) == []


async def test_a_processor_audits_what_it_has_and_shows_it(cluster, tmp_path):
    """The role itself, whose settings are an operator's: nothing is found, then a row is changed by hand."""
    store = cluster.stores["g1"]
    row, *_ = [row async for row in store.scan(follows_by_actor.TABLE)]
    await cluster.rest("g1")
    settings = {**cluster.settings(), "runner": "plain", "audit_seconds": "0.1"}
    role = Role("process", tmp_path / "process", settings)
    await asyncio.to_thread(role.start)
    try:
        accounts = len(cluster.network.dids)
        assert await counted(role, "headrace_audit_accounts_total", 2 * accounts) >= 2 * accounts
        assert await counted(role, "headrace_audit_divergent_rows_total", 0) == 0
        keyspace = f"{cluster.cql.keyspace}_g1"
        table = follows_by_actor.TABLE
        text = f"DELETE FROM {named(keyspace, table)} WHERE {equal((*table.partition, *table.clustering))}"
        await by_hand(cluster, text, row[: table.key_size])
        assert await counted(role, "headrace_audit_divergent_rows_total", 1) >= 1
    finally:
        code = await asyncio.to_thread(role.stop)

    assert code == 0
    line = next(line for line in role.log.read_text().splitlines() if "views.divergent" in line)
    assert all(part in line for part in ("follows_by_actor", *row[: table.key_size]))


async def counted(role, metric, least):
    """The metric's value, once it is at least that; every scrape is a look."""
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{role.ops}/metrics") as answer:
                text = await answer.text()
            (line,) = [line for line in text.splitlines() if line.startswith(f"{metric} ")]
            if float(line.split()[1]) >= least:
                return float(line.split()[1])
            await asyncio.sleep(0.2)


async def by_hand(cluster, text, values):
    """As an operator would at a shell of the store."""
    session = cluster.registry.session
    statement = await session.prepare(text)
    await session.run([statement.bind(values)])

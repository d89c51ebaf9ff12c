"""The auditor holds the views against the log: a sound copy has nothing to name, any row changed by hand is named."""

from __future__ import annotations

import random

import apsw
import pytest
import pytest_asyncio

from ingest.log_sqlite.accounts import SqliteAccounts
from processors import audit
from processors.audit import Auditor
from processors.digest import ORDER_DEPENDENT
from tests.support.fast_network import FastNetwork, dids
from tests.support.random_network import Habits, RandomNetwork
from views import ALL

pytestmark = pytest.mark.asyncio(loop_scope="module")
STEPS = 300


async def made_network(directory, seed):
    made = await FastNetwork(directory, dids(5), 4).open()
    await made.begin()
    habits = Habits(gate=8, take_down=6, operate=10)
    for step in RandomNetwork(random.Random(seed), made.dids, made.now, habits).steps(STEPS):
        await made.do(step)
    await made.settle()
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def network(tmp_path_factory):
    made = await made_network(tmp_path_factory.mktemp("audited"), 8)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def auditor(network, monkeypatch):
    monkeypatch.setattr(audit, "SUBJECTS_MOST", 1_000)  # chance is for large networks
    monkeypatch.setattr(audit, "FOLLOWED_MOST", 1_000)
    accounts = SqliteAccounts(network.directory / "log.sqlite")
    yield Auditor(accounts, ALL)
    await accounts.close()


async def everything(auditor, network):
    found = []
    for did in network.dids:
        found += await auditor.audit(did, network.store, network.runner.reached)
    return found


async def test_views_that_followed_the_log_have_nothing_to_name(auditor, network):
    assert await everything(auditor, network) == []
    assert auditor.audited == len(network.dids)
    assert auditor.divergent == 0


async def test_what_the_views_have_not_seen_yet_is_no_difference(auditor, network):
    """Also while the file holds what the log has not told anybody."""
    seen = []

    async def reached(shard, offset, seconds, topic="records"):
        seen.append((topic, shard, offset))
        return await network.runner.reached(shard, offset, seconds, topic)

    for step in RandomNetwork(random.Random(9), network.dids, network.now, Habits(operate=30)).steps(5):
        await network.do(step)
        for did in network.dids:
            assert await auditor.audit(did, network.store, reached) == []
    assert {("records", shard, network.log.records_end(shard)) for shard in range(4)} <= set(seen)
    assert {("operations", shard, network.log.operations_end(shard)) for shard in range(4)} <= set(seen)


async def test_every_account_is_sampled_sooner_or_later(auditor, network):
    sampled = set()
    for _ in range(200):
        sampled |= set(await auditor._accounts.sample(3))

    assert sampled == set(network.dids)


def corruptions():
    """Each table that is audited: a row lost, a row of its last column changed, a count changed."""
    for view in ALL:
        table = view.table
        if table.name in ORDER_DEPENDENT:
            continue
        yield pytest.param(table.name, f'DELETE FROM "{table.name}"', id=f"{table.name} lost")
        changed = next(
            (c for c in reversed(table.columns) if c.name != "offset" and c.name not in ("rev", "invalid")), None
        )
        if changed is not None and table.name != "heads":
            value = 77 if changed.kind == "int" else "'other'" if changed.kind == "text" else "x'01'"
            statement = f'UPDATE "{table.name}" SET {changed.name}={value}'
            yield pytest.param(table.name, statement, id=f"{table.name} changed")
        if table.statics:
            count = table.statics[0].name
            yield pytest.param(
                table.name, f'UPDATE "{table.name}__statics" SET {count}={count}+1', id=f"{table.name} miscounted"
            )


@pytest.mark.parametrize(("table", "statement"), list(corruptions()))
async def test_a_corrupted_row_is_counted_and_named(auditor, network, table, statement):
    connection = apsw.Connection(str(network.directory / "views0.sqlite"))
    name = f"{table}__statics" if "__statics" in statement else table
    # Of what is gone the log knows nothing; the auditor neither.
    known = "WHERE subject IN (SELECT uri FROM posts)" if name == "interactions__statics" else ""
    row = connection.execute(f'SELECT * FROM "{name}" {known} LIMIT 1').fetchone()
    assert row is not None, "the network made no row to corrupt"
    where = " AND ".join(f'"{column}"=?{n}' for n, column in enumerate(_key(table, name), 1))
    connection.execute(f"{statement} WHERE {where}", row[: where.count("?")])
    assert connection.changes() == 1

    found = await everything(auditor, network)

    connection.execute(f'INSERT OR REPLACE INTO "{name}" VALUES({", ".join("?" * len(row))})', row)
    connection.close()
    assert auditor.divergent == len(found) >= 1
    assert {each.view for each in found} == {table}


@pytest.mark.parametrize("seed", [7, 9])
async def test_every_count_that_anything_leads_to_is_audited(tmp_path, monkeypatch, seed):
    """All at once: each names itself. Left out are counts of what the log does not hold, with no member left."""
    monkeypatch.setattr(audit, "SUBJECTS_MOST", 1_000)
    monkeypatch.setattr(audit, "FOLLOWED_MOST", 1_000)
    network = await made_network(tmp_path, seed)
    accounts = SqliteAccounts(tmp_path / "log.sqlite")
    auditor, connection = Auditor(accounts, ALL), apsw.Connection(str(tmp_path / "views0.sqlite"))
    expected = set()
    for table in (view.table for view in ALL if view.table.statics and view.name not in ORDER_DEPENDENT):
        first, count = table.partition[0].name, table.statics[0].name
        members = {row[0] for row in connection.execute(f'SELECT DISTINCT {first} FROM "{table.name}"')}
        held = members | set(network.dids) | {row[0] for row in connection.execute("SELECT uri FROM posts")}
        for row in connection.execute(f'SELECT * FROM "{table.name}__statics"'):
            if row[0] in held:
                expected.add((table.name, row[: table.partition_size]))
        connection.execute(f'UPDATE "{table.name}__statics" SET {count}={count}+1')

    found = await everything(auditor, network)

    connection.close()
    await accounts.close()
    await network.close()
    named = {(each.view, each.key) for each in found if each.statics}
    assert named == expected
    assert len(expected) > 30
    assert {view for view, _ in expected} >= {"followers", "interactions", "follows_by_actor", "author_feed"}


async def test_a_row_that_nothing_in_the_log_makes_is_named(auditor, network):
    connection = apsw.Connection(str(network.directory / "views0.sqlite"))
    did = network.dids[0]
    connection.execute(
        "INSERT INTO follows_by_actor SELECT actor, 'did:plc:nobody', 'left', 1, 1 FROM follows_by_actor LIMIT 1"
    )
    connection.execute(
        "INSERT INTO interactions SELECT uri, 0, 1, ?, ?, 1, 1, 'c' FROM posts",
        (did, f"at://{did}/app.bsky.feed.like/1"),
    )
    try:
        found = await everything(auditor, network)

        named = {each.view for each in found if each.left is None}
        assert named == {"follows_by_actor", "interactions"}
    finally:
        connection.execute("DELETE FROM follows_by_actor WHERE rkey='left'")
        connection.execute("DELETE FROM interactions WHERE cid='c'")
        connection.close()


def _key(table, name):
    found = next(view.table for view in ALL if view.name == table)
    return [column.name for column in (*found.partition, *(found.clustering if name == table else ()))]


async def test_what_stands_is_named_beside_what_never_stands_still(auditor, network):
    """One row is lost for good, a count is another one at every look."""
    connection = apsw.Connection(str(network.directory / "views0.sqlite"))
    uri, likes = connection.execute(
        "SELECT subject, likes FROM interactions__statics WHERE subject IN (SELECT uri FROM posts) LIMIT 1"
    ).fetchone()
    post = connection.execute("SELECT * FROM posts WHERE uri=?", (uri,)).fetchone()
    connection.execute("DELETE FROM posts WHERE uri=?", (uri,))
    moved = []

    async def reached(shard, offset, seconds, topic="records"):
        moved.append(1)
        connection.execute("UPDATE interactions__statics SET likes=likes+7, applied=applied+1 WHERE subject=?", (uri,))
        return await network.runner.reached(shard, offset, seconds, topic)

    try:
        found = await auditor.audit(uri.split("/")[2], network.store, reached)
    finally:
        connection.execute(f"INSERT INTO posts VALUES({', '.join('?' * len(post))})", post)
        connection.execute(
            "UPDATE interactions__statics SET likes=?, applied=applied-? WHERE subject=?", (likes, len(moved), uri)
        )
        connection.close()

    assert [(each.view, each.key) for each in found] == [("posts", (uri,))]
    assert await everything(auditor, network) == []

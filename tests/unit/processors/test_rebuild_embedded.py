"""The generations of one process over a real log: built beside, compared, flipped to and back, dropped."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from ingest.log_sqlite.schema import id_of
from processors.digest import digests
from processors.rebuild.builds import summary
from processors.rebuild.embedded import EmbeddedGenerations
from schemas.errors import InvariantError
from schemas.topics import shard_of
from tests.support.fast_network import TIGHT, FastNetwork, dids
from tests.support.random_network import RandomNetwork
from views import ALL, posts
from views.generations import GenerationError, Skip
from views.generations_sqlite import SqliteRegistry
from views.table import Table, text
from views.view import View

LATER = Table("later", "records", partition=(text("k", ""),))


@pytest.fixture
async def network(tmp_path):
    """A log with a network's history; the views it comes with are not those under test."""
    made = await FastNetwork(tmp_path, dids(5), 4).open()
    await made.begin()
    made.people = RandomNetwork(random.Random(11), made.dids, made.now)
    await act(made, 120)
    yield made
    await made.close()


async def act(network, steps):
    for step in network.people.steps(steps):
        await network.do(step)


class Host:
    """Generations as a process has them; opened again, they are those of the next process."""

    def __init__(self, network, views=ALL):
        self.network, self.views = network, views
        self.failures = []

    async def __aenter__(self):
        return await self.open()

    async def open(self, *, upgrade=True):
        directory = self.network.directory
        self.registry = SqliteRegistry(directory)
        self.generations = EmbeddedGenerations(
            directory,
            self.registry,
            self.network.log,
            log_id=id_of(directory / "log.sqlite"),
            views=self.views,
            settings=TIGHT,
            now=self.network.now,
            on_failure=self.failures.append,
        )
        try:
            await self.generations.open(upgrade=upgrade)
        except BaseException:
            await self.__aexit__()
            raise
        return self.generations

    async def __aexit__(self, *_):
        await self.generations.close()
        await self.registry.close()


def states(listed):
    return {each.name: each.state for each in listed}


def with_projection(rows):
    """The views, of which `posts` projects otherwise."""
    return [
        replace(view, rows={**view.rows, "app.bsky.feed.post": rows}) if view is posts.VIEW else view for view in ALL
    ]


async def faulty(generations):
    """The second generation, once it has stopped."""
    stopped = generations._copies["g2"].ready
    await asyncio.wait([stopped])
    (_, second) = await generations.all()
    assert second.fault
    return second


async def test_the_first_generation_is_live_at_once_and_its_file_keeps_its_name(network):
    async with Host(network) as generations:
        await generations.settled()

        assert states(await generations.all()) == {"g1": "live"}
        assert generations.live.path == network.directory / "views.sqlite"
        assert digests(generations.live.store, ALL) == digests(network.store, ALL)


async def test_a_generation_is_built_while_writes_go_on_and_equals_the_live_one(network):
    async with Host(network) as generations:
        built = await generations.build(None)
        assert (built.name, built.state) == ("g2", "building")
        writing = asyncio.create_task(act(network, 60))
        await generations.settled()
        assert states(await generations.all()) == {"g1": "live", "g2": "ready"}

        during = [await generations.diff("g1", "g2")]
        while not writing.done():
            during.append(await generations.diff("g2", "g1"))
            await asyncio.sleep(0)
        await writing

        assert [summary(diff) for diff in during if not diff.equal] == []
        assert sum(offset for _, _, offset in during[-1].vector) > sum(offset for _, _, offset in during[0].vector)
        assert sum(view.lines[0] for view in during[-1].views) > 100


async def test_flip_changes_what_is_read_in_one_step_and_back(network):
    async with Host(network) as generations:
        await generations.build("g2")
        await generations.settled()
        seen = []
        generations.switched = lambda copy: seen.append((copy.name, generations.live.name))

        await generations.flip("g2")
        assert states(await generations.all()) == {"g1": "retired", "g2": "live"}
        await act(network, 20)
        await generations.flip("g1")

        assert seen == [("g2", "g2"), ("g1", "g1")]
        assert states(await generations.all()) == {"g1": "live", "g2": "retired"}
        assert generations.live.runner.vector()
        await generations.settled()
        assert (await generations.diff("g1", "g2")).equal


async def test_the_one_that_is_read_is_the_same_after_a_restart(network):
    async with Host(network) as generations:
        await generations.build("g2")
        await generations.settled()
        await generations.flip("g2")
    await act(network, 20)
    async with Host(network) as generations:
        assert generations.live.name == "g2"
        await generations.settled()
        assert states(await generations.all()) == {"g1": "retired", "g2": "live"}
        assert (await generations.diff("g1", "g2")).equal


async def test_a_dropped_generation_is_gone_and_its_name_is_free(network):
    async with Host(network) as generations:
        await generations.build("g2")
        await generations.settled()
        await generations.flip("g2")
        dropped = await generations.drop("g1")

        assert dropped.name == "g1"
        assert sorted(path.name for path in network.directory.glob("views*.sqlite")) == [
            "views.g2.sqlite",
            "views0.sqlite",
        ]
        with pytest.raises(GenerationError, match="there is no generation g1: found g2"):
            await generations.flip("g1")
        assert (await generations.build("g1")).state == "building"
        await generations.settled()
        assert (await generations.diff("g1", "g2")).equal


async def test_another_projection_shows_in_the_diff_with_its_rows_named(network):
    host = Host(network)
    async with host as generations:
        sound = posts.VIEW.rows["app.bsky.feed.post"]

        def other(record):
            return [(row[0], "other", *row[2:]) for row in sound(record)] if "a" in record.rkey else sound(record)

        generations.views = with_projection(other)
        await generations.build("g2")
        await generations.settled()

        diff = await generations.diff("g1", "g2")

        assert not diff.equal
        (differing,) = [view for view in diff.views if view.left != view.right]
        assert differing.view == "posts"
        assert differing.rows
        for row in differing.rows:
            assert row.right == (row.left[0], "other", *row.left[2:])
        assert summary(diff)["views"]["posts"]["differing"][0]["right"][1] == "other"


async def test_what_cannot_be_done_is_refused_with_the_cure(network):
    async with Host(network) as generations:
        for name in ("", "G2", "2g", "g-2", "a" * 17, "../g2"):
            with pytest.raises(GenerationError, match="no name of a generation"):
                await generations.build(name)
        with pytest.raises(GenerationError, match="there is a generation g1"):
            await generations.build("g1")
        for command in (generations.flip, generations.drop, lambda name: generations.diff("g1", name)):
            with pytest.raises(GenerationError, match="headrace views build g7"):
                await command("g7")
        with pytest.raises(GenerationError, match="live already"):
            await generations.flip("g1")
        with pytest.raises(GenerationError, match="live: flip to another"):
            await generations.drop("g1")
        with pytest.raises(GenerationError, match="two generations"):
            await generations.diff("g1", "g1")
        await generations.build("g2")
        with pytest.raises(GenerationError, match="wait until"):
            await generations.flip("g2")
        await generations.settled()
        await generations.build("g3")
        with pytest.raises(GenerationError, match="at most 3"):
            await generations.build("g4")


async def test_a_build_that_fails_stops_alone_and_cannot_be_flipped_to(network):
    host = Host(network)
    async with host as generations:

        def raising(_):
            raise ZeroDivisionError("a projection's own fault")

        generations.views = with_projection(raising)
        await generations.build("g2")
        await act(network, 20)
        g2 = await faulty(generations)

        assert "ZeroDivisionError" in g2.fault
        assert g2.state == "building"
        assert host.failures == []
        with pytest.raises(GenerationError, match=r"no longer follows the log.*build another"):
            await generations.flip("g2")
        with pytest.raises(GenerationError, match="no longer follows the log"):
            await generations.diff("g1", "g2")
        await generations.drop("g2")
        await generations.settled()
        assert digests(generations.live.store, ALL)


async def test_views_of_another_shape_are_built_beside_before_anything_is_read(network):
    async with Host(network) as generations:
        await generations.settled()
        before = digests(generations.live.store, ALL)
    async with Host(network, [*ALL, View(LATER)]) as generations:
        assert generations.live.name == "g2"
        assert generations.live.runner.behind() == 0
        assert digests(generations.live.store, ALL) == before
        assert states(await generations.all()) == {"g1": "retired", "g2": "live"}
        with pytest.raises(GenerationError, match="another shape"):
            await generations.flip("g1")
        await generations.drop("g1")


async def test_an_old_directory_without_a_registry_is_taken_over(network):
    await network.settle()
    await network.close_views()
    (network.directory / "views0.sqlite").rename(network.directory / "views.sqlite")
    async with Host(network) as generations:
        assert generations.live.runner.entries == 0
        assert generations.live.runner.behind() == 0
    (network.directory / "generations.sqlite").unlink()
    async with Host(network, [*ALL, View(LATER)]) as generations:
        assert generations.live.name == "g2"
    await network.open_views()


async def test_views_of_another_log_are_refused_with_the_cure(network, tmp_path):
    host = Host(network)
    async with host as generations:
        await generations.settled()
    host = Host(network)
    registry = SqliteRegistry(tmp_path)
    registry._connection.execute('UPDATE generations SET source=\'{"log": "77"}\'')
    await registry.close()

    with pytest.raises(InvariantError, match=r"built from log 77.*move views"):
        await host.open()


async def test_a_skip_is_kept_and_lets_every_generation_pass(network):
    sound = posts.VIEW.rows["app.bsky.feed.post"]
    poisoned = []

    def raising(record):
        if record.cid in poisoned:
            raise ZeroDivisionError("a projection's own fault")
        return sound(record)

    host = Host(network, with_projection(raising))
    async with host as generations:
        await generations.settled()
        (entry,) = await last_posts(network, 1)
        poisoned.append(str(entry.cid))
        await generations.build("g2")
        await faulty(generations)
        shard = shard_of(entry.did, 4)
        await host.registry.skip(Skip("records", shard, entry.offset, "it is poison", network.now()))
        await generations.drop("g2")
        await generations.build("g2")
        await generations.settled()
        diff = await generations.diff("g1", "g2")

    assert {view.view for view in diff.views if view.left != view.right} >= {"posts", "records"}
    named = {row.key[0] for view in diff.views for row in view.rows if view.view == "posts"}
    assert named == {entry.uri}
    registry = SqliteRegistry(network.directory)
    assert [(skip.offset, skip.reason) for skip in await registry.skips()] == [(entry.offset, "it is poison")]
    await registry.close()


async def last_posts(network, count):
    """Posts that make rows and were never changed."""
    found = []
    for shard in range(4):
        for entry in await network.log.read_records(shard, 0, 5_000):
            if getattr(entry, "collection", "") == "app.bsky.feed.post" and entry.value is not None:
                live = network.log.record(entry.did, f"{entry.collection}/{entry.rkey}")
                (row,) = await network.store.get_many(posts.TABLE, [(entry.uri,)])
                if live is not None and live[0] == entry.cid and row is not None and entry.first_time == entry.time:
                    found.append(entry)
    return found[-count:]

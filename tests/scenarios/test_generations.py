"""Generations of `headrace up`, as an operator has them: commands, readers that go on, processes that die meanwhile."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time

import aiohttp
import apsw
import orjson
import pytest

from tests.oracle.compare import Comparison, Watch
from tests.support.http_network import DiedError, HttpNetwork
from tests.support.random_network import POST, Habits, RandomNetwork, Write, key

HABITS = Habits(leave=0, again=0, diff=0, media=False, status=0)
ACCOUNTS = 3


@pytest.fixture
async def network(tmp_path):
    async with HttpNetwork(tmp_path, shards=4) as made:
        made.start()
        for number in range(ACCOUNTS):
            await made.join(number)
        made.people = RandomNetwork(random.Random(5), made.dids, lambda: time.time_ns() // 1000, HABITS)
        await made.do_all(made.people.steps(40))
        yield made


async def ask(network, command, **arguments):
    """The hook that the command line asks: (status, answer)."""
    token = (network.network.data / "ops_token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{network.network.ops_url}/{command}"
    try:
        # A connection of its own: an old one to a process that was restarted breaks like one to a process that died.
        async with aiohttp.ClientSession() as session, session.post(url, json=arguments, headers=headers) as got:
            return got.status, await got.json()
    except (aiohttp.ClientError, ConnectionError) as error:
        raise DiedError(command) from error


async def ok(network, command, **arguments):
    status, answer = await ask(network, command, **arguments)
    assert status == 200, answer
    return answer


async def states(network):
    return {name: each["state"] for name, each in (await ok(network, "views/list")).items()}


async def ready(network, name):
    """Return once the generation may be flipped to; every request is a look."""
    async with asyncio.timeout(30):
        while (found := (await states(network))[name]) == "building":
            pass
    assert found == "ready"


def command(network, *words):
    done = subprocess.run(
        [sys.executable, "-m", "headrace", *words, "--data", str(network.network.data), "--set", "shards=4", "--json"],
        capture_output=True,
        check=False,
    )
    return done.returncode, orjson.loads(done.stdout) if done.stdout else done.stderr.decode()


async def read_own(network, did, numbers, stop):
    """Writes a post, then looks whether its author's feed begins with it: what a flip must not break."""
    looks = 0
    while not stop.is_set():
        rkey = key(1_000 + next(numbers))
        post = {"$type": POST, "text": "now", "createdAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        await network.do(Write(did, ((f"{POST}/{rkey}", post),)))
        status, feed = await network.call(
            "GET", "app.bsky.feed.getAuthorFeed", did, params={"actor": did, "limit": 100}
        )
        assert status == 200, feed
        uris = [item["post"]["uri"] for item in feed["feed"]]
        assert f"at://{did}/{POST}/{rkey}" in uris, "an answer without the reader's own last post"
        status, profile = await network.call("GET", "app.bsky.actor.getProfile", did, params={"actor": did})
        assert status == 200, profile
        own = sum(uri.startswith(f"at://{did}/{POST}/") for uri in network.kept)
        assert profile["postsCount"] == own
        looks += 1
    return looks


async def test_built_and_flipped_under_load_no_answer_fails_or_is_old(network):
    stop, numbers = asyncio.Event(), iter(range(10_000))
    readers = [asyncio.create_task(read_own(network, did, numbers, stop)) for did in network.dids]

    built = await ok(network, "views/build")
    await ready(network, "g2")
    diffs = [await ok(network, "views/diff", name="g1", other="g2")]
    for name in ("g2", "g1") * 4:
        assert (await ok(network, "views/flip", name=name))["state"] == "live"
        diffs.append(await ok(network, "views/diff", name="g2", other="g1"))
    await ok(network, "views/flip", name="g2")
    await ok(network, "views/drop", name="g1")
    stop.set()
    looks = await asyncio.gather(*readers)

    assert built["generation"] == "g2"
    assert [diff for diff in diffs if not diff["equal"]] == []
    assert diffs[-1]["vector"] > diffs[0]["vector"]
    assert min(looks) > 3
    assert await states(network) == {"g2": "live"}
    assert not (network.network.data / "views.sqlite").exists()
    await network.settled()
    watch = Watch()
    await Comparison(
        network.read(), network, network.dids, random.Random(1), watch=watch, context="after the flips"
    ).everything([None, *network.dids])
    assert network.network.stop() == 0


@pytest.mark.parametrize(
    ("point", "crashing", "then"),
    [
        ("generation.after_add", ("views/build", {"name": "g3"}), {"g1": "live", "g2": "ready", "g3": "ready"}),
        ("generation.before_flip", ("views/flip", {"name": "g2"}), {"g1": "live", "g2": "ready"}),
        ("generation.after_flip", ("views/flip", {"name": "g2"}), {"g1": "retired", "g2": "live"}),
        ("generation.mid_drop", ("views/drop", {"name": "g2"}), {"g1": "live"}),
    ],
)
async def test_a_crash_at_any_step_leaves_one_live_generation_that_is_whole(network, point, crashing, then):
    await ok(network, "views/build", name="g2")
    await ready(network, "g2")
    assert network.network.stop() == 0
    network.start(f"{point}:1")

    with pytest.raises(DiedError):
        await ask(network, crashing[0], **crashing[1])
    assert network.network.wait_for_death() == -signal.SIGKILL
    assert network.said_to_crash(point)
    network.start()
    await network.settled()
    for name, state in then.items():
        if state == "ready":
            await ready(network, name)

    assert await states(network) == then
    others = [name for name in then if name != "g1"]
    for name in others:
        assert (await ok(network, "views/diff", name="g1", other=name))["equal"]
    if point == "generation.mid_drop":
        await ok(network, "views/build", name="g2")
        await ready(network, "g2")
        assert (await ok(network, "views/diff", name="g1", other="g2"))["equal"]
    await Comparison(network.read(), network, network.dids, random.Random(1), watch=Watch(), context=point).everything(
        [network.dids[0]]
    )


async def build_until_it_dies(network):
    await ask(network, "views/build", name="g2")
    while True:
        await states(network)


async def test_a_kill_in_the_middle_of_a_build_is_gone_on_with(network):
    assert network.network.stop() == 0
    network.start("views.mid_commit:1")  # the live one has nothing to commit
    with pytest.raises(DiedError):
        await build_until_it_dies(network)
    assert network.network.wait_for_death() == -signal.SIGKILL
    network.start()
    await ready(network, "g2")

    assert (await ok(network, "views/diff", name="g1", other="g2"))["equal"]


async def test_the_command_line_asks_the_running_process_or_the_directory_at_rest(network):
    assert command(network, "views", "build", "g2")[1]["generation"] == "g2"
    await ready(network, "g2")
    code, said = command(network, "views", "flip", "g9")
    assert (code, "there is no generation g9" in said) == (3, True)
    assert network.network.stop() == 0

    assert command(network, "views", "flip", "g2")[0] == 0
    connection = apsw.Connection(str(network.network.data / "views.sqlite"))
    connection.execute("UPDATE posts SET cid='other' WHERE uri=(SELECT min(uri) FROM posts)")
    connection.close()
    code, diff = command(network, "views", "diff", "g2", "g1")
    assert (code, diff["equal"]) == (1, False)
    (named,) = diff["views"]["posts"]["differing"]
    assert named["right"][1] == "other" != named["left"][1]
    assert command(network, "views", "drop", "g1") == (0, {"dropped": "g1"})
    assert command(network, "views", "build")[1]["g3"]["state"] == "ready"
    network.start()
    assert await states(network) == {"g2": "live", "g3": "ready"}


async def test_hooks_want_the_token_and_refuse_what_they_do_not_know(network):
    url = network.network.ops_url
    async with network.session.post(f"{url}/views/list", json={}) as answer:
        assert answer.status == 401
    assert (await ask(network, "views/build", nonsense=1))[0] == 400
    status, answer = await ask(network, "views/build", name="x" * 5_000)
    assert (status, answer["error"]) == (400, "command_refused")
    for command_, arguments in (
        ("views/flip", {}),
        ("views/drop", {"name": "g1"}),
        ("log/skip", {"topic": "edges", "shard": 0, "offset": 1, "reason": "x"}),
        ("log/skip", {"topic": "records", "shard": 9, "offset": 1, "reason": "x"}),
        ("log/skip", {"topic": "records", "shard": 0, "offset": 10**9, "reason": "x"}),
    ):
        status, answer = await ask(network, command_, **arguments)
        assert (status, answer["error"]) == (400, "command_refused"), answer


async def test_the_auditor_finds_what_the_log_does_not_make(tmp_path):
    async with HttpNetwork(tmp_path) as network:
        network.network.settings = {**network.network.settings, "audit_seconds": "0.01"}
        network.start()
        await network.join(0)
        did = network.dids[0]
        post = {"$type": POST, "text": "one", "createdAt": "2026-01-01T00:00:00Z"}
        await network.do(Write(did, ((f"{POST}/{key(1)}", post),)))
        await counted(network, "headrace_audit_accounts_total", 3)
        assert await counted(network, "headrace_audit_divergent_rows_total", 0) == 0

        connection = apsw.Connection(str(network.network.data / "views.sqlite"))
        connection.execute("UPDATE posts SET cid='other'")
        connection.close()
        await counted(network, "headrace_audit_divergent_rows_total", 1)

        assert '"view":"posts"' in network.network.log.read_text()


async def counted(network, metric, least):
    """The metric's value, once it is at least that; every scrape is a look."""
    async with asyncio.timeout(30):
        while True:
            async with network.session.get(f"{network.network.ops_url}/metrics") as answer:
                text = await answer.text()
            (line,) = [line for line in text.splitlines() if line.startswith(f"{metric} ")]
            if float(line.split()[1]) >= least:
                return float(line.split()[1])

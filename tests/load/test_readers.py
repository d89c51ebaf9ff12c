"""Clients: arrivals wait for nobody, latency counts from when a request was due, what cannot be sent is counted."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.load import judge
from headrace.load.arrivals import arrivals, stream
from headrace.load.clients import Clients
from headrace.load.messages import LATENESS, Cell
from headrace.load.null_server import NullServer
from headrace.load.plan import Load, Plan, Readers
from headrace.load.series import Series
from headrace.load.tally import Tally
from headrace.load.wire import Connection, Pool
from headrace.load.world import Account, Post, World

WORLD = World(
    "t", [Account(f"did:plc:{n}", f"a{n}.test", "token" * 40) for n in range(4)], [[], [], [], []], [], {}, []
)


async def load(plan: Plan, server: NullServer, folder: Path, then=None) -> tuple[Series, Clients]:
    """The plan's clients against a server, while `then(begin)` goes on."""
    world = folder / "world"
    WORLD.save(world)
    series = Series(plan.judged_from, 1_000)
    clients = Clients(plan, server.url, world, series)
    begin = time.monotonic() + 2.0
    try:
        await clients.start(begin)
        if then is not None:
            await then(begin)
        await clients.finished()
    finally:
        await clients.close()
        await server.close()
    return series, clients


def reading(rate: float, **how) -> Plan:
    return Plan(name="x", readers={"a": Readers(rate=rate)}, load=Load(arrivals="constant", **how))


@settings(max_examples=50, deadline=None)
@given(
    rate=st.floats(0.5, 500),
    seconds=st.floats(0.1, 20),
    ramp=st.floats(0, 20),
    parts=st.integers(1, 4),
)
def test_even_arrivals_are_as_many_as_the_rate_says_in_any_number_of_parts(rate, seconds, ramp, parts) -> None:
    found = sorted(at for part in range(parts) for at in arrivals(rate, seconds, ramp, None, part=part, parts=parts))
    ramped = min(seconds, ramp)
    expected = rate * (seconds - ramped) + (rate * ramped * ramped / (2 * ramp) if ramp else 0.0)

    assert abs(len(found) - expected) <= 1 + 1e-6 * expected
    assert all(0 <= at < seconds for at in found)
    assert all(one < other for one, other in pairwise(found))


def test_poisson_arrivals_are_the_seeds_own_and_as_many_as_the_rate_says() -> None:
    once = list(arrivals(100, 100, 0, stream(7, "a")))
    again = list(arrivals(100, 100, 0, stream(7, "a")))
    other = list(arrivals(100, 100, 0, stream(7, "b")))
    gaps = [b - a for a, b in pairwise(once)]

    assert once == again != other
    assert abs(len(once) - 10_000) < 5 * 100  # five standard deviations
    mean = sum(gaps) / len(gaps)
    assert 0.9 < (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 / mean < 1.1


async def test_a_server_that_stands_still_is_charged_in_every_percentile(tmp_path) -> None:
    """Coordinated omission: it answers at once, but for two seconds of four nothing.

    A client that waits for answers would count one slow request a connection and call the median quick. Requests that
    were due meanwhile have waited as well: at even arrivals a quarter of all waited a second and more.
    """
    server = NullServer()
    await server.start()
    held = []

    async def hold(begin: float) -> None:
        await asyncio.sleep(begin + 1.0 - time.monotonic())
        held.append(time.monotonic())
        server.hold()
        await asyncio.sleep(2.0)
        server.go_on()
        held.append(time.monotonic())

    series, clients = await load(reading(100, seconds=4, in_flight=1000), server, tmp_path, hold)
    histogram = series.judged["getTimeline"]
    stood = held[1] - held[0]

    assert clients.sent == 400 == histogram.get_total_count()
    assert server.requests == 400
    # Those due while it stood waited for what was left of it: uniformly from nothing to all of it.
    share = stood / 4
    for waited in (0.5, 0.25, 0.1):
        percentile = 100 * (1 - share * (1 - waited)) + 2  # two beside the edge: one slot of 1 % and rounding
        assert histogram.get_value_at_percentile(percentile) / 1e6 >= stood * waited, (waited, stood)
    assert histogram.get_max_value() / 1e6 >= stood * 0.95
    point = next(each for each in series.operations(4)[0].points if each.second == 1)
    assert point.ms[0] >= 500  # the second in which it began to stand says so itself


async def test_a_generator_that_stands_still_charges_itself_and_says_so(tmp_path) -> None:
    """Stopped for two seconds of four, it sends late what was due: that is in the latencies, and in its lateness."""
    server = NullServer()
    await server.start()
    world = tmp_path / "world"
    WORLD.save(world)
    series = Series(0, 1_000)
    clients = Clients(reading(100, seconds=4), server.url, world, series)
    begin = time.monotonic() + 2.0
    try:
        await clients.start(begin)
        (pid,) = clients.pids.values()
        await asyncio.sleep(begin + 1.0 - time.monotonic())
        os.kill(pid, signal.SIGSTOP)
        stopped = time.monotonic()
        await asyncio.sleep(2.0)
        stood = time.monotonic() - stopped
        os.kill(pid, signal.SIGCONT)
        await clients.finished()
    finally:
        await clients.close()
        await server.close()

    assert server.requests == clients.sent == 400
    for histogram in (series.judged["getTimeline"], series.judged[LATENESS]):
        assert histogram.get_value_at_percentile(100 * (1 - stood / 4 / 2) + 2) / 1e6 >= stood / 2
        assert histogram.get_max_value() / 1e6 >= stood * 0.95


async def test_what_cannot_be_sent_is_dropped_and_counted(tmp_path) -> None:
    server = NullServer()
    await server.start()
    server.hold()
    plan = reading(100, seconds=2, in_flight=10, timeout=30.0)

    async def go_on(begin: float) -> None:
        await asyncio.sleep(begin + 2.2 - time.monotonic())
        server.go_on()

    series, clients = await load(plan, server, tmp_path, go_on)
    (found,) = series.operations(2)

    assert clients.sent == 200
    assert (found.answers, found.dropped, found.errors) == (10, 190, 0)


async def test_silence_is_a_timeout_and_a_dead_server_a_refused_connection(tmp_path) -> None:
    server = NullServer()
    await server.start()
    server.hold()

    async def die(begin: float) -> None:
        await asyncio.sleep(begin + 1.0 - time.monotonic())
        await server.close()

    series, _ = await load(reading(50, seconds=2, in_flight=400, timeout=0.4), server, tmp_path, die)
    (found,) = series.operations(2)

    assert found.answers == 0
    assert found.errors == 100
    assert set(found.kinds) <= {"timeout", "cut", "reset", "connect"}
    assert found.kinds["timeout"] >= 20
    assert found.kinds["connect"] >= 20


async def test_two_processes_load_a_server_that_does_nothing(tmp_path, record_property) -> None:
    """The generator's own measure. Its numbers are printed, not judged: machines differ; a collapse is."""
    server = NullServer()
    await server.start()
    plan = reading(10_000, seconds=5, warm_up=2, processes=2, in_flight=1024)

    series, clients = await load(plan, server, tmp_path)
    (found,) = series.operations(3)
    late = series.lateness()
    line = f"{found.rate:,.0f} answers/s of 10,000, lateness p50 {late.p50:.2f} ms, p99 {late.p99:.2f} ms"
    record_property("null server", line)
    print(line)

    assert clients.sent == 50_000
    assert found.errors == 0
    assert found.rate > 500


async def test_client_processes_end_with_who_started_them(tmp_path) -> None:
    server = NullServer()
    await server.start()
    WORLD.save(tmp_path / "world")
    clients = Clients(reading(10, seconds=600), server.url, tmp_path / "world", Series(0, 10))
    await clients.start(time.monotonic())
    pids = list(clients.pids.values())

    clients.stop()
    async with asyncio.timeout(60):
        await clients.finished()

    assert len(pids) == 1
    await clients.close()
    await server.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length:11\r\n\r\nhello world",
    ],
    ids=["length", "chunks", "close"],
)
def test_answers_are_read_whole_however_they_are_cut(answer, size) -> None:
    pool = Pool("http://127.0.0.1:1", limit=1, timeout=10)
    connection = Connection(pool)
    for _ in range(2):
        found = []
        connection.done = lambda *words, found=found: found.append(words)
        for start in range(0, len(answer), size):
            assert found == []
            connection.data_received(answer[start : start + size])
        assert found == [(200, b"hello world", "")]


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 2x0 OK\r\n\r\n", b"SMTP\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nx", b"x" * 70_000]
)
def test_what_is_no_answer_is_malformed(answer) -> None:
    connection = Connection(Pool("http://127.0.0.1:1", limit=1, timeout=10))
    found = []
    connection.done = lambda *words: found.append(words)

    for start in range(0, len(answer), 1000):
        connection.data_received(answer[start : start + 1000])

    assert found == [(0, b"", "malformed")]


def test_a_series_keeps_percentiles_of_seconds_that_are_over() -> None:
    from array import array

    series = Series(1, 2)
    for second in (0, 1, 2):
        series.take(Cell(second, "a", array("I", [1000 * (n + 1) for n in range(100)]).tobytes(), {}))
    series.take(Cell(1, "a", array("I", [500_000]).tobytes(), {"timeout": 2}, 3))
    series.take(Cell(1, LATENESS, array("I", [7_000]).tobytes(), {}))
    series.close(2.5)

    (found,) = series.operations(2.0)

    assert [(point.second, point.answers) for point in found.points] == [(0, 100), (1, 101), (2, 100)]
    assert found.points[1].ms[3] == 500.0
    assert (found.answers, found.rate, found.errors, found.dropped) == (201, 100.5, 2, 3)
    assert 495 < found.latency.max < 505
    assert 6.9 < series.lateness().p50 < 7.1


def feed(*uris: str) -> bytes:
    items = ",".join(f'{{"post":{{"uri":"{uri}"}}}}' for uri in uris)
    return f'{{"feed":[{items}]}}'.encode()


@pytest.mark.parametrize(
    ("operation", "asked", "body", "right"),
    [
        ("getTimeline", "", feed("a", "b"), True),
        ("getTimeline", "", feed("a", "b", "a"), False),
        ("getTimeline", "", feed("a", "b", "c", "d"), False),
        ("getTimeline", "", b'{"feed":', False),
        ("getTimeline", "", b"{}", False),
        ("getAuthorFeed", "did:plc:x", feed("at://did:plc:x/p/1"), True),
        ("getAuthorFeed", "did:plc:x", feed("at://did:plc:y/p/1"), False),
        ("getProfile", "did:plc:x", b'{"did":"did:plc:x"}', True),
        ("getProfile", "did:plc:x", b'{"did":"did:plc:y"}', False),
        ("getPostThread", "u", b'{"thread":{"post":{"uri":"u"}}}', True),
        ("getPostThread", "u", b'{"thread":{"post":{"uri":"v"}}}', False),
        ("getPosts", "u v", b'{"posts":[{"uri":"v"},{"uri":"u"}]}', True),
        ("getPosts", "u v", b'{"posts":[{"uri":"v"}]}', False),
    ],
)
def test_answers_are_judged(operation, asked, body, right) -> None:
    assert (judge.read(operation, asked, 3, body) is None) == right


def test_a_tally_knows_bounds_and_who_did_it_already() -> None:
    world = World("t", WORLD.accounts, [[]] * 4, [Post("u", "c", 0), Post("v", "c", 0)], {"u": 1}, [1 * 2 + 0])
    tally = Tally(world)

    assert [tally.take("like", 1, 0), tally.take("like", 1, 1), tally.take("like", 1, 1)] == [False, True, False]
    assert tally.take("repost", 1, 0)
    for change, error in ((1, ""), (1, ""), (1, "timeout"), (1, "http_503"), (1, "http_400"), (1, "connect")):
        tally.did("like", "u", change, error)
    tally.did("like", "u", -1, "cut")
    tally.did("like", "of a stranger", 1, "")

    assert tally.counts() == [("like", "u", 1, 4)]


def test_heavy_tails_are_drawn_from_the_seed() -> None:
    from headrace.load.world import Ranks

    ranks, rng = Ranks(100, 1.0), random.Random(1)
    drawn = [ranks.draw(rng) for _ in range(10_000)]

    assert drawn.count(0) > 3 * drawn.count(9) > 0
    assert set(drawn) <= set(range(100))

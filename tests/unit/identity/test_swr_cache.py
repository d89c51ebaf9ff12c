from __future__ import annotations

import asyncio

import pytest

from ingest.identity.reasons import TRANSIENT, IdentityReason, IdentityRefused
from ingest.identity.swr_cache import Bounds, SwrCache


class Source:
    """Answers `key:n` for the nth load; may be made to refuse, or to wait at a gate."""

    def __init__(self):
        self.loads = 0
        self.refuse = None
        self.gate = None
        self.now = 1000.0

    async def load(self, key):
        self.loads += 1
        number = self.loads
        if self.gate is not None:
            await self.gate.wait()
        if self.refuse is not None:
            raise IdentityRefused(self.refuse, key)
        return f"{key}:{number}"

    def cache(self, **bounds):
        return SwrCache(self.load, Bounds(**bounds), lambda: self.now)


async def landed(cache):
    """Everything under way has come down."""
    await asyncio.gather(*cache._flights.values())


async def test_a_fresh_answer_comes_from_memory():
    source = Source()
    cache = source.cache()

    assert [await cache.get("a"), await cache.get("a")] == ["a:1", "a:1"]
    assert (cache.hits, cache.misses) == (1, 1)


async def test_a_stale_answer_is_given_at_once_and_replaced_behind():
    source = Source()
    cache = source.cache(fresh=10, expire=100)
    await cache.get("a")
    source.now += 10

    assert await cache.get("a") == "a:1"
    await landed(cache)
    assert await cache.get("a") == "a:2"


async def test_an_expired_answer_is_waited_for():
    source = Source()
    cache = source.cache(fresh=10, expire=100)
    await cache.get("a")
    source.now += 100

    assert await cache.get("a") == "a:2"


async def test_a_refusal_is_remembered_for_its_time_and_no_longer():
    source = Source()
    source.refuse = IdentityReason.NOT_FOUND
    cache = source.cache(negative=5)
    for _ in range(3):
        with pytest.raises(IdentityRefused):
            await cache.get("a")
    assert source.loads == 1
    source.refuse = None
    source.now += 5

    assert await cache.get("a") == "a:2"


async def test_a_transient_refusal_does_not_displace_a_usable_answer_but_a_final_one_does():
    source = Source()
    cache = source.cache(fresh=10, expire=100)
    await cache.get("a")
    source.now += 10
    source.refuse = IdentityReason.TIMEOUT
    await cache.get("a")
    await landed(cache)
    source.now += 1
    assert await cache.get("a") == "a:1"
    await landed(cache)

    source.refuse = IdentityReason.TOMBSTONED
    source.now += 1
    await cache.get("a")
    await landed(cache)
    with pytest.raises(IdentityRefused):
        await cache.get("a")
    assert source.loads == 4


async def test_a_hundred_askers_share_one_flight():
    source = Source()
    source.gate = asyncio.Event()
    cache = source.cache()
    askers = [asyncio.create_task(cache.get("a")) for _ in range(100)]
    await asyncio.sleep(0)
    source.gate.set()

    assert set(await asyncio.gather(*askers)) == {"a:1"}
    assert source.loads == 1


async def test_an_asker_who_gives_up_does_not_end_the_flight_for_others():
    source = Source()
    source.gate = asyncio.Event()
    cache = source.cache()
    first, second = asyncio.create_task(cache.get("a")), asyncio.create_task(cache.get("a"))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    source.gate.set()

    assert await second == "a:1"


async def test_a_refresh_never_settles_for_a_flight_that_began_before_it():
    source = Source()
    source.gate = asyncio.Event()
    cache = source.cache()
    early = asyncio.create_task(cache.get("a"))
    await asyncio.sleep(0)
    late = [asyncio.create_task(cache.get("a", refresh=True)) for _ in range(10)]
    await asyncio.sleep(0)
    source.gate.set()

    assert await early == "a:1"
    assert set(await asyncio.gather(*late)) == {"a:2"}
    assert source.loads == 2


async def test_the_flights_and_the_line_before_them_are_bounded():
    source = Source()
    source.gate = asyncio.Event()
    cache = source.cache(concurrency=2, waiting=3)
    askers = [asyncio.create_task(cache.get(str(number))) for number in range(5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    with pytest.raises(IdentityRefused) as refused:
        await cache.get("one too many")
    assert refused.value.reason is IdentityReason.BUSY
    assert source.loads == 2
    source.gate.set()
    assert len(await asyncio.gather(*askers)) == 5


async def test_a_load_that_takes_too_long_is_a_timeout():
    source = Source()
    source.gate = asyncio.Event()
    cache = source.cache(timeout=0.01)

    with pytest.raises(IdentityRefused) as refused:
        await cache.get("a")
    assert refused.value.reason is IdentityReason.TIMEOUT


async def test_the_oldest_unused_entries_make_room():
    source = Source()
    cache = source.cache(entries=3)
    for key in "abc":
        await cache.get(key)
    await cache.get("a")
    for key in "de":
        await cache.get(key)

    assert len(cache) == 3
    assert (cache.peek("a"), cache.peek("b")) == ("a:1", None)


async def test_an_error_of_our_own_is_not_swallowed():
    async def broken(key):
        raise RuntimeError(key)

    cache = SwrCache(broken, Bounds())

    with pytest.raises(RuntimeError):
        await cache.get("a")


async def test_closing_ends_what_is_under_way():
    source = Source()
    source.gate = asyncio.Event()
    cache = source.cache()
    asker = asyncio.create_task(cache.get("a"))
    await asyncio.sleep(0)

    await cache.close()

    with pytest.raises(asyncio.CancelledError):
        await asker
    assert cache.flights == 0


async def refused(cache, key="a", **how):
    with pytest.raises(IdentityRefused) as caught:
        await cache.get(key, **how)
    return caught.value


@pytest.mark.parametrize("reason", sorted(TRANSIENT))
async def test_a_transient_refusal_is_remembered_for_a_moment_and_not_as_an_answer(reason):
    source = Source()
    source.refuse = reason
    cache = source.cache(negative=60, transient=1)
    for _ in range(100):
        await refused(cache)
    assert source.loads == 1
    source.refuse = None
    source.now += 1

    assert await cache.get("a") == "a:2"


async def test_a_stale_answer_that_cannot_be_replaced_is_not_asked_for_at_every_reading():
    source = Source()
    cache = source.cache(fresh=10, expire=100, transient=1)
    await cache.get("a")
    source.now += 10
    source.refuse = IdentityReason.BUSY
    for _ in range(50):
        assert await cache.get("a") == "a:1"
        await landed(cache)
    assert source.loads == 2
    source.refuse = None
    source.now += 1
    await cache.get("a")
    await landed(cache)

    assert await cache.get("a") == "a:3"


async def test_what_is_recalled_is_as_old_as_it_was():
    source = Source()
    told = {"fresh": ("f", 5.0), "stale": ("s", 50.0), "expired": ("e", 100.0)}
    cache = source.cache(fresh=10, expire=100)
    cache.recall = told.get

    assert [await cache.get(key) for key in told] == ["f", "s", "expired:2"]
    await landed(cache)
    assert [await cache.get(key) for key in told] == ["f", "stale:1", "expired:2"]
    assert (cache.recalled, source.loads) == (2, 2)


async def test_what_is_recalled_outlives_a_refresh_that_could_not_be_had():
    source = Source()
    source.refuse = IdentityReason.UNREACHABLE
    cache = source.cache(fresh=10, expire=100)
    cache.recall = {"a": ("old", 50.0)}.get

    assert (await refused(cache, refresh=True)).reason is IdentityReason.UNREACHABLE
    assert await cache.get("a") == "old"

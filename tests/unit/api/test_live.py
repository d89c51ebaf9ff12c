"""Which generation an AppView reads, when it is ready, and what it does with one of a shape that it does not know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from headrace import live
from headrace.live import LiveStore
from schemas.errors import InvariantError
from views.generations import Generation
from views.store_scylla import StoreUnavailableError

MOMENTS = 50  # turns of the loop, each of which the follower asks in


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Told:
    """The registry's word, as a test sets it."""

    def __init__(self, name: str | None, **states: Any) -> None:
        self.name = name
        self.states = states
        self.away = False
        self.left = 0
        self.over = asyncio.Event()

    async def live(self) -> str | None:
        self.left -= 1
        if self.left == 0:
            self.over.set()
        if self.away:
            raise StoreUnavailableError("away")
        return self.name

    async def all(self) -> list[Generation]:
        return [Generation(name, state, "", {}, 0, 1) for name, state in self.states.items()]


class Store:
    def __init__(self, generation: str) -> None:
        self.generation = generation
        self.closed = False

    async def close(self) -> None:
        self.closed = True


def live_store(told: Told, *, readable: tuple[str, ...] = ("g1", "g2"), clock: Clock | None = None) -> LiveStore:
    async def opening(name: str) -> Any:
        if name not in readable:
            raise InvariantError(f"{name}: expected tables of another shape")
        return Store(name)

    return LiveStore(told, opening, clock or Clock())


@asynccontextmanager
async def following(store: LiveStore, monkeypatch) -> AsyncIterator[list[str]]:
    """The generations that readers were switched to."""
    monkeypatch.setattr(live, "ASK_SECONDS", 0)
    switched: list[str] = []
    task = asyncio.create_task(store.follow(lambda found: switched.append(found.generation)))
    try:
        yield switched
    finally:
        assert not task.done(), task.exception()
        task.cancel()
        await store.close()


async def moments(told: Told) -> None:
    """Until the follower has asked some times more."""
    told.left = MOMENTS
    told.over.clear()
    async with asyncio.timeout(30):
        await told.over.wait()


# --- ready ---


async def test_an_appview_is_ready_while_the_store_tells_of_a_live_generation() -> None:
    clock = Clock()
    store = live_store(Told("g1"), clock=clock)
    before = store.ready
    await store.open("g1")
    clock.seconds += live.READY_SECONDS - 1
    soon = store.ready
    clock.seconds += 2

    assert (before, soon, store.ready) == (False, True, False)


async def test_it_is_not_ready_before_there_is_a_generation() -> None:
    store = live_store(Told(None))
    await store.open("g1")

    assert store.store.generation == "g1"
    assert not store.ready


async def test_a_store_that_comes_back_makes_it_ready_again(monkeypatch) -> None:
    clock, told = Clock(), Told("g1")
    store = live_store(told, clock=clock)
    await store.open("g1")
    async with following(store, monkeypatch):
        told.away = True
        await moments(told)
        at_once = store.ready
        clock.seconds += live.READY_SECONDS + 1
        await moments(told)
        away = store.ready
        told.away = False
        await moments(told)

        assert (at_once, away, store.ready) == (True, False, True)


# --- which ---


async def test_readers_are_switched_when_another_is_live(monkeypatch) -> None:
    told = Told("g1")
    store = live_store(told)
    await store.open("g1")
    async with following(store, monkeypatch) as switched:
        told.name = "g2"
        await moments(told)

        assert switched == ["g2"]
        assert store.store.generation == "g2"


async def test_one_that_does_not_know_the_shape_goes_on_with_what_it_reads(monkeypatch) -> None:
    told = Told("g1")
    store = live_store(told, readable=("g1",))
    await store.open("g1")
    async with following(store, monkeypatch) as switched:
        told.name = "g2"
        await moments(told)

        assert switched == []
        assert store.store.generation == "g1"
        assert store.ready


async def test_one_that_starts_before_the_flip_reads_its_own_when_that_is_complete(monkeypatch) -> None:
    told = Told("g1", g1="live", g2="ready")
    store = live_store(told, readable=("g2",))
    await store.open("g2")
    async with following(store, monkeypatch) as switched:
        await moments(told)
        told.name = "g2"
        await moments(told)

        assert switched == []
        assert store.store.generation == "g2"


@pytest.mark.parametrize("states", [{"g1": "live", "g2": "building"}, {"g1": "live"}])
async def test_one_that_starts_on_a_generation_that_is_not_complete_stops(states) -> None:
    store = live_store(Told("g1", **states), readable=("g2",))

    with pytest.raises(InvariantError, match="g1"):
        await store.open("g2")


async def test_a_live_generation_of_another_shape_is_tried_again_after_a_flip_back(monkeypatch) -> None:
    told = Told("g1")
    store = live_store(told, readable=("g1", "g2"))
    await store.open("g1")
    store._leave_unread("g2", InvariantError("as it was"))
    async with following(store, monkeypatch) as switched:
        told.name = "g2"
        await moments(told)
        before = list(switched)
        told.name = "g1"
        await moments(told)
        told.name = "g2"
        await moments(told)

        assert (before, switched) == ([], ["g2"])

"""Where the lanes of a worker spend their time: while this is entered, each step of a batch is timed by topic.

Wall time, so that what a lane waits for is in it; lanes run beside one another, so that the sums are of lanes and not
of the process. Does not own how the times are shown to whom.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from contextvars import ContextVar
from typing import Any, Self

from processors.lanes.hops_kafka import KafkaHops
from processors.lanes.lane import Lane
from processors.lanes.stages import EdgesStage, FanoutStage, IndexStage, Message
from views.store_scylla import ScyllaStore

_LANE: ContextVar[str] = ContextVar("lane", default="-")

_TIMED = (
    (IndexStage, "take", "fold"),
    (EdgesStage, "take", "fold"),
    (FanoutStage, "take", "fold"),
    (ScyllaStore, "_read", "read"),
    (ScyllaStore, "_write", "write"),
    (ScyllaStore, "reach", "reach"),
    (ScyllaStore, "apply", "apply"),
    (KafkaHops, "send", "send"),
)


class Phases:
    """`shown` says of each topic: batches, messages a batch, milliseconds a batch of each step, age when taken."""

    def __init__(self) -> None:
        self._patches = ExitStack()
        self._spent: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._ages: dict[str, list[float]] = defaultdict(list)
        self._taken: dict[str, list[int]] = defaultdict(list)

    def __enter__(self) -> Self:
        for owner, name, step in _TIMED:
            self._put(owner, name, self._timed(getattr(owner, name), step))
        self._put(Lane, "take", self._take(Lane.take))
        return self

    def _put(self, owner: type, name: str, instead: Callable[..., Awaitable[Any]]) -> None:
        self._patches.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, instead)

    def __exit__(self, *_: object) -> None:
        self._patches.close()

    def _timed(self, call: Callable[..., Awaitable[Any]], step: str) -> Callable[..., Awaitable[Any]]:
        async def timed(*arguments: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            try:
                return await call(*arguments, **named)
            finally:
                self._spent[_LANE.get(), step].append(time.perf_counter() - begun)

        return timed

    def _take(self, call: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def take(lane: Lane, messages: Sequence[Message]) -> None:
            _LANE.set(lane.topic)
            now, begun = time.time() * 1000, time.perf_counter()
            self._ages[lane.topic] += [now - message.timestamp for message in messages]
            self._taken[lane.topic].append(len(messages))
            await call(lane, messages)
            self._spent[lane.topic, "take"].append(time.perf_counter() - begun)

        return take

    def shown(self) -> str:
        """And begins anew."""
        lines = []
        for topic, taken in self._taken.items():
            batches = len(taken)
            ages = sorted(self._ages[topic])
            lines.append(
                f"{topic:8} {batches} batches of {sum(taken) / batches:.0f},"
                f" age when taken p50 {ages[len(ages) // 2]:.0f} ms, p99 {ages[len(ages) * 99 // 100]:.0f} ms"
            )
            for (of, step), spent in sorted(self._spent.items()):
                if of == topic:
                    lines.append(
                        f"    {step:6} {len(spent) / batches:5.2f} a batch, {sum(spent) / batches * 1000:8.2f} ms a"
                        f" batch, {sum(spent):7.2f} s in all"
                    )
        for held in (self._spent, self._ages, self._taken):
            held.clear()  # type: ignore[attr-defined]
        return "\n".join(lines)

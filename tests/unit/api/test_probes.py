"""What the probes say: ready when requests are to be sent, live unless only another process would make progress."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from api.ops import build_ops_app
from headrace.stalls import STALL_SECONDS, Stalls

PLACE = ("records", 3)


async def asked(path: str, *, ready: bool = True, why: str | None = None) -> tuple[int, dict[str, Any]]:
    app = build_ops_app(
        registry=CollectorRegistry(), status=dict, ready=lambda: ready, version="0", stalled=lambda: why
    )
    async with TestClient(TestServer(app)) as client, client.get(path) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
async def test_ready_says_whether_requests_are_to_be_sent(ready, status) -> None:
    assert await asked("/ready", ready=ready) == (status, {"ready": ready})


async def test_live_says_why_not() -> None:
    assert await asked("/live") == (200, {"live": True})
    assert await asked("/live", ready=False) == (200, {"live": True})
    assert await asked("/live", why="a shard has not moved") == (503, {"live": False, "why": "a shard has not moved"})


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Worker:
    """Looks every five seconds at one shard."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.stalls = Stalls(self.clock)

    def look(self, waiting: int, offset: int, after: float = 5.0) -> str | None:
        self.clock.seconds += after
        return self.stalls.seen(object(), {PLACE: waiting, ("records", 4): 99}, {PLACE: offset})


def test_a_shard_that_is_not_taken_while_entries_wait_stalls() -> None:
    worker = Worker()
    found = [worker.look(7, 100) for _ in range(2 + int(STALL_SECONDS / 5))]

    assert found[-3] is None
    assert found[-1] == "records[3] has not moved for 305 s, 7 entries wait"


@pytest.mark.parametrize("moving", ["offset", "nothing waits"])
def test_a_shard_that_moves_or_has_nothing_to_do_does_not_stall(moving: str) -> None:
    worker = Worker()
    found = [
        worker.look(7, 100 + (step // 30 if moving == "offset" else 0)) if moving == "offset" else worker.look(0, 100)
        for step in range(500)
    ]

    assert set(found) == {None}


def test_a_stall_ends_when_the_shard_moves_or_is_given_up() -> None:
    worker = Worker()
    stuck = [worker.look(7, 100) for _ in range(100)][-1]
    worker.clock.seconds += 5
    given_up = worker.stalls.seen(object(), {PLACE: 7}, {})

    assert stuck is not None
    assert given_up is None
    assert worker.look(7, 101) is None


def test_time_in_which_broker_or_store_did_not_answer_does_not_count() -> None:
    worker = Worker()
    worker.look(7, 100)
    before = worker.look(7, 100)
    same = object()
    unanswered = [worker.stalls.seen(same, {PLACE: 7}, {PLACE: 100})]
    for _ in range(100):
        worker.clock.seconds += 60
        unanswered.append(worker.stalls.seen(same, {PLACE: 7}, {PLACE: 100}))

    assert before is None
    assert set(unanswered) == {None}
    assert worker.look(7, 100) is None

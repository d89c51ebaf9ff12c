"""Whom a repair waits for: a host that has enough to do is looked at, not each account that waits for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from unittest.mock import Mock

from ingest.relay.resync import Resync
from schemas.syntax import Did

SLOW, OTHER = "https://slow.example.com", "https://other.example.com"
MANY = 2_000


class Started:
    """A task group that starts nothing, and keeps whom it was to begin with."""

    def __init__(self) -> None:
        self.hosts: Counter[str] = Counter()

    def create_task(self, work) -> None:
        self.hosts[work.cr_frame.f_locals["job"].url] += 1
        work.close()


def queue(accounts: int) -> Resync:
    dids = [Did(f"did:plc:{number:024d}".translate(str.maketrans("0189", "abcd"))) for number in range(accounts)]
    repairs = [(did, SLOW, 0) for did in dids] + [(Did("did:plc:" + "z" * 24), OTHER, 0)]
    saved = Mock(repairs=Mock(return_value=repairs))
    return Resync(Mock(), Mock(), Mock(), Mock(), saved=saved, fetch=Mock(), repo_limit=1, at_once=4, at_once_host=2)


async def test_a_host_that_many_wait_for_holds_nobody_else_up_and_is_looked_at_as_one(monkeypatch) -> None:
    resync, tasks = queue(MANY), Started()
    looks: list[str] = []
    closed_until = resync._places.closed_until
    monkeypatch.setattr(resync._places, "closed_until", lambda host, now: looks.append(host) or closed_until(host, now))
    resync._start_due(tasks)
    first, looks[:] = tasks.hosts.copy(), []
    await asyncio.sleep(0.3)
    resync._start_due(tasks)

    assert first == tasks.hosts == {SLOW: 2, OTHER: 1}
    assert looks == [SLOW]

    resync._places.leave(SLOW)
    await asyncio.sleep(0.3)
    resync._start_due(tasks)
    assert tasks.hosts == {SLOW: 3, OTHER: 1}


async def test_what_has_been_given_up_or_begun_anew_is_not_started_when_its_host_has_room() -> None:
    resync, tasks = queue(3), Started()
    resync._start_due(tasks)
    waiting = resync._for_host[SLOW]
    del resync._jobs[waiting[0].did]
    resync._places.leave(SLOW)
    await asyncio.sleep(0.3)
    resync._start_due(tasks)

    assert tasks.hosts == {SLOW: 2, OTHER: 1}
    assert SLOW not in resync._for_host

"""Rate limits at n and n + 1, announced in the reference's headers, counted by whom they are meant for."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from headrace.settings import load
from headrace.wiring.embedded import Network
from ingest.pds.rate_limit import BY_METHOD, CREATE_POINTS, DELETE_POINTS, GET_REPO, GLOBAL, UPDATE_POINTS, WRITES, Rule
from tests.scenarios.conftest import House
from tests.support.hostile import POST, REPO, SERVER, SYNC, post


@asynccontextmanager
async def limited(tmp_path: Path, scale: float, **more: Any) -> AsyncIterator[House]:
    ports = {"port": 0, "plc_port": 0, "ops_port": 0}
    found = load({"data": tmp_path / "data", "rate_limit_scale": scale, **ports, **more})
    network = await Network.open(found)
    try:
        async with aiohttp.ClientSession() as session:
            yield House(found, network, session)
    finally:
        await network.close()


def check_refused(answer: Any, rule: Rule, scale: float) -> None:
    limit = int(rule.points * scale)
    assert answer.error == (429, "RateLimitExceeded")
    assert answer.headers["RateLimit-Limit"] == str(limit)
    assert answer.headers["RateLimit-Remaining"] == "0"
    assert answer.headers["RateLimit-Policy"] == f"{limit};w={rule.window}"
    assert 0 < int(answer.headers["RateLimit-Reset"]) - time.time() <= rule.window + 1


async def nth(count: int, ask: Callable[[int], Awaitable[Any]]) -> tuple[Any, Any]:
    """The answers to the nth and the one after it; those before are no 429."""
    answers = [await ask(number) for number in range(count + 1)]
    assert 429 not in {answer.status for answer in answers[:-1]}
    return answers[-2], answers[-1]


async def test_requests_of_one_address_are_counted_over_all_methods(tmp_path: Path) -> None:
    async with limited(tmp_path, 0.01) as house:
        limit = GLOBAL.points // 100

        async def ask(number: int) -> Any:
            method = (f"{SERVER}.describeServer", f"{SYNC}.listRepos")[number % 2]
            return await house.get(method)

        last, refused = await nth(limit, ask)

        assert last.headers["RateLimit-Remaining"] == "0"
        check_refused(refused, GLOBAL, 0.01)
        assert (await house.get("_health")).status == 200
        # The export of repos has an allowance of its own, twice as large.
        export, over = await nth(int(GET_REPO.points * 0.01), lambda _: house.get(f"{SYNC}.getRepo", did="did:plc:abc"))
        assert export.error == (400, "RepoNotFound")
        check_refused(over, GET_REPO, 0.01)


async def test_writes_cost_points_and_the_last_that_fits_is_made(tmp_path: Path) -> None:
    scale = 0.02
    hour = WRITES[0]
    limit = int(hour.points * scale)
    async with limited(tmp_path, scale) as house:
        alice = await join(house, "alice")
        bobby = await join(house, "bobby")

        async def write(member: Any, number: int) -> Any:
            body = {"repo": member.did, "collection": POST, "record": post(str(number))}
            return await house.post(f"{REPO}.createRecord", body, member.auth)

        last, refused = await nth(limit // CREATE_POINTS, lambda number: write(alice, number))
        assert (last.status, refused.status) == (200, 429)
        check_refused(refused, hour, scale)
        listed = await house.get(f"{REPO}.listRecords", repo=alice.did, collection=POST)
        assert len(listed.body["records"]) == limit // CREATE_POINTS
        # Another account has its own; a whole batch counts, and is made whole or not at all.
        kind = f"{REPO}.applyWrites#create"
        many = [{"$type": kind, "collection": POST, "value": post()}] * (limit // CREATE_POINTS + 1)
        batch = await house.post(f"{REPO}.applyWrites", {"repo": bobby.did, "writes": many}, bobby.auth)
        assert batch.error == (429, "RateLimitExceeded")
        listed = await house.get(f"{REPO}.listRecords", repo=bobby.did, collection=POST)
        assert listed.body["records"] == []


async def join(house: House, name: str) -> Any:
    found = await house.join(name)
    assert (await house.get(f"{SERVER}.getSession", found.auth)).status == 200
    return found


def test_points_and_limits_are_those_of_the_reference() -> None:
    assert (CREATE_POINTS, UPDATE_POINTS, DELETE_POINTS) == (3, 2, 1)
    assert (GLOBAL.points, GLOBAL.window, GET_REPO.points) == (3000, 300, 6000)
    assert [(rule.points, rule.window) for rule in WRITES] == [(5000, 3600), (35_000, 86_400)]
    assert {(rule.points, rule.window) for rule in BY_METHOD[f"{SERVER}.createSession"]} == {(300, 86_400), (30, 300)}
    assert [(rule.points, rule.window) for rule in BY_METHOD[f"{SERVER}.createAccount"]] == [(100, 300)]
    assert {(rule.points, rule.window) for rule in BY_METHOD["com.atproto.identity.updateHandle"]} == {
        (10, 300),
        (50, 86_400),
    }
    assert 5000 // CREATE_POINTS == 1_666


async def test_logins_are_counted_by_address_and_identifier(tmp_path: Path) -> None:
    scale = 0.1
    rule = next(rule for rule in BY_METHOD[f"{SERVER}.createSession"] if rule.window == 300)
    async with limited(tmp_path, scale) as house:
        await house.join("alice")

        async def login(name: str, password: str) -> Any:
            return await house.post(f"{SERVER}.createSession", {"identifier": name, "password": password})

        last, refused = await nth(int(rule.points * scale), lambda n: login("alice.test", f"wrong {n}"))
        assert last.error == (401, "AuthenticationRequired")
        check_refused(refused, rule, scale)
        right = await login("alice.test", "password-alice")
        assert right.status == 429
        assert (await login("ALICE.test", "password-alice")).status == 429
        assert (await login("bobby.test", "wrong")).status == 401


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("com.atproto.identity.updateHandle", {"handle": "x.y.test"}),
        ("com.atproto.server.requestAccountDelete", None),
    ],
)
async def test_methods_with_a_limit_of_their_own_hold_it(tmp_path: Path, method: str, body: Any) -> None:
    rule = min(BY_METHOD[method], key=lambda rule: rule.points)
    async with limited(tmp_path, 1.0) as house:
        alice = await house.join("alice")

        _, refused = await nth(rule.points, lambda _: house.post(method, body, alice.auth))

        check_refused(refused, rule, 1.0)


async def test_an_address_counts_by_the_proxys_word_only_where_that_is_set(tmp_path: Path) -> None:
    limit = GLOBAL.points // 100
    for trusted in (False, True):
        async with limited(tmp_path / str(trusted), 0.01, trust_forwarded=trusted) as house:
            statuses = {
                (await house.get(f"{SERVER}.describeServer", {"X-Forwarded-For": f"6.6.6.6, 10.0.{n}.1"})).status
                for n in range(limit + 1)
            }
            assert statuses == ({200} if trusted else {200, 429})

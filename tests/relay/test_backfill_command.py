"""`headrace backfill` as whoever calls it sees it: alone on a directory, beside a relay that serves it, and killed.

Two kills in CI, ten in the long form (HEADRACE_CHAOS).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import orjson
import pytest
from aiohttp import web

from headrace.backfill_hooks import BEGIN, SHOW, STOP, hooks
from headrace.cli import command_line
from headrace.settings import SettingsError
from ingest.log_sqlite.log import SqliteLog
from schemas.entries import Commit, Diff
from schemas.errors import Refused
from tests.relay.test_backfill import over, world_of
from tests.relay.world.host import Host, Member
from tests.relay.world.people import People, did_of, served
from tests.relay.world.relay import until
from tests.support.network import _die_with_parent
from tests.support.roles import Role

SEED = int(os.environ.get("HEADRACE_CHAOS_SEED", "11"))
KILLS = 10 if os.environ.get("HEADRACE_CHAOS") else 2
AT_ONCE = 4
SECONDS = 120.0


class Ended(NamedTuple):
    code: int
    views: list[dict[str, Any]]
    said: str


class Command:
    """`headrace backfill` on a directory, with the settings that a test's hosts need."""

    def __init__(self, data: Path, plc: str, **settings: str) -> None:
        self.data = data
        given = {
            "plc_url": plc,
            "allow_private_addresses": "true",
            "relay_backfill_per_second": "500",
            "relay_backfill_at_once_host": str(AT_ONCE),
            "relay_backfill_at_once": str(AT_ONCE),
            "relay_host_accounts": "10000",
            **settings,
        }
        self.settings = [word for name, value in given.items() for word in ("--set", f"{name}={value}")]

    async def begin(self, *arguments: str, stdin: int = asyncio.subprocess.DEVNULL) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "headrace", "backfill", *arguments, "--json", "--data", str(self.data)),
            *self.settings,
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=_die_with_parent,
        )

    async def run(self, *arguments: str, given: bytes | None = None) -> Ended:
        stdin = asyncio.subprocess.DEVNULL if given is None else asyncio.subprocess.PIPE
        return await ended(await self.begin(*arguments, stdin=stdin), given)


async def ended(process: asyncio.subprocess.Process, given: bytes | None = None) -> Ended:
    try:
        async with asyncio.timeout(SECONDS):
            out, said = await process.communicate(given)
    except TimeoutError:
        process.kill()
        raise AssertionError("the command did not end") from None
    assert process.returncode is not None
    return Ended(process.returncode, orjson.loads(out)["backfills"] if out else [], said.decode())


@contextlib.asynccontextmanager
async def log_of(data: Path) -> AsyncIterator[SqliteLog]:
    log = await SqliteLog.open(data / "log.sqlite")
    try:
        yield log
    finally:
        await log.close()


def is_whole(log: SqliteLog, member: Member) -> bool:
    head = log.head(member.did)
    stands = head is not None and (head.rev, head.data, head.partial) == (member.rev, member.data, False)
    return stands and log.paths(member.did, limit=10_000) == sorted(member.records)


async def test_alone_it_is_the_process_that_does_the_work_and_says_what_became_of_it(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host, served(people) as plc:
        members = [host.add(number) for number in range(1, 13)]
        for member in members:
            member.write(3)
        command = Command(tmp_path / "data", plc)
        first = await command.run(host.name)
        dids = "\n".join(["# who is wanted", *(f"  {member.did} " for member in members), did_of(99), ""])
        named = await command.run("--dids", "-", given=dids.encode())
        async with log_of(command.data) as log:
            assert all(is_whole(log, member) for member in members)

    assert (first.code, first.views[0]["became"], first.views[0]["failed"]) == (0, {"fetched": 12}, {}), first.said
    assert f"{host.name}: 12 of 12, fetched 12, done" in first.said
    assert (named.code, named.views[0]["became"]) == (3, {"current": 12}), named.said
    assert [(found["did"], found["reason"]) for found in named.views[0]["failures"]] == [(did_of(99), "did_not_found")]
    assert host.fetched.total() == 12


def test_what_is_asked_wrongly_is_said_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.logs.configure", lambda _level: None)  # it would outlast this test
    whole = command_line()

    def call(*words: str) -> int:
        words = ("backfill", "--data", str(tmp_path / "d"), *words)
        return int(whole(words, exit_on_error=False, result_action="return_value"))

    with pytest.raises(SettingsError, match="name nothing beside it"):
        call("--stop", "pds.example.com")
    assert call("--dids", str(tmp_path / "nowhere")) == 1
    (tmp_path / "empty").touch()
    assert call("--dids", str(tmp_path / "empty")) == 3
    assert "the file is empty" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


async def test_a_process_is_asked_in_lines_and_refuses_what_is_none(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host, world_of(tmp_path, people) as world:
        member = host.add(1)
        member.write()
        asked, nobody = hooks(world.relay), hooks(None)

        async def ask(path: str, *pieces: bytes, of: Any = asked) -> list[dict[str, Any]]:
            async def given() -> AsyncIterator[bytes]:
                for piece in pieces:
                    yield piece

            found: list[dict[str, Any]] = (await of[f"/{path}"](given()))["backfills"]
            return found

        for wrong, why in (
            ((b'{"named":true}\n', b"did:plc:", b"short\nno DID\n"), "account 2: expected a DID"),
            ((b'{"named":1}\n',), "expected Begin as JSON"),
            ((b'{"hosts":["http://a/b/c"]}\n',), "expected a public host name"),
            ((b"x" * 2_000_000,), "a line of more than"),
        ):
            with pytest.raises(Refused, match=why):
                await ask(BEGIN, *wrong)
        with pytest.raises(Refused, match="reads no hosts"):
            await ask(BEGIN, b"{}", of=nobody)
        with pytest.raises(Refused, match="no backfill 9"):
            await ask(SHOW, b'{"ids":[9]}')
        assert [view["state"] for view in await ask(SHOW, b'{"ids":[1]}')] == ["stopped"]
        begun = await ask(BEGIN, b'{"named":true}\n' + member.did.encode() + b"  # her\n\n", member.did.encode())
        await over(world, begun[0]["id"])

        assert begun[0]["accounts"] == 1
        assert await ask(STOP, b"{}") == []
        assert is_whole(world.log, member)


async def test_beside_a_relay_it_asks_that_and_the_operator_may_ask_too(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host, served(people) as plc:
        members = [host.add(number) for number in range(1, 9)]
        for member in members:
            member.write(2)
        go_on = asyncio.Event()

        async def waiting(request: web.Request) -> web.StreamResponse:
            await go_on.wait()
            return web.Response(body=host.members[request.query["did"]].car())

        host.repo = waiting
        command = Command(tmp_path / "data", plc)
        settings = {"plc_url": plc, "allow_private_addresses": "true", "relay_port": "0", "log_level": "warning"}
        role = Role("relay", command.data, settings)
        try:
            await asyncio.to_thread(role.start)
            left = await command.run(host.name, "--detach")
            assert (left.code, left.views[0]["state"]) == (0, "running"), left.said
            await until(lambda: host.asked["getRepo"], seconds=SECONDS)
            following = await command.begin(host.name)
            go_on.set()
            done = await ended(following)
            assert (done.code, sum(done.views[0]["became"].values())) == (0, 8), done.said

            async with aiohttp.ClientSession() as session:
                secret = (command.data / "admin_token").read_text().strip()
                basic = {"Authorization": "Basic " + base64.b64encode(f"admin:{secret}".encode()).decode()}

                async def call(verb: str, path: str, **given: Any) -> tuple[int, Any]:
                    url = f"{role.url}/admin/backfill/{path}"
                    body = {"json": given} if verb == "POST" else {"params": given}
                    async with session.request(verb, url, headers=basic, **body) as response:
                        return response.status, await response.json()

                status, begun = await call("POST", "start", dids=[members[0].did, did_of(77)])
                assert (status, begun["accounts"]) == (200, 2)
                await until_over(call, begun["id"])
                status, found = await call("GET", "failures", id=begun["id"])
                assert [failure["reason"] for failure in found["failures"]] == ["did_not_found"]
                assert (await call("POST", "start", host=host.name))[0] == 200
                assert (await call("POST", "stop", id=99))[0] == 404
                assert (await call("POST", "start", dids=["nobody"]))[0] == 400
                assert (await call("POST", "start"))[0] == 400
                status, listed = await call("GET", "list")
                assert [each["state"] for each in listed][:2] == ["done", "done"]
                async with session.get(f"{role.url}/admin/backfill/list") as response:
                    assert response.status == 401
                async with session.get(f"{role.ops}/metrics") as response:
                    assert 'headrace_relay_backfill_accounts_total{became="current"}' in await response.text()
            assert await asyncio.to_thread(role.stop) == 0
        finally:
            role.kill()
        async with log_of(command.data) as log:
            assert all(is_whole(log, member) for member in members)


async def until_over(call: Any, number: int) -> None:
    async with asyncio.timeout(SECONDS):
        while (await call("GET", "list", id=number))[1][0]["state"] == "running":  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)


@pytest.mark.chaos
async def test_killed_in_the_middle_it_goes_on_and_nothing_is_missing_or_fetched_for_nothing(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    people = People()
    async with Host(people) as host, served(people) as plc:
        members = [host.add(number) for number in range(1, 101)]
        for member in members:
            member.write(rng.randrange(1, 30))
        command = Command(tmp_path / "data", plc)
        writing = asyncio.create_task(keep_writing(host, members, rng))
        killed = 0
        arguments = (host.name, "--trusted")
        for goal in sorted(rng.sample(range(5, 90), KILLS)):
            process = await command.begin(*arguments)
            arguments = ()
            await until(lambda goal=goal: host.fetched.total() >= goal, seconds=SECONDS)
            process.kill()
            await process.wait()
            killed += 1
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        last = await command.run()
        assert last.code == 0, last.said
        assert last.views[0]["accounts"] == 100

        # What was said last may not have been read before the last one ended.
        catch_up = await command.run(*(member.did for member in members))
        assert (catch_up.code, sum(catch_up.views[0]["became"].values())) == (0, 100), catch_up.said
        async with log_of(command.data) as log:
            wrong = [member.did for member in members if not is_whole(log, member)]
            assert wrong == [], f"seed {SEED}"
            await check_chains(log)
    again = host.fetched.total() - 100
    # Those under way at a kill: fetched once more as a repair, and looked at by the backfill that goes on.
    assert again <= killed * 2 * AT_ONCE + catch_up.views[0]["became"].get("fetched", 0), f"seed {SEED}"
    assert killed == KILLS


async def keep_writing(host: Host, members: list[Member], rng: random.Random) -> None:
    while True:
        await host.say(*(rng.choice(members).write() for _ in range(3)))
        await asyncio.sleep(0.02)


async def check_chains(log: SqliteLog) -> None:
    """Every commit and diff stands on the one before, and no rev comes twice."""
    data: dict[str, Any] = {}
    revs: dict[str, str] = {}
    after = 0
    while page := await log.read_commits(0, after, 1_000):
        after = page[-1][0]
        for _, entry in page:
            if isinstance(entry, Diff) and entry.chunk == entry.chunks - 1:
                assert (entry.base_data, entry.base_rev) == (data.get(entry.did), revs.get(entry.did))
            elif isinstance(entry, Commit):
                assert entry.rev > revs.get(entry.did, "")
                assert entry.did not in data or entry.prev_data == data[entry.did]
            else:
                continue
            data[entry.did], revs[entry.did] = entry.data, entry.rev

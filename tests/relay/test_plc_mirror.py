"""A mirror of a real did:plc directory: says what the directory says, whatever happens in between; no lies."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from api.plc.app import build_plc_app
from ingest.identity import plc, plc_op
from ingest.identity.handles import HandleResolver
from ingest.identity.plc_client import PlcHttp
from ingest.identity.plc_mirror import PlcMirror
from ingest.identity.plc_mirror_store import OVERLAP_MS, MirrorStore
from ingest.identity.plc_op import Operation
from ingest.identity.plc_store import PlcDirectory
from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.identity.resolver import IdentityResolver
from ingest.repo.keys import PrivateKey
from schemas.crash import ENVIRONMENT
from schemas.errors import InvariantError
from schemas.syntax import Did
from tests.relay.world.people import _NoDns, _NoWeb
from tests.support.roles import Role

SEED = int(os.environ.get("HEADRACE_CHAOS_SEED", "11"))
HIGH, LOW, OTHER = (PrivateKey.from_bytes("k256", (number + 1).to_bytes(32, "big")) for number in range(3))
KEYS = [HIGH.public.did_key, LOW.public.did_key]
HOUR_MS = 3_600_000
START = 1_700_000_000_000


class Clock:
    """Unix milliseconds of the directory; the mirror's seconds are the same."""

    def __init__(self) -> None:
        self.ms = START

    def __call__(self) -> int:
        return self.ms

    def seconds(self) -> float:
        return self.ms / 1000


def genesis(number: int) -> Operation:
    unsigned = plc_op.account(OTHER.public.did_key, f"a{number}.test", "https://pds.test", KEYS)
    return plc_op.parse(plc_op.sign(unsigned, LOW))


def after(last: Operation, key: PrivateKey = LOW, **changes: Any) -> Operation:
    return plc_op.parse(plc_op.sign(plc_op.updated(last, **changes), key))


def end(last: Operation, key: PrivateKey = LOW) -> Operation:
    return plc_op.parse(plc_op.sign(plc_op.tombstone(str(last.cid)), key))


class Population:
    """Accounts that are made, change names and keys, are recovered by their higher key, and end."""

    def __init__(self, directory: PlcDirectory, clock: Clock, dice: random.Random) -> None:
        self.directory = directory
        self.clock = clock
        self.dice = dice
        self.chains: dict[Did, list[Operation]] = {}
        self.operations = 0
        self.forks = 0
        self.ended: set[Did] = set()

    async def grow(self, count: int) -> None:
        """So many operations."""
        dice = self.dice
        for _ in range(count):
            self.clock.ms += dice.choice((1, 1, 40, 2_000, HOUR_MS // 2))
            chance = dice.random()
            if chance < 0.5 or not self.chains:
                op = genesis(len(self.chains))
                did, chain = op.did, []
            else:
                did = dice.choice(list(self.chains))
                chain = self.chains[did]
                op = self._next(did, chain, chance)
            try:
                await self.directory.submit(did, op.json)
            except plc_op.PlcRefused:
                continue  # after a tombstone, too often, or a recovery that came too late
            self.operations += 1
            self.chains[did] = [*chain, op]
            self.ended.discard(did)
            if op.kind == "plc_tombstone":
                self.ended.add(did)

    def _next(self, did: Did, chain: list[Operation], chance: float) -> Operation:
        if chance < 0.65 and len(chain) > 1:
            self.forks += 1
            at = self.dice.randrange(max(0, len(chain) - 3), len(chain) - 1)
            kept, chain[at + 1 :] = chain[at], []
            return after(kept, HIGH, also_known_as=[f"at://back{self.operations}.test"])
        last = chain[-1]
        if last.kind == "plc_tombstone":
            return last
        if chance < 0.72:
            return end(last)
        key = PrivateKey.from_bytes("k256", self.dice.randbytes(31).rjust(32, b"\1"))
        return after(
            last, verification_methods={"atproto": key.public.did_key}, also_known_as=[f"at://{did[-5:]}.test"]
        )


@asynccontextmanager
async def served(directory: PlcDirectory) -> AsyncIterator[TestServer]:
    server = TestServer(build_plc_app(directory))
    await server.start_server()
    try:
        yield server
    finally:
        await server.close()


@asynccontextmanager
async def mirroring(path: Path, url: str, clock: Clock, **how: Any) -> AsyncIterator[PlcMirror]:
    http = PlcHttp(url, timeout=60.0)
    mirror = PlcMirror(MirrorStore(path, "test", clock), http, now=clock.seconds, **how)
    try:
        yield mirror
    finally:
        mirror.close()
        await http.close()


async def follow(mirror: PlcMirror) -> None:
    while not await mirror.step():
        pass


async def says(ask: Callable[[Did], Any], did: Did) -> Any:
    """A document, or why there is none."""
    try:
        found = ask(did)
        return await found if asyncio.iscoroutine(found) else found
    except IdentityRefused as refused:
        return refused.reason


async def same(mirror: PlcMirror, directory: PlcDirectory, people: Population) -> None:
    for did in people.chains:
        assert await says(mirror.document, did) == await says(directory.document, did), f"seed {SEED}: {did}"
    assert mirror.store.dids == len(people.chains)
    assert not mirror.store.refused


async def test_a_mirror_says_of_every_did_what_the_directory_says(tmp_path: Path) -> None:
    clock, dice = Clock(), random.Random(SEED)
    directory = PlcDirectory(tmp_path / "plc.sqlite", clock)
    people = Population(directory, clock, dice)
    await people.grow(1_200)
    async with served(directory) as server:
        path, url = tmp_path / "mirror.sqlite", str(server.make_url("/"))
        async with mirroring(path, url, clock, page=50) as mirror:
            await follow(mirror)
            await same(mirror, directory, people)
            assert mirror.store.taken == people.operations
        # Opened again it goes on from its place, while the network does.
        for _ in range(4):
            await people.grow(100)
            async with mirroring(path, url, clock, page=dice.choice((7, 50, 1_000))) as mirror:
                await follow(mirror)
                await same(mirror, directory, people)
    assert people.forks > 50
    assert len(people.ended) > 20
    await directory.close()


SCRIPT = """
import asyncio, sys
from pathlib import Path
from ingest.identity.plc_client import PlcHttp
from ingest.identity.plc_mirror import PlcMirror
from ingest.identity.plc_mirror_store import MirrorStore
async def main():
    mirror = PlcMirror(MirrorStore(Path(sys.argv[1]), "test"), PlcHttp(sys.argv[2], timeout=60.0), page=40)
    while not await mirror.step():
        pass
asyncio.run(main())
"""


async def test_a_mirror_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    clock, dice = Clock(), random.Random(SEED + 1)
    directory = PlcDirectory(tmp_path / "plc.sqlite", clock)
    people = Population(directory, clock, dice)
    await people.grow(1_000)
    path = tmp_path / "mirror.sqlite"
    async with served(directory) as server:
        url = str(server.make_url("/"))
        for crash in ("mirror.before_commit:3", "mirror.after_commit:4", "mirror.before_commit:1"):
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                SCRIPT,
                str(path),
                url,
                env={**os.environ, ENVIRONMENT: crash},
                stderr=asyncio.subprocess.PIPE,
            )
            _, said = await child.communicate()
            assert child.returncode == -signal.SIGKILL, said.decode()
            assert f"crash: {crash.partition(':')[0]}" in said.decode()
            await people.grow(100)
        async with mirroring(path, url, clock, page=40) as mirror:
            assert mirror.store.cursor > START
            await follow(mirror)
            await same(mirror, directory, people)
            # Two pages before the first death, four before the second: they were not verified again.
            assert mirror.store.taken < people.operations - 120
    await directory.close()


class Liar:
    """The directory's export, with what `twist` makes of each line."""

    def __init__(self, directory: PlcDirectory, twist: Callable[[int, dict[str, Any]], Any]) -> None:
        self.directory = directory
        self.twist = twist
        self.requests = 0

    async def export(self, after: str, count: int) -> list[bytes]:
        self.requests += 1
        items = await self.directory.export(count, plc.millis(after))
        made = [self.twist(number, item) for number, item in enumerate(items)]
        return [each if isinstance(each, bytes) else orjson.dumps(each) for each in made if each is not None]


def _forged(item: dict[str, Any]) -> dict[str, Any]:
    """Another PDS, under the old signature."""
    services = {"atproto_pds": {"type": "AtprotoPersonalDataServer", "endpoint": "https://thief.test"}}
    op = item["operation"] | {"services": services}
    return item | {"operation": op, "cid": str(plc_op.parse(op).cid)}


def _stolen(item: dict[str, Any]) -> dict[str, Any]:
    """Signed anew by somebody who is no rotation key."""
    op = plc_op.sign({name: value for name, value in item["operation"].items() if name != "sig"}, OTHER)
    return item | {"operation": op, "cid": str(plc_op.parse(op).cid)}


LIES: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "a signature over something else": ("plc_signature", _forged),
    "a key that may not sign": ("plc_signature", _stolen),
    "another operation's CID": ("plc_cid", lambda item: item | {"cid": str(genesis(10**6).cid)}),
    "a time to come": ("plc_time", lambda item: item | {"createdAt": "2999-01-01T00:00:00.000Z"}),
    "a time before the one before": ("plc_order", lambda item: item | {"createdAt": "2001-01-01T00:00:00.000Z"}),
    "no operation": ("plc_shape", lambda item: item | {"operation": {"type": "x"}}),
    "no entry": ("plc_shape", lambda item: {"did": item["did"]}),
    "a giant": (
        "plc_limit",
        lambda item: _resigned(item, also_known_as=[f"at://{'a' * 20_000}.test"]),
    ),
}


def _resigned(item: dict[str, Any], **changes: Any) -> dict[str, Any]:
    last = plc_op.parse(item["operation"])
    unsigned = plc_op.updated(last, **changes) | {"prev": last.prev}
    op = plc_op.sign(unsigned, LOW)
    return item | {"operation": op, "cid": str(plc_op.parse(op).cid)}


async def trio(directory: PlcDirectory, clock: Clock) -> list[Did]:
    """Three accounts of three operations each, one after the other."""
    dids = []
    for number in range(3):
        op = genesis(number)
        dids.append(op.did)
        for each in range(3):
            clock.ms += 1_000
            await directory.submit(dids[-1], op.json)
            op = after(op, also_known_as=[f"at://b{number}{each}.test"])
    return dids


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_is_refused_by_reason_and_its_did_is_left_to_the_directory(tmp_path: Path, lie: str) -> None:
    clock = Clock()
    directory = PlcDirectory(tmp_path / "plc.sqlite", clock)
    dids = await trio(directory, clock)
    reason, twist = LIES[lie]
    liar = Liar(directory, lambda number, item: twist(item) if number == 4 else item)
    store = MirrorStore(tmp_path / "mirror.sqlite", "test", clock)
    mirror = PlcMirror(store, liar, now=clock.seconds)
    resolver = IdentityResolver(directory, HandleResolver(_NoDns(), _NoWeb()), _NoWeb(), mirror=mirror)

    assert await mirror.step()
    # The operation itself, and the one after it, which is not looked at.
    assert store.refused == {reason: 2}
    assert store.taken == 7
    for did in dids:
        expected = None if did == dids[1] else await directory.document(did)
        assert mirror.document(did) == expected
        handles = (await resolver.did_document(did)).handles
        assert [f"at://{handle}" for handle in handles] == (await directory.document(did))["alsoKnownAs"]
    # And it stays so, also when the mirror is opened again and the directory is honest.
    mirror.close()
    await resolver.close()
    store = MirrorStore(tmp_path / "mirror.sqlite", "test", clock)
    honest = PlcMirror(store, directory_export(directory), now=clock.seconds)
    await honest.step()
    assert (honest.document(dids[1]), honest.document(dids[0]) is None) == (None, False)
    honest.close()
    await directory.close()


def directory_export(directory: PlcDirectory) -> Liar:
    return Liar(directory, lambda _, item: item)


async def test_a_gap_in_a_chain_is_refused(tmp_path: Path) -> None:
    clock = Clock()
    directory = PlcDirectory(tmp_path / "plc.sqlite", clock)
    dids = await trio(directory, clock)
    store = MirrorStore(tmp_path / "mirror.sqlite", "test", clock)
    mirror = PlcMirror(store, Liar(directory, lambda n, item: None if n in (0, 4) else item), now=clock.seconds)
    await mirror.step()

    assert store.refused == {"plc_order": 3}
    assert [mirror.document(did) is None for did in dids] == [True, True, False]
    mirror.close()
    await directory.close()


async def test_lines_of_noise_are_counted_and_passed(tmp_path: Path) -> None:
    clock = Clock()
    directory = PlcDirectory(tmp_path / "plc.sqlite", clock)
    dids = await trio(directory, clock)
    dice = random.Random(SEED)
    noise = [b"{", b"[]", b"null", b"\xff\xff", b"[" * 9_000, b'{"did":"did:web:a.test"}', b'{"did":7}']
    store = MirrorStore(tmp_path / "mirror.sqlite", "test", clock)
    mirror = PlcMirror(store, directory_export(directory), now=clock.seconds)
    assert store.take([*noise, *(dice.randbytes(50) for _ in range(200))]) == 0
    assert store.refused == {"plc_shape": 207}
    await mirror.step()

    assert None not in [mirror.document(did) for did in dids]
    mirror.close()
    await directory.close()


async def test_an_operation_that_is_seen_late_is_taken_and_one_that_comes_again_is_not(tmp_path: Path) -> None:
    clock = Clock()
    directory = PlcDirectory(tmp_path / "plc.sqlite", clock)
    early, late = genesis(1), genesis(2)
    await directory.submit(early.did, early.json)
    clock.ms += OVERLAP_MS // 2
    await directory.submit(late.did, late.json)
    hidden = {early.did}
    liar = Liar(directory, lambda _, item: None if item["did"] in hidden else item)
    store = MirrorStore(tmp_path / "mirror.sqlite", "test", clock)
    mirror = PlcMirror(store, liar, now=clock.seconds)
    await mirror.step()
    assert mirror.document(early.did) is None
    hidden.clear()
    for _ in range(3):
        await mirror.step()

    assert mirror.document(early.did) == await directory.document(early.did)
    assert (store.taken, sum(store.refused.values())) == (2, 0)
    mirror.close()
    await directory.close()


async def test_more_operations_of_one_moment_than_a_page_holds_do_not_stop_the_mirror(tmp_path: Path) -> None:
    clock = Clock()
    ops = [genesis(number) for number in range(30)]
    entries = [
        {
            "did": op.did,
            "operation": op.json,
            "cid": str(op.cid),
            "nullified": False,
            "createdAt": plc.iso(START + (1 if number < 20 else 2)),
        }
        for number, op in enumerate(ops)
    ]

    class Crowded:
        async def export(self, after: str, count: int) -> list[bytes]:
            later = [each for each in entries if plc.millis(each["createdAt"]) > plc.millis(after)]
            return [orjson.dumps(each) for each in later[:count]]

    store = MirrorStore(tmp_path / "mirror.sqlite", "test", clock)
    mirror = PlcMirror(store, Crowded(), page=12, now=clock.seconds)
    for _ in range(6):
        if await mirror.step():
            break

    # What a page of one moment has no room for is not had from such a directory; the rest is.
    assert store.taken == 22
    assert mirror.document(ops[25].did) is not None
    mirror.close()


@pytest.mark.parametrize(
    "did", ["did:plc:a", "did:plc:" + "1" * 24, "did:plc:" + "A" * 24, "did:web:a.test", "did:key:z"]
)
async def test_a_did_that_no_directory_can_have_is_not_looked_for_in_the_mirror(tmp_path: Path, did: str) -> None:
    clock = Clock()
    directory = PlcDirectory(tmp_path / "plc.sqlite", clock)
    mirror = PlcMirror(MirrorStore(tmp_path / "mirror.sqlite", "test", clock), directory_export(directory), rate=1_000)
    running = asyncio.create_task(mirror.run())
    resolver = IdentityResolver(directory, HandleResolver(_NoDns(), _NoWeb()), _NoWeb(), mirror=mirror)
    for refresh in (False, True):
        with pytest.raises(IdentityRefused):
            await resolver.did_document(Did(did), refresh=refresh)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    mirror.close()
    await resolver.close()
    await directory.close()


async def test_a_mirror_that_lags_leaves_all_to_the_directory(tmp_path: Path) -> None:
    clock = Clock()
    directory = PlcDirectory(tmp_path / "plc.sqlite", clock)
    (did, *_) = await trio(directory, clock)
    mirror = PlcMirror(
        MirrorStore(tmp_path / "mirror.sqlite", "test", clock),
        directory_export(directory),
        page=5,
        lag=60,
        now=clock.seconds,
    )
    clock.ms += 3 * HOUR_MS
    assert mirror.document(did) is None
    await mirror.step()
    assert mirror.document(did) is None
    await follow(mirror)
    assert (mirror.lag, mirror.document(did)) == (0, await directory.document(did))
    clock.ms += 61_000
    assert mirror.document(did) is None
    mirror.close()
    await directory.close()


async def test_a_refresh_sees_what_was_changed_before_it_and_asks_the_directory_when_the_mirror_cannot(
    tmp_path: Path,
) -> None:
    clock = Clock()
    directory = PlcDirectory(tmp_path / "plc.sqlite", clock)
    op = genesis(1)
    await directory.submit(op.did, op.json)
    liar = directory_export(directory)
    store = MirrorStore(tmp_path / "mirror.sqlite", "test", clock)
    mirror = PlcMirror(store, liar, rate=1_000, now=clock.seconds)
    running = asyncio.create_task(mirror.run())
    asked = Asked(directory)
    resolver = IdentityResolver(asked, HandleResolver(_NoDns(), _NoWeb()), _NoWeb(), mirror=mirror)  # type: ignore[arg-type]
    assert await mirror.caught_up()
    for number in range(5):
        clock.ms += 1_000
        op = after(op, also_known_as=[f"at://now{number}.test"])
        await directory.submit(genesis(1).did, op.json)
        document = await resolver.did_document(genesis(1).did, refresh=True)
        assert document.handles == (f"now{number}.test",)
    assert asked.count == 0

    mirror._failures = 1
    clock.ms += 1_000
    op = after(op, also_known_as=["at://last.test"])
    await directory.submit(genesis(1).did, op.json)
    assert (await resolver.did_document(genesis(1).did, refresh=True)).handles == ("last.test",)
    assert asked.count == 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    mirror.close()
    await directory.close()


class Asked:
    """Counts documents asked for."""

    def __init__(self, directory: PlcDirectory) -> None:
        self.directory = directory
        self.count = 0

    async def document(self, did: Did) -> dict[str, Any]:
        self.count += 1
        return await self.directory.document(did)


async def test_a_failing_export_is_waited_out_longer_each_time_and_as_it_says(tmp_path: Path) -> None:
    clock = Clock()
    directory = PlcDirectory(tmp_path / "plc.sqlite", clock)
    await trio(directory, clock)
    answers = iter(["500", "500", "500", "429", "well"])
    pauses: list[float] = []
    done = asyncio.Event()

    async def export(request: web.Request) -> web.Response:
        answer = next(answers, "well")
        if answer == "429":
            return web.Response(status=429, headers={"Retry-After": "100"})
        if answer == "500":
            return web.Response(status=500)
        items = await directory.export(1_000, plc.millis(request.query["after"]))
        return web.Response(body=b"\n".join(map(orjson.dumps, items)))

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 5:
            done.set()
            await asyncio.Event().wait()

    app = web.Application()
    app.router.add_get("/export", export)
    server = TestServer(app)
    await server.start_server()
    async with mirroring(tmp_path / "mirror.sqlite", str(server.make_url("/")), clock, rate=2.0, pause=pause) as mirror:
        running = asyncio.create_task(mirror.run())
        await done.wait()
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert mirror.failed == {IdentityReason.STATUS.value: 4}
        assert mirror.store.taken == 9
    assert [0.5 <= pauses[0] <= 1.5, 1 <= pauses[1] <= 3, 2 <= pauses[2] <= 6, pauses[3], pauses[4]] == [
        True,
        True,
        True,
        100,
        0.5,
    ]
    await server.close()
    await directory.close()


@pytest.mark.parametrize("wrong", ["noise", "format", "source"])
async def test_a_file_that_is_none_of_ours_is_refused_with_the_cure(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "mirror.sqlite"
    store = MirrorStore(path, "https://a.test")
    if wrong == "format":
        store._writer.execute("UPDATE meta SET value=9 WHERE key='format'")
    store.close()
    if wrong == "noise":
        path.write_bytes(b"no database " * 1_000)

    with pytest.raises(InvariantError, match="remove it, and it is fetched anew"):
        MirrorStore(path, "https://b.test" if wrong == "source" else "https://a.test")


async def test_a_relay_follows_the_directory_where_it_is_told_to(tmp_path: Path) -> None:
    directory = PlcDirectory(tmp_path / "plc.sqlite")
    for number in range(20):
        await directory.submit(genesis(number).did, genesis(number).json)
    async with served(directory) as server, aiohttp.ClientSession() as web_client:
        settings = {"plc_url": str(server.make_url("/")), "relay_port": "0", "plc_mirror": "true"}
        role = await asyncio.to_thread(Role("relay", tmp_path / "relay", settings).start)
        try:
            async with asyncio.timeout(60):
                said = ""
                while "\nheadrace_plc_mirror_dids 20.0" not in said:
                    async with web_client.get(f"{role.ops}/metrics") as answer:
                        said = await answer.text()
            assert "\nheadrace_plc_mirror_taken_operations_total 20.0" in said
            assert "\nheadrace_identity_disk_rows 0.0" in said
            assert 'headrace_identity_directory_state{breaker="closed"} 1.0' in said
            assert await asyncio.to_thread(role.stop) == 0
        finally:
            role.kill()
    await directory.close()

"""A relay's tee: each host's frames are in its archive as they came, once and in order, and what is there verifies."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from headrace.load.archive.blocks import Kind
from headrace.load.archive.reader import Archive
from headrace.load.archive.verify import Verifier
from headrace.load.archive.writer import ArchiveWriter
from headrace.tee import ArchiveTee
from ingest.relay.hosts_store import HostsStore
from ingest.relay.own_accounts import OthersOnly
from ingest.repo.frame import decode_frame, error_frame
from ingest.repo.messages import CommitMessage
from schemas import cbor
from schemas.errors import InvariantError, Refused
from tests.interop.firehose_vectors import CORPUS, real_frames
from tests.relay.test_crash import prepare
from tests.relay.world.host import Host
from tests.relay.world.people import People, served
from tests.relay.world.relay import World, until
from tests.support.roles import Role

STRANGE = cbor.encode({"op": 1, "t": "#never"}) + cbor.encode({"seq": 1})
BROKEN = b"\xa2atg#commitbop\x01 is no frame"


@contextlib.asynccontextmanager
async def teeing(
    directory: Path,
    people: People,
    *,
    waiting_bytes: int = 1 << 20,
    run: bool = True,
    neighbours: frozenset[str] = frozenset(),
) -> AsyncIterator[ArchiveTee]:
    resolver = people.resolver()
    tee = ArchiveTee(directory, OthersOnly(resolver, lambda: neighbours), waiting_bytes=waiting_bytes)
    running = asyncio.ensure_future(tee.run()) if run else None
    try:
        yield tee
    finally:
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await tee.close()
        await resolver.close()


def archive_of(directory: Path, host: Host) -> Path:
    return directory / host.name.replace(":", "_")


def frames_in(directory: Path) -> list[bytes]:
    archive = Archive(directory)
    assert not archive.damages
    return [item.data for item in archive.items()]


def cursor_of(world: World) -> int | None:
    store = HostsStore(world.directory / "relay.sqlite")
    try:
        return store.hosts()[0].cursor
    finally:
        store.close()


async def test_what_a_host_says_is_kept_as_it_is_and_verifies(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host, Host(people) as other:
        members = [host.add(number) for number in range(1, 5)]
        stranger = other.add(9)
        await other.say(*(stranger.write() for _ in range(5)))
        await host.say(*(member.write() for _ in range(20) for member in members))
        world = World(tmp_path / "relay", people, crawl=(host.name, other.name))
        async with teeing(tmp_path / "tee", people) as tee:
            world.tee = tee
            async with world:
                await world.taken(host)
                await host.identity(members[0].did)
                host.rekey(members[1], 77)
                await host.identity(members[1].did)
                await host.say(*(member.write() for member in members))
                members[2].write(3)
                await host.sync(members[2])
                await host.account(members[3].did, "deactivated")
                await world.taken(host)
                await world.taken(other)
        archive = archive_of(tmp_path / "tee", host)
        report = Verifier(Archive(archive)).run()

        assert frames_in(archive) == [frame for _, frame in host.events]
        assert frames_in(archive_of(tmp_path / "tee", other)) == [frame for _, frame in other.events]
        assert report.frames == {"commit": 84, "identity": 2, "sync": 1, "account": 1}
        assert report.failures == {}, report.shown
        assert (tee.teed, tee.again, tee.undocumented) == (88 + 5, 0, 0)


async def test_frames_that_cannot_be_read_are_kept_too(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write(), STRANGE, BROKEN)
        await host.say(member.write())
        world = World(tmp_path / "relay", people, crawl=(host.name,))
        async with teeing(tmp_path / "tee", people) as tee:
            world.tee = tee
            async with world:
                await world.taken(host)
        items = list(Archive(archive_of(tmp_path / "tee", host)).items())

        assert [item.data for item in items] == [frame for _, frame in host.events]
        assert [item.kind for item in items] == [Kind.COMMIT, Kind.OTHER, Kind.OTHER, Kind.COMMIT]


async def test_what_an_upstream_passes_on_of_our_own_accounts_is_kept_and_the_tee_goes_on(tmp_path: Path) -> None:
    people, neighbours = People(), frozenset({"pds.example.com"})
    async with Host(people) as host:
        ours, other = host.add(1), host.add(2)
        people.put(ours.did, ours.key, "https://pds.example.com")
        world = World(tmp_path / "relay", people, neighbours=neighbours)
        async with teeing(tmp_path / "tee", people, neighbours=neighbours) as tee:
            world.tee = tee
            async with world:
                await world.relay.add_host(host.name, upstream=True)
                await until(lambda: host.cursors)
                await host.say(ours.write(), other.write())
                await world.taken(host)
                await tee.flush()

        assert frames_in(archive_of(tmp_path / "tee", host)) == [frame for _, frame in host.events]
        assert (tee.teed, tee.undocumented) == (2, 1)


async def test_what_a_host_sends_again_is_kept_once(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(*(member.write() for _ in range(10)))
        world = World(tmp_path / "relay", people, crawl=(host.name,))
        for turn in range(3):
            async with teeing(tmp_path / "tee", people) as tee:
                world.tee = tee
                async with world:
                    await host.say(*(member.write() for _ in range(5)))
                    await world.taken(host)
                    await host.cut()
                    await host.say(member.write())
                    await world.taken(host)
                assert tee.again == (10 + 6 * turn if turn else 0)
            # As after a kill before the cursor was saved: it all comes again.
            store = HostsStore(world.directory / "relay.sqlite")
            store.put_cursor(host.name, None)
            store.close()

        assert frames_in(archive_of(tmp_path / "tee", host)) == [frame for _, frame in host.events]
        assert Verifier(Archive(archive_of(tmp_path / "tee", host))).run().failures == {}


async def test_a_host_whose_numbers_begin_anew_has_another_archive_and_none_of_it_is_passed_over(
    tmp_path: Path,
) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(*(member.write() for _ in range(10)))
        world = World(tmp_path / "relay", people, crawl=(host.name,))
        async with teeing(tmp_path / "tee", people) as tee:
            world.tee = tee
            async with world:
                await world.taken(host)
                before = [frame for _, frame in host.events]
                await host.stop()
                host.seq = 0
                host.events.clear()
                await host.say(*(member.write() for _ in range(4)))
                await host.start()
                await until(lambda: world.log.head(member.did).rev == member.rev)  # type: ignore[union-attr]
        async with teeing(tmp_path / "tee", people) as tee:
            world.tee = tee
            async with world:
                await host.say(member.write())
                await world.taken(host)
        newer = archive_of(tmp_path / "tee", host)
        newer = newer.with_name(f"{newer.name}~2")

        assert frames_in(archive_of(tmp_path / "tee", host)) == [*before, error_frame("FutureCursor")]
        assert frames_in(newer) == [frame for _, frame in host.events]


async def test_a_disk_that_is_slow_lets_the_stream_wait_and_no_cursor_passes_it(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(*(member.write() for _ in range(40)))
        world = World(tmp_path / "relay", people, crawl=(host.name,))
        async with teeing(tmp_path / "tee", people, waiting_bytes=8_000, run=False) as tee:
            world.tee = tee
            await world.open()
            await world.relay.add_host(host.name)
            await until(lambda: tee.waiting_bytes > 5_000)
            await until(lambda: (world.relay.running(host.name).progress.reached or 0) > 3)  # type: ignore[union-attr]
            waits = asyncio.ensure_future(tee.flush())
            await until(tee._hurry.is_set)
            assert not waits.done()
            assert cursor_of(world) is None
            assert world.relay.running(host.name).progress.last < 40  # type: ignore[union-attr]

            running = asyncio.ensure_future(tee.run())
            await world.taken(host)
            await until(lambda: cursor_of(world) == 40)
            await waits
            await world.close()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        assert frames_in(archive_of(tmp_path / "tee", host)) == [frame for _, frame in host.events]


async def test_an_archive_that_cannot_be_written_ends_the_tee_and_saves_no_cursor(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write())
        taken = archive_of(tmp_path / "tee", host)
        world = World(tmp_path / "relay", people, crawl=(host.name,))
        with ArchiveWriter(taken, source="somebody else"):
            resolver = people.resolver()
            tee = ArchiveTee(tmp_path / "tee", resolver)
            world.tee = tee
            running = asyncio.ensure_future(tee.run())
            await world.open()
            await world.relay.add_host(host.name)
            with pytest.raises(Refused, match="written by another process"):
                await running
            assert "the tee has ended" in str(await world.relay.stopped())
            with pytest.raises(InvariantError, match="the tee has ended"):
                await world.relay.close()
            await world.outgoing.close()
            await world.resolver.close()
            await world.log.close()
            await tee.close()
            await resolver.close()

        assert cursor_of(world) is None


async def test_real_frames_come_through_as_they_are(tmp_path: Path, vectors: Callable[[str], Path]) -> None:
    frames = real_frames(vectors)
    people = People()
    people.documents |= json.loads(vectors(f"{CORPUS}/did_docs.json").read_text())
    async with Host(people, server="atproto-relay") as host:
        await host.say(*frames)
        world = World(tmp_path / "relay", people)
        async with teeing(tmp_path / "tee", people) as tee:
            world.tee = tee
            async with world:
                await world.relay.add_host(host.name, upstream=True)
                # A relay is read from now on: as if it had been read before.
                await until(lambda: host.cursors)
                await host.say(*frames)
                await until(lambda: tee.teed + tee.again >= len(frames))
        archive = archive_of(tmp_path / "tee", host)
        kept = frames_in(archive)

        assert kept == frames
        assert any(isinstance(decode_frame(frame), CommitMessage) for frame in kept)
        assert Verifier(Archive(archive)).run().failures == {}


@pytest.mark.chaos
async def test_a_relay_that_is_killed_leaves_an_archive_that_goes_on_without_hole_or_repetition(
    tmp_path: Path,
) -> None:
    people = People()
    directory = tmp_path / "relay"
    async with Host(people) as host, served(people) as plc:
        members = [host.add(number) for number in range(1, 6)]
        prepare(directory, host)
        settings = {
            "plc_url": plc,
            "allow_private_addresses": "true",
            "relay_port": "0",
            "relay_tee": str(tmp_path / "tee"),
            "log_level": "warning",
        }
        role = Role("relay", directory, settings)
        try:
            await asyncio.to_thread(role.start)
            for turn in range(40):
                await host.say(*(member.write() for member in members))
                if turn == 20:
                    await until(lambda: host.sent > 50)
                    await asyncio.to_thread(role.kill)
                    role = await asyncio.to_thread(Role("relay", directory, settings).start)
            await until(lambda: (cursor_in(directory) or 0) == host.seq)
            assert await asyncio.to_thread(role.stop) == 0
        finally:
            role.kill()
        archive = archive_of(tmp_path / "tee", host)

        assert frames_in(archive) == [frame for _, frame in host.events]
        assert Verifier(Archive(archive)).run().failures == {}


def cursor_in(directory: Path) -> int | None:
    store = HostsStore(directory / "relay.sqlite")
    try:
        return store.hosts()[0].cursor
    finally:
        store.close()

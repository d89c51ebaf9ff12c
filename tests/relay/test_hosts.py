"""Hosts that go, lie about themselves, fall silent, send their readers elsewhere; and who may have one read."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from ingest.identity.reasons import IdentityReason
from ingest.identity.ssrf import LOOPBACK, AddressGuard
from ingest.relay.directory import HostLimits
from ingest.relay.hostnames import is_under, parse_host
from ingest.relay.outgoing import Outgoing
from ingest.relay.patience import Patience
from ingest.relay.reasons import RelayReason
from ingest.repo.frame import error_frame
from schemas.entries import Commit
from schemas.errors import Refused
from schemas.syntax import Did
from tests.relay.listener import listening
from tests.relay.world.host import Host, Member, frame_of
from tests.relay.world.people import People
from tests.relay.world.relay import World, until


async def test_a_connection_that_ends_goes_on_where_it_was_without_gap_or_repetition(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            for _ in range(5):
                await host.say(member.write(), member.write())
                await world.taken(host)
                connected = len(host.cursors)
                await host.cut()
                await until(lambda seen=connected: len(host.cursors) > seen)

            assert host.cursors == [0, 2, 4, 6, 8, 10]
            assert [entry.rev for entry in await world.entries()] == sorted({e.rev for e in await world.entries()})
            assert set(world.dropped) == {"host_closed"}


async def test_a_restart_goes_on_from_the_saved_cursor(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(*(member.write() for _ in range(10)))
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            await world.reopen()
            await host.say(member.write())
            await world.taken(host)

            assert host.cursors == [0, 10]
            assert len(await world.entries()) == 11
            assert not world.dropped


async def test_a_cursor_is_not_saved_past_what_is_under_way_and_a_restart_brings_it_again(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        stuck, free = host.add(1), host.add(2)
        document, asked = people.document, asyncio.Event()

        async def never(did: Did):
            if did == stuck.did:
                asked.set()
                await asyncio.get_running_loop().create_future()
            return await document(did)

        people.document = never  # type: ignore[method-assign]
        await host.say(free.write(), free.write(), stuck.write(), free.write(), free.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await asked.wait()
            await until(lambda: world.log.head(free.did) is not None and world.log.head(free.did).rev == free.rev)  # type: ignore[union-attr]
            world.relay.save()
            assert [row.cursor for row in world.relay.store.hosts()] == [2]
            assert world.relay.host(host.name).seq == 2  # type: ignore[union-attr]
            people.document = document  # type: ignore[method-assign]
            await world.reopen()
            await world.taken(host)

            assert host.cursors == [0, 2]
            assert world.log.head(stuck.did).rev == stuck.rev  # type: ignore[union-attr]
            assert world.dropped == {"rev_stale": 2}


async def test_a_host_that_is_away_is_read_again_when_it_is_back(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            await host.stop()
            await until(lambda: world.relay.host(host.name).failures >= 3)  # type: ignore[union-attr]
            assert world.relay.host(host.name).status == "offline"  # type: ignore[union-attr]
            await host.start()
            await host.say(member.write())
            await world.taken(host)

            assert len(await world.entries()) == 2


async def test_what_a_window_no_longer_holds_shows_as_a_gap_and_is_fetched(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            await host.stop()
            await host.say(*(member.write() for _ in range(5)))
            host.oldest = 4
            await host.start()
            await world.taken(host)

            assert world.dropped["outdated_cursor"] == 1
            assert world.log.head(member.did).rev == member.rev  # type: ignore[union-attr]
            assert world.paths(member.did) == sorted(member.records)


async def test_a_reader_that_is_told_it_is_too_slow_comes_back_with_its_cursor(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)

            async def too_slow(socket: web.WebSocketResponse, _cursor: int | None) -> None:
                host.stream = None
                await socket.send_bytes(error_frame("ConsumerTooSlow"))

            host.stream = too_slow
            await host.cut()
            await until(lambda: len(host.cursors) >= 3)

            assert host.cursors == [0, 1, 1]
            assert world.dropped["consumer_too_slow"] == 1


async def test_a_silent_host_is_given_up_and_one_that_answers_pings_is_not(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as mute, Host(people) as quiet:

        async def deaf(_socket: web.WebSocketResponse, _cursor: int | None) -> None:
            await asyncio.get_running_loop().create_future()  # reads nothing, so answers no ping

        mute.stream = deaf
        async with World(tmp_path, people, crawl=(mute.name, quiet.name), patience=Patience(ping=0.1)) as world:
            await until(lambda: world.dropped["host_silent"] >= 2)

            assert len(mute.cursors) >= 2
            assert quiet.cursors == [0]


async def test_a_relay_is_not_read_as_a_host(tmp_path: Path) -> None:
    people = People()
    async with Host(people, server="indigo atproto-relay/1") as other:
        async with World(tmp_path, people, crawl=(other.name,)) as world:
            await until(lambda: world.dropped["host_is_relay"])
            assert world.relay.host(other.name).status == "offline"  # type: ignore[union-attr]
        async with World(tmp_path / "again", people) as world:
            with pytest.raises(Refused) as refused:
                await world.relay.request_crawl(other.name)
            assert refused.value.reason is RelayReason.HOST_IS_RELAY
            await world.relay.add_host(other.name, upstream=True)
            await until(lambda: world.relay.host(other.name).status == "active")  # type: ignore[union-attr]


async def test_this_relay_is_known_for_one_and_is_read_as_an_upstream_alone(tmp_path: Path) -> None:
    people = People()
    async with (
        Host(people) as host,
        World(tmp_path / "first", people, crawl=(host.name,)) as first,
        listening(first, tmp_path / "data") as listener,
        World(tmp_path / "second", people, crawl=(listener.url,)) as second,
    ):
        member = host.add(1)
        await until(lambda: second.dropped["host_is_relay"])
        await second.relay.add_host(listener.url, upstream=True)
        name = listener.url.removeprefix("http://")
        await until(lambda: second.relay.host(name).status == "active")  # type: ignore[union-attr]
        await host.say(member.write(), member.write())
        await until(lambda: (head := second.log.head(member.did)) is not None and head.rev == member.rev)

        assert second.paths(member.did) == sorted(member.records)


async def test_requests_to_crawl_are_judged(tmp_path: Path) -> None:
    people = People()
    async with (
        Host(people) as one,
        Host(people) as two,
        Host(people) as three,
        World(tmp_path, people, new_hosts_day=2, ours=frozenset(("127.0.0.1:9", "relay.example.com"))) as world,
    ):
        relay = world.relay

        async def reason(name: str, **more: tuple[str, ...]) -> object:
            with pytest.raises(Refused) as refused:
                await relay.request_crawl(name, **more)
            return refused.value.reason

        assert (await relay.request_crawl(one.url)).hostname == one.name
        assert (await relay.request_crawl(one.name)).hostname == one.name  # known: costs nothing
        assert one.asked["describeServer"] == 1
        assert await reason("127.0.0.1:9") is RelayReason.HOST_OURS
        assert await reason(two.name, via=("relay.example.com",)) is RelayReason.LOOP
        assert await reason("127.0.0.1:1") is RelayReason.HOST_UNREACHABLE
        await relay.request_crawl(two.name)
        assert await reason(three.name) is RelayReason.NEW_HOSTS_QUOTA
        await relay.ban_host(one.name, banned=True)
        assert await reason(one.name) is RelayReason.HOST_BANNED
        await relay.add_host(three.name)  # an operator's word has no quota
        assert [view.hostname for _, view in relay.hosts(0, 10)] == [one.name, two.name, three.name]
        assert [view.hostname for _, view in relay.hosts(relay.hosts(0, 1)[0][0], 1)] == [two.name]


@pytest.mark.parametrize(
    "name",
    ["", "localhost", "10.0.0.1", "[::1]", "0x7f.1", "pds", "pds.example.com/path", "pds.example.com:8080", "a b.com"],
)
def test_what_is_no_public_host_name_is_refused(name: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_host(name)
    assert refused.value.reason is RelayReason.HOST_SYNTAX


def test_a_host_may_be_named_by_its_url() -> None:
    assert parse_host("HTTPS://Pds.Example.com/") == ("pds.example.com", "https://pds.example.com")
    assert parse_host("wss://pds.example.com:443") == ("pds.example.com", "https://pds.example.com")
    assert parse_host("localhost:2583", private=True) == ("localhost:2583", "http://localhost:2583")
    assert is_under("a.b.example.com", {"example.com"})
    assert is_under("pds.example.com.:443", {"example.com"})
    assert not is_under("badexample.com", {"example.com"})


async def test_bans_hold_across_a_restart_and_end_connections(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            await world.relay.ban_domain("127.0.0.1", banned=True)
            await host.say(member.write())
            assert world.relay.host(host.name).status == "banned"  # type: ignore[union-attr]
            await world.reopen()
            assert world.relay.domain_bans() == ["127.0.0.1"]
            with pytest.raises(Refused) as refused:
                await world.relay.add_host(host.name)
            assert refused.value.reason is RelayReason.HOST_BANNED
            assert len(await world.entries()) == 1
            assert host.cursors == [0]
            await world.relay.ban_domain("127.0.0.1", banned=False)
            await world.relay.ban_host(host.name, banned=False)
            await world.taken(host)

            assert len(await world.entries()) == 2
            assert host.cursors == [0, 1]


class _Gate:
    """A tee whose disk is waited for until `open` is set."""

    def __init__(self) -> None:
        self.asked, self.open = asyncio.Event(), asyncio.Event()

    def connected(self, host: str) -> None: ...

    def begins_anew(self, host: str) -> None: ...

    async def take(self, host: str, frame: bytes) -> None: ...

    async def flush(self) -> None:
        self.asked.set()
        await self.open.wait()


async def test_a_host_is_not_read_whatever_is_asked_of_it_while_it_is_being_banned(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        host.add(1)
        world, gate = World(tmp_path, people, crawl=(host.name,), save_seconds=3_600.0), _Gate()
        world.tee = gate
        async with world:
            relay = world.relay
            await until(lambda: relay.host(host.name).status == "active")  # type: ignore[union-attr]
            banning = asyncio.ensure_future(relay.ban_host(host.name, banned=True))
            await gate.asked.wait()
            with pytest.raises(Refused) as refused:
                await relay.request_crawl(host.name)
            await relay.set_limits(host.name, HostLimits(per_hour=7), trusted=True)
            gate.open.set()
            await banning
            row = relay.store.hosts()[0]
            reading = [task for task in asyncio.all_tasks() if task.get_name() == f"host {host.name}"]

            assert refused.value.reason is RelayReason.HOST_BANNED
            assert (row.banned, row.trusted, row.limits.per_hour) == (True, True, 7)
            assert relay.host(host.name).limits.per_hour == 7  # type: ignore[union-attr]
            assert reading == []
            assert host.cursors == [0]


async def test_changes_of_a_host_at_once_leave_one_connection_and_all_of_them(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        host.add(1)
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            relay = world.relay
            await until(lambda: relay.host(host.name).status == "active")  # type: ignore[union-attr]
            await asyncio.gather(
                relay.add_host(host.name, trusted=True),
                relay.ban_host(host.name, banned=True),
                relay.request_crawl(host.name),
                relay.ban_host(host.name, banned=False),
            )
            await until(lambda: relay.host(host.name).status == "active")  # type: ignore[union-attr]
            reading = [task for task in asyncio.all_tasks() if task.get_name() == f"host {host.name}"]

            assert len(reading) == 1
            assert relay.host(host.name).trusted  # type: ignore[union-attr]


async def test_an_operator_disconnects_limits_and_takes_down(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            await world.relay.disconnect(host.name)
            await until(lambda: len(host.cursors) == 2)
            limits = HostLimits(accounts=7, per_second=9)
            assert (await world.relay.set_limits(host.name, limits, trusted=True)).limits == limits
            assert (await world.relay.take_down(member.did, taken_down=True)).status == "takendown"
            await host.say(member.write())
            await world.taken(host)
            assert world.dropped["account_inactive"] == 1
            events = await world.log.read_firehose(0, 10)
            assert [event.kind for event in events] == ["commit", "account"]
            assert (await world.relay.take_down(member.did, taken_down=False)).status == "active"
            await world.reopen()
            assert world.relay.host(host.name).limits == limits  # type: ignore[union-attr]
            assert world.relay.host(host.name).trusted  # type: ignore[union-attr]
            with pytest.raises(Refused) as refused:
                await world.relay.disconnect("nobody.example.com")
            assert refused.value.reason is RelayReason.HOST_UNKNOWN


async def test_a_stream_is_not_redirected_and_private_addresses_are_not_reached() -> None:
    async def moved(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://127.0.0.1:1/xrpc/com.atproto.sync.subscribeRepos")

    app = web.Application()
    app.router.add_get("/{rest:.*}", moved)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def reason(outgoing: Outgoing, at: str) -> object:
        with pytest.raises(Refused) as refused:
            async with outgoing.subscribe(at, 0, upstream=False):
                pass
        return refused.value.reason

    laboratory, guarded = Outgoing(AddressGuard(LOOPBACK), private=True), Outgoing(AddressGuard())
    try:
        assert await reason(laboratory, url) is RelayReason.HOST_REDIRECTS
        # A name that means this machine by the time of the connection is what rebinding comes to.
        for at in (url, "http://localhost:80", "https://127.0.0.1", "https://[::1]"):
            assert await reason(guarded, at) is IdentityReason.BLOCKED
    finally:
        await laboratory.close()
        await guarded.close()
        await runner.cleanup()


async def test_a_host_that_hangs_up_at_every_byte_harms_nobody(tmp_path: Path) -> None:
    """Raw TCP: the handshake and a signed commit, cut after each byte in turn, and at last said whole."""
    people = People()
    async with Host(people) as good:
        member, torn = good.add(1), Member(2)
        frame = frame_of(1, torn.write())
        message = b"\x82\x7e" + len(frame).to_bytes(2, "big") + frame
        await good.say(member.write())
        cuts = [0]
        last = len(_handshake(b"")) + len(message)
        world: World

        async def cutting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                request = await reader.readuntil(b"\r\n\r\n")
                key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
                answer = _handshake(key.split(b":", 1)[1].strip()) + message
                assert len(answer) == last
                writer.write(answer[: cuts[0]])
                cuts[0] += 1
                world.relay.running(name).failures = 0  # else it is looked after once an hour
                await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(cutting, "127.0.0.1", 0)
        name = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        people.put(torn.did, torn.key, f"http://{name}")
        async with server, World(tmp_path, people, crawl=(good.name,), first_pause=0.0) as world:
            await world.relay.add_host(name)
            await until(lambda: cuts[0] > last - 2, f"{last} cuts", seconds=260)
            before = world.log.head(torn.did) if cuts[0] <= last else None
            await until(lambda: world.log.head(torn.did) is not None)
            await good.say(member.write())
            await world.taken(good)

            assert before is None, "a frame without its last byte was taken"
            assert [entry.did for entry in await world.entries() if isinstance(entry, Commit)].count(torn.did) == 1
            assert set(world.dropped) <= {"host_unreachable", "host_closed", "seq_stale"}


def _handshake(key: bytes) -> bytes:
    from base64 import b64encode
    from hashlib import sha1

    accept = b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


async def test_what_a_relay_passes_on_of_a_banned_host_is_not_taken_nor_is_it_asked(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as banned, Host(people) as good, Host(people) as upstream:
        member, other = banned.add(1), good.add(2)
        async with World(tmp_path, people, crawl=(banned.name,)) as world:
            await world.relay.ban_host(banned.name, banned=True)
            await world.relay.add_host(upstream.name, upstream=True)
            await until(lambda: upstream.cursors)
            await upstream.say(member.write(), other.write())
            await upstream.account(member.did, "deleted")
            await world.taken(upstream)
            world.relay.resync.begin(member.did, banned.url)
            await until(lambda: world.relay.resync.failures)
            # However its accounts write its address.
            await world.relay.ban_domain("example.com", banned=True)
            addresses = [banned.url, *(f"https://pds.example.com{end}" for end in ("", ".", ":443", ".:443", ":8443"))]
            assert all(map(world.relay.intake.authority.is_banned, addresses))

            assert {entry.did for entry in await world.entries()} == {other.did}  # type: ignore[union-attr]
            assert world.dropped["host_banned"] == 2
            assert world.relay.resync.failures == {"host_banned": 1}
            assert banned.asked["getRepo"] == 0

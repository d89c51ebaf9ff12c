"""RELIABILITY item 40, on real sockets: a server listens on loopback and counts who got through."""

from __future__ import annotations

import socket
from ipaddress import ip_address, ip_network
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver
from aiohttp.test_utils import TestServer

from ingest.identity.fetch import MAX_REDIRECTS, Fetcher
from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.identity.ssrf import LOOPBACK, AddressGuard, BlockedAddress, is_public

PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.1.2.3",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "fc00::1",
    "fd00::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "2a00:1450::5efe:7f00:1",
    "2a00:1450::200:5efe:7f00:1",
    "5f00::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "172.15.0.1",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700::1111",
    "2a00:1450:4001::200e",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_unicast_is_refused(address):
    guard = AddressGuard()

    assert not is_public(ip_address(address))
    assert not guard.permits(address, 443)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass_on_the_two_ports_alone(address):
    guard = AddressGuard()

    assert [port for port in (22, 25, 80, 443, 2583, 6379, 8080, 9042) if guard.permits(address, port)] == [80, 443]


@pytest.mark.parametrize("spelling", ["localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "", "a b", "8.8.8"])
def test_a_name_or_an_odd_spelling_is_no_address(spelling):
    assert not AddressGuard(LOOPBACK).permits(spelling, 80)


def test_allowed_networks_pass_on_any_port_and_only_they():
    guard = AddressGuard(LOOPBACK)

    assert all(guard.permits(address, 2583) for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"))
    assert not any(guard.permits(address, 80) for address in ("10.0.0.1", "169.254.169.254", "0.0.0.0", "fd00::1"))


def test_a_unix_socket_is_refused():
    with pytest.raises(BlockedAddress):
        AddressGuard(LOOPBACK).socket((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", ("/var/run/x.sock", 0)))


class Names(AbstractResolver):
    """Answers each name's addresses in turn, one look-up an entry; the last stays."""

    def __init__(self, **names):
        self.names = {name.replace("_", "."): list(turns) for name, turns in names.items()}
        self.lookups = 0

    async def resolve(self, host, port=0, family=socket.AF_INET):  # noqa: ARG002
        self.lookups += 1
        turns = self.names[host]
        addresses = turns.pop(0) if len(turns) > 1 else turns[0]
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
            for address in addresses.split()
        ]

    async def close(self):
        pass


@pytest.fixture
async def server():
    """A server on loopback with the paths that the tests ask for; `hits` counts every request that got through."""
    hits = []

    async def answer(request):
        hits.append(str(request.rel_url))
        to = request.query.get("to")
        if to:
            raise web.HTTPFound(to)
        if "size" in request.query:
            return web.Response(body=b"x" * int(request.query["size"]))
        if "gzip" in request.query:
            return web.Response(body=b"\x1f\x8bnot", headers={"Content-Encoding": "gzip"})
        if "status" in request.query:
            return web.Response(status=int(request.query["status"]), headers={"Connection": "close"})
        return web.Response(text=request.headers.get("Cookie", "hello"), headers={"Set-Cookie": "a=b"})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    async with TestServer(app, host="127.0.0.1") as running:
        running.hits = hits
        yield running


async def refusal(fetcher, url, limit=1000):
    with pytest.raises(IdentityRefused) as refused:
        await fetcher.get(url, limit)
    await fetcher.close()
    return refused.value.reason


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
    ],
)
async def test_no_spelling_of_loopback_is_connected_to(server, host):
    fetcher = Fetcher(AddressGuard(), allow_http=True)

    reason = await refusal(fetcher, f"http://{host}:{server.port}/")

    # A spelling that the platform's own resolver does not read is refused as unreachable; none gets through.
    assert reason in (IdentityReason.BLOCKED, IdentityReason.UNREACHABLE)
    assert (
        host not in ("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "0.0.0.0")
        or reason is IdentityReason.BLOCKED
    )
    assert server.hits == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost"])
async def test_the_same_spellings_reach_the_server_when_loopback_is_allowed(server, host):
    fetcher = Fetcher(AddressGuard(LOOPBACK), allow_http=True)

    answer = await fetcher.get(f"http://{host}:{server.port}/", 1000)
    await fetcher.close()

    assert (answer.status, answer.body, len(server.hits)) == (200, b"hello", 1)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "169.254.169.254", "fd00::1", "10.1.2.3", "::ffff:127.0.0.1"])
async def test_a_name_that_leads_inside_is_blocked_at_connect(server, address):
    fetcher = Fetcher(AddressGuard(), resolver=Names(inner_test=[address]))

    assert await refusal(fetcher, "https://inner.test/") is IdentityReason.BLOCKED
    assert server.hits == []


async def test_a_name_with_several_private_addresses_is_blocked(server):
    fetcher = Fetcher(AddressGuard(), allow_http=True, resolver=Names(inner_test=["127.0.0.1 10.0.0.1 ::1"]))

    assert await refusal(fetcher, "http://inner.test/") is IdentityReason.BLOCKED
    assert server.hits == []


async def test_a_second_dns_answer_that_leads_inside_is_blocked(server):
    """Rebinding: the first answer is good (an allowed address stands for a public one), the second is not."""
    names = Names(rebind_test=["127.0.0.1", "127.0.0.2"])
    fetcher = Fetcher(AddressGuard((ip_network("127.0.0.1/32"),)), allow_http=True, resolver=names)
    url = f"http://rebind.test:{server.port}/"

    first = await fetcher.get(f"{url}?status=204", 10)
    second = await refusal(fetcher, url)

    assert (first.status, second, names.lookups, len(server.hits)) == (204, IdentityReason.BLOCKED, 2, 1)


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.2:{port}/",
        "http://[::1]:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "//127.0.0.2:{port}/x",
    ],
)
async def test_a_redirect_to_a_private_address_is_blocked(server, target):
    fetcher = Fetcher(AddressGuard((ip_network("127.0.0.1/32"),)), allow_http=True)
    to = target.format(port=server.port)

    assert await refusal(fetcher, f"http://127.0.0.1:{server.port}/?to={to}") is IdentityReason.BLOCKED
    assert len(server.hits) == 1


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1:70/", "data:,x"])
async def test_a_redirect_to_another_scheme_is_refused(server, target):
    fetcher = Fetcher(AddressGuard(LOOPBACK), allow_http=True)

    assert await refusal(fetcher, f"http://127.0.0.1:{server.port}/?to={target}") is IdentityReason.SCHEME


async def test_plain_http_is_refused_unless_allowed(server):
    fetcher = Fetcher(AddressGuard(LOOPBACK))

    assert await refusal(fetcher, f"http://127.0.0.1:{server.port}/") is IdentityReason.SCHEME
    assert server.hits == []


async def test_port_22_of_a_public_address_is_blocked():
    fetcher = Fetcher(AddressGuard(), allow_http=True, resolver=Names(public_test=["93.184.216.34"]))

    assert await refusal(fetcher, "http://public.test:22/") is IdentityReason.BLOCKED


async def test_redirects_are_followed_to_their_bound_and_no_further(server):
    for hops, holds in ((MAX_REDIRECTS, True), (MAX_REDIRECTS + 1, False)):
        fetcher = Fetcher(AddressGuard(LOOPBACK), allow_http=True)
        path = "/"
        for _ in range(hops):
            path = f"/?to={quote(path, safe='/')}"
        url = f"http://127.0.0.1:{server.port}{path}"
        if holds:
            assert (await fetcher.get(url, 1000)).body == b"hello"
            await fetcher.close()
        else:
            assert await refusal(fetcher, url) is IdentityReason.REDIRECTS


async def test_a_body_at_the_limit_is_read_and_one_past_it_is_not(server):
    fetcher = Fetcher(AddressGuard(LOOPBACK), allow_http=True)
    assert len((await fetcher.get(f"http://127.0.0.1:{server.port}/?size=70000", 70_000)).body) == 70_000

    assert await refusal(fetcher, f"http://127.0.0.1:{server.port}/?size=70001", 70_000) is IdentityReason.TOO_LARGE


async def test_bodies_are_not_decompressed_and_cookies_not_kept(server):
    fetcher = Fetcher(AddressGuard(LOOPBACK), allow_http=True)
    url = f"http://127.0.0.1:{server.port}/"

    assert (await fetcher.get(f"{url}?gzip=1", 100)).body == b"\x1f\x8bnot"
    assert [(await fetcher.get(url, 100)).body for _ in range(2)] == [b"hello", b"hello"]
    await fetcher.close()


async def test_a_server_that_says_nothing_is_a_timeout():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fetcher = Fetcher(AddressGuard(LOOPBACK), allow_http=True, timeout=0.05)

        assert await refusal(fetcher, f"http://127.0.0.1:{listener.getsockname()[1]}/") is IdentityReason.TIMEOUT


@pytest.mark.parametrize(
    "url", ["", "https://", "http:///x", "https://[::", "https://a\x00b/", "https://" + "a" * 2100]
)
async def test_what_is_no_url_is_refused_without_an_exception(url):
    fetcher = Fetcher(AddressGuard(), allow_http=True)

    assert await refusal(fetcher, url) in (IdentityReason.SCHEME, IdentityReason.UNREACHABLE)

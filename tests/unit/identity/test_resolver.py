from __future__ import annotations

import asyncio
import socket

import dns.message
import dns.rrset
import orjson
import pytest

from ingest.identity import did_doc, did_web, plc_op
from ingest.identity.dns_txt import DnsTxt
from ingest.identity.fetch import Answer
from ingest.identity.handles import RESERVED_TLDS, HandleResolver
from ingest.identity.plc_store import PlcDirectory
from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.identity.resolver import IdentityResolver
from ingest.identity.swr_cache import Bounds
from ingest.repo.keys import PrivateKey
from schemas.syntax import Did, Handle

KEY = PrivateKey.generate()
WEB = Did("did:web:example.com")


class Net:
    """TXT records and pages; a name or URL that is not there is absent, an IdentityRefused is raised."""

    def __init__(self):
        self.txt, self.pages, self.asked = {}, {}, []

    async def lookup(self, name):
        self.asked.append(name)
        return _given(self.txt.get(name, ()))

    async def get(self, url, limit, accept="*/*", redirects=3):  # noqa: ARG002
        self.asked.append(url)
        return _given(self.pages.get(url, Answer(404, b"")))


def _given(found):
    if isinstance(found, IdentityRefused):
        raise found
    return found


@pytest.fixture
def net():
    return Net()


@pytest.fixture
async def plc(tmp_path):
    directory = PlcDirectory(tmp_path / "plc.sqlite")
    yield directory
    await directory.close()


@pytest.fixture
async def resolver(net, plc):
    made = IdentityResolver(plc, HandleResolver(net, net), net)
    yield made
    await made.close()


async def register(plc, handle):
    first = plc_op.parse(
        plc_op.sign(plc_op.account(KEY.public.did_key, handle, "https://pds.com", [KEY.public.did_key]), KEY)
    )
    await plc.submit(first.did, first.json)
    return first


def web_document(did=WEB, **changes):
    return orjson.dumps({"id": did, "alsoKnownAs": ["at://example.com"]} | changes)


async def test_a_did_plc_resolves_through_the_directory(resolver, plc):
    first = await register(plc, "alice.com")

    document = await resolver.did_document(first.did)

    assert (document.handles, document.pds, document.signing_key) == (("alice.com",), "https://pds.com", KEY.public)


async def test_a_handle_holds_only_when_it_points_back(resolver, plc, net):
    first = await register(plc, "alice.com")
    assert await resolver.verified_handle(first.did) is None

    net.txt["_atproto.alice.com"] = (f"did={first.did}",)
    assert await resolver.verified_handle(first.did, refresh=True) == "alice.com"

    net.txt["_atproto.alice.com"] = (f"did={WEB}",)
    assert await resolver.verified_handle(first.did, refresh=True) is None


async def test_an_update_is_seen_after_forget(resolver, plc, net):
    first = await register(plc, "alice.com")
    net.txt["_atproto.bob.com"] = (f"did={first.did}",)
    await resolver.verified_handle(first.did)
    update = plc_op.sign(plc_op.updated(first, also_known_as=["at://bob.com"]), KEY)
    await plc.submit(first.did, update)

    resolver.forget(first.did)

    assert await resolver.verified_handle(first.did) == "bob.com"


async def test_dns_is_asked_before_https_and_https_only_when_dns_is_silent(net):
    handles = HandleResolver(net, net)
    net.pages["https://a.com/.well-known/atproto-did"] = Answer(200, b" did:web:https.com\n")

    assert await handles.resolve(Handle("a.com")) == "did:web:https.com"
    net.txt["_atproto.a.com"] = ("v=spf1", "did=did:web:dns.com")
    assert await handles.resolve(Handle("a.com")) == "did:web:dns.com"


async def test_two_did_records_are_no_answer_and_https_does_not_decide(net):
    net.txt["_atproto.a.com"] = ("did=did:web:x.com", "did=did:web:y.com")
    net.pages["https://a.com/.well-known/atproto-did"] = Answer(200, b"did:web:x.com")

    assert await HandleResolver(net, net).resolve(Handle("a.com")) is None
    assert net.asked == ["_atproto.a.com"]


@pytest.mark.parametrize(
    "record", ["did=", "did=alice", "DID=did:web:x.com", "did= did:web:x.com", "xdid=did:web:x.com"]
)
async def test_a_record_of_another_form_is_no_answer(net, record):
    net.txt["_atproto.a.com"] = (record,)

    assert await HandleResolver(net, net).resolve(Handle("a.com")) is None


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"did:web:x.com did:web:y.com", b"\xff\xfe", b"did:web:" + b"x" * 2048]
)
async def test_a_page_that_is_no_did_is_no_answer(net, body):
    net.pages["https://a.com/.well-known/atproto-did"] = Answer(200, body)

    assert await HandleResolver(net, net).resolve(Handle("a.com")) is None


@pytest.mark.parametrize("tld", sorted(RESERVED_TLDS))
async def test_reserved_names_are_never_looked_up(net, tld):
    assert await HandleResolver(net, net).resolve(Handle(f"alice.{tld}")) is None
    assert net.asked == []


async def test_names_of_our_own_domains_are_answered_by_our_own_accounts_alone(net, plc):
    async def ours(handle):
        return Did("did:web:ours.com") if handle == "alice.test" else None

    resolver = IdentityResolver(plc, HandleResolver(net, net, ours, (".test",)), net)

    assert await resolver.handle(Handle("alice.test")) == "did:web:ours.com"
    assert await resolver.handle(Handle("bob.test")) is None
    assert net.asked == []
    await resolver.close()


@pytest.mark.parametrize("reason", [IdentityReason.TIMEOUT, IdentityReason.UNREACHABLE])
async def test_silence_is_not_taken_for_an_answer(resolver, net, reason):
    net.txt["_atproto.a.com"] = IdentityRefused(reason, "dns")

    with pytest.raises(IdentityRefused) as refused:
        await resolver.handle(Handle("a.com"))
    assert refused.value.transient

    net.pages["https://a.com/.well-known/atproto-did"] = Answer(200, WEB.encode())
    assert await resolver.handle(Handle("a.com"), refresh=True) == WEB


async def test_a_name_without_a_web_server_points_nowhere(resolver, net):
    net.pages["https://a.com/.well-known/atproto-did"] = IdentityRefused(IdentityReason.UNREACHABLE, "refused")

    assert await resolver.handle(Handle("a.com")) is None


async def test_a_did_web_resolves_at_its_host(resolver, net):
    net.pages["https://example.com/.well-known/did.json"] = Answer(200, web_document())

    assert (await resolver.did_document(WEB)).handles == ("example.com",)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(404, b""), IdentityReason.NOT_FOUND),
        (Answer(500, b""), IdentityReason.STATUS),
        (Answer(200, b"{"), IdentityReason.DOCUMENT),
        (Answer(200, b"[]"), IdentityReason.DOCUMENT),
        (Answer(200, b"[" * 60_000), IdentityReason.DOCUMENT),
        (Answer(200, web_document(id="did:web:other.com")), IdentityReason.DOCUMENT),
        (IdentityRefused(IdentityReason.BLOCKED, "inside"), IdentityReason.BLOCKED),
    ],
)
async def test_a_did_web_that_does_not_resolve_says_why(resolver, net, answer, reason):
    net.pages["https://example.com/.well-known/did.json"] = answer

    with pytest.raises(IdentityRefused) as refused:
        await resolver.did_document(WEB)
    assert refused.value.reason is reason


@pytest.mark.parametrize("did", ["did:key:zQ3sh", "did:example:a", "did:webx:a.com"])
async def test_other_methods_are_refused(resolver, did):
    with pytest.raises(IdentityRefused) as refused:
        await resolver.did_document(Did(did))
    assert refused.value.reason is IdentityReason.METHOD


@pytest.mark.parametrize("did", ["did:plc:" + "a" * 24, "did:plc:short", "did:plc:" + "A" * 24, "did:plc:%2F%2Fexport"])
async def test_an_unknown_or_impossible_did_plc_is_not_found(resolver, did):
    with pytest.raises(IdentityRefused) as refused:
        await resolver.did_document(Did(did))
    assert refused.value.reason is IdentityReason.NOT_FOUND


BAD_HOSTS = [
    "did:web:example.com:user",
    "did:web:example.com%3A8443",
    "did:web:127.0.0.1",
    "did:web:2130706433",
    "did:web:localhost",
    "did:web:[::1]",
    "did:web:Example.com",
    "did:web:example.com%2Fx",
    "did:web:",
    "did:web:a..b",
    "did:web:0x7f.1",
    "did:web:localhost%3A2583",
    "did:web:user@example.com",
    "did:web:example",
]


@pytest.mark.parametrize("did", BAD_HOSTS)
def test_a_did_web_that_is_more_or_less_than_a_host_name_is_refused(did):
    with pytest.raises(IdentityRefused) as refused:
        did_web.document_url(Did(did))
    assert refused.value.reason is IdentityReason.HOST


def test_localhost_with_a_port_is_allowed_by_setting_alone():
    did = Did("did:web:localhost%3A2583")

    assert did_web.document_url(did, allow_localhost=True) == "http://localhost:2583/.well-known/did.json"
    with pytest.raises(IdentityRefused):
        did_web.document_url(Did("did:web:localhost%3A2583%2Fx"), allow_localhost=True)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://pds.com", "https://pds.com"),
        ("https://pds.com/", "https://pds.com"),
        ("http://localhost:2583", "http://localhost:2583"),
        ("https://[2606::1]:8443/", "https://[2606::1]:8443"),
        ("https://pds.com/path", None),
        ("https://pds.com?x", None),
        ("https://u:p@pds.com", None),
        ("ftp://pds.com", None),
        ("https://", None),
        ("https://[::", None),
        ("https://a:99999", None),
        ("", None),
    ],
)
def test_an_endpoint_is_an_origin_or_nothing(url, expected):
    assert did_doc.endpoint(url) == expected


def test_a_document_of_any_shape_is_read_without_an_exception():
    for junk in (None, 1, "x", [1, None, "x", {}], {"a": 1}, [{"id": 1, "type": [], "publicKeyMultibase": {}}]):
        whole = {"id": WEB, "alsoKnownAs": junk, "verificationMethod": junk, "service": junk}
        document = did_doc.parse(WEB, whole)
        assert (document.handles, document.signing_key, document.pds, document.services) == ((), None, None, ())


def test_the_first_fitting_entries_count_and_lists_are_bounded():
    many = ["https://x.com", "at://bad_handle", "at://Good.com", "at://second.com"]
    services = [{"id": f"#s{number}", "type": "T", "serviceEndpoint": "https://x"} for number in range(100)]
    document = did_doc.parse(WEB, {"id": WEB, "alsoKnownAs": many, "service": services})

    assert document.handles == ("good.com", "second.com")
    assert len(document.services) == did_doc.MAX_ENTRIES


class DnsServer(asyncio.DatagramProtocol):
    """A name server of one page: TXT strings by name; `None` stays silent, an absent name does not exist."""

    def __init__(self, **names):
        self.names = {name.replace("__", ".") + ".": strings for name, strings in names.items()}

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, peer):
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text()
        response = dns.message.make_response(query)
        if name not in self.names:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif self.names[name] is None:
            return
        elif self.names[name]:
            response.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", *self.names[name]))
        self.transport.sendto(response.to_wire(), peer)


async def test_txt_records_are_joined_and_told_apart_over_real_dns():
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: DnsServer(
            _atproto__a__com=['"did=" "did:web:" "x.com"', '"v=spf1"'],
            empty__com=[],
            silent__com=None,
        ),
        local_addr=("127.0.0.1", 0),
        family=socket.AF_INET,
    )
    txt = DnsTxt(("127.0.0.1",), transport.get_extra_info("sockname")[1], timeout=0.3)

    assert sorted(await txt.lookup("_atproto.a.com")) == ["did=did:web:x.com", "v=spf1"]
    assert await txt.lookup("empty.com") == await txt.lookup("nowhere.com") == ()
    with pytest.raises(IdentityRefused) as refused:
        await txt.lookup("silent.com")
    assert refused.value.reason is IdentityReason.TIMEOUT
    transport.close()


async def test_did_webs_that_let_us_wait_leave_the_directory_its_places(plc):
    go_on, full, asked = asyncio.Event(), asyncio.Event(), []

    class Stuck(Net):
        async def get(self, url, limit, accept="*/*", redirects=3):  # noqa: ARG002
            asked.append(url)
            if len(asked) == 2:
                full.set()
            await go_on.wait()
            return Answer(404, b"")

    stuck = Stuck()
    resolver = IdentityResolver(plc, HandleResolver(stuck, stuck), stuck, dids=Bounds(concurrency=2, waiting=2))
    webs = [asyncio.create_task(resolver.did_document(Did(f"did:web:host{number}.example.com"))) for number in range(6)]
    await full.wait()
    with pytest.raises(IdentityRefused) as refused:
        await resolver.did_document(Did("did:plc:" + "a" * 24))
    go_on.set()
    await asyncio.gather(*webs, return_exceptions=True)
    await resolver.close()

    assert refused.value.reason is IdentityReason.NOT_FOUND
    assert len(asked) == 4

"""The whole chain on real sockets: a did:web and its handle, over TLS with a real authority, guarded."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ingest.identity.fetch import Fetcher
from ingest.identity.handles import HandleResolver
from ingest.identity.plc_store import PlcDirectory
from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.identity.resolver import IdentityResolver
from ingest.identity.ssrf import AddressGuard
from schemas.syntax import Did, Handle

DID, HANDLE = Did("did:web:alice.com"), Handle("alice.com")


class Silent:
    async def lookup(self, name):  # noqa: ARG002
        return ()


class ToServer(AbstractResolver):
    """Every name leads to the test server, port and all."""

    def __init__(self, port):
        self.port = port

    async def resolve(self, host, port=0, family=socket.AF_INET):  # noqa: ARG002
        where = {"host": "127.0.0.1", "port": self.port, "family": socket.AF_INET}
        return [{"hostname": host, "proto": 0, "flags": socket.AI_NUMERICHOST} | where]

    async def close(self):
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for alice.com as (path of certificate, path of key)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("alice.com")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
async def server(certificate):
    async def well_known(_):
        return web.Response(text=f"{DID}\n")

    async def document(_):
        if running.mode == "redirects":
            raise web.HTTPFound("/moved.json")
        if running.mode == "too large":
            return web.Response(body=b" " * 65_537)
        return web.json_response({"id": DID, "alsoKnownAs": [f"at://{HANDLE}"]})

    async def moved(_):
        running.moved += 1
        return web.json_response({"id": DID})

    app = web.Application()
    app.add_routes([web.get("/moved.json", moved)])
    app.add_routes([web.get("/.well-known/atproto-did", well_known), web.get("/.well-known/did.json", document)])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    running = TestServer(app, host="127.0.0.1", scheme="https")
    running.mode, running.moved = "well", 0
    await running.start_server(ssl=context)
    yield running
    await running.close()


@pytest.fixture
async def resolver_for(server, certificate, tmp_path):
    """Makes a resolver whose outgoing connections the given guard judges."""
    opened = []
    plc = PlcDirectory(tmp_path / "plc.sqlite")

    def make(guard):
        context = ssl.create_default_context(cafile=str(certificate[0]))
        fetcher = Fetcher(guard, resolver=ToServer(server.port), tls=context)
        resolver = IdentityResolver(plc, HandleResolver(Silent(), fetcher), fetcher)
        opened.extend((resolver, fetcher))
        return resolver

    yield make
    for each in opened:
        await each.close()
    await plc.close()


LOCAL = AddressGuard((ipaddress.ip_network("127.0.0.1/32"),))


async def test_a_did_web_and_its_handle_hold_both_ways(resolver_for):
    assert await resolver_for(LOCAL).verified_handle(DID) == HANDLE


async def test_a_certificate_for_another_name_is_not_believed(resolver_for):
    with pytest.raises(IdentityRefused) as refused:
        await resolver_for(LOCAL).did_document(Did("did:web:mallory.com"))
    assert refused.value.reason is IdentityReason.UNREACHABLE


async def test_the_guard_stands_before_both_look_ups(resolver_for):
    resolver = resolver_for(AddressGuard())

    with pytest.raises(IdentityRefused) as refused:
        await resolver.did_document(DID)
    assert refused.value.reason is IdentityReason.BLOCKED
    assert await resolver.handle(HANDLE) is None


@pytest.mark.parametrize(
    ("mode", "reason"), [("redirects", IdentityReason.REDIRECTS), ("too large", IdentityReason.TOO_LARGE)]
)
async def test_a_did_web_that_redirects_or_says_too_much_is_refused(server, resolver_for, mode, reason):
    server.mode = mode

    with pytest.raises(IdentityRefused) as refused:
        await resolver_for(LOCAL).did_document(DID)
    assert refused.value.reason is reason
    assert server.moved == 0

"""Rows over TLS: before the store stands what ends it, with a certificate of an authority of our own."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager, suppress

import pytest

from schemas.errors import InvariantError
from tests.support import cql_store
from tests.support.authority import Authority
from tests.support.cql_store import versioned
from views.store import Batch
from views.table import Table, integer, text

pytestmark = pytest.mark.cluster

KEPT = Table("kept", "records", partition=(text("k", ""),), columns=(integer("n", ""),))
ROWS = 300


async def _pipe(reader, writer):
    with suppress(OSError, asyncio.CancelledError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def secured(address, folder):
    """The port of a listener that speaks TLS and hands on to the store; and how many connections it has taken."""
    certificate, key = Authority(folder, "ca").issue("server")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    taken, pipes = [], set()

    async def serve(reader, writer):
        taken.append(writer)
        behind = await asyncio.open_connection(*address)
        pipes.update({asyncio.create_task(_pipe(reader, behind[1])), asyncio.create_task(_pipe(behind[0], writer))})

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], taken
    finally:
        server.close()
        for pipe in pipes:
            pipe.cancel()
        await asyncio.gather(*pipes, return_exceptions=True)


async def test_rows_come_and_go_over_tls(cql_address, tmp_path):
    async with secured(cql_address, tmp_path) as (port, taken):
        settings = cql_store.settings_of(("127.0.0.1", port), ssl_ca=str(tmp_path / "ca.pem"))
        try:
            async with cql_store.opened(settings, (KEPT,), create=True) as store:
                rows = {(f"k{n}",): {(): (f"k{n}", n)} for n in range(ROWS)}
                await store.apply(versioned(Batch({KEPT: rows}, {}, {("records", 0): 1}, {}), 1))

                found = await store.get_many(KEPT, [(f"k{n}",) for n in range(ROWS)])
        finally:
            await cql_store.drop_all(settings, cql_store.GENERATION)

        assert found == [(f"k{n}", n) for n in range(ROWS)]
        assert taken, "nothing came over TLS"


async def test_a_certificate_of_nobody_we_know_is_refused(cql_address, tmp_path):
    (tmp_path / "theirs").mkdir()
    stranger = Authority(tmp_path / "theirs", "stranger")
    async with secured(cql_address, tmp_path) as (port, _):
        settings = cql_store.settings_of(("127.0.0.1", port), ssl_ca=str(stranger.file), timeout=2.0)
        with pytest.raises(InvariantError, match="no CQL store answers"):
            async with cql_store.opened(settings, (KEPT,)):
                pass

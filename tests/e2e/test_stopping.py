"""How the process ends, and what it leaves: in time with everything open, its files private and in its directory."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.network import Network

SHUTDOWN_SECONDS = 5.0


async def _end_with_everything_open(network: Network) -> int:
    """The exit code after a SIGTERM while subscribers, uploads on both listeners and an idle connection are open."""
    async with aiohttp.ClientSession() as session:
        account: dict[str, Any] = {"handle": "alice.test", "email": "a@example.com", "password": "wheel-and-water"}
        async with session.post(f"{network.url}/xrpc/com.atproto.server.createAccount", json=account) as answer:
            token = (await answer.json())["accessJwt"]
        sockets = [
            await session.ws_connect(f"{network.url}/xrpc/com.atproto.sync.subscribeRepos", params=params)
            for params in ({"cursor": "0"}, {})
        ]
        assert await sockets[0].receive_bytes()
        ops_token = (network.data / "ops_token").read_text().strip()
        # Options, and then the length of a frame that does not end.
        frames = b"\x02\0\0\0{}" + (4_000_000).to_bytes(4, "little")
        uploads = [
            asyncio.create_task(_upload(session, f"{network.url}/xrpc/com.atproto.repo.uploadBlob", token, b"text")),
            asyncio.create_task(_upload(session, f"{network.ops_url}/ingest/frames", ops_token, frames)),
        ]
        idle = socket.create_connection(("127.0.0.1", int(network.url.rpartition(":")[2])))
        while b"headrace_xrpc_requests_in_flight 3.0" not in await _get(session, f"{network.ops_url}/metrics"):
            continue
        assert not any(upload.done() for upload in uploads), "the uploads are to be under way"
        os.kill(network.pid, signal.SIGTERM)
        code = await asyncio.to_thread(network.wait_for_death, SHUTDOWN_SECONDS)
        for upload in uploads:
            upload.cancel()
        await asyncio.gather(*uploads, return_exceptions=True)
        idle.close()
        return code


async def _get(session: aiohttp.ClientSession, url: str) -> bytes:
    async with session.get(url) as answer:
        return await answer.read()


async def _upload(session: aiohttp.ClientSession, url: str, token: str, first: bytes) -> None:
    """Without an end."""

    async def pieces() -> AsyncIterator[bytes]:
        yield first
        while True:
            await asyncio.sleep(0.05)
            yield b"x"

    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"}
    async with session.post(url, data=pieces(), headers=headers):
        pass


async def test_it_ends_in_time_with_everything_open(network: Network) -> None:
    # The one promise about time that operators build on: supervisors kill what takes longer.
    assert await _end_with_everything_open(network) == 0
    assert "Traceback" not in network.log.read_text()
    assert not (network.data / "running.json").exists()


async def _make_account_and_blob(network: Network) -> None:
    async with aiohttp.ClientSession() as session:
        account = {"handle": "alice.test", "email": "a@example.com", "password": "wheel-and-water"}
        async with session.post(f"{network.url}/xrpc/com.atproto.server.createAccount", json=account) as answer:
            token = (await answer.json())["accessJwt"]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "text/plain"}
        url = f"{network.url}/xrpc/com.atproto.repo.uploadBlob"
        async with session.post(url, data=b"hello", headers=headers) as answer:
            assert answer.status == 200


def test_what_it_keeps_is_private_and_in_its_directory(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    before = set(Path().iterdir())
    environment = {"HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home)}
    network = Network(tmp_path / "data", environment=environment).start()
    try:
        asyncio.run(_make_account_and_blob(network))
        kept = list(network.data.rglob("*"))
    finally:
        network.stop()

    assert len(kept) > 15
    for path in (network.data, *(path for path in kept if path.exists())):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    assert list(home.iterdir()) == []
    assert set(Path().iterdir()) <= before

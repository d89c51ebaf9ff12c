"""The measured process: `headrace up` with its rate limits raised, asked for its own figures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.client import Connection, build, connect
from tests.support.network import Network

SERVICE_TOKEN_SECONDS = 1_500


class Server:
    """One running network, and what the rows need to know of it."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.port = urlsplit(network.url).port or 0
        self.ops_port = urlsplit(network.ops_url).port or 0

    async def status(self) -> dict[str, object]:
        (connection,) = await connect(self.ops_port, 1)
        try:
            return await connection.json(build("GET", "/status"))
        finally:
            connection.close()

    async def settled(self) -> dict[str, object]:
        """The status once every view has seen the whole log."""
        while True:
            status = await self.status()
            if status["views"]["behind"] == 0:  # type: ignore[index]
                return status
            await asyncio.sleep(0.05)

    async def service_token(self, connection: Connection, token: str, method: str) -> str:
        """A token for calling the AppView straight, as another service would."""
        server = await connection.json(build("GET", "/xrpc/com.atproto.server.describeServer"))
        audience, expires = f"{server['did']}%23bsky_appview", int(time.time()) + SERVICE_TOKEN_SECONDS
        path = f"/xrpc/com.atproto.server.getServiceAuth?aud={audience}&lxm={method}&exp={expires}"
        return str((await connection.json(build("GET", path, token)))["token"])

    def resident(self) -> int:
        """Resident memory, bytes."""
        text = Path(f"/proc/{self.network.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmRSS"))

    async def records(self) -> int:
        """Entries of `records`."""
        status = await self.status()
        return sum(status["log"]["records_end"])  # type: ignore[index]

    def bytes_on_disk(self) -> int:
        """Everything in the data directory, write-ahead logs included."""
        return sum(path.stat().st_size for path in self.network.data.rglob("*") if path.is_file())


@contextmanager
def start(folder: Path) -> Iterator[Server]:
    network = Network(folder / "data", settings={"rate_limit_scale": "1000000"})
    try:
        yield Server(network.start())
    finally:
        if network.process is not None and network.process.poll() is None:
            network.stop()

"""Talking to the network that serves a data directory: where it listens is written there, and so is its token.

Does not own what the ops listener answers (`api/ops.py`).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from ingest.pds.secrets import write_private

ADDRESSES = "running.json"
OPS_TOKEN = "ops_token"  # noqa: S105 - a file's name


class NotRunningError(Exception):
    """No network serves the directory, or it does not answer. Start one with `headrace up --data DIR`."""


class RefusedError(Exception):
    """The input was refused whole; the message says why."""


def write_addresses(directory: Path, addresses: dict[str, Any]) -> None:
    write_private(directory / ADDRESSES, orjson.dumps(addresses))


def forget_addresses(directory: Path) -> None:
    (directory / ADDRESSES).unlink(missing_ok=True)


def _ops(directory: Path) -> str:
    return address(directory, "ops")


def address(directory: Path, listener: str) -> str:
    """Where the network that serves the directory listens. Raises NotRunningError."""
    try:
        found = orjson.loads((directory / ADDRESSES).read_bytes())
        os.kill(found["pid"], 0)
    except (FileNotFoundError, ProcessLookupError):
        raise NotRunningError(f"no network serves {directory}. Start one: headrace up --data {directory}") from None
    return str(found[listener])


async def status(directory: Path) -> dict[str, Any]:
    """The running network's /status."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        try:
            async with session.get(f"{_ops(directory)}/status") as response:
                found: dict[str, Any] = orjson.loads(await response.read())
                return found
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NotRunningError(f"the network that serves {directory} does not answer: {error}") from error


def is_running(directory: Path) -> bool:
    """Whether a network serves the directory."""
    try:
        _ops(directory)
    except NotRunningError:
        return False
    return True


async def upload(directory: Path, kind: str, pieces: AsyncIterator[bytes], name: str) -> dict[str, Any]:
    """Send an ingest file to the running network; the answer is its summary. `name` is for messages."""
    return await send(directory, f"ingest/{kind}", pieces, name)


async def send(directory: Path, hook: str, pieces: AsyncIterator[bytes], name: str) -> dict[str, Any]:
    """Ask a hook of the running network. Raises RefusedError, NotRunningError."""
    token = (directory / OPS_TOKEN).read_text().strip()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_read=600)) as session:
        try:
            async with session.post(
                f"{_ops(directory)}/{hook}", data=pieces, headers={"Authorization": f"Bearer {token}"}
            ) as response:
                if response.content_type != "application/json":
                    raise RefusedError(f"{name}: the process that serves {directory} is of another kind: no {hook}")
                found: dict[str, Any] = orjson.loads(await response.read())
        except aiohttp.ClientError as error:
            raise NotRunningError(f"the network that serves {directory} broke off: {error}") from error
    if response.status != 200:
        raise RefusedError(f"{name}: {found.get('error')}: {found.get('message')}")
    return found

"""Asking a running server as its operator: over HTTP, with the admin token out of a file.

The server is the one that serves the data directory, or the one named by --url; its token lies in the directory, or
where `admin_token_file` says. Does not own what is asked (`headrace/commands/accounts.py`, `hosts.py`).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import aiohttp
import orjson
from cyclopts import Parameter

from headrace import client, secrets
from headrace.commands.common import FAILED, IN_USE, REFUSED, Config, Data, Sets, fail, settings_of
from headrace.settings import Settings, SettingsError, where

Url = Annotated[str | None, Parameter(help="The server, if it is not the one that serves the data directory.")]
Done = Callable[["Admin"], Awaitable[int]]

_SECONDS = 120  # a deletion may take a while
_ANSWER_MAX = 64 * 1024 * 1024  # bytes
_UNAUTHORIZED = 401
_OUR_FAULT = 500  # and above


class AnsweredError(Exception):
    """The server refused, by a name and a message of its own."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}" if message else f"{name} ({status})")
        self.status = status
        self.name = name


class Admin:
    """One server. Raises AnsweredError, client.NotRunningError."""

    def __init__(self, url: str, token: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._headers = {"Authorization": aiohttp.encode_basic_auth("admin", token)}
        self._session = session

    async def get(self, path: str, **parameters: str | int | None) -> Any:
        given = {name: str(value) for name, value in parameters.items() if value is not None}
        return await self._ask("GET", path, params=given)

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        return await self._ask("POST", path, json=body)

    async def _ask(self, method: str, path: str, **more: Any) -> Any:
        try:
            async with self._session.request(
                method, self.url + path, headers=self._headers, allow_redirects=False, **more
            ) as response:
                status, data = response.status, await response.content.read(_ANSWER_MAX)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise client.NotRunningError(f"{self.url} does not answer: {error or 'no answer in time'}") from error
        try:
            found = orjson.loads(data) if data else None
        except orjson.JSONDecodeError:
            found = None
        if status == 200:
            return found
        if status == _UNAUTHORIZED:
            raise AnsweredError(status, "the admin token is not this server's", "name another: admin_token_file")
        said = found if isinstance(found, dict) else {}
        raise AnsweredError(status, str(said.get("error", "an answer without a reason")), str(said.get("message", "")))


def ask(work: Done, url: str | None, data: Path | None, config: Path | None, sets: list[str] | None) -> int:
    """The exit code of `work`, with the server to ask."""
    settings = settings_of({"data": data}, config, sets)
    try:
        return asyncio.run(_asked(work, settings, url))
    except AnsweredError as error:
        return fail(FAILED if error.status >= _OUR_FAULT else REFUSED, str(error))
    except client.NotRunningError as error:
        return fail(IN_USE, str(error))


async def _asked(work: Done, settings: Settings, url: str | None) -> int:
    address = client.address(settings.data, "xrpc") if url is None else _checked(url, settings)
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        return await work(Admin(address, _token(settings), session))


def _token(settings: Settings) -> str:
    """Never made here: a token that the server does not know opens nothing."""
    if settings.admin_token_file is not None:
        return secrets.admin_token(settings)
    path = settings.data / secrets.ADMIN_TOKEN
    if not path.exists():
        raise SettingsError(
            f"admin_token_file: expected a file with the server's admin token, found none, nor {path}. "
            f"Set {where('admin_token_file')}, or name the server's data directory with --data"
        )
    return secrets.read(path, "admin_token_file")


def _checked(url: str, settings: Settings) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"--url: expected http(s)://HOST[:PORT], found {url!r}")
    if parts.scheme == "http" and not _is_here(parts.hostname) and not settings.allow_private_addresses:
        raise SettingsError(
            f"--url: expected https for {parts.hostname}, since the admin token goes there; "
            "in a network of your own, --set allow_private_addresses=true"
        )
    return f"{parts.scheme}://{parts.netloc}"


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


__all__ = ["Admin", "AnsweredError", "Config", "Data", "Sets", "Url", "ask"]

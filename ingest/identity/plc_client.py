"""The port to a did:plc directory, and its adapter over HTTP. The adapter in process is plc_store.PlcDirectory.

The directory's address is the operator's setting, hence not held to the address guard; its answers are bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp
import orjson

from ingest.identity.plc_op import PlcReason, PlcRefused
from ingest.identity.reasons import IdentityReason, IdentityRefused
from schemas.syntax import Did

MAX_ANSWER = 4_194_304  # a log of the most operations that rate limits let grow in years
MAX_EXPORT = 16_777_216  # 1,000 operations of the largest size, as JSON


class PlcClient(Protocol):
    """Answers are parsed JSON as the directory's HTTP gives them.

    Reading an unknown DID raises IdentityRefused(NOT_FOUND), an ended one IdentityRefused(TOMBSTONED). `submit` is
    durable when it returns and raises PlcRefused; the same operation a second time is refused (its prev has moved on).
    """

    async def submit(self, did: Did, op: Mapping[str, Any]) -> None: ...

    async def document(self, did: Did) -> dict[str, Any]: ...

    async def data(self, did: Did) -> dict[str, Any]: ...

    async def last(self, did: Did) -> dict[str, Any]:
        """The newest operation that stands."""
        ...

    async def audit(self, did: Did) -> list[dict[str, Any]]: ...


class PlcHttp:
    """PlcClient over HTTP to `base` (as https://plc.example.com)."""

    def __init__(self, base: str, timeout: float = 10.0) -> None:
        self._base = base.rstrip("/")
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def submit(self, did: Did, op: Mapping[str, Any]) -> None:
        status, body, _ = await self._request("POST", f"/{did}", orjson.dumps(dict(op)))
        if status == 200:
            return
        message = _message(body)
        if status >= 500 or status == 429:
            raise PlcRefused(PlcReason.BUSY, f"HTTP {status} from the directory: {message}")
        raise PlcRefused(_reason(message), message)

    async def document(self, did: Did) -> dict[str, Any]:
        return _object(await self._read(did, ""))

    async def data(self, did: Did) -> dict[str, Any]:
        return _object(await self._read(did, "/data"))

    async def last(self, did: Did) -> dict[str, Any]:
        return _object(await self._read(did, "/log/last"))

    async def audit(self, did: Did) -> list[dict[str, Any]]:
        found = await self._read(did, "/log/audit")
        if not isinstance(found, list):
            raise IdentityRefused(IdentityReason.DOCUMENT, "expected a JSON array from the directory")
        return found

    async def export(self, after: str, count: int) -> list[bytes]:
        """The lines of /export: operations of all DIDs after a time, as the directory took them; at most `count`.

        Raises IdentityRefused.
        """
        status, body, retry_after = await self._request("GET", f"/export?count={count}&after={quote(after)}")
        if status != 200:
            raise IdentityRefused(IdentityReason.STATUS, f"HTTP {status} from the directory's /export", retry_after)
        return [line for line in body.split(b"\n", count) if line][:count]

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _read(self, did: Did, suffix: str) -> Any:
        status, body, retry_after = await self._request("GET", f"/{did}{suffix}")
        if status in (404, 410):
            tombstoned = status == 410 or "not available" in _message(body)
            reason = IdentityReason.TOMBSTONED if tombstoned else IdentityReason.NOT_FOUND
            raise IdentityRefused(reason, f"{_message(body)} ({did})")
        if status != 200:
            raise IdentityRefused(IdentityReason.STATUS, f"HTTP {status} from the directory for {did}", retry_after)
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise IdentityRefused(IdentityReason.DOCUMENT, f"the directory's answer for {did} is not JSON") from error

    async def _request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes, float | None]:
        """Status, body, and the seconds of Retry-After."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout))
        headers = {"Content-Type": "application/json"} if body is not None else {}
        limit = MAX_ANSWER if not path.startswith("/export") else MAX_EXPORT
        try:
            async with self._session.request(
                method, self._base + path, data=body, headers=headers, allow_redirects=False
            ) as response:
                found = bytearray()
                async for chunk in response.content.iter_chunked(65_536):
                    found += chunk
                    if len(found) > limit:
                        raise IdentityRefused(IdentityReason.TOO_LARGE, f"more than {limit} bytes of {path[:80]}")
                return response.status, bytes(found), _seconds(response.headers.get("Retry-After"))
        except TimeoutError as error:
            detail = f"the directory did not answer for {path[:80]}"
            raise IdentityRefused(IdentityReason.TIMEOUT, detail) from error
        except aiohttp.ClientError as error:
            raise IdentityRefused(IdentityReason.UNREACHABLE, f"the directory: {type(error).__name__}") from error


def _seconds(retry_after: str | None) -> float | None:
    """Of a Retry-After (RFC 9110, 10.2.3): seconds, or a date."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, at.timestamp() - time())


def _message(body: bytes) -> str:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    message = found.get("message") if isinstance(found, dict) else None
    return message[:1000] if isinstance(message, str) else ""


def _object(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise IdentityRefused(IdentityReason.DOCUMENT, "expected a JSON object from the directory")
    return found


def _reason(message: str) -> PlcReason:
    """The directory says why in words alone; these are the ones a caller acts upon."""
    for start, reason in (
        ("Operations not correctly ordered", PlcReason.ORDER),
        ("Proposed prev does not match", PlcReason.ORDER),
        ("Invalid signature", PlcReason.SIGNATURE),
        ("To many operations", PlcReason.RATE),
        ("Recovery operation", PlcReason.LATE_RECOVERY),
        ("Hash of genesis", PlcReason.GENESIS_HASH),
    ):
        if message.startswith(start):
            return reason
    return PlcReason.SHAPE

"""The canary's servers over HTTP: a PDS that has its account, an AppView, as any client sees them.

The account is made at the first start; its password is a file. Answers are bounded in size and time, redirects are not
followed. Both addresses are the operator's settings, hence not held to the address guard. Does not own rounds
(`canary.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import orjson

from headrace.canary import ServerAwayError
from schemas.errors import InvariantError

POST: Final = "app.bsky.feed.post"
TEXT: Final = "A canary: it asks how soon this shows, and deletes it."
ANSWER_MAX: Final = 1024 * 1024
SECONDS: Final = 10.0

Json = dict[str, Any]


class _RefusedError(Exception):
    """An XRPC error below 500 but for 429: what was asked, not who was asked, is at fault."""

    def __init__(self, nsid: str, status: int, name: str) -> None:
        super().__init__(f"{nsid}: {status} {name}")
        self.status = status
        self.name = name


class HttpServers:
    """As `headrace.canary.Servers`; `close` it. Logs in by itself, when it has to."""

    def __init__(self, pds: str, appview: str, handle: str, password: str) -> None:
        self._pds = pds.rstrip("/")
        self._appview = appview.rstrip("/")
        self._handle = handle
        self._password = password
        self._token = ""
        self._did = ""
        self._http = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "headrace-canary"},
            timeout=aiohttp.ClientTimeout(total=SECONDS),
        )

    async def close(self) -> None:
        await self._http.close()

    async def log_in(self) -> None:
        """Make the account, or log into it. Raises ServerAwayError; InvariantError when neither can be."""
        login = {"identifier": self._handle, "password": self._password}
        create = {
            "handle": self._handle,
            "email": f"canary@{self._handle}",
            "password": self._password,
        }
        try:
            made = await self._post("com.atproto.server.createSession", login)
        except _RefusedError as refused:
            if refused.status != 401 or refused.name != "AuthenticationRequired":
                raise self._unusable(refused) from refused
            try:
                made = await self._post("com.atproto.server.createAccount", create)
            except _RefusedError as error:
                raise self._unusable(error) from error
        self._token, self._did = made["accessJwt"], made["did"]

    async def write(self) -> str:
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        record = {"$type": POST, "text": TEXT, "createdAt": now}
        made = await self._own("com.atproto.repo.createRecord", {"collection": POST, "record": record})
        return str(made["uri"])

    async def shows(self, uri: str) -> bool:
        found = await self._get(self._appview, "app.bsky.feed.getPosts", {"uris": uri})
        return any(post["uri"] == uri for post in found["posts"])

    async def delete(self, uri: str) -> None:
        await self._own("com.atproto.repo.deleteRecord", {"collection": POST, "rkey": uri.rpartition("/")[2]})

    async def left(self) -> list[str]:
        if not self._did:
            await self.log_in()
        query = {"repo": self._did, "collection": POST, "limit": "100"}
        found = await self._get(self._pds, "com.atproto.repo.listRecords", query)
        return [record["uri"] for record in found["records"] if record["value"].get("text") == TEXT]

    async def _own(self, nsid: str, body: Json) -> Json:
        """As the account. A session that has ended is made anew, once."""
        try:
            if self._token:
                try:
                    return await self._post(nsid, {"repo": self._did, **body}, self._token)
                except _RefusedError as refused:
                    if refused.name not in ("ExpiredToken", "InvalidToken"):
                        raise
            await self.log_in()
            return await self._post(nsid, {"repo": self._did, **body}, self._token)
        except _RefusedError as refused:
            raise ServerAwayError(str(refused)) from refused

    async def _post(self, nsid: str, body: Json, token: str | None = None) -> Json:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return await self._call("POST", self._pds, nsid, json=body, headers=headers)

    async def _get(self, server: str, nsid: str, query: Mapping[str, str]) -> Json:
        try:
            return await self._call("GET", server, nsid, params=query)
        except _RefusedError as refused:
            raise ServerAwayError(str(refused)) from refused

    async def _call(self, method: str, server: str, nsid: str, **more: Any) -> Json:
        try:
            url = f"{server}/xrpc/{nsid}"
            async with self._http.request(method, url, allow_redirects=False, **more) as answer:
                body = bytearray()
                async for piece in answer.content.iter_chunked(65_536):
                    body += piece
                    if len(body) > ANSWER_MAX:
                        answer.close()
                        raise ServerAwayError(f"{nsid}: expected {ANSWER_MAX} bytes at most, more came")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ServerAwayError(f"{nsid}: {type(error).__name__}") from error
        if answer.status == 429 or not 200 <= answer.status < 500:
            raise ServerAwayError(f"{nsid}: {answer.status}")
        try:
            said = orjson.loads(body) if body else {}
        except orjson.JSONDecodeError as error:
            raise ServerAwayError(f"{nsid}: expected JSON, found none") from error
        if answer.status != 200:
            name = said.get("error") if isinstance(said, dict) else None
            raise _RefusedError(nsid, answer.status, str(name)[:60])
        return self._of_shape(nsid, said)

    @staticmethod
    def _of_shape(nsid: str, said: Any) -> Json:
        """What is read of an answer is there. Raises ServerAwayError."""
        if isinstance(said, dict):
            lists = [said.get(name, []) for name in ("posts", "records")]
            whole = all(isinstance(each, list) and all(_has_uri(item) for item in each) for each in lists)
            needed = _NEEDED.get(nsid, ())
            if whole and all(isinstance(said.get(name), str | list) for name in needed):
                return said
        raise ServerAwayError(f"{nsid}: expected the answer of its lexicon, found another")

    def _unusable(self, refused: _RefusedError) -> InvariantError:
        return InvariantError(
            f"expected an account {self._handle} that canary_password opens, or leave to make it; the PDS says"
            f" {refused}. Give the password of the account that has the handle, or set another canary_handle"
        )


_NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "com.atproto.server.createSession": ("accessJwt", "did"),
    "com.atproto.server.createAccount": ("accessJwt", "did"),
    "com.atproto.repo.createRecord": ("uri",),
    "com.atproto.repo.listRecords": ("records",),
    "app.bsky.feed.getPosts": ("posts",),
}


def _has_uri(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("uri"), str) and isinstance(item.get("value", {}), dict)

"""The XRPC requests that load is made of, as bytes.

Does not own who asks (`readers.py`, `writers.py`, `sessions.py`) nor the connection (`wire.py`).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec

LIKE, POST, REPOST, FOLLOW = (
    "app.bsky.feed.like",
    "app.bsky.feed.post",
    "app.bsky.feed.repost",
    "app.bsky.graph.follow",
)
_encode = msgspec.json.Encoder().encode


class Calls:
    """Builds requests for one host; `header` is what follows the path (`wire.Pool.header`)."""

    def __init__(self, header: bytes) -> None:
        self._header = header

    def get(self, method: str, token: str | None, query: str = "") -> bytes:
        path = f"GET /xrpc/{method}?{query}" if query else f"GET /xrpc/{method}"
        return path.encode() + self._header + _bearer(token) + b"\r\n"

    def post(self, method: str, token: str | None, body: dict[str, Any]) -> bytes:
        payload = _encode(body)
        head = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(payload)
        return f"POST /xrpc/{method}".encode() + self._header + _bearer(token) + head + payload

    def timeline(self, token: str, limit: int, cursor: str = "") -> bytes:
        return self.get("app.bsky.feed.getTimeline", token, f"limit={limit}" + _cursor(cursor))

    def author_feed(self, token: str, did: str, limit: int) -> bytes:
        return self.get("app.bsky.feed.getAuthorFeed", token, f"actor={did}&limit={limit}")

    def profile(self, token: str, did: str) -> bytes:
        return self.get("app.bsky.actor.getProfile", token, f"actor={did}")

    def thread(self, token: str, uri: str) -> bytes:
        return self.get("app.bsky.feed.getPostThread", token, f"uri={quote(uri, safe='')}")

    def posts(self, token: str, uris: list[str]) -> bytes:
        return self.get("app.bsky.feed.getPosts", token, "&".join(f"uris={quote(uri, safe='')}" for uri in uris))

    def create_record(self, token: str, did: str, record: dict[str, Any]) -> bytes:
        body = {"repo": did, "collection": record["$type"], "record": record}
        return self.post("com.atproto.repo.createRecord", token, body)

    def delete_record(self, token: str, did: str, collection: str, rkey: str) -> bytes:
        body = {"repo": did, "collection": collection, "rkey": rkey}
        return self.post("com.atproto.repo.deleteRecord", token, body)

    def apply_writes(self, token: str, did: str, records: list[dict[str, Any]]) -> bytes:
        writes = [
            {"$type": "com.atproto.repo.applyWrites#create", "collection": record["$type"], "value": record}
            for record in records
        ]
        return self.post("com.atproto.repo.applyWrites", token, {"repo": did, "writes": writes})

    def create_account(self, handle: str, password: str, invite: str) -> bytes:
        body = {"handle": handle, "email": f"{handle}@example.com", "password": password}
        if invite:
            body["inviteCode"] = invite
        return self.post("com.atproto.server.createAccount", None, body)


def _bearer(token: str | None) -> bytes:
    return b"" if token is None else b"Authorization: Bearer " + token.encode() + b"\r\n"


def _cursor(cursor: str) -> str:
    return f"&cursor={quote(cursor, safe='')}" if cursor else ""

"""Somebody else's PDS on loopback: a real server with real keys and signed repos, which lies where a test says so."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Self

from aiohttp import web

from ingest.repo.car import car_bytes
from ingest.repo.commit import SignedCommit
from ingest.repo.frame import account_frame, error_frame, identity_frame, info_frame, sync_frame
from ingest.repo.keys import PrivateKey
from schemas import cbor
from schemas.cid import Cid
from schemas.entries import Commit, cbor_uint
from schemas.tid import Tid
from tests.relay.world.people import People, did_of
from tests.support.signed_repo import Change, SignedRepo

POST = "app.bsky.feed.post"
MOMENT = "2026-01-01T00:00:00.000Z"
START = 1_760_000_000_000_000

Stream = Callable[[web.WebSocketResponse, int | None], Awaitable[None]]


def post(text: str) -> bytes:
    return cbor.encode({"$type": POST, "text": text, "createdAt": MOMENT})


def frame_of(seq: int, entry: Commit) -> bytes:
    return entry.head + cbor_uint(seq) + entry.tail


class Member(SignedRepo):
    """An account of a host; `signed` is its newest commit."""

    def __init__(self, number: int, clock: int = START) -> None:
        self.signed: SignedCommit | None = None
        self.posts = 0
        super().__init__(did_of(number), clock, number)

    def write(self, count: int = 1, *more: Change) -> Commit:
        """A commit of so many new posts."""
        changes = []
        for _ in range(count):
            self.posts += 1
            changes.append((f"{POST}/{self.posts:06d}", post(f"{self.did} {self.posts}")))
        return self.commit(*changes, *more)

    def car(self) -> bytes:
        """The whole repo, as getRepo gives it."""
        assert self.signed is not None
        records = {Cid.of_cbor(record).raw: record for record in self.records.values()}
        return car_bytes(self.signed.cid, {self.signed.cid.raw: self.signed.block, **self.blocks, **records})

    def sync(self, seq: int) -> bytes:
        """A #sync frame of where the repo stands."""
        assert self.signed is not None
        blocks = car_bytes(self.signed.cid, {self.signed.cid.raw: self.signed.block})
        head, tail = sync_frame(did=self.did, rev=self.signed.rev, blocks=blocks, time=MOMENT)
        return head + cbor_uint(seq) + tail

    def _sign(self, data: Cid) -> tuple[Tid, SignedCommit]:
        rev, self.signed = super()._sign(data)
        return rev, self.signed


class Host:
    """`async with Host(people) as host`: `host.add(1)` is an account, `host.say(frame)` an event.

    `stream` takes the place of the honest firehose, `repo` that of getRepo, `listing` that of listRepos; `statuses` are
    of accounts that are not active.
    """

    def __init__(self, people: People, *, server: str = "pds", window: int = 0) -> None:
        self.people = people
        self.members: dict[str, Member] = {}
        self.events: list[tuple[int, bytes]] = []
        self.seq = 0
        self.sent = 0
        """Frames, to all readers together."""
        self.oldest = window
        self.cursors: list[int | None] = []
        self.asked: Counter[str] = Counter()
        self.stream: Stream | None = None
        self.repo: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
        self.listing: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
        self.statuses: dict[str, str] = {}
        self.fetched: Counter[str] = Counter()
        """Repos given whole, by account."""
        self._server = server
        self._news = asyncio.Condition()
        self._sockets: set[web.WebSocketResponse] = set()
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.name}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/xrpc/com.atproto.sync.subscribeRepos", self._subscribe)
        app.router.add_get("/xrpc/com.atproto.sync.getRepo", self._get_repo)
        app.router.add_get("/xrpc/com.atproto.sync.listRepos", self._list_repos)
        app.router.add_get("/xrpc/com.atproto.sync.getLatestCommit", self._latest)
        app.router.add_get("/xrpc/com.atproto.server.describeServer", self._describe)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Away; `start` brings it back at the same port."""
        await self.cut()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def cut(self) -> None:
        """End every connection."""
        for socket in list(self._sockets):
            await socket.close()

    def add(self, number: int) -> Member:
        member = self.members[did_of(number)] = Member(number)
        self.people.put(member.did, member.key, self.url)
        return member

    def rekey(self, member: Member, number: int) -> None:
        """Another signing key, from the next commit on."""
        member.key = PrivateKey.from_bytes("k256", number.to_bytes(32, "big"))
        self.people.put(member.did, member.key, self.url)

    async def say(self, *frames: bytes | Commit) -> int:
        """Emit events, a commit under the next number and bytes as they are; the newest number."""
        async with self._news:
            for frame in frames:
                self.seq += 1
                self.events.append((self.seq, frame_of(self.seq, frame) if isinstance(frame, Commit) else frame))
            self._news.notify_all()
        return self.seq

    async def account(self, did: str, status: str | None) -> int:
        head, tail = account_frame(did=did, time=MOMENT, active=status is None, status=status)
        return await self.say(head + cbor_uint(self.seq + 1) + tail)

    async def identity(self, did: str) -> int:
        head, tail = identity_frame(did=did, time=MOMENT, handle=None)
        return await self.say(head + cbor_uint(self.seq + 1) + tail)

    async def sync(self, member: Member) -> int:
        return await self.say(member.sync(self.seq + 1))

    async def _subscribe(self, request: web.Request) -> web.StreamResponse:
        cursor = int(request.query["cursor"]) if "cursor" in request.query else None
        self.cursors.append(cursor)
        socket = web.WebSocketResponse(compress=False)
        socket.headers["Server"] = self._server
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            await (self.stream or self.honest)(socket, cursor)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._sockets.discard(socket)
            await socket.close()
        return socket

    async def honest(self, socket: web.WebSocketResponse, cursor: int | None) -> None:
        """As a PDS serves it; `receive` beside it answers pings and sees the end."""
        if cursor is not None and cursor > self.seq:
            await socket.send_bytes(error_frame("FutureCursor"))
            return
        if cursor is not None and cursor < self.oldest:
            await socket.send_bytes(info_frame("OutdatedCursor"))
        after = self.seq if cursor is None else cursor
        sending = asyncio.ensure_future(self._send(socket, after))
        try:
            while (await socket.receive()).type not in {web.WSMsgType.CLOSE, web.WSMsgType.CLOSED, web.WSMsgType.ERROR}:
                pass
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, socket: web.WebSocketResponse, after: int) -> None:
        at = 0
        while True:
            while at < len(self.events):
                seq, frame = self.events[at]
                at += 1
                if seq > max(after, self.oldest):
                    await socket.send_bytes(frame)
                    self.sent += 1
            async with self._news:
                while at == len(self.events):
                    await self._news.wait()

    async def _get_repo(self, request: web.Request) -> web.StreamResponse:
        self.asked["getRepo"] += 1
        if self.repo is not None:
            return await self.repo(request)
        member = self.members.get(request.query["did"])
        if member is None:
            return web.json_response({"error": "RepoNotFound"}, status=400)
        self.fetched[member.did] += 1
        return web.Response(body=member.car(), content_type="application/vnd.ipld.car")

    async def _list_repos(self, request: web.Request) -> web.StreamResponse:
        self.asked["listRepos"] += 1
        if self.listing is not None:
            return await self.listing(request)
        return web.json_response(self.page(request.query.get("cursor"), int(request.query.get("limit", "500"))))

    def page(self, cursor: str | None, limit: int) -> dict[str, Any]:
        """An honest page of listRepos, in the order in which accounts came."""
        after = int(cursor or 0)
        found = [member for member in list(self.members.values())[after : after + limit] if member.signed is not None]
        repos = [
            {
                "did": member.did,
                "head": str(member.signed.cid),
                "rev": member.signed.rev,
                "active": member.did not in self.statuses,
                **({"status": self.statuses[member.did]} if member.did in self.statuses else {}),
            }
            for member in found
            if member.signed is not None
        ]
        more = after + limit < len(self.members)
        return {"repos": repos, "cursor": str(after + limit)} if more else {"repos": repos}

    async def _latest(self, request: web.Request) -> web.StreamResponse:
        self.asked["getLatestCommit"] += 1
        member = self.members.get(request.query["did"])
        if member is None or member.signed is None:
            return web.json_response({"error": "RepoNotFound"}, status=400)
        return web.json_response({"cid": str(member.signed.cid), "rev": member.signed.rev})

    async def _describe(self, _request: web.Request) -> web.Response:
        self.asked["describeServer"] += 1
        body: dict[str, Any] = {"did": f"did:web:{self.name}", "availableUserDomains": []}
        return web.json_response(body, headers={"Server": self._server})

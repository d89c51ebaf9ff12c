"""The population that is measured: readers who follow 100 authors, 10,000 posts, likes, one thread of 100 replies."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tests.bench.client import Connection, build

AUTHORS = 100
READERS = 8  # about as many timeline rows a record as the peers' population had (7.4)
POSTS = 10_000
LIKES = 1_000
REPLIES = 100
LONG_AGO = "2026-01-01T00:00:00.000Z"
WORDS = (
    *("water", "wheel", "mill", "race", "river", "stone", "weir", "sluice"),
    *("grain", "flour", "village", "morning", "bridge", "lock", "reed", "heron"),
)


@dataclass
class Person:
    handle: str
    did: str = ""
    token: str = ""


@dataclass
class World:
    authors: list[Person] = field(default_factory=list)
    readers: list[Person] = field(default_factory=list)
    posts: list[tuple[str, str]] = field(default_factory=list)
    thread: str = ""
    accounts_per_second: float = 0.0


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(8, 30)))


def post(rng: random.Random, at: datetime, **more: object) -> dict[str, object]:
    created = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"$type": "app.bsky.feed.post", "text": sentence(rng), "createdAt": created, "langs": ["en"], **more}


def create(collection: str, value: dict[str, object]) -> dict[str, object]:
    return {"$type": "com.atproto.repo.applyWrites#create", "collection": collection, "value": value}


async def apply(connection: Connection, person: Person, writes: list[dict[str, object]]) -> list[tuple[str, str]]:
    """(uri, cid) of each write, in order; in calls of at most 100."""
    made: list[tuple[str, str]] = []
    for start in range(0, len(writes), 100):
        body = {"repo": person.did, "writes": writes[start : start + 100]}
        answer = await connection.json(build("POST", "/xrpc/com.atproto.repo.applyWrites", person.token, body))
        made.extend((result["uri"], result["cid"]) for result in answer["results"])  # type: ignore[attr-defined]
    return made


async def join(connection: Connection, handle: str) -> Person:
    body = {"handle": handle, "email": f"{handle}@example.com", "password": "bench-password"}
    answer = await connection.json(build("POST", "/xrpc/com.atproto.server.createAccount", None, body))
    return Person(handle, str(answer["did"]), str(answer["accessJwt"]))


async def populate(connections: list[Connection], seed: int = 1) -> World:
    rng = random.Random(seed)
    world = World()
    first = connections[0]
    begin = time.perf_counter()
    for number in range(AUTHORS):
        world.authors.append(await join(first, f"author{number}.test"))
    world.accounts_per_second = AUTHORS / (time.perf_counter() - begin)
    for number in range(READERS):
        world.readers.append(await join(first, f"reader{number}.test"))

    now = datetime.now(UTC)
    for number, person in enumerate([*world.authors, *world.readers]):
        profile = {
            "$type": "app.bsky.actor.profile",
            "displayName": f"Person {number}",
            "description": sentence(rng),
            "createdAt": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        body = {"repo": person.did, "collection": "app.bsky.actor.profile", "rkey": "self", "record": profile}
        await first.json(build("POST", "/xrpc/com.atproto.repo.putRecord", person.token, body))
    follows = [
        {"$type": "app.bsky.graph.follow", "subject": author.did, "createdAt": LONG_AGO} for author in world.authors
    ]
    for reader in world.readers:
        await apply(first, reader, [create("app.bsky.graph.follow", follow) for follow in follows])

    async def write(connection: Connection, people: list[Person]) -> None:
        for person in people:
            own = [
                create("app.bsky.feed.post", post(rng, now - timedelta(seconds=rng.uniform(60, 86_400))))
                for _ in range(POSTS // AUTHORS)
            ]
            world.posts.extend(await apply(connection, person, own))

    await asyncio.gather(*(write(c, world.authors[i :: len(connections)]) for i, c in enumerate(connections)))
    rng.shuffle(world.posts)
    for number, reader in enumerate(world.readers):
        chosen = world.posts[number * (LIKES // READERS) : (number + 1) * (LIKES // READERS)]
        likes = [
            {
                "$type": "app.bsky.feed.like",
                "subject": {"uri": uri, "cid": cid},
                "createdAt": "2026-01-01T00:00:00.000Z",
            }
            for uri, cid in chosen
        ]
        await apply(first, reader, [create("app.bsky.feed.like", like) for like in likes])
    root = {"uri": world.posts[0][0], "cid": world.posts[0][1]}
    world.thread = root["uri"]
    latest = root
    for number in range(REPLIES):
        parent = root if number % 4 else latest
        reply = post(rng, now - timedelta(seconds=rng.uniform(60, 86_400)), reply={"root": root, "parent": parent})
        uri, cid = (await apply(first, world.authors[number], [create("app.bsky.feed.post", reply)]))[0]
        latest = {"uri": uri, "cid": cid}
    return world

"""Whatever others send, a scrape has no more series than the code has names for: labels never hold others' words.

A running network is sent requests and frames in which every word is new. What a scrape shows afterwards are the values
of the code, each checked against its list, and twice as many words more add nothing.
"""

from __future__ import annotations

import asyncio
import random
from base64 import urlsafe_b64encode
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import orjson
from prometheus_client.parser import text_string_to_metric_families

from api.admission import KINDS
from ingest.pds.rate_limit import BY_METHOD, GLOBAL
from schemas import cbor, lexicon
from tests.support.docs import REASONS
from tests.support.network import Network

MARK = "zqvx"  # in every word that is sent
AT_ONCE = 16
PARTS = {"counts", "reactions", "follows", "profile_counts", "root_likes", "typeahead"}
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", f"{MARK.upper()}A", f"{MARK.upper()}B")
Series = dict[str, set[tuple[tuple[str, str], ...]]]


class Words:
    """New ones each time, of a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        print(f"seed {seed}")

    def word(self) -> str:
        return MARK + f"{self.random.getrandbits(48):012x}"

    def requests(self, count: int) -> Iterator[tuple[str, str, dict[str, str], bytes | None]]:
        """Method, path, headers, body."""
        methods = sorted(lexicon.load().methods)
        for number in range(count):
            word, known = self.word(), self.random.choice(methods)
            path = (
                f"/xrpc/{word}.{word}.get",
                f"/xrpc/app.bsky.{word}.get",
                f"/xrpc/{known}?{word}={word}&actor={word}.test&uri=at://{word}/a/b&cursor={word}",
                f"/{word}/{word}",
                f"/xrpc/{known}/{word}",
                f"/.well-known/{word}",
                f"/img/{word}/plain/did:plc:{word}/{word}",
                f"/xrpc/{known}",
            )[number % 8]
            claims = {"iss": f"did:web:{word}.test", "lxm": word, "aud": f"did:web:{word}", "exp": 1, "sub": word}
            headers = {
                "Host": f"{word}.test",
                "User-Agent": word,
                "X-Forwarded-For": word,
                "Origin": f"https://{word}.test",
                "Authorization": f"Bearer {_jwt({'alg': word, 'typ': word}, claims)}",
            }
            if number % 3 == 0:
                headers["atproto-proxy"] = f"did:web:{word}.test#{word}"
            if number % 5 == 0:
                headers["Content-Type"] = f"application/{word}"
            body = orjson.dumps({word: word, "repo": word, "collection": f"app.{word}.x", "identifier": word})
            yield METHODS[(number // 8) % len(METHODS)], path, headers, body if number % 2 else None

    def frames(self, count: int) -> bytes:
        """A file of them for the ingest hook."""
        made = []
        for number in range(count):
            word = self.word()
            head, body = (
                ({"op": 1, "t": f"#{word}"}, {word: word}),
                ({"op": -1}, {"error": word, "message": word}),
                ({"op": 1, "t": "#commit"}, {"repo": f"did:plc:{word}", "rev": word, "seq": number, "ops": [word]}),
                (
                    {"op": 1, "t": "#account"},
                    {"did": f"did:plc:{word}", "seq": number, "status": word, "active": False},
                ),
                ({"op": 1, "t": "#identity"}, {"did": f"did:{word}:x", "seq": number, "handle": f"{word}.test"}),
            )[number % 5]
            frame = cbor.encode(head) + cbor.encode(body)
            made.append(len(frame).to_bytes(4, "little") + frame)
        return b"".join(made)


def _jwt(*parts: dict[str, object]) -> str:
    return ".".join(urlsafe_b64encode(orjson.dumps(part)).decode().rstrip("=") for part in (*parts, {}))


async def send(network: Network, session: aiohttp.ClientSession, words: Words, count: int) -> int:
    """How many of so many requests were answered; a connection that is closed on one is an answer too."""
    waiting = words.requests(count)
    address = urlsplit(network.url)
    answered = 0

    async def some() -> None:
        nonlocal answered
        for method, path, headers, body in waiting:
            try:
                async with session.request(
                    method, f"http://{address.netloc}{path}", headers=headers, data=body, allow_redirects=False
                ) as answer:
                    await answer.read()
                    assert answer.status != 500, (method, path)
            except aiohttp.ClientError:
                continue
            answered += 1

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return answered


async def feed(network: Network, session: aiohttp.ClientSession, file: bytes) -> int:
    head = orjson.dumps({"did_docs": "{}"})
    token = (network.data / "ops_token").read_text().strip()
    async with session.post(
        f"{network.ops_url}/ingest/frames",
        data=len(head).to_bytes(4, "little") + head + file,
        headers={"Authorization": f"Bearer {token}"},
    ) as answer:
        await answer.read()
        return answer.status


async def scrape(network: Network, session: aiohttp.ClientSession) -> Series:
    async with session.get(f"{network.ops_url}/metrics") as answer:
        text = await answer.text()
    assert MARK not in text.lower(), "a label holds what others sent"
    found: Series = defaultdict(set)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name].add(tuple(sorted(sample.labels.items())))
    return found


def allowed(name: str, label: str) -> set[str] | None:
    """The values of a label; None for a histogram's bounds and for what only the process itself names."""
    if label == "reason":
        enums, more = REASONS[name]
        return {each.value for enum in enums for each in enum} | set(more)
    rules = {rule.name for rule in (GLOBAL, *(rule for each in BY_METHOD.values() for rule in each))}
    statuses = {"200", "202", "206", "304", "400", "401", "403", "404", "405", "409", "410", "413", "415", "416", "429"}
    found: dict[str, set[str] | None] = {
        "nsid": set(lexicon.load().methods),
        "status": statuses | {"499", "501", "502", "503", "504"},
        "kind": set(KINDS),
        "rule": rules,
        "part": PARTS,
        "source": {"frames", "car"},
        "cache": {"did", "handle"},
        "outcome": {"hit", "miss"},
        "shard": {str(shard) for shard in range(64)},
        "generation": {"g1"},
        "queue": {"log"},
        "le": None,
        "version": None,
    }
    return found[label]


async def test_others_words_make_no_series(tmp_path: Path) -> None:
    network = Network(tmp_path / "data", settings={"rate_limit_scale": "100000"})
    words = Words(20_261_121)
    try:
        network.start()
        timeout = aiohttp.ClientTimeout(total=240)
        connector = aiohttp.TCPConnector(limit=AT_ONCE)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            before = await scrape(network, session)
            assert await send(network, session, words, 2_000) > 1_500
            assert await feed(network, session, words.frames(300)) == 200
            once = await scrape(network, session)
            assert await send(network, session, words, 4_000) > 3_000
            assert await feed(network, session, words.frames(600)) == 200
            twice = await scrape(network, session)
    finally:
        network.kill()

    for name, series in twice.items():
        for labels in series:
            for label, value in labels:
                known = allowed(name, label)
                assert known is None or value in known, (name, label, value)
    assert set(before) <= set(twice)
    assert sum(map(len, once.values())) > sum(map(len, before.values())), "requests are counted"
    # A method may be hit with another status later; nothing else is new, and the words are all new.
    grown = {name for name in twice if twice[name] - once.get(name, set())}
    assert grown <= {"headrace_xrpc_requests_total"}
    assert sum(map(len, twice.values())) < 10_000

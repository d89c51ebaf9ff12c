"""A whole process under hostile use: what it logs, what it counts, what memory it takes, and that it ends cleanly."""

from __future__ import annotations

import gzip
import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from tests.support.hostile import REPO, SERVER, post
from tests.support.network import Network

PASSWORD = "swordfish-swordfish"
MEBIBYTE = 1024 * 1024


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    running = Network(tmp_path / "data", settings={"rate_limits": "false", "log_level": "debug"})
    try:
        yield running.start()
    finally:
        if running.process is not None and running.process.poll() is None:
            running.stop()


class Caller:
    """One kept connection, opened again when the server has closed it."""

    def __init__(self, url: str) -> None:
        self._host = urlsplit(url).netloc
        self._connection = http.client.HTTPConnection(self._host, timeout=30)

    def __call__(self, verb: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            self._connection.request(verb, path, body, named)
            response = self._connection.getresponse()
            return response.status, response.read()
        except (http.client.HTTPException, ConnectionError):
            self._connection.close()
            return 0, b""

    def json(self, nsid: str, body: Any, **headers: str) -> tuple[int, Any]:
        status, answer = self("POST", f"/xrpc/{nsid}", orjson.dumps(body), Content_Type="application/json", **headers)
        return status, orjson.loads(answer) if answer else None

    def close(self) -> None:
        self._connection.close()


def rss(network: Network) -> int:
    pages = int(Path(f"/proc/{network.pid}/statm").read_text().split()[1])
    return pages * 4096


def test_no_secret_is_logged_counted_or_answered(network: Network) -> None:
    call, ops = Caller(network.url), Caller(network.ops_url)
    account = {"handle": "alice.test", "email": "alice@example.com", "password": PASSWORD}
    status, session = call.json(f"{SERVER}.createAccount", account)
    assert status == 200
    auth = f"Bearer {session['accessJwt']}"
    secrets = {
        PASSWORD,
        session["accessJwt"],
        session["refreshJwt"],
        *((network.data / name).read_text().strip() for name in ("admin_token", "ops_token", "jwt_secret")),
        (network.data / "plc_rotation_key").read_text().strip(),
    }
    answers = []
    for body in (
        {"identifier": "alice.test", "password": PASSWORD + "x"},
        {"identifier": "alice.test", "password": [PASSWORD]},
        {"identifier": {"password": PASSWORD}},
        {**account, "handle": "bad handle"},
        account,
    ):
        answers += [orjson.dumps(call.json(f"{SERVER}.{name}", body)[1]) for name in ("createSession", "createAccount")]
    for token in (auth, auth + "x", auth[:-3], f"Bearer {session['refreshJwt']}"):
        answers.append(orjson.dumps(call.json(f"{REPO}.createRecord", {"repo": "x"}, Authorization=token)[1]))
        answers.append(
            call("GET", f"/xrpc/{SERVER}.getSession?accessJwt={session['accessJwt']}", Authorization=token)[1]
        )
        answers.append(call("GET", "/" + session["accessJwt"][:100], Authorization=token)[1])
    status, _ = call("POST", f"/xrpc/{SERVER}.requestAccountDelete", None, Authorization=auth)
    assert status == 200
    letters = list((network.data / "mail").glob("*.eml"))
    assert letters
    wrong = {"did": session["did"], "password": PASSWORD, "token": "WRONG-TOKEN"}
    answers.append(orjson.dumps(call.json(f"{SERVER}.deleteAccount", wrong)[1]))
    ops("POST", "/ingest/frames", b"x", Authorization="Bearer " + PASSWORD)
    ops(
        "POST",
        "/ingest/frames",
        b"\xff" * 4_000,
        Authorization=f"Bearer {(network.data / 'ops_token').read_text().strip()}",
    )
    shown = [ops("GET", path)[1] for path in ("/metrics", "/status", "/ready")]
    call.close()
    ops.close()

    assert network.stop() == 0
    log = network.log.read_bytes()
    assert b"headrace_xrpc_requests_total" in shown[0]
    assert len(answers) > 15
    for secret in secrets:
        # The first answer of createAccount is where tokens belong; nothing else has them.
        assert secret.encode() not in log
        for text in (*answers, *shown):
            assert secret.encode() not in text
    for line in log.splitlines():
        assert line.startswith((b"{", b"headrace: ", b"  ")), line


def test_ten_thousand_names_make_no_metric_and_a_bomb_no_memory(network: Network) -> None:
    call, ops = Caller(network.url), Caller(network.ops_url)
    account = {"handle": "alice.test", "email": "alice@example.com", "password": PASSWORD}
    _, session = call.json(f"{SERVER}.createAccount", account)
    auth = f"Bearer {session['accessJwt']}"
    body = orjson.dumps({"repo": session["did"], "collection": "app.bsky.feed.post", "record": post()})
    assert (
        call("POST", f"/xrpc/{REPO}.createRecord", body, Content_Type="application/json", Authorization=auth)[0] == 200
    )
    for number in range(200):
        call("GET", f"/xrpc/com.example.warm{number}")
    series, memory = ops("GET", "/metrics")[1].count(b"\n"), rss(network)

    statuses = set()
    for number in range(10_000):
        path = (f"/xrpc/com.example.n{number}", f"/xrpc/x{number}", f"/p{number}", f"/xrpc/app.bsky.feed.n{number}")
        statuses.add(call("GET", path[number % 4])[0])
    bombs = []
    for _ in range(5):
        bomb = gzip.compress(body + b" " * 200_000_000, 1)
        bombs.append(
            call(
                "POST",
                f"/xrpc/{REPO}.createRecord",
                bomb,
                Content_Type="application/json",
                Content_Encoding="gzip",
                Authorization=auth,
            )[0]
        )
    after = ops("GET", "/metrics")[1]
    call.close()
    ops.close()

    assert statuses == {400, 404, 501}
    assert set(bombs) <= {0, 400, 413}
    assert after.count(b"\n") - series < 20
    assert b"com.example" not in after
    assert rss(network) - memory < 64 * MEBIBYTE
    assert call("GET", "/xrpc/_health")[0] == 200
    call.close()
    assert network.stop() == 0
    assert len(network.log.read_bytes()) < 100_000

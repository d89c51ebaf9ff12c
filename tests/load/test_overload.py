"""More writes than a server takes, in one moment: each is told what became of it, and the repo holds just those."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from schemas.tid import tid_from_micros
from tests.support.network import Network

WRITES = 120
POST = "app.bsky.feed.post"


def test_a_flood_of_writes_is_shed_and_all_that_was_said_to_be_written_is(tmp_path: Path) -> None:
    settings = {"rate_limits": "false", "requests_at_once": "2", "requests_waiting": "10", "request_wait": "60"}
    network = Network(tmp_path / "data", settings=settings).start()
    keys = [tid_from_micros(1_700_000_000_000_000 + number, 0) for number in range(WRITES)]
    new = {"handle": "alice.test", "email": "a@example.com", "password": "hunter2hunter2"}
    try:
        account = orjson.loads(_ask(network.url, "/xrpc/com.atproto.server.createAccount", new)[1])
        os.kill(network.pid, signal.SIGSTOP)  # so that all of them are there when it looks
        sockets = [_sent(network.url, "/xrpc/com.atproto.repo.createRecord", *_post(account, key)) for key in keys]
        os.kill(network.pid, signal.SIGCONT)
        answers = [_answer(each) for each in sockets]
        query = f"/xrpc/com.atproto.repo.listRecords?repo={account['did']}&collection={POST}&limit=100"
        listed = orjson.loads(_ask(network.url, query)[1])["records"]
        metrics = _ask(network.ops_url, "/metrics")[1].decode()
    finally:
        os.kill(network.pid, signal.SIGCONT)
        network.stop()

    written = {key for key, (status, _) in zip(keys, answers, strict=True) if status == 200}
    shed = [(status, orjson.loads(body)["error"]) for status, body in answers if status != 200]
    assert {record["uri"].rpartition("/")[2] for record in listed} == written
    assert len(written) >= 12
    assert set(shed) == {(503, "NotEnoughResources")}
    counted = re.search(r'shed_requests_total\{kind="writes",reason="full"\} (\S+)', metrics)
    assert counted is not None
    assert float(counted[1]) == len(shed)


def _post(account: dict[str, str], rkey: str) -> tuple[dict[str, Any], str]:
    record = {"$type": POST, "text": rkey, "createdAt": "2026-01-01T00:00:00Z"}
    return {"repo": account["did"], "collection": POST, "rkey": rkey, "record": record}, account["accessJwt"]


def _ask(url: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
    return _answer(_sent(url, path, body))


def _sent(url: str, path: str, body: dict[str, Any] | None, token: str = "") -> socket.socket:
    where, data = urlsplit(url), b"" if body is None else orjson.dumps(body)
    head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: {where.netloc}\r\nConnection: close\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    connected = socket.create_connection((where.hostname, where.port), timeout=120)
    connected.sendall(f"{head}\r\n".encode() + data)
    return connected


def _answer(connected: socket.socket) -> tuple[int, bytes]:
    with connected:
        data = b""
        while piece := connected.recv(65_536):
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), body

"""One process that is told of a collector: a write is a trace, and the log's lines say which."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.network import Network
from tests.support.otlp import collector


def call(url: str, nsid: str, body: dict[str, Any], token: str = "") -> dict[str, Any]:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    request = urllib.request.Request(f"{url}/xrpc/{nsid}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def test_a_write_is_one_trace_and_its_line_has_the_same_id(tmp_path: Path) -> None:
    with collector() as here:
        told = {"otlp_endpoint": here.address, "otlp_share": "1", "log_level": "debug"}
        network = Network(tmp_path / "data", settings=told).start()
        try:
            signup = {"handle": "alice.test", "email": "a@example.org", "password": "a pass phrase"}
            account = call(network.url, "com.atproto.server.createAccount", signup)
            record = {"$type": "app.bsky.feed.post", "text": "hi", "createdAt": "2026-01-01T00:00:00Z"}
            post = {"repo": account["did"], "collection": "app.bsky.feed.post", "record": record}
            call(network.url, "com.atproto.repo.createRecord", post, account["accessJwt"])
        finally:
            network.stop()
        lines = [json.loads(line) for line in network.log.read_text().splitlines() if line.startswith("{")]

    (request,) = [span for span in here.spans if span.name == "xrpc com.atproto.repo.createRecord"]
    (append,) = [span for span in here.spans if span.trace == request.trace and span.name == "append commits"]
    (line,) = [each for each in lines if each.get("nsid") == "com.atproto.repo.createRecord"]
    assert (request.service, request.parent, append.parent) == ("headrace-up", "", request.id)
    assert (line["trace_id"], line["span_id"]) == (request.trace, request.id)
    assert account["accessJwt"] not in str(here.spans)

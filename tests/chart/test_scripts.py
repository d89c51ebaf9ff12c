"""The scripts of the chart's jobs, run: against a network, and against a `headrace` that says what it is told to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.support.chart import CHART
from tests.support.network import Network

SCRIPTS = CHART / "files"

FAKE = """#!{python}
import json, sys
from pathlib import Path
folder = Path({folder!r})
state = json.loads((folder / "state.json").read_text())
with (folder / "calls").open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
command = sys.argv[2]
if command == "list":
    print(json.dumps({{name: {{"state": found}} for name, found in state["generations"].items()}}))
elif command == "build":
    state["generations"][sys.argv[3]] = "building"
elif command == "flip":
    state["refusals"] -= 1
    if state["refusals"] >= 0:
        (folder / "state.json").write_text(json.dumps(state))
        sys.exit(3)
    if state.get("broken"):
        sys.exit(1)
    state["generations"][sys.argv[3]] = "live"
(folder / "state.json").write_text(json.dumps(state))
"""


class Fake:
    """A `headrace` in PATH, with generations that a test sets."""

    def __init__(self, folder: Path, **state) -> None:
        self.folder = folder
        (folder / "state.json").write_text(json.dumps(state))
        program = folder / "headrace"
        program.write_text(FAKE.format(python=sys.executable, folder=str(folder)))
        program.chmod(0o755)

    def run(self, *arguments: str) -> int:
        script = (SCRIPTS / "generations.py").read_text().replace("PAUSE_SECONDS = 10.0", "PAUSE_SECONDS = 0.01")
        environment = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}"}
        # As the job does: the script is an argument, not a file.
        return subprocess.run([sys.executable, "-c", script, *arguments], env=environment, check=False).returncode

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()

    @property
    def generations(self) -> dict[str, str]:
        return json.loads((self.folder / "state.json").read_text())["generations"]


def test_a_generation_is_built_once(tmp_path) -> None:
    fake = Fake(tmp_path, generations={"g1": "live"}, refusals=0)

    assert [fake.run("build", "g2"), fake.run("build", "g2")] == [0, 0]

    assert fake.generations == {"g1": "live", "g2": "building"}
    assert fake.calls == ["views list --json", "views build g2", "views list --json"]


def test_a_flip_that_is_refused_is_asked_for_again(tmp_path) -> None:
    fake = Fake(tmp_path, generations={"g1": "live", "g2": "building"}, refusals=3)

    assert fake.run("flip", "g2", "60") == 0

    assert fake.generations["g2"] == "live"
    assert fake.calls.count("views flip g2") == 4


@pytest.mark.parametrize(
    ("state", "arguments", "flips"),
    [
        ({"generations": {"g1": "live", "g2": "building"}, "refusals": 9}, ("g2", "0"), 1),
        ({"generations": {"g1": "live", "g2": "ready"}, "refusals": 0, "broken": True}, ("g2", "60"), 1),
        ({"generations": {"g1": "live"}, "refusals": 0}, ("g7", "60"), 0),
    ],
    ids=["never ready", "broken", "unknown"],
)
def test_a_flip_that_cannot_be_fails(state, arguments, flips: int, tmp_path) -> None:
    fake = Fake(tmp_path, **state)

    assert fake.run("flip", *arguments) == 1

    assert fake.calls.count(f"views flip {arguments[0]}") == flips


def test_a_flip_of_the_live_one_asks_for_nothing(tmp_path) -> None:
    fake = Fake(tmp_path, generations={"g1": "retired", "g2": "live"}, refusals=0)

    assert fake.run("flip", "g2", "60") == 0

    assert fake.calls == ["views list --json"]


# --- helm test ---


def post_and_read(url: str, domain: str, seconds: str) -> subprocess.CompletedProcess[str]:
    script = (SCRIPTS / "post_and_read.py").read_text()
    command = [sys.executable, "-c", script, url, domain, seconds]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@contextmanager
def dry(feed_status: int) -> Iterator[tuple[str, list[str]]]:
    """A PDS that takes posts and whose views never show them: (address, methods that were called)."""
    called: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            method = self.path.partition("?")[0].rpartition("/")[2]
            called.append(method)
            self.rfile.read(int(self.headers.get("content-length", 0)))
            found = {"did": "did:plc:a", "accessJwt": "t", "uri": "at://did:plc:a/app.bsky.feed.post/b", "feed": []}
            body = json.dumps(found).encode()
            self.send_response(feed_status if method.endswith("getAuthorFeed") else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815 - the names are the library's

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", called
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_helm_test_posts_and_reads_back(tmp_path) -> None:
    network = Network(tmp_path / "data").start()
    try:
        done = post_and_read(network.url, ".test", "30")
    finally:
        network.stop()

    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["made", "posted", "read", "deactivated"]


@pytest.mark.parametrize("status", [200, 502])
def test_helm_test_fails_when_the_river_does_not_flow(status: int) -> None:
    with dry(status) as (url, called):
        done = post_and_read(url, ".test", "0")

    assert done.returncode == 1
    assert "expected the views to show at://did:plc:a" in done.stderr
    assert called[-1] == "com.atproto.server.deactivateAccount"

"""Logs: JSON lines without secrets, also when something of ours breaks."""

from __future__ import annotations

import subprocess
import sys

import orjson

from headrace import logs

PROGRAM = """
import logging, structlog
from headrace import logs
logs.configure("info")
log = structlog.get_logger()
def fails(password, headers):
    raise ValueError("broken")
try:
    fails("swordfish", {"Authorization": "Bearer swordfish"})
except ValueError as error:
    log.error("request failed", nsid="x", exc_info=error)
    logging.getLogger("aiohttp.server").error("Unhandled exception", exc_info=error)
log.info("login", password="swordfish", access_jwt="swordfish", Authorization="swordfish", did="did:plc:abc")
log.debug("not shown")
"""


def test_no_secret_is_logged_by_name_or_by_a_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)

    lines = [orjson.loads(line) for line in done.stderr.splitlines()]
    assert "swordfish" not in done.stderr
    assert [line["event"] for line in lines] == ["request failed", "Unhandled exception", "login"]
    assert lines[0]["exception"][0]["exc_value"] == "broken"
    assert [frame["name"] for frame in lines[0]["exception"][0]["frames"]] == ["<module>", "fails"]
    assert lines[2]["password"] == lines[2]["access_jwt"] == "(secret)"
    assert lines[2]["did"] == "did:plc:abc"


def test_the_newest_errors_are_at_hand_short_and_without_secrets() -> None:
    for number in range(logs.NEWEST + 2):
        event = {"level": "error", "timestamp": str(number), "event": "x" * 1_000, "cause": "why", "token": "t0p"}
        logs.keep(None, "", logs.redact(None, "", event))
    logs.keep(None, "", {"level": "warning", "event": "no error"})

    found = logs.newest_errors()
    assert [each["at"] for each in found] == [str(number) for number in range(2, logs.NEWEST + 2)]
    assert all(set(each) == {"at", "event", "cause"} and len(each["event"]) == 300 for each in found)

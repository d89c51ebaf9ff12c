"""`headrace status` over real listeners: who is well, who is away, and what it says to the shell."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import StringIO
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from rich.console import Console

from api.ops import build_ops_app
from headrace.commands.status import look, place_of, screen
from tests.support.network import Network


def headrace(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headrace", "status", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "COLUMNS": "220"},
    )


def nobody() -> str:
    """An address that refuses."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{bound.getsockname()[1]}"


@asynccontextmanager
async def listener(app: web.Application) -> AsyncIterator[str]:
    async with TestServer(app) as server:
        yield f"{server.host}:{server.port}"


def ops(*, ready: bool = True, stalled: Callable[[], str | None] = lambda: None, **status: Any) -> web.Application:
    return build_ops_app(
        registry=CollectorRegistry(), status=lambda: status, ready=lambda: ready, version="0", stalled=stalled
    )


def test_a_network_that_is_well(network: Network) -> None:
    shown = headrace("--data", str(network.data))
    asked = headrace("--ops", f"river={network.ops_url}", "--json")

    assert shown.returncode == 0, shown.stderr
    assert "1 of 1 are well" in shown.stdout
    assert "ready" in shown.stdout
    assert "g1" in shown.stdout
    assert asked.returncode == 0
    (found,) = json.loads(asked.stdout)["processes"]
    assert (found["name"], found["ready"], found["live"], found["error"]) == ("river", True, True, None)
    assert found["status"]["views"]["generation"] == "g1"
    assert found["behind"] >= 0
    assert found["freshness"] >= 0


def test_one_that_is_away_is_named_and_the_others_are_shown(network: Network) -> None:
    done = headrace("--ops", f"river={network.ops_url}", "--ops", f"derive={nobody()}")

    assert done.returncode == 1
    assert "1 of 2 are well" in done.stdout
    assert any("derive" in line and "away" in line for line in done.stdout.splitlines())
    assert any(
        line.startswith("derive (http://127.0.0.1:") and "not answer" in line for line in done.stdout.splitlines()
    )


@pytest.mark.parametrize("wrong", ["nowhere", "a=b=c:1", "host:port", "http://host:1/path", "host:123456"])
def test_an_address_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        place_of(wrong)


def test_what_cannot_be_asked_for_says_so(network: Network) -> None:
    assert headrace("--ops", "nowhere").returncode == 2
    assert headrace("--data", str(network.data), "--watch", "--json").returncode == 2


async def test_states_of_a_process() -> None:
    strange = web.Application()
    async with (
        listener(ops(ready=False)) as late,
        listener(ops(stalled=lambda: "records[3] has not moved [bold]for 305 s")) as stuck,
        listener(strange) as other,
        listener(ops(generation="g7", views={"lanes": ["records[0]", "edges[2]"]})) as fine,
    ):
        names = ("late", "stuck", "other", "fine")
        found = await look([place_of(f"{n}={a}") for n, a in zip(names, (late, stuck, other, fine), strict=True)])
    paper = StringIO()
    Console(width=220, file=paper).print(screen(found))
    said = paper.getvalue().splitlines()
    lines = {name: next(line for line in said if f" {name} " in line) for name in names}

    assert [each.well for each in found] == [False, False, False, True]
    assert "not ready" in lines["late"]
    assert "stuck" in lines["stuck"]
    assert f"stuck (http://{stuck}): records[3] has not moved [bold]for 305 s" in said, (
        "no markup of a process is heard"
    )
    assert f"other (http://{other}): answers, and not as an ops listener does" in said
    assert "g7" in lines["fine"]
    assert "records[0] edges[2]" in lines["fine"]


async def test_shards_of_a_derive_and_the_newest_errors_are_shown() -> None:
    errors = [{"at": f"2026-01-0{day}", "event": "stopped [red]", "cause": f"number {day}"} for day in range(1, 6)]
    derive = {"places": {"0": 7, "3": 9}, "entries": 16}
    async with listener(ops(derive=derive, errors=errors)) as address:
        found = await look([place_of(f"derive={address}")])
    paper = StringIO()
    Console(width=220, file=paper).print(screen(found))

    assert "commits[0] commits[3]" in paper.getvalue()
    shown = [line.rstrip() for line in paper.getvalue().splitlines() if line.startswith("derive: ")]
    assert shown == [f"derive: 2026-01-0{day} stopped [red] number {day}" for day in (3, 4, 5)]

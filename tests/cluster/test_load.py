"""Plans over a cluster that the run starts itself: they hold, their players are relays, and nothing is left of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.load.leftovers import PREFIX, drop_keyspaces, drop_topics
from headrace.load.result import read
from ingest.log_kafka.client import KafkaSettings, new_admin
from tests.support.devstack.stack import Stack
from tests.support.stack import need_a_stack
from views.cql.session import CqlSession
from views.cql.settings import CqlSettings

pytestmark = [pytest.mark.cluster, pytest.mark.drill]
CLEAN = (sys.executable, "-m", "headrace", "load", "clean")
ROLES = {"plc", "derive", "process", "appview", "firehose", "pds"}


def run(out: Path, kafka: str, cql: tuple[str, int], *words: str) -> subprocess.CompletedProcess[str]:
    where = ("--kafka", kafka, "--cql", f"{cql[0]}:{cql[1]}", "--out", str(out))
    return subprocess.run(
        [sys.executable, "-m", "headrace", "load", "run", *words, *where],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


async def left(kafka: str, cql: tuple[str, int]) -> set[str]:
    admin = new_admin(KafkaSettings(servers=kafka))
    await admin.start()
    try:
        topics = {name for name in await admin.list_topics() if name.startswith(PREFIX)}
    finally:
        await admin.close()
    session = await CqlSession.connect(CqlSettings(hosts=(cql[0],), port=cql[1], keyspace="none"))
    try:
        found = await session.admin("SELECT keyspace_name FROM system_schema.keyspaces")
    finally:
        await session.close()
    return topics | {name for (name,) in found if name.startswith(PREFIX)}


def test_a_plan_holds_over_roles_that_the_run_starts(
    tmp_path: Path, kafka_servers: str, cql_address: tuple[str, int]
) -> None:
    before = asyncio.run(left(kafka_servers, cql_address))
    done = run(tmp_path, kafka_servers, cql_address, "seed-2024", "--short")

    assert done.returncode == 0, done.stdout + done.stderr
    result = read(tmp_path)
    assert result.plan.target.start == "cluster"
    assert result.checks.failed == {}
    assert result.checks.made["counts of a post are what was done to it"] > 0
    assert {each.name for each in result.processes if each.samples} == ROLES | {"client 1", "client 2"}
    assert result.lags
    assert result.settled_seconds is not None
    assert asyncio.run(left(kafka_servers, cql_address)) <= before


def test_roles_are_killed_and_stand_still_and_nothing_is_lost(
    tmp_path: Path, kafka_servers: str, cql_address: tuple[str, int]
) -> None:
    done = run(tmp_path, kafka_servers, cql_address, "outage", "--short")

    assert done.returncode == 0, done.stdout + done.stderr
    result = read(tmp_path)
    assert {each.split()[0] for each in (event.what for event in result.events)} == {"pds", "process", "derive"}
    assert all(event.planned for event in result.events)
    assert sum("started again" in event.what for event in result.events) == 2
    assert result.checks.failed == {}
    assert result.settled_seconds is not None


def test_players_of_a_cluster_are_relays_that_it_reads(
    tmp_path: Path, kafka_servers: str, cql_address: tuple[str, int]
) -> None:
    done = run(tmp_path, kafka_servers, cql_address, "firehose-2024-peak", "--short")

    assert done.returncode == 0, done.stdout + done.stderr
    result = read(tmp_path)
    (player,) = result.players
    assert (player.accepted, player.refused, player.error) == (player.sent, 0, "")
    assert player.accepted >= 400
    assert {each.name for each in result.processes} >= ROLES | {"relay"}


def test_the_topics_and_keyspaces_of_a_killed_run_are_taken_away_by_the_next_command(
    tmp_path: Path, kafka_servers: str, cql_address: tuple[str, int]
) -> None:
    where = ("--kafka", kafka_servers, "--cql", f"{cql_address[0]}:{cql_address[1]}")
    command = [sys.executable, "-m", "headrace", "load"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    before = asyncio.run(left(kafka_servers, cql_address))
    words = [*command, "run", "seed-2024", "--short", *where, "--out", str(tmp_path / "out")]
    killed = subprocess.Popen(words, env=env, stderr=subprocess.PIPE, text=True)
    assert killed.stderr is not None
    try:
        said = killed.stderr.readline()  # when all roles serve
        made = asyncio.run(left(kafka_servers, cql_address)) - before
        living = subprocess.run([*command, "clean", *where], env=env, capture_output=True, text=True, check=True)
        kept = asyncio.run(left(kafka_servers, cql_address)) - before
    finally:
        killed.kill()
        killed.wait()
        killed.stderr.close()
    done = subprocess.run([*command, "clean", *where], env=env, capture_output=True, text=True, check=True)

    assert "set up" in said
    assert living.stdout == ""
    assert made <= kept  # names of topics and keyspaces of one that lives
    (name,) = {each.partition(".")[0].partition("_g1")[0] for each in made}
    assert f"taken_away: {name}\n" in done.stdout
    assert not {each for each in asyncio.run(left(kafka_servers, cql_address)) if each.startswith(name)}


@pytest.mark.parametrize("name", ["headrace", "loads", ""])
async def test_what_a_run_did_not_name_is_not_taken_away(name: str) -> None:
    with pytest.raises(ValueError, match="it is not taken away"):
        await drop_topics(KafkaSettings(servers="127.0.0.1:1", cluster=name))
    with pytest.raises(ValueError, match="it is not taken away"):
        await drop_keyspaces(CqlSettings(hosts=("127.0.0.1",), keyspace=name))


def test_a_broker_that_dies_costs_the_run_no_report(tmp_path: Path) -> None:
    need_a_stack()
    plan, out = tmp_path / "plan.toml", tmp_path / "out"
    fault = '[[faults]]\nat = 4\ndo = "kill"\nprocess = "broker"\n'
    load = "[load]\nseconds = 6\nsettle = 1\n[readers.a]\nrate = 5\n"
    plan.write_text(f'name = "x"\n[population]\naccounts = 4\n{load}{fault}')
    with Stack(tmp_path / "stack", brokers=1, stores=1) as stack:
        address, broker = (stack.hosts[0], stack.port), f"broker={stack.kafka[0].pid}"
        done = run(out, stack.servers, address, str(plan), "--process", broker)
        clean = subprocess.run(
            [*CLEAN, "--kafka", stack.servers, "--cql", f"{address[0]}:{address[1]}"],
            capture_output=True,
            text=True,
            check=False,
        )

    result = read(out)
    assert "Traceback" not in done.stderr
    assert "broker was sent SIGKILL" in {event.what for event in result.events}
    (note,) = (note for note in result.notes if "stays there" in note)
    assert note in done.stderr
    assert f"headrace load clean --kafka {stack.servers}" in note
    assert (clean.returncode, clean.stdout) == (1, "")
    assert "expected a Kafka broker" in clean.stderr

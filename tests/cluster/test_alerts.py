"""A real Prometheus scrapes a whole cluster, and each fault makes the alerts fire that are its own, and clear.

All roles run as processes over a broker and a store of their own, with accounts that write and read, a host that a
relay follows, and a canary. Durations of the rules are divided by SCALE; what rules compare with stays. Two kinds are
told apart: alerts that are a fault's own are quiet before it, fire and clear; burn rates have to fire as well, but the
slowness of a busy machine may make them fire without any fault, and they clear when their windows have.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from tests.support.busy_cluster import Crowd, busy_cluster
from tests.support.devstack.stack import Stack
from tests.support.monitoring import rules
from tests.support.prometheus import Prometheus, hurried, scraping
from tests.support.roles import RolesCluster
from tests.support.stack import only_long

pytestmark = [pytest.mark.cluster, pytest.mark.drill, pytest.mark.timeout(900)]

SCALE = 60
RULES = {path.name: hurried(text, SCALE) for path, text in rules.files().items()}
SECONDS = 300.0
DOWN, UNSEEN, ABSENT = "HeadraceProcessDown", "HeadraceRiverUnseen", "HeadraceProcessorsAbsent"
STALE, REQUESTS, WRITES = "HeadraceViewsAreStale", "HeadraceRequestsFail", "HeadraceWritesFail"


class Watched(NamedTuple):
    """What runs, and who looks at it."""

    stack: Stack
    cluster: RolesCluster
    crowd: Crowd
    prometheus: Prometheus

    def firing(self) -> set[str]:
        """By name, with the role of a process that is down."""
        return {
            f"{labels['alertname']}({labels['headrace_role']})" if labels["alertname"] == DOWN else labels["alertname"]
            for labels in (alert["labels"] for alert in self.prometheus.alerts() if alert["state"] == "firing")
        }


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, own_stack: Callable[..., Stack]) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("alerts")
    (folder / "prometheus").mkdir()
    stack = own_stack()
    with contextlib.ExitStack() as opened:
        cluster, crowd = opened.enter_context(busy_cluster(folder / "roles", stack, "alerts"))
        targets = {name: role.ops.partition("://")[2] for name, role in cluster.roles.items()}
        prometheus = opened.enter_context(scraping(folder / "prometheus", targets, RULES, "2s"))
        yield Watched(stack, cluster, crowd, prometheus)
    shutil.rmtree(folder, ignore_errors=True)


def drill(
    watched: Watched,
    what: str,
    begin: Callable[[], object],
    end: Callable[[], object],
    *,
    own: set[str],
    burns: frozenset[str] | set[str] = frozenset(),
) -> None:
    """The fault lasts until `own` and `burns` have fired; times are printed in seconds of this hurried Prometheus."""
    prometheus = watched.prometheus
    scraped = "count(up == 1)"
    restarted(watched.cluster)
    prometheus.until(lambda: prometheus.values(scraped) == [len(watched.cluster.roles)], "all are scraped", SECONDS)
    prometheus.until(lambda: not watched.firing() & own, f"{own} are quiet", SECONDS)
    before, begun = watched.firing(), time.monotonic()
    fired, cleared = dict[str, float](), dict[str, float]()

    def all_fire() -> bool:
        for name in watched.firing() - before:
            fired.setdefault(name, time.monotonic() - begun)
        return own | burns <= fired.keys() | before

    def all_clear() -> bool:
        for name in fired.keys() - watched.firing():
            cleared.setdefault(name, time.monotonic() - over)
        return own <= cleared.keys()

    begin()
    try:
        prometheus.until(all_fire, f"{own | burns} fire", SECONDS)
    finally:
        end()
        restarted(watched.cluster)
        print(f"\n{what}: fired", _shown(fired), "before", sorted(before), "crowd", dict(watched.crowd.did))
    over = time.monotonic()
    prometheus.until(all_clear, f"{own} clear", SECONDS)
    print(f"{what}: cleared", _shown(cleared), "still", sorted(watched.firing()))


def restarted(cluster: RolesCluster) -> None:
    """What ended since its broker or its store was away is started again, as a platform would."""
    for role in cluster.roles.values():
        if role.process is not None and role.process.poll() is not None:
            print(f"{role.name} ended with {role.wait()} and is started again")
            role.start()


def _shown(seconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {found:.0f} s" for name, found in sorted(seconds.items(), key=lambda each: each[1]))


def test_every_rule_holds_on_the_series_of_every_role(watched: Watched) -> None:
    prometheus = watched.prometheus
    canary = 'headrace_canary_rounds_total{result="shown"} > 0'
    prometheus.until(lambda: prometheus.values(canary) != [], "the canary has seen a post of its own", SECONDS)
    scraped = datetime.now(UTC)
    prometheus.until(lambda: prometheus.evaluated(scraped), "an evaluation of all rules", SECONDS)
    roles = {each["metric"]["headrace_role"] for each in prometheus.ask("query", query="up == 1")["result"]}

    assert {rule["name"]: rule.get("lastError") for rule in prometheus.rules() if rule["health"] != "ok"} == {}
    assert roles >= {"plc", "pds", "derive", "process", "firehose", "appview"}
    assert watched.crowd.did["write 200"] > 0
    assert watched.crowd.did["read 200"] > 0
    assert ABSENT not in watched.firing()


def test_a_worker_that_is_killed_and_stays_away(watched: Watched) -> None:
    worker = watched.cluster["process"]
    drill(watched, "killed worker", worker.kill, worker.start, own={f"{DOWN}(process)", ABSENT})


def test_a_broker_that_is_stopped(watched: Watched) -> None:
    broker = watched.stack.kafka[0]
    drill(watched, "stopped broker", broker.kill, broker.start, own={"HeadraceLogAway", UNSEEN}, burns={WRITES, STALE})


@only_long
def test_a_store_that_stalls(watched: Watched) -> None:
    store = watched.stack.cql[0]
    drill(watched, "stalled store", store.pause, store.resume, own={UNSEEN}, burns={REQUESTS, STALE})


@only_long
def test_a_relay_that_is_paused(watched: Watched) -> None:
    pid = watched.cluster["relay"].pid
    drill(
        watched,
        "paused relay",
        lambda: os.kill(pid, signal.SIGSTOP),
        lambda: os.kill(pid, signal.SIGCONT),
        own={f"{DOWN}(relay)"},
    )

"""A real Prometheus scrapes a whole cluster, and each fault makes the alerts fire that are its own, and clear.

All roles run as processes over a broker and a store of their own, with accounts that write and read, a host that a
relay follows, and a canary. Durations of the rules are divided by SCALE; what rules compare with stays. A fault's
alerts are quiet before it, fire while it lasts and clear after it. Burn rates of pages fire and clear as well, but the
slowness of a busy machine may have made them fire before; their tickets, whose windows are of six hours, clear in the
last test.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from tests.support.busy_cluster import Crowd, busy_cluster
from tests.support.devstack.stack import Stack
from tests.support.monitoring import rules
from tests.support.prometheus import Prometheus, hurried, scraping
from tests.support.roles import RolesCluster
from tests.support.stack import only_long
from views import posts
from views.cql.session import CqlSession, CqlSettings
from views.cql.text import named

pytestmark = [pytest.mark.cluster, pytest.mark.drill, pytest.mark.timeout(1200)]

SCALE = 60
RULES = {path.name: hurried(text, SCALE) for path, text in rules.files().items()}
SECONDS = 450.0
DOWN, UNSEEN, ABSENT = "HeadraceProcessDown", "HeadraceRiverUnseen", "HeadraceProcessorsAbsent"
STALE, REQUESTS, WRITES = "HeadraceViewsAreStale", "HeadraceRequestsFail", "HeadraceWritesFail"
BURNS = {STALE, REQUESTS, WRITES, "HeadraceReadsAreSlow"}
DIVERGE = "HeadraceRowsDiverge"


class Watched(NamedTuple):
    """What runs, and who looks at it."""

    stack: Stack
    cluster: RolesCluster
    crowd: Crowd
    prometheus: Prometheus

    def firing(self) -> set[str]:
        """By name, with the role of a process that is down, and whether a burn rate is a page or a ticket."""
        return {_named(alert["labels"]) for alert in self.prometheus.alerts() if alert["state"] == "firing"}


def _named(labels: Mapping[str, str]) -> str:
    name = labels["alertname"]
    if name == DOWN:
        return f"{name}({labels['headrace_role']})"
    return f"{name}({labels['severity']})" if name in BURNS else name


def page(*names: str) -> set[str]:
    return {f"{name}(page)" for name in names}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, own_stack: Callable[..., Stack]) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("alerts")
    (folder / "prometheus").mkdir()
    stack = own_stack()
    with contextlib.ExitStack() as opened:
        cluster, crowd = opened.enter_context(busy_cluster(folder / "roles", stack, "alerts", audit_seconds="1"))
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
        for name in (fired.keys() | before & burns) - watched.firing():
            cleared.setdefault(name, time.monotonic() - over)
        return own | burns <= cleared.keys()

    begin()
    try:
        prometheus.until(all_fire, f"{own | burns} fire", SECONDS)
    finally:
        end()
        restarted(watched.cluster)
        print(f"\n{what}: fired", _shown(fired), "before", sorted(before), "crowd", dict(watched.crowd.did))
    over = time.monotonic()
    prometheus.until(all_clear, f"{own | burns} clear", SECONDS)
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
    own, burns = {"HeadraceLogAway", UNSEEN}, page(WRITES, REQUESTS, STALE)
    drill(watched, "stopped broker", broker.kill, broker.start, own=own, burns=burns)


def test_a_row_that_is_changed_by_hand(watched: Watched) -> None:
    """Of somebody who does nothing: an account whose log moves while it is looked at is left for another pass."""
    uri = watched.crowd.rest(watched.cluster["pds"].url, "resting")
    table = named(f"{watched.cluster.settings['cql_keyspace']}_g1", posts.TABLE)

    def put(cid: str) -> None:
        asyncio.run(_at_the_store(watched, f"UPDATE {table} SET cid = %s WHERE uri = %s", (cid, uri)))

    def shown() -> list[Any]:
        return asyncio.run(_at_the_store(watched, f"SELECT cid FROM {table} WHERE uri = %s", (uri,)))

    watched.prometheus.until(lambda: shown() != [], "the post is in the views", SECONDS)
    ((cid,),) = shown()
    drill(watched, "changed row", lambda: put("other"), lambda: put(cid), own={DIVERGE})

    assert shown() == [(cid,)]
    log = watched.cluster["process"].log.read_text()
    assert any("views.divergent" in line and uri in line for line in log.splitlines())


async def _at_the_store(watched: Watched, text: str, values: tuple[str, ...]) -> list[Any]:
    """As an operator would at a shell of the store."""
    session = await CqlSession.connect(CqlSettings(hosts=(watched.stack.hosts[0],), port=watched.stack.port))
    try:
        return await session.admin(text, values)
    finally:
        await session.close()


@only_long
def test_a_store_that_stalls(watched: Watched) -> None:
    store = watched.stack.cql[0]
    drill(watched, "stalled store", store.pause, store.resume, own={UNSEEN}, burns=page(REQUESTS, STALE))


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


@only_long
def test_what_burnt_is_forgotten_in_the_end(watched: Watched) -> None:
    """Tickets have windows of two and six hours, which are as many minutes here."""
    failures = {f"{name}(ticket)" for name in (STALE, REQUESTS, WRITES)}
    took = watched.prometheus.until(lambda: not watched.firing() & failures, f"{failures} clear", 2 * SECONDS)

    print(f"\ntickets of burn rates cleared within {took:.0f} s more")

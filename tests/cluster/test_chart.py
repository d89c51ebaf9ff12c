"""What the chart starts, started: each workload's command with its own variables, its probes, its jobs and its test.

Only addresses are other ones than in the render: this machine has no cluster's names. Skipped where there is no Helm.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import orjson
import pytest

from tests.support import chart
from tests.support.roles import Role, RolesCluster
from tests.support.tools import need

pytestmark = [pytest.mark.cluster, pytest.mark.drill]
AT_REST_SECONDS = 60.0
# What is not as rendered: sockets, files and the names of Services.
_OF_THIS_MACHINE = ("HEADRACE_DATA", "HEADRACE_HOST", "HEADRACE_PLC_URL", "HEADRACE_APPVIEW_URL")

Variables = dict[str, str]


class Installed(RolesCluster):
    """The workloads of a render as processes; `jobs` are the variables of those that end."""

    def __init__(self, directory, servers: str, cql: tuple[str, int], name: str) -> None:
        super().__init__(directory, servers, cql, name)
        sets = {
            "cluster.name": name,
            "cql.keyspace": name,
            "kafka.servers": f"{{{servers}}}",
            "cql.hosts": f"{{{cql[0]}}}",
            "cql.port": str(cql[1]),
        }
        arguments = [part for key, value in sets.items() for part in ("--set", f"{key}={value}")]
        rendered = chart.template("--values", chart.CHART / "examples" / "laptop.yaml", *arguments)
        self.commands: dict[str, tuple[list[str], Variables]] = {}
        for workload, spec in chart.pods(chart.objects(rendered)):
            for each in chart.containers(spec):
                found = {entry["name"]: entry["value"] for entry in each.get("env", ())}
                variables = {key: value for key, value in found.items() if key not in _OF_THIS_MACHINE}
                self.commands[f"{workload}/{each['name']}"] = (each["command"], variables)

    def variables(self, role: str) -> Variables:
        return next(found for command, found in self.commands.values() if command == ["headrace", role])

    def begin(self, name: str, **addresses: str) -> Role:
        made = Role(name, self.directory / name, addresses, self.variables(name))
        self.roles[name] = made
        return made.begin()

    def run(self, container: str) -> subprocess.CompletedProcess[str]:
        """A step of a job, to its end."""
        (program, *arguments), variables = self.commands[container]
        assert program == "headrace"
        command = [sys.executable, "-m", "headrace", *arguments]
        environment = {**os.environ, **variables, "HEADRACE_DATA": str(self.directory / "job")}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)

    def start(self) -> Installed:
        """In the order that hooks and init containers make."""
        for step in ("Job/headrace-setup/topics", "Job/headrace-setup/done"):
            done = self.run(step)
            assert done.returncode == 0, done.stderr
        plc = self.begin("plc").await_ready()
        derive, process, firehose = (self.begin(name) for name in ("derive", "process", "firehose"))
        process.await_ready()
        appview = self.begin("appview", plc_url=plc.addresses["plc"]).await_ready()
        self.begin("pds", plc_url=plc.addresses["plc"], appview_url=appview.url).await_ready()
        derive.await_ready()
        firehose.await_ready()
        return self


def asked(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.fixture(scope="module")
def installed(tmp_path_factory, kafka_servers, cql_address, cluster_name) -> Iterator[Installed]:
    need("helm")
    made = Installed(tmp_path_factory.mktemp("chart"), kafka_servers, cql_address, cluster_name)
    try:
        yield made.start()
    finally:
        made.kill()
        made.drop()


def test_what_the_chart_starts_is_live_and_ready(installed: Installed) -> None:
    assert installed.roles.keys() == {"plc", "pds", "derive", "process", "firehose", "appview"}
    for name, role in installed.roles.items():
        assert asked(f"{role.ops}/live") == (200, b'{"live":true}'), name
        assert asked(f"{role.ops}/ready") == (200, b'{"ready":true}'), name


def test_helm_test_passes(installed: Installed) -> None:
    script = (chart.CHART / "files" / "post_and_read.py").read_text()
    command = [sys.executable, "-c", script, installed["pds"].url, ".test", "60"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "read it back after" in done.stdout


def test_nothing_waits_when_all_is_done(installed: Installed) -> None:
    """What liveness goes by: a shard at rest has no entries that wait, or it would be taken for stalled."""
    until = time.monotonic() + AT_REST_SECONDS
    waiting: list[str] = ["not asked yet"]
    while waiting and time.monotonic() < until:  # the request takes its time; what is shown is looked at every 5 s
        _, scraped = asked(f"{installed['process'].ops}/metrics")
        lines = re.findall(rb"^headrace_waiting_entries\{[^}]*\} \S+", scraped, re.MULTILINE)
        assert len(lines) == 10  # five topics of two shards
        waiting = [line.decode() for line in lines if not line.endswith(b" 0.0")]

    status = orjson.loads(asked(f"{installed['process'].ops}/status")[1])
    assert waiting == []
    assert min(status["views"]["reached"]) >= 0
    assert sum(status["views"]["reached"]) > 0


def test_an_installed_role_ends_when_it_is_told_to(installed: Installed) -> None:
    assert set(installed.stop().values()) == {0}

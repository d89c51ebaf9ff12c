"""Every pod of every render: what it may do, what it asks of its node, how it is watched, started and ended."""

from __future__ import annotations

import pytest
from cyclopts import App

from headrace.cli import command_line
from headrace.commands.roles import COMMANDS
from headrace.roles import ROLES
from headrace.settings import PREFIX, Settings
from tests.support import chart

PROBES = {"startupProbe": "/live", "livenessProbe": "/live", "readinessProbe": "/ready"}
_SECRETS = ("password", "token", "secret", "key")


def container(found: list[chart.Object], workload: str) -> chart.Object:
    spec = dict(chart.pods(found))[workload]
    return spec["containers"][0]


def variables(each: chart.Object) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in each.get("env", ())}


def test_every_workload_has_a_pod(found) -> None:
    assert len(list(chart.pods(found))) >= 6


def test_no_pod_is_root_or_may_become_it(found) -> None:
    for name, spec in chart.pods(found):
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context.get("runAsUser") != 0, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), name
        for each in chart.containers(spec):
            own = each["securityContext"]
            assert own["runAsNonRoot"] is True, (name, each["name"])
            assert own["allowPrivilegeEscalation"] is False, (name, each["name"])
            assert own["capabilities"] == {"drop": ["ALL"]}, (name, each["name"])
            assert not own.get("privileged"), (name, each["name"])


def test_no_pod_can_write_to_its_image_or_its_node(found) -> None:
    for name, spec in chart.pods(found):
        assert all(each["securityContext"]["readOnlyRootFilesystem"] is True for each in chart.containers(spec)), name
        assert all("hostPath" not in volume for volume in spec.get("volumes", ())), name
        for volume in spec.get("volumes", ()):
            assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"], (name, volume)


def test_no_pod_has_a_token_of_the_cluster(found) -> None:
    for name, spec in chart.pods(found):
        assert spec["automountServiceAccountToken"] is False, name


def test_no_pod_is_given_variables_that_headrace_would_refuse(found) -> None:
    """A Service named headrace-pds would be HEADRACE_PDS_SERVICE_HOST in every pod: an unknown setting."""
    for name, spec in chart.pods(found):
        assert spec["enableServiceLinks"] is False, name


def test_every_container_says_what_it_needs_and_how_much_memory_it_may_have(found) -> None:
    for name, spec in chart.pods(found):
        for each in chart.containers(spec):
            resources = each["resources"]
            assert resources["requests"].keys() >= {"cpu", "memory"}, (name, each["name"])
            assert "memory" in resources["limits"], (name, each["name"])


def test_every_role_is_watched_on_its_ops_port(found) -> None:
    for each in found:
        if each["kind"] not in ("Deployment", "StatefulSet"):
            continue
        served = each["spec"]["template"]["spec"]["containers"][0]
        ports = {port["name"] for port in served["ports"]}
        for probe, path in PROBES.items():
            assert served[probe]["httpGet"] == {"path": path, "port": "ops"}, (each["metadata"]["name"], probe)
        assert "ops" in ports


def test_a_pod_has_time_to_drain_and_to_end(found) -> None:
    """A process ends within 30 s of SIGTERM; before it, load balancers are given the pause."""
    for name, spec in chart.pods(found):
        if name.startswith(("Deployment", "StatefulSet")):
            command = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
            serves = any(port["name"] == "public" for port in spec["containers"][0]["ports"])
            assert (command is not None) == serves, name
            assert spec["terminationGracePeriodSeconds"] >= int(command[1] if command else 0) + 45, name


def test_every_variable_is_a_setting(found) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    used = {
        variable for _, spec in chart.pods(found) for each in chart.containers(spec) for variable in variables(each)
    }

    assert used <= known
    assert len(used) > 15


def test_every_workload_starts_with_its_variables(found, monkeypatch) -> None:
    """The settings are taken by the program itself, and are all that the role needs."""
    monkeypatch.setattr("os.environ", {})
    for name, spec in chart.pods(found):
        for each in chart.containers(spec):
            if each["command"][0] != "headrace":
                continue
            monkeypatch.setattr("os.environ", variables(each))
            settings = Settings()
            role = ROLES.get(each["command"][1])
            assert all(getattr(settings, need) for need in (role.needs if role else ())), name


def test_no_variable_holds_a_secret(found) -> None:
    for name, spec in chart.pods(found):
        for each in chart.containers(spec):
            for variable, value in variables(each).items():
                secret = any(word in variable.lower().split("_") for word in _SECRETS)
                assert not secret or value.startswith("/etc/headrace/"), (name, variable)


def test_what_a_setting_names_as_a_file_is_mounted(found) -> None:
    for name, spec in chart.pods(found):
        volumes = {volume["name"]: volume for volume in spec.get("volumes", ())}
        for each in chart.containers(spec):
            if each["name"] == "seed-secrets":
                continue
            mounts = {mount["mountPath"]: mount["name"] for mount in each.get("volumeMounts", ())}
            for value in variables(each).values():
                if value.startswith("/etc/headrace/"):
                    folder, _, file = value.rpartition("/")
                    items = volumes[mounts[folder]]["secret"]["items"]
                    assert file in {item["path"] for item in items}, (name, value)


def test_a_role_is_given_no_secret_that_it_does_not_use(render) -> None:
    found = chart.objects(render("medium"))
    held = {
        name: {volume["secret"]["secretName"] for volume in spec.get("volumes", ()) if "secret" in volume}
        for name, spec in chart.pods(found)
    }

    assert held["Deployment/headrace-appview"] == {"headrace-kafka", "kafka-ca", "headrace-cql", "scylla-ca"}
    assert held["Deployment/headrace-firehose"] == {"headrace-kafka", "kafka-ca"}
    assert held["StatefulSet/headrace-pds"] == {"headrace-kafka", "kafka-ca", "headrace-pds"}


def commands(app: App) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for name in app:
        if not name.startswith("-"):
            inner = commands(app[name])
            found |= {(name, *rest) for rest in inner} or {(name,)}
    return found


def test_every_command_exists(found) -> None:
    known = commands(command_line())
    run = {
        tuple(each["command"][1:])
        for _, spec in chart.pods(found)
        for each in chart.containers(spec)
        if each["command"][0] == "headrace"
    }

    assert run <= known
    assert ("topics", "create") in run


def test_the_scripts_call_commands_that_exist() -> None:
    known = commands(command_line())

    assert {("views", "list"), ("views", "build"), ("views", "flip"), ("schema", "check")} <= known


def test_the_chart_knows_every_role(render) -> None:
    """One that a cluster has and the chart has not is a workload that nobody can install."""
    started = {command.__name__ for command in COMMANDS}
    arguments = [argument for role in ROLES for argument in ("--set", f"roles.{role}.enabled=true")]
    render("minimal")
    found = chart.objects(chart.template(*chart.arguments_of("minimal"), *arguments))
    rendered = {
        each["spec"]["template"]["spec"]["containers"][0]["command"][1]: each
        for each in found
        if each["kind"] in ("Deployment", "StatefulSet")
    }

    assert rendered.keys() == ROLES.keys()
    assert started >= ROLES.keys()
    for name, role in ROLES.items():
        mounts = {
            mount["mountPath"] for mount in rendered[name]["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
        }
        assert ("/var/lib/headrace" in mounts) == role.keeps_files, name


@pytest.mark.parametrize("workload", ["StatefulSet/headrace-pds", "StatefulSet/headrace-plc"])
def test_files_are_kept_below_the_volume(workload: str, render) -> None:
    """The volume's own folder is root's; what Headrace closes to others must be its own."""
    found = chart.objects(render("small"))

    each = container(found, workload)

    assert variables(each)["HEADRACE_DATA"] == "/var/lib/headrace/data"
    assert {"name": "data", "mountPath": "/var/lib/headrace"} in each["volumeMounts"]

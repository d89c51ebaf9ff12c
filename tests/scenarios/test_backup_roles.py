"""The volumes of a did:plc directory and of a relay, each backed up while it serves, lost, and restored."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.identity import plc_op
from ingest.repo.keys import PrivateKey
from tests.support.roles import Role

ALONE = {"allow_private_addresses": "true"}


@pytest.fixture
def roles() -> Iterator[list[Role]]:
    """Whatever a test starts."""
    started: list[Role] = []
    yield started
    for role in started:
        role.kill()


def headrace(*words: object) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "headrace", *map(str, words), "--json"], capture_output=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def lose_and_restore(role: Role, backup: Path) -> None:
    """Its process by SIGKILL and its directory, after a backup that was made while it served; then it starts again."""
    headrace("backup", "create", backup, "--data", role.directory)
    headrace("backup", "verify", backup)
    role.kill()
    shutil.rmtree(role.directory)
    headrace("restore", backup, "--data", role.directory)
    role.start()


def made_identity(url: str) -> str:
    key = PrivateKey.generate()
    signed = plc_op.sign(
        plc_op.account(key.public.did_key, "a.example.org", "https://pds.example.org", [key.public.did_key]), key
    )
    did = str(plc_op.parse(signed).did)
    request = urllib.request.Request(
        f"{url}/{did}", json.dumps(signed).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    urllib.request.urlopen(request, timeout=60).close()
    return did


def fetched(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)


@pytest.mark.timeout(600)
def test_a_lost_volume_of_a_directory_is_restored(tmp_path: Path, roles: list[Role]) -> None:
    plc = Role("plc", tmp_path / "plc", ALONE)
    roles.append(plc)
    url = plc.start().addresses["plc"]
    did = made_identity(url)
    before = fetched(f"{url}/{did}"), fetched(f"{url}/{did}/log/audit")

    lose_and_restore(plc, tmp_path / "backup")

    assert plc.addresses["plc"] == url
    assert (fetched(f"{url}/{did}"), fetched(f"{url}/{did}/log/audit")) == before
    made_identity(url)


@pytest.mark.timeout(600)
def test_a_lost_volume_of_a_relay_is_restored_and_knows_its_hosts(tmp_path: Path, roles: list[Role]) -> None:
    plc = Role("plc", tmp_path / "plc", ALONE)
    roles.append(plc)
    asked = {**ALONE, "plc_url": plc.start().addresses["plc"]}
    relay = Role("relay", tmp_path / "relay", {**asked, "relay_port": "0"})
    roles.append(relay)
    relay.start()
    headrace("hosts", "add", "localhost:9", "--data", relay.directory)
    headrace("hosts", "ban", "localhost:9", "--data", relay.directory)
    before = [(host["Host"], host["Status"]) for host in headrace("hosts", "list", "--data", relay.directory)["hosts"]]

    lose_and_restore(relay, tmp_path / "backup")
    after = [(host["Host"], host["Status"]) for host in headrace("hosts", "list", "--data", relay.directory)["hosts"]]

    assert before == after == [("localhost:9", "banned")]

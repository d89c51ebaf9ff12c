"""The stack that the other tests stand on: it answers, it comes back, and nothing of it is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from tests.support.devstack.node import NodeError
from tests.support.devstack.stack import Stack, StackInUseError, wipe
from tests.support.stack import need_a_stack

pytestmark = pytest.mark.cluster


def test_a_broker_is_frozen_killed_and_started_again_where_it_was(own_stack):
    stack = own_stack(brokers=1, stores=0)
    node, servers = stack.kafka[0], stack.servers
    first = node.pid

    node.pause()
    assert _state(first) == "T"
    node.resume()
    node.kill()
    assert node.pid is None
    with pytest.raises(NodeError, match="does not run"):
        node.kill()
    node.start()

    assert node.pid not in {None, first}
    assert stack.servers == servers
    host, _, port = servers.partition(":")
    socket.create_connection((host, int(port)), timeout=5).close()


def test_a_stack_ends_with_its_keeper_and_another_may_not_have_its_directory(tmp_path):
    need_a_stack()
    asked = [sys.executable, "-m", "tests.support.devstack"]
    where = ["--data", str(tmp_path), "--brokers", "1", "--stores", "0"]
    subprocess.run([*asked, "start", *where], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    said = subprocess.run([*asked, "status", "--json", *where], check=True, cwd=ROOT, capture_output=True)
    found = json.loads(said.stdout)
    pids = found["nodes"].values()
    assert all(_state(pid) is not None for pid in pids)
    with pytest.raises(StackInUseError, match="runs in"):
        Stack(tmp_path).start()
    with pytest.raises(StackInUseError, match="runs in"):
        wipe(tmp_path)

    os.kill(found["keeper"], signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(_state(pid) is not None for pid in pids):
        assert time.monotonic() < deadline, "the keeper is dead, and what it kept lives"
        time.sleep(0.05)
    assert subprocess.run([*asked, "status", *where], check=False, cwd=ROOT, stderr=subprocess.PIPE).returncode == 3
    wipe(tmp_path)

    assert not tmp_path.exists()


def _state(pid: int) -> str | None:
    """The letter of ps; None when there is no such process, or only its entry."""
    said = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], check=False, capture_output=True, text=True).stdout
    return said[0] if said.strip() and said[0] != "Z" else None

"""`python -m tests.support.devstack.cluster --data DIR`: a broker, a store and one process of each role, until Ctrl-C.

Addresses on stdout, a line each, and then `ready`. Started again on the same directory it goes on where it was. For
development: one copy of everything, no passwords, and a PDS that believes private addresses.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from pathlib import Path

from tests.support.devstack.jars import StackUnavailableError
from tests.support.devstack.node import NodeError
from tests.support.devstack.stack import Stack, StackInUseError
from tests.support.roles import Role, RolesCluster

PORTS: dict[str, dict[str, int]] = {
    "plc": {"plc": 2582, "ops": 2570},
    "derive": {"ops": 2571},
    "process": {"ops": 2572},
    "firehose": {"xrpc": 2585, "ops": 2573},
    "appview": {"xrpc": 2584, "ops": 2574},
    "pds": {"xrpc": 2583, "ops": 2575},
}


class DevCluster(RolesCluster):
    """The roles where a reader of README.md looks for them."""

    def role(self, name: str, label: str = "", **more: str) -> Role:
        made = super().role(name, label, **more)
        made.addresses = {listener: f"http://localhost:{port}" for listener, port in PORTS[name].items()}
        return made


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.devstack.cluster", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="directory of everything, made when it is not there")
    parser.add_argument("--free-ports", action="store_true", help="let the system choose ports")
    parser.add_argument("--shards", type=int, default=4, help="fixed when the directory is made")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with contextlib.suppress(KeyboardInterrupt), Stack(asked.data / "stack") as stack:
            return _run(stack, asked)
    except (StackUnavailableError, StackInUseError, NodeError, AssertionError) as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    return 0


def _run(stack: Stack, asked: argparse.Namespace) -> int:
    kind = RolesCluster if asked.free_ports else DevCluster
    place = (asked.data.resolve() / "roles", stack.servers, (stack.hosts[0], stack.port), "headrace")
    cluster = kind(*place, shards=str(asked.shards))
    try:
        cluster.start()
        print(f"kafka     {stack.servers}\ncql       {stack.hosts[0]}:{stack.port}")
        for name in PORTS:
            said = "  ".join(f"{listener} {address}" for listener, address in sorted(cluster[name].addresses.items()))
            print(f"{name:<9} {said}")
        print("ready", flush=True)
        while all(role.process is not None and role.process.poll() is None for role in cluster.roles.values()):
            time.sleep(0.5)
        ended = [
            name for name, role in cluster.roles.items() if role.process is None or role.process.poll() is not None
        ]
        print(f"cluster: {', '.join(ended)} ended: see {asked.data}/roles/*.log", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave roles to the kernel
        cluster.stop()
        cluster.kill()


if __name__ == "__main__":
    sys.exit(main())

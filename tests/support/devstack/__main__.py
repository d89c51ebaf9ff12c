"""`python -m tests.support.devstack start|stop|status|wipe --data DIR`: a broker and a store on this machine.

`start` returns when both answer clients, and leaves a keeper behind whose end is theirs; with --foreground it is the
keeper itself, until Ctrl-C. Addresses go to stdout, everything else to stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.devstack.jars import StackUnavailableError
from tests.support.devstack.node import READY_SECONDS, NodeError
from tests.support.devstack.stack import Stack, StackInUseError, lock, wipe

STOP_SECONDS = 60.0


def main() -> int:
    asked = _arguments().parse_args()
    try:
        return {"start": _start, "stop": _stop, "status": _status, "wipe": _wipe}[asked.command](asked)
    except (StackUnavailableError, StackInUseError, NodeError) as error:
        print(f"devstack: {error}", file=sys.stderr)
        return 1


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.support.devstack", description=__doc__)
    parser.add_argument("command", choices=["start", "stop", "status", "wipe"])
    parser.add_argument("--data", type=Path, required=True, help="directory of the stack, made when it is not there")
    parser.add_argument("--brokers", type=int, choices=[0, 1, 3], default=1)
    parser.add_argument("--stores", type=int, choices=[0, 1, 3], default=1)
    parser.add_argument("--kafka-port", type=int, help="of the first broker; a free one is chosen otherwise")
    parser.add_argument("--cql-port", type=int, help="of every store; a free one is chosen otherwise")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--foreground", action="store_true", help="run until Ctrl-C or SIGTERM")
    return parser


def _start(asked: argparse.Namespace) -> int:
    asked.data.mkdir(parents=True, exist_ok=True)
    if asked.foreground:
        return _keep(asked)
    lock(asked.data).close()  # or say at once that somebody has it
    running = asked.data / "running.json"
    running.unlink(missing_ok=True)
    with (asked.data / "keeper.log").open("w") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.support.devstack", *sys.argv[1:], "--foreground"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + 2 * READY_SECONDS
    while not running.exists():
        if keeper.poll() is not None:
            raise NodeError((asked.data / "keeper.log").read_text().strip())
        if time.monotonic() > deadline:
            keeper.terminate()
            raise NodeError(f"not ready in {2 * READY_SECONDS:.0f} s: see {asked.data}/*.log")
        time.sleep(0.1)
    keeper.returncode = 0  # it is to outlive us: no warning that it does
    _say(asked, json.loads(running.read_text()))
    return 0


def _keep(asked: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    stack = Stack(
        asked.data, brokers=asked.brokers, stores=asked.stores, kafka_port=asked.kafka_port, cql_port=asked.cql_port
    )
    running = asked.data / "running.json"
    try:
        with contextlib.suppress(KeyboardInterrupt), stack:
            found = {
                "keeper": os.getpid(),
                "kafka": stack.servers,
                "cql": [f"{host}:{stack.port}" for host in stack.hosts],
                "nodes": {node.name: node.pid for node in (*stack.kafka, *stack.cql)},
            }
            partial = running.with_suffix(".partial")
            partial.write_text(json.dumps(found))
            partial.rename(running)
            _say(asked, found)
            while all(node.pid is not None for node in (*stack.kafka, *stack.cql)):
                time.sleep(0.5)
            ended = [node.name for node in (*stack.kafka, *stack.cql) if node.pid is None]
            raise NodeError(f"{', '.join(ended)} ended: see {asked.data}/*.log")
    finally:
        running.unlink(missing_ok=True)
    return 0


def _stop(asked: argparse.Namespace) -> int:
    found = _running(asked.data)
    if found is None:
        print(f"devstack: nothing runs in {asked.data}", file=sys.stderr)
        return 0
    os.kill(found["keeper"], signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while True:
        with contextlib.suppress(StackInUseError):
            lock(asked.data).close()
            return 0
        if time.monotonic() > deadline:
            raise NodeError(f"the keeper (pid {found['keeper']}) did not end in {STOP_SECONDS:.0f} s")
        time.sleep(0.1)


def _status(asked: argparse.Namespace) -> int:
    found = _running(asked.data)
    if found is None:
        print(f"devstack: nothing runs in {asked.data}", file=sys.stderr)
        return 3
    _say(asked, found)
    return 0


def _wipe(asked: argparse.Namespace) -> int:
    wipe(asked.data)
    return 0


def _running(data: Path) -> dict | None:
    """What the keeper wrote down, when there is a keeper."""
    if not (data / "lock").exists():
        return None
    with contextlib.suppress(StackInUseError):
        lock(data).close()
        return None
    try:
        return json.loads((data / "running.json").read_text())
    except FileNotFoundError:
        raise StackInUseError(f"a stack is starting, or a test has one, in {data}") from None


def _say(asked: argparse.Namespace, found: dict) -> None:
    if asked.json:
        print(json.dumps(found), flush=True)
        return
    if found["kafka"]:
        print(f"export HEADRACE_TEST_KAFKA={found['kafka']}")
    if found["cql"]:
        print(f"export HEADRACE_TEST_CQL={','.join(found['cql'])}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

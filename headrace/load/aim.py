"""Which targets may be put under load: those of this machine; any other only when it is named twice.

A load tester must be hard to point at strangers by mistake. Does not own the plan (`plan.py`).
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from urllib.parse import urlsplit

import psutil
from msgspec.structs import replace

from headrace.load.cluster import RELAY, ROLES
from headrace.load.plan import Plan
from headrace.load.plan_file import PlanError


def aimed(plan: Plan, on_command_line: str | None, kafka: str | None = None, cql: str | None = None) -> Plan:
    """The plan with its target decided. Raises PlanError."""
    target = plan.target
    if kafka is not None or cql is not None or target.start == "cluster":
        return _cluster(plan, on_command_line, kafka, cql)
    if on_command_line is not None or target.url:
        url = target_url(target.url, on_command_line)
        target = replace(target, start="none", url=url)
    if target.start == "none" and not target.url:
        raise PlanError(f"{plan.name}: its [target] starts nothing and has no url: name one with --target")
    if plan.players and target.start == "none":
        raise PlanError(f"{plan.name}: players need a target that the run starts itself (start = 'embedded')")
    return replace(plan, target=target)


def _cluster(plan: Plan, url: str | None, kafka: str | None, cql: str | None) -> Plan:
    """Roles that the run starts, on a broker and a store that are there. Players are read: no role has a hook."""
    target = plan.target
    if url is not None or target.url:
        raise PlanError(
            f"{plan.name}: --target names a server that is there, --kafka and --cql start roles: choose one"
        )
    for name, in_plan, said in (("kafka", target.kafka, kafka), ("cql", target.cql, cql)):
        address = said or in_plan
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise PlanError(f"{plan.name}: expected --{name} host:port of what is there, found {address or 'nothing'}")
        if not is_here(host.strip("[]")) and in_plan != said:
            raise PlanError(
                f"{address} is not on this machine: name it twice, as `{name}` in the plan's [target] and with --{name}"
                f" (plan: {in_plan or 'none'}; command line: {said or 'none'}). Ask its owner first"
            )
    found = replace(target, start="cluster", kafka=kafka or target.kafka, cql=cql or target.cql)
    players = {
        name: replace(each, through="relay" if each.through == "log" else each.through)
        for name, each in plan.players.items()
    }
    return replace(plan, target=found, players=players)


def check_faults(plan: Plan, named: Collection[str]) -> None:
    """Faults find a process that the run starts, or one of those `named` on the command line. Raises PlanError."""
    target = plan.target.start
    started = {"embedded": ["target"], "cluster": ["target", *ROLES], "none": []}[target]
    if target == "cluster" and plan.players:
        started.append(RELAY)
    for fault in plan.faults:
        if fault.process in started or (fault.process in named and fault.do != "restart"):
            continue
        there = ", ".join((*started, *(() if fault.do == "restart" else sorted(named)))) or "none"
        raise PlanError(
            f"{plan.name}: no process {fault.process!r} to {fault.do} at {fault.at:g} s: there are {there}; another is"
            " named with --process NAME=PID, and only what the run starts can be started again"
        )


def target_url(in_plan: str, on_command_line: str | None) -> str:
    """The address to load, without a slash at its end. Raises PlanError when it may not be."""
    url = (on_command_line or in_plan).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path or parts.username:
        raise PlanError(f"expected a target as http://host:port, found {url!r}")
    if is_here(parts.hostname):
        return url
    if in_plan.rstrip("/") != (on_command_line or "").rstrip("/"):
        raise PlanError(
            f"{url} is not on this machine: name it twice, as `url` in the plan's [target] and with --target "
            f"(plan: {in_plan or 'none'}; command line: {on_command_line or 'none'}). Ask its owner first"
        )
    return url


def is_here(host: str) -> bool:
    """Whether every address of a host is one of this machine. One that has none is not here."""
    try:
        found = {str(each[4][0]).partition("%")[0] for each in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    own = {each.address.partition("%")[0] for addresses in psutil.net_if_addrs().values() for each in addresses}
    return bool(found) and all(each in own or each.startswith("127.") or each == "::1" for each in found)

"""Which targets may be put under load: those of this machine; any other only when it is named twice.

A load tester must be hard to point at strangers by mistake. Does not own the plan (`plan.py`).
"""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import psutil
from msgspec.structs import replace

from headrace.load.plan import Plan
from headrace.load.plan_file import PlanError


def aimed(plan: Plan, on_command_line: str | None) -> Plan:
    """The plan with its target decided. Raises PlanError."""
    target = plan.target
    if on_command_line is not None or target.url:
        url = target_url(target.url, on_command_line)
        target = replace(target, start="none", url=url)
    if target.start == "none" and not target.url:
        raise PlanError(f"{plan.name}: its [target] starts nothing and has no url: name one with --target")
    if plan.players and target.start == "none":
        raise PlanError(f"{plan.name}: players need a target that the run starts itself (start = 'embedded')")
    return replace(plan, target=target)


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

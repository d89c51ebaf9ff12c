"""The roles of a cluster: what each is made by, which settings it cannot do without, whether it keeps files.

Does not own what they are made of (`headrace/wiring_*.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import orjson

from headrace import serving
from headrace.running import Running
from headrace.settings import Settings, SettingsError, where
from headrace.wiring_appview import appview
from headrace.wiring_cluster import derive, plc, process
from headrace.wiring_firehose import firehose
from headrace.wiring_pds import pds


class Role(NamedTuple):
    start: Callable[[Running, Settings], Awaitable[None]]
    needs: tuple[str, ...]
    keeps_files: bool


ROLES: dict[str, Role] = {
    "plc": Role(plc, (), keeps_files=True),
    "derive": Role(derive, ("kafka_servers",), keeps_files=True),
    "process": Role(process, ("kafka_servers", "cql_hosts"), keeps_files=False),
    "pds": Role(pds, ("kafka_servers", "plc_url"), keeps_files=True),
    "firehose": Role(firehose, ("kafka_servers",), keeps_files=False),
    "appview": Role(appview, ("cql_hosts", "plc_url"), keeps_files=False),
}
_EXPECTED = {
    "kafka_servers": "the brokers of the log, as host:port",
    "cql_hosts": "the nodes of the views' store",
    "plc_url": "the address of the did:plc directory",
}


def run(name: str, settings: Settings, *, as_json: bool) -> int:
    """The exit code. Raises SettingsError, LockedError, DirectoryError."""
    role = ROLES[name]
    check(name, settings, role.needs)

    async def opening() -> Running:
        return await Running().opened(lambda running: role.start(running, settings))

    return serving.run(opening, partial(_announce, name, as_json=as_json), settings.data if role.keeps_files else None)


def check(name: str, settings: Settings, needs: tuple[str, ...]) -> None:
    """Raises SettingsError for what is not set."""
    lacking = [
        f"{setting}: expected {_EXPECTED[setting]}, found nothing, and `headrace {name}` needs it. Set {where(setting)}"
        for setting in needs
        if not getattr(settings, setting)
    ]
    if lacking:
        raise SettingsError("\n".join(lacking))


def _announce(name: str, addresses: dict[str, str], *, as_json: bool) -> None:
    """Progress on stderr; on stdout the addresses if asked for."""
    lines = "".join(f"  {listener:5} {address}\n" for listener, address in addresses.items())
    sys.stderr.write(f"headrace: {name} serves\n{lines}")
    if as_json:
        sys.stdout.write(orjson.dumps({"role": name, **addresses}).decode() + "\n")

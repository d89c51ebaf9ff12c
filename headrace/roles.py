"""The roles of a cluster, and the relay: what makes each, which settings it cannot do without, whether it keeps files.

Does not own what they are made of (`headrace/wiring/*.py`).
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
from headrace.wiring.tracing import trace

Start = Callable[[Running, Settings], Awaitable[None]]


def _plc() -> Start:
    from headrace.wiring.plc import start  # noqa: PLC0415 - a process loads its own role

    return start


def _pds() -> Start:
    from headrace.wiring.pds import start  # noqa: PLC0415 - as in _plc

    return start


def _derive() -> Start:
    from headrace.wiring.derive import start  # noqa: PLC0415 - as in _plc

    return start


def _process() -> Start:
    from headrace.wiring.process import start  # noqa: PLC0415 - as in _plc

    return start


def _firehose() -> Start:
    from headrace.wiring.firehose import start  # noqa: PLC0415 - as in _plc

    return start


def _appview() -> Start:
    from headrace.wiring.appview import start  # noqa: PLC0415 - as in _plc

    return start


def _relay() -> Start:
    from headrace.wiring.relay_listener import start  # noqa: PLC0415 - as in _plc

    return start


def _canary() -> Start:
    from headrace.wiring.canary import start  # noqa: PLC0415 - as in _plc

    return start


class Role(NamedTuple):
    load: Callable[[], Start]
    needs: tuple[str, ...]
    keeps_files: bool


ROLES: dict[str, Role] = {
    "plc": Role(_plc, (), keeps_files=True),
    "pds": Role(_pds, ("kafka_servers", "plc_url"), keeps_files=True),
    "derive": Role(_derive, ("kafka_servers",), keeps_files=True),
    "process": Role(_process, ("kafka_servers", "cql_hosts"), keeps_files=False),
    "firehose": Role(_firehose, ("kafka_servers",), keeps_files=False),
    "relay": Role(_relay, ("plc_url",), keeps_files=True),
    "appview": Role(_appview, ("kafka_servers", "cql_hosts", "plc_url"), keeps_files=False),
    "canary": Role(_canary, ("canary_pds", "canary_handle"), keeps_files=True),
}
_EXPECTED = {
    "kafka_servers": "the brokers of the log, as host:port",
    "cql_hosts": "the nodes of the views' store",
    "plc_url": "the address of the did:plc directory",
    "canary_pds": "the address of the PDS that has the canary's account",
    "canary_handle": "the handle of the canary's account",
}


def run(name: str, settings: Settings, *, as_json: bool) -> int:
    """The exit code. Raises SettingsError, LockedError, DirectoryError."""
    role = ROLES[name]
    check(name, settings, role.needs)
    start = role.load()

    async def begin(running: Running) -> None:
        trace(running, settings, name)
        await start(running, settings)

    async def opening() -> Running:
        return await Running().opened(begin)

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

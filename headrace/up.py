"""`headrace up`: start the network, say where it is, serve until told to stop.

Does not own what the network is made of (`headrace/wiring/embedded.py`) nor how a process ends (`headrace/serving.py`).
"""

from __future__ import annotations

import sys
from functools import partial

import orjson

from headrace import serving
from headrace.settings import Settings
from headrace.wiring.embedded import Network


def run(settings: Settings, *, as_json: bool) -> int:
    """The exit code. Raises LockedError when another process has the directory, DirectoryError."""
    return serving.run(partial(Network.open, settings), partial(_announce, as_json=as_json), settings.data)


def _announce(addresses: dict[str, str], *, as_json: bool) -> None:
    """Progress on stderr; on stdout the addresses if asked for."""
    lines = (
        f"  XRPC (PDS, AppView)  {addresses['xrpc']}",
        f"  did:plc directory    {addresses['plc']}",
        f"  metrics, status      {addresses['ops']}",
    )
    sys.stderr.write("headrace: serving\n" + "\n".join(lines) + "\n")
    if as_json:
        sys.stdout.write(orjson.dumps(addresses).decode() + "\n")

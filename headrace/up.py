"""`headrace up`: start the network, say where it is, serve until told to stop.

Does not own what the network is made of (`headrace/wiring/embedded.py`) nor how a process ends (`headrace/serving.py`).
"""

from __future__ import annotations

import sys
from functools import partial

import orjson

from headrace import allocator, serving
from headrace.settings import Settings
from headrace.wiring.embedded import Network


def run(settings: Settings, *, as_json: bool, demo: bool = False) -> int:
    """The exit code. Raises LockedError when another process has the directory, DirectoryError, SettingsError."""
    allocator.share_one_heap()
    opening = partial(Network.open, settings)
    if demo:
        from headrace import demo as population  # noqa: PLC0415 - of those who ask for it

        population.check(settings)
        opening = partial(_with_demo, settings)
    return serving.run(opening, partial(_announce, as_json=as_json), settings.data)


async def _with_demo(settings: Settings) -> Network:
    from headrace.demo import Demo  # noqa: PLC0415 - as in run

    network = await Network.open(settings)
    try:
        demo = Demo(network.pds, settings.handle_domains[0])
        await demo.fill()
    except BaseException:
        await network.close()
        raise
    network.keep(demo.trickle(), "demo")
    return network


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

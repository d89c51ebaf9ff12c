"""`headrace status`: what processes say of themselves on their ops listeners, as a screen or as JSON.

Each is asked for /status, /ready, /live and the few metrics that say how far its views are; one that does not answer
is said to be away, and the others are shown. Does not own what they answer (`api/ops.py`).
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from typing import Annotated, Any, NamedTuple

import aiohttp
import msgspec
import orjson
from cyclopts import Parameter
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from headrace import client
from headrace.commands.common import DONE, FAILED, USAGE, Config, Data, Json, Sets, fail, settings_of, show

_SECONDS = 10.0  # for an answer
_ANSWER_MAX = 8 << 20  # bytes
_AGAIN_SECONDS = 2.0
_SHOWN = 3  # errors of each
_ADDRESS = re.compile(r"(?:(?P<name>[A-Za-z0-9_.-]{1,64})=)?(?:https?://)?(?P<place>[^/=\s]{1,255}:\d{1,5})/?")
_GAUGE = re.compile(r"^(headrace_[a-z_]+)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


class Place(NamedTuple):
    """`name` is what the process is called on the screen; `url` is of its ops listener."""

    name: str
    url: str


class Seen(msgspec.Struct, frozen=True):
    """`error` is why it is away; the rest is None then, or where the process does not say it."""

    name: str
    address: str
    error: str | None = None
    ready: bool | None = None
    live: bool | None = None
    why: str | None = None
    """Not live, as it says."""
    behind: float | None = None
    """Entries that its views have not seen."""
    freshness: float | None = None
    """Seconds."""
    waiting: float | None = None
    """Entries of all topics that a stage of the cluster has not taken."""
    status: dict[str, Any] | None = None

    @property
    def well(self) -> bool:
        return self.error is None and self.ready is True and self.live is True


def place_of(text: str) -> Place:
    """Of `[NAME=]HOST:PORT`, also with a scheme. Raises ValueError."""
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise ValueError(f"--ops {text}: expected [NAME=]HOST:PORT of an ops listener")
    scheme = "https" if "https://" in text else "http"
    return Place(found["name"] or found["place"], f"{scheme}://{found['place']}")


async def look(places: list[Place]) -> list[Seen]:
    """All at once, in their order."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS)) as session:
        return list(await asyncio.gather(*(_ask(session, place) for place in places)))


async def _ask(session: aiohttp.ClientSession, place: Place) -> Seen:
    try:
        asked = (_get(session, place.url + path) for path in ("/status", "/ready", "/live", "/metrics"))
        status, ready, live, metrics = await asyncio.gather(*asked)
        probe = orjson.loads(live)
        gauges = _gauges(metrics.decode())
        return Seen(
            place.name,
            place.url,
            ready=orjson.loads(ready)["ready"],
            live=probe["live"],
            why=probe.get("why"),
            behind=max(gauges.get("headrace_views_behind_entries", ()), default=None),
            freshness=max(gauges.get("headrace_views_freshness_seconds", ()), default=None),
            waiting=sum(gauges["headrace_waiting_entries"]) if "headrace_waiting_entries" in gauges else None,
            status=orjson.loads(status),
        )
    except TimeoutError:
        return Seen(place.name, place.url, error=f"no answer within {_SECONDS:g} s")
    except (aiohttp.ClientError, OSError) as error:
        return Seen(place.name, place.url, error=f"does not answer: {error}")
    except (ValueError, KeyError, TypeError, AttributeError):
        return Seen(place.name, place.url, error="answers, and not as an ops listener does")


async def _get(session: aiohttp.ClientSession, url: str) -> bytes:
    async with session.get(url, allow_redirects=False) as answer:
        body = b""
        async for piece in answer.content.iter_any():
            body += piece
            if len(body) > _ANSWER_MAX:
                raise ValueError(f"{url} answers with more than {_ANSWER_MAX} bytes")
        return body


def _gauges(text: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for name, value in _GAUGE.findall(text):
        found.setdefault(name, []).append(float(value))
    return found


def screen(found: list[Seen]) -> Group:
    """One line a process, and below them what is wrong."""
    table = Table(title=f"{sum(each.well for each in found)} of {len(found)} are well", title_justify="left")
    for head in ("Process", "State", "Generation", "Shards"):
        table.add_column(head)
    for head in ("Behind", "Freshness", "Waiting"):
        table.add_column(head, justify="right")
    for each in found:
        status = each.status or {}
        table.add_row(
            Text(each.name),
            _state(each),
            *(Text(str(text)) for text in (_generation(status), _shards(status))),
            "" if each.behind is None else f"{each.behind:,.0f}",
            "" if each.freshness is None else f"{each.freshness:.1f} s",
            "" if each.waiting is None else f"{each.waiting:,.0f}",
        )
    wrong = [(each, each.error or each.why) for each in found]
    lines = [f"{each.name} ({each.address}): {why}" for each, why in wrong if why]
    lines += [f"{each.name}: {error}" for each in found for error in _errors(each.status or {})]
    return Group(table, *map(Text, lines))


def _shards(status: dict[str, Any]) -> str:
    """Those that the process has: lanes of a processor, shards of commits of a derive; else how many there are."""
    views, derive = status.get("views") or {}, status.get("derive") or {}
    if "lanes" in views:
        return " ".join(views["lanes"])
    if "places" in derive:
        return " ".join(f"commits[{shard}]" for shard in derive["places"])
    return str((status.get("log") or {}).get("shards", ""))


def _errors(status: dict[str, Any]) -> list[str]:
    """What it logged as errors last."""
    kept = [each for each in status.get("errors") or () if isinstance(each, dict)]
    return [" ".join(str(each[part]) for part in ("at", "event", "cause") if part in each) for each in kept[-_SHOWN:]]


def _generation(status: dict[str, Any]) -> str:
    return str((status.get("views") or {}).get("generation") or status.get("generation") or "")


def _state(each: Seen) -> Text:
    if each.error is not None:
        return Text("away", style="bold red")
    if not each.live:
        return Text("stuck", style="bold red")
    return Text("ready", style="green") if each.ready else Text("not ready", style="yellow")


def status(
    *,
    data: Data = None,
    ops: Annotated[
        list[str] | None, Parameter(help="[NAME=]HOST:PORT of an ops listener; may be repeated.", negative=())
    ] = None,
    watch: Annotated[bool, Parameter(help="Look again and again, until interrupted.", negative=())] = False,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Show the state of the network that serves the data directory, or of processes by their ops listeners.

    1 is also the code when one of them is away, not ready or stuck.
    """
    settings = settings_of({"data": data}, config, sets)
    if watch and as_json:
        return fail(USAGE, "--watch is for a screen: leave --json out")
    try:
        if as_json and not ops:
            show(asyncio.run(client.status(settings.data)), as_json=True)
            return DONE
        places = [place_of(text) for text in ops or [client.address(settings.data, "ops")]]
    except client.NotRunningError as error:
        return fail(FAILED, str(error))
    except ValueError as error:
        return fail(USAGE, str(error))
    found = asyncio.run(look(places))
    if as_json:
        show({"processes": [msgspec.to_builtins(each) for each in found]}, as_json=True)
    elif watch:
        found = _watch(places, found)
    else:
        with Live(screen(found), auto_refresh=False):
            pass  # it stays when this ends
        if not sys.stdout.isatty():
            sys.stdout.write("\n")
    return DONE if all(each.well for each in found) else FAILED


def _watch(places: list[Place], found: list[Seen]) -> list[Seen]:
    """Until interrupted; what was seen last."""
    try:
        with Live(screen(found), auto_refresh=False, screen=False) as live:
            while True:
                time.sleep(_AGAIN_SECONDS)
                found = asyncio.run(look(places))
                live.update(screen(found), refresh=True)
    except KeyboardInterrupt:
        return found

"""What `headrace backfill` asks of the process that serves a directory: hooks of its ops listener, by path.

A request is a line of JSON; where accounts are named, a line each follows. Does not own backfills
(`ingest.relay.backfill`) nor the command (`headrace/commands/backfill.py`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import msgspec

from api.relay.backfills import shown
from ingest.relay.backfill_reasons import BackfillReason
from ingest.relay.backfill_view import BackfillAdmin, BackfillView
from schemas.errors import Refused
from schemas.limits import DID_MAX
from schemas.syntax import Did

BEGIN, SHOW, STOP = "backfill/begin", "backfill/show", "backfill/stop"
FAILURES_SHOWN = 1_000
_LINE_MAX = 1_000_000
_TOGETHER = 1_000  # accounts put into the file at once

Hook = Callable[[AsyncIterator[bytes]], Awaitable[dict[str, Any]]]


class Begin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`named`: DIDs follow. `upstream`: the hosts are relays, whose accounts are fetched from their own hosts."""

    hosts: tuple[str, ...] = ()
    upstream: bool = False
    trusted: bool = False
    named: bool = False


class Chosen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Backfills by number; without any, those that are under way."""

    ids: tuple[int, ...] = ()


def hooks(relay: BackfillAdmin | None) -> dict[str, Hook]:
    """`relay` None: this process reads no hosts, and says so."""
    found = {BEGIN: begin, SHOW: show, STOP: stop}
    return {f"/{path}": partial(_asked, hook, relay) for path, hook in found.items()}


async def begin(relay: BackfillAdmin, pieces: AsyncIterator[bytes]) -> list[BackfillView]:
    """Those that have begun, or go on. Raises Refused: of a host, or DID_SYNTAX of a line, and then none has begun."""
    lines = _lines(pieces)
    asked = _read(await anext(lines, b""), Begin)
    views = []
    if asked.named:
        number = relay.backfills.of_accounts().id
        try:
            await _name(relay, number, lines)
        except BaseException:
            relay.backfills.stop(number)
            raise
        views.append(relay.backfills.named(number))
    views += [await relay.backfill_host(host, upstream=asked.upstream, trusted=asked.trusted) for host in asked.hosts]
    return views


async def show(relay: BackfillAdmin, pieces: AsyncIterator[bytes]) -> list[BackfillView]:
    return _chosen(relay, _read(await anext(_lines(pieces), b""), Chosen))


async def stop(relay: BackfillAdmin, pieces: AsyncIterator[bytes]) -> list[BackfillView]:
    chosen = _chosen(relay, _read(await anext(_lines(pieces), b""), Chosen))
    return [relay.backfills.stop(view.id) for view in chosen]


async def _asked(
    hook: Callable[[BackfillAdmin, AsyncIterator[bytes]], Awaitable[list[BackfillView]]],
    relay: BackfillAdmin | None,
    pieces: AsyncIterator[bytes],
) -> dict[str, Any]:
    if relay is None:
        raise Refused(
            BackfillReason.NO_RELAY,
            "the process that serves this directory reads no hosts: start it with --crawl or --relay, or stop it and "
            "ask again",
        )
    views = await hook(relay, pieces)
    return {"backfills": [{**shown(view), "failures": _failures(relay, view)} for view in views]}


def _failures(relay: BackfillAdmin, view: BackfillView) -> list[dict[str, str]]:
    if view.state == "running":
        return []
    found = relay.backfills.failures(view.id, "", FAILURES_SHOWN)
    return [{"did": did, "reason": reason, "detail": detail} for did, reason, detail in found]


def _chosen(relay: BackfillAdmin, asked: Chosen) -> list[BackfillView]:
    if asked.ids:
        return [relay.backfills.backfill(number) for number in asked.ids]
    return [view for view in relay.backfills.backfills() if view.state == "running"]


async def _name(relay: BackfillAdmin, number: int, lines: AsyncIterator[bytes]) -> None:
    together: list[Did] = []
    at = 1
    async for line in lines:
        at += 1
        text = line.decode("utf-8", "replace").partition("#")[0].strip()
        if not text:
            continue
        if len(text) > DID_MAX or not Did.is_valid(text):
            raise Refused(BackfillReason.DID_SYNTAX, f"account {at - 1}: expected a DID, found {text[:100]!r}")
        together.append(Did(text))
        if len(together) == _TOGETHER:
            relay.backfills.name(number, together)
            together = []
    relay.backfills.name(number, together)


def _read(line: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(line or b"{}", type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Refused(BackfillReason.REQUEST, f"expected {kind.__name__} as JSON: {error}") from None


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line
        if len(rest) > _LINE_MAX:
            raise Refused(BackfillReason.REQUEST, f"a line of more than {_LINE_MAX} bytes")
    if rest:
        yield rest

"""An operator's calls about backfills, over HTTP as `api.relay.admin` answers them.

Does not own what a backfill is (`ingest.relay.backfill_view`) nor who may call (`api.relay.admin`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from api.relay.admin import Given, flag, number, text
from ingest.relay.backfill_view import BackfillAdmin, BackfillView
from schemas.errors import XrpcError
from schemas.syntax import Did

DIDS_MAX = 10_000  # of one call
FAILURES_MAX = 1_000  # of one answer


async def start(relay: BackfillAdmin, given: Given) -> dict[str, Any]:
    """`host` (with `upstream`, `trusted` as of requestCrawl), or `dids`."""
    dids = given.get("dids")
    if dids is None:
        host = text(given, "host", "hostname")
        return shown(await relay.backfill_host(host, upstream=flag(given, "upstream"), trusted=flag(given, "trusted")))
    if not isinstance(dids, list) or not 0 < len(dids) <= DIDS_MAX or not all(isinstance(did, str) for did in dids):
        raise XrpcError("InvalidRequest", f"dids: expected a list of 1 to {DIDS_MAX} DIDs")
    parsed = [Did.parse(did) for did in dids]
    begun = relay.backfills.of_accounts()
    relay.backfills.name(begun.id, parsed)
    return shown(relay.backfills.named(begun.id))


async def stop(relay: BackfillAdmin, given: Given) -> dict[str, Any]:
    return shown(relay.backfills.stop(_id(given)))


async def list_all(relay: BackfillAdmin, given: Given) -> list[dict[str, Any]]:
    """The newest, in order; or the one whose `id` is given."""
    if given.get("id") is not None:
        return [shown(relay.backfills.backfill(_id(given)))]
    return [shown(view) for view in relay.backfills.backfills()]


async def failures(relay: BackfillAdmin, given: Given) -> dict[str, Any]:
    """Accounts that could not be had, in the order of their DIDs; `cursor` is the DID to go on after."""
    after = given.get("cursor", "")
    if not isinstance(after, str):
        raise XrpcError("InvalidRequest", "cursor: expected a DID")
    found = relay.backfills.failures(_id(given), after, FAILURES_MAX)
    page = [{"did": did, "reason": reason, "detail": detail} for did, reason, detail in found]
    return {"failures": page, **({"cursor": found[-1][0]} if len(found) == FAILURES_MAX else {})}


GETS = {"/admin/backfill/list": list_all, "/admin/backfill/failures": failures}
POSTS = {"/admin/backfill/start": start, "/admin/backfill/stop": stop}


def shown(view: BackfillView) -> dict[str, Any]:
    """A backfill as JSON."""
    found: dict[str, Any] = msgspec.to_builtins(view)
    return {**found, "whole": view.whole}


def _id(given: Given) -> int:
    found = number(given, "id")
    if found is None:
        raise XrpcError("InvalidRequest", "id: expected the number of a backfill")
    return found

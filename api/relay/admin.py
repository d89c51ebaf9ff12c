"""What a relay's operator may do, over HTTP: Basic auth with the admin token, paths and fields as indigo's relay has.

A host is named by `host`, in the query or in a JSON body; an account by `did`, a domain by `domain`. Source:
https://github.com/bluesky-social/indigo/tree/main/cmd/relay. Does not own what is done (`ingest.relay.directory`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import orjson
from aiohttp import web

from api.auth import Authenticator
from api.server import Handler, problem
from api.xrpc import Auth
from ingest.relay.backfill_reasons import BackfillReason
from ingest.relay.directory import HostLimits, HostView, RelayDirectory
from ingest.relay.reasons import RelayReason
from schemas.datetimes import from_micros
from schemas.errors import Refused, XrpcError
from schemas.syntax import Did

HOSTS_MAX = 10_000  # of one answer
_LIMITS = {"repo_limit": "accounts", "per_second": "per_second", "per_hour": "per_hour", "per_day": "per_day"}
_UNKNOWN = (RelayReason.HOST_UNKNOWN, RelayReason.ACCOUNT_UNKNOWN, BackfillReason.UNKNOWN)

Given = Mapping[str, Any]
Call = Callable[[RelayDirectory, Given], Awaitable[Any]]
Relay = TypeVar("Relay")


async def list_hosts(relay: RelayDirectory, given: Given) -> list[dict[str, Any]]:
    """Every host, oldest first; `cursor` is the `ID` to go on after."""
    return [_host(number, host) for number, host in relay.hosts(number(given, "cursor") or 0, HOSTS_MAX)]


async def list_connections(relay: RelayDirectory, _given: Given) -> list[str]:
    return [host.hostname for _, host in relay.hosts(0, HOSTS_MAX) if host.status in {"active", "idle", "throttled"}]


async def add_host(relay: RelayDirectory, given: Given) -> dict[str, Any]:
    """`upstream`: it is a relay; `trusted`: it has the trusted rate."""
    upstream, trusted = flag(given, "upstream"), flag(given, "trusted")
    return _host(None, await relay.add_host(text(given, "hostname", "host"), upstream=upstream, trusted=trusted))


async def change_limits(relay: RelayDirectory, given: Given) -> dict[str, Any]:
    """What is not named stays as it is; `null` gives a limit back to the relay's settings."""
    host = relay.host(text(given, "host"))
    if host is None:
        raise Refused(RelayReason.HOST_UNKNOWN, f"no host {text(given, 'host')[:256]} is known")
    now = host.limits
    limits = {field: number(given, name) if name in given else getattr(now, field) for name, field in _LIMITS.items()}
    trusted = flag(given, "trusted") if "trusted" in given else host.trusted
    return _host(None, await relay.set_limits(host.hostname, HostLimits(**limits), trusted=trusted))


async def ban_host(relay: RelayDirectory, given: Given, *, banned: bool) -> dict[str, Any]:
    return _host(None, await relay.ban_host(text(given, "host"), banned=banned))


async def disconnect(relay: RelayDirectory, given: Given) -> dict[str, Any]:
    """`block`: and ban it."""
    if flag(given, "block"):
        return await ban_host(relay, given, banned=True)
    return _host(None, await relay.disconnect(text(given, "host")))


async def list_domain_bans(relay: RelayDirectory, _given: Given) -> dict[str, list[str]]:
    return {"banned_domains": relay.domain_bans()}


async def ban_domain(relay: RelayDirectory, given: Given, *, banned: bool) -> dict[str, bool]:
    await relay.ban_domain(text(given, "domain", "Domain"), banned=banned)
    return {"success": True}


async def new_hosts_taken(relay: RelayDirectory, _given: Given) -> dict[str, bool]:
    return {"enabled": relay.new_hosts().taken}


async def take_new_hosts(relay: RelayDirectory, given: Given) -> dict[str, bool]:
    if "enabled" not in given:
        raise XrpcError("InvalidRequest", "expected enabled, true or false")
    relay.take_new_hosts(relay.new_hosts()._replace(taken=flag(given, "enabled")))
    return {"success": True}


async def new_hosts_per_day(relay: RelayDirectory, _given: Given) -> dict[str, int]:
    return {"limit": relay.new_hosts().per_day}


async def limit_new_hosts(relay: RelayDirectory, given: Given) -> dict[str, bool]:
    limit = number(given, "limit")
    if limit is None:
        raise XrpcError("InvalidRequest", "expected limit, a whole number")
    relay.take_new_hosts(relay.new_hosts()._replace(per_day=limit))
    return {"success": True}


async def take_down(relay: RelayDirectory, given: Given, *, taken_down: bool) -> dict[str, Any]:
    account = await relay.take_down(Did.parse(text(given, "did")), taken_down=taken_down)
    return {"did": account.did, "status": account.status}


GETS: dict[str, Call] = {
    "/admin/pds/list": list_hosts,
    "/admin/subs/getUpstreamConns": list_connections,
    "/admin/subs/listDomainBans": list_domain_bans,
    "/admin/subs/getEnabled": new_hosts_taken,
    "/admin/subs/perDayLimit": new_hosts_per_day,
}
POSTS: dict[str, Call] = {
    "/admin/pds/requestCrawl": add_host,
    "/admin/pds/changeLimits": change_limits,
    "/admin/pds/block": partial(ban_host, banned=True),
    "/admin/pds/unblock": partial(ban_host, banned=False),
    "/admin/subs/killUpstream": disconnect,
    "/admin/subs/banDomain": partial(ban_domain, banned=True),
    "/admin/subs/unbanDomain": partial(ban_domain, banned=False),
    "/admin/subs/setEnabled": take_new_hosts,
    "/admin/subs/setPerDayLimit": limit_new_hosts,
    "/admin/repo/takeDown": partial(take_down, taken_down=True),
    "/admin/repo/reverse": partial(take_down, taken_down=False),
    "/admin/repo/reverseTakedown": partial(take_down, taken_down=False),
}


def handlers(
    relay: Relay, authenticator: Authenticator, calls: Mapping[str, Callable[[Relay, Given], Awaitable[Any]]]
) -> dict[str, Handler]:
    """By path. Without an admin token nobody may call."""
    return {path: partial(_answer, relay, authenticator, call) for path, call in calls.items()}


async def _answer(
    relay: Relay,
    authenticator: Authenticator,
    call: Callable[[Relay, Given], Awaitable[Any]],
    request: web.BaseRequest,
) -> web.Response:
    try:
        await authenticator.verify(Auth.ADMIN, "", request.headers.get("Authorization"))
        answer = await call(relay, {**request.query, **await _body(request)})
    except XrpcError as error:
        headers = {"WWW-Authenticate": 'Basic realm="admin"'} if error.status == 401 else None
        return problem(error.status, error.name or "InvalidRequest", error.message, headers)
    except Refused as refused:
        return problem(404 if refused.reason in _UNKNOWN else 400, str(refused.reason), refused.detail)
    return web.Response(body=orjson.dumps(answer), content_type="application/json")


async def _body(request: web.BaseRequest) -> dict[str, Any]:
    data = await request.read()
    try:
        body = orjson.loads(data) if data else {}
    except orjson.JSONDecodeError as error:
        raise XrpcError("InvalidRequest", f"expected JSON: {error}") from error
    if not isinstance(body, dict):
        raise XrpcError("InvalidRequest", "expected a JSON object")
    return body


def _host(number: int | None, host: HostView) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "Host": host.hostname,
        "SSL": host.url.startswith("https:"),
        "Cursor": host.seq,
        "Status": host.status,
        "Blocked": host.status == "banned",
        "Upstream": host.upstream,
        "Trusted": host.trusted,
        "RepoCount": host.account_count,
        "Failures": host.failures,
        "CreatedAt": from_micros(host.added),
        **{name: getattr(host.limits, field) for name, field in _LIMITS.items()},
    }
    return shown if number is None else {"ID": number, **shown}


def text(given: Given, *names: str) -> str:
    for name in names:
        if isinstance(given.get(name), str) and given[name].strip():
            return str(given[name]).strip()
    raise XrpcError("InvalidRequest", f"expected {names[0]}, a text, in the query or in a JSON object")


def number(given: Given, name: str) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 15:
        value = int(value)
    if type(value) is not int or not 0 <= value < 2**53:
        raise XrpcError("InvalidRequest", f"{name}: expected a whole number, 0 or above")
    return value


def flag(given: Given, name: str) -> bool:
    value = given.get(name, False)
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise XrpcError("InvalidRequest", f"{name}: expected true or false")
    return value

"""`headrace hosts`: whom a relay reads, and what its operator may do about it, over its admin endpoints.

Does not own those (`api/relay/admin.py`), nor how a server is found (`admin_client.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import cyclopts
import orjson
from cyclopts import Parameter

from headrace.commands.admin_client import Admin, AnsweredError, Url, ask
from headrace.commands.common import DONE, USAGE, Config, Data, Json, Sets, fail, show
from headrace.commands.tables import show_table

Host = Annotated[str, Parameter(help="A host's name, as `headrace hosts list` shows it.")]
Domain = Annotated[str, Parameter(help="A domain, with all hosts under it.")]
Limit = Annotated[int | None, Parameter(help="0 or above; left out, it stays as it is.")]
_PAGE = 10_000


def list_(
    *, url: Url = None, data: Data = None, config: Config = None, sets: Sets = None, as_json: Json = False
) -> int:
    """Show every host: state, cursor, accounts, failures, and the domains that are banned."""

    async def work(admin: Admin) -> int:
        hosts: list[dict[str, Any]] = []
        while True:
            page = await _get(admin, "/admin/pds/list", cursor=hosts[-1]["ID"] if hosts else None)
            hosts += page
            if len(page) < _PAGE:
                break
        banned = (await _get(admin, "/admin/subs/listDomainBans"))["banned_domains"]
        if as_json:
            sys.stdout.write(orjson.dumps({"hosts": hosts, "banned_domains": banned}).decode() + "\n")
            return DONE
        names = ("Host", "Status", "Cursor", "RepoCount", "repo_limit", "Trusted", "Upstream", "Failures")
        head = ("host", "state", "cursor", "accounts", "limit", "trusted", "upstream", "failures")
        show_table(head, [[host.get(name) for name in names] for host in hosts])
        for domain in banned:
            sys.stdout.write(f"banned: *.{domain}\n")
        return DONE

    return ask(work, url, data, config, sets)


def add(
    host: Annotated[str, Parameter(help="Name, with its port if that is not 443.")],
    *,
    upstream: Annotated[bool, Parameter(help="It is a relay.", negative=())] = False,
    trusted: Annotated[
        bool, Parameter(help="It may have any number of accounts, at the trusted rate.", negative=())
    ] = False,
    url: Url = None,
    data: Data = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Read a host from now on, without the quota of new ones."""
    body = {"hostname": host, "upstream": upstream, "trusted": trusted}
    return ask(_call("/admin/pds/requestCrawl", body, as_json=as_json), url, data, config, sets)


def ban(
    host: Host, *, url: Url = None, data: Data = None, config: Config = None, sets: Sets = None, as_json: Json = False
) -> int:
    """Read a host no more, and refuse it."""
    return ask(_call("/admin/pds/block", {"host": host}, as_json=as_json), url, data, config, sets)


def unban(
    host: Host, *, url: Url = None, data: Data = None, config: Config = None, sets: Sets = None, as_json: Json = False
) -> int:
    """Read a host again."""
    return ask(_call("/admin/pds/unblock", {"host": host}, as_json=as_json), url, data, config, sets)


def disconnect(
    host: Host, *, url: Url = None, data: Data = None, config: Config = None, sets: Sets = None, as_json: Json = False
) -> int:
    """Close the connection to a host; it is connected again."""
    return ask(_call("/admin/subs/killUpstream", {"host": host}, as_json=as_json), url, data, config, sets)


def limits(
    host: Host,
    *,
    accounts: Limit = None,
    per_second: Limit = None,
    per_hour: Limit = None,
    per_day: Limit = None,
    trusted: Annotated[bool | None, Parameter(help="Give it the trusted rate, or take that away.")] = None,
    url: Url = None,
    data: Data = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Set how many accounts a host may have, and how many events it may send."""
    given = {
        "repo_limit": accounts,
        "per_second": per_second,
        "per_hour": per_hour,
        "per_day": per_day,
        "trusted": trusted,
    }
    change = {name: value for name, value in given.items() if value is not None}
    if not change:
        return fail(
            USAGE, "expected a limit to change, found none: --accounts, --per-second, --per-hour, --per-day, --trusted"
        )
    return ask(_call("/admin/pds/changeLimits", {"host": host, **change}, as_json=as_json), url, data, config, sets)


def ban_domain(domain: Domain, *, url: Url = None, data: Data = None, config: Config = None, sets: Sets = None) -> int:
    """Refuse a domain with all hosts under it."""
    return ask(_call("/admin/subs/banDomain", {"domain": domain}, as_json=False), url, data, config, sets)


def unban_domain(
    domain: Domain, *, url: Url = None, data: Data = None, config: Config = None, sets: Sets = None
) -> int:
    """Let a domain's hosts be read again."""
    return ask(_call("/admin/subs/unbanDomain", {"domain": domain}, as_json=False), url, data, config, sets)


def groups() -> tuple[cyclopts.App, ...]:
    hosts = cyclopts.App(name="hosts", help="Hosts that a relay reads (`headrace relay`, or `headrace up --crawl`).")
    for command in (add, ban, unban, disconnect, limits, ban_domain, unban_domain):
        hosts.command(command)
    hosts.command(list_, name="list")
    return (hosts,)


def _call(path: str, body: dict[str, Any], *, as_json: bool) -> Callable[[Admin], Awaitable[int]]:
    async def work(admin: Admin) -> int:
        try:
            answer = await admin.post(path, body)
        except AnsweredError as error:
            raise _no_relay(error) from error
        show(answer, as_json=as_json)
        return DONE

    return work


async def _get(admin: Admin, path: str, **parameters: int | None) -> Any:
    try:
        return await admin.get(path, **parameters)
    except AnsweredError as error:
        raise _no_relay(error) from error


def _no_relay(error: AnsweredError) -> AnsweredError:
    """A server without these paths is no relay; a relay names what it does not know."""
    if error.status in (404, 405) and error.name in ("NotFound", "an answer without a reason", "MethodNotAllowed"):
        return AnsweredError(
            error.status,
            "NotARelay",
            "this server reads no hosts: name one of `headrace relay`, or of `headrace up --crawl`",
        )
    return error

"""com.atproto.sync at a relay, where it answers otherwise than a PDS: of accounts that live elsewhere, from the log.

getRepo sends the caller on to the account's host: a relay keeps no repos. A file of an NSID answers as a PDS does.
Does not own what a relay knows (`ingest.relay.directory`).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from api.com.atproto.sync.shared import number_of
from api.xrpc import Answer, Ctx, Endpoint
from ingest.relay.directory import AccountView
from schemas.errors import XrpcError

# The errors that the lexicons declare, by what stands in the way.
_HIDDEN = {"takendown": "RepoTakendown", "suspended": "RepoSuspended", "deactivated": "RepoDeactivated"}


async def list_repos(ctx: Ctx) -> Answer:
    """Accounts in the order in which they came; those without a repo here yet are passed over."""
    limit = ctx.params["limit"]
    found = ctx.services.relay.accounts(number_of(ctx.params.get("cursor")), limit)
    repos = [
        {"did": account.did, "head": str(account.commit), "rev": account.rev, **_state(account)}
        for account in found
        if account.commit is not None
    ]
    answer: dict[str, Any] = {"repos": repos}
    if len(found) == limit:
        answer["cursor"] = str(found[-1].number)
    return answer


async def get_repo_status(ctx: Ctx) -> Answer:
    account = _account(ctx)
    answer = {"did": account.did, **_state(account)}
    if account.status == "active" and account.rev is not None:
        answer["rev"] = account.rev
    return answer


async def get_latest_commit(ctx: Ctx) -> Answer:
    account = _shown(ctx)
    if account.commit is None:
        raise _not_found(account.did)
    return {"cid": str(account.commit), "rev": account.rev}


async def get_repo(ctx: Ctx) -> Answer:
    account = _shown(ctx)
    host = None if account.host is None else ctx.services.relay.host(account.host)
    if host is None:
        raise _not_found(account.did)
    asked = {"did": account.did, **({"since": ctx.params["since"]} if "since" in ctx.params else {})}
    address = f"{host.url}/xrpc/com.atproto.sync.getRepo?{urlencode(asked)}"
    return web.Response(status=302, headers={"Location": address, "Access-Control-Allow-Origin": "*"})


def _account(ctx: Ctx) -> AccountView:
    account = ctx.services.relay.account(ctx.params["did"])
    if account is None:
        raise _not_found(ctx.params["did"])
    return account


def _shown(ctx: Ctx) -> AccountView:
    account = _account(ctx)
    if account.status in _HIDDEN:
        raise XrpcError(_HIDDEN[account.status], f"Repo is {account.status}: {account.did}")
    if account.status == "deleted":
        raise _not_found(account.did)
    return account


def _state(account: AccountView) -> dict[str, Any]:
    # A repo that lags here is open all the same: its host serves it.
    if account.status == "active":
        return {"active": True}
    return {"active": account.status in {"desynchronized", "throttled"}, "status": account.status}


def _not_found(did: str) -> XrpcError:
    return XrpcError("RepoNotFound", f"Could not find repo for DID: {did}")


ENDPOINTS = (
    Endpoint("com.atproto.sync.getLatestCommit", get_latest_commit),
    Endpoint("com.atproto.sync.getRepo", get_repo),
    Endpoint("com.atproto.sync.getRepoStatus", get_repo_status),
    Endpoint("com.atproto.sync.listRepos", list_repos),
)

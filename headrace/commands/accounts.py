"""`headrace accounts`: who lives on a PDS, and what its operator may do about it, over its admin endpoints.

Does not own those (`api/com/atproto/admin/`), nor how a server is found (`admin_client.py`).
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

import cyclopts
import orjson
from cyclopts import Parameter

from headrace.commands.admin_client import Admin, AnsweredError, Url, ask
from headrace.commands.common import DONE, USAGE, Config, Data, Json, Sets, fail, show
from headrace.commands.tables import show_table

Account = Annotated[str, Parameter(help="DID or handle.")]
Subject = Annotated[str, Parameter(help="DID, handle, or the at:// URI of a record.")]

_ADMIN = "/xrpc/com.atproto.admin."
_SYNC = "/xrpc/com.atproto.sync."
_REPO = "com.atproto.admin.defs#repoRef"
_RECORD = "com.atproto.repo.strongRef"
_PAGE = 100
_NOT_FOUND = 404
_STATES_PAGE = 1_000


def list_(
    *,
    email: Annotated[str | None, Parameter(help="Part of an address.")] = None,
    url: Url = None,
    data: Data = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Show every account: DID, handle, state, since when, address."""

    async def work(admin: Admin) -> int:
        away = {did: state async for did, state in _away(admin)}
        rows = [_shown(view, away) async for view in _accounts(admin, email)]
        if as_json:
            sys.stdout.write(orjson.dumps({"accounts": rows}).decode() + "\n")
        else:
            head = ("did", "handle", "state", "since", "email")
            show_table(head, [[row.get(name) for name in head] for row in rows])
        return DONE

    return ask(work, url, data, config, sets)


def show_(
    account: Account,
    *,
    url: Url = None,
    data: Data = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Show one account: also its rev, and under which reference it is taken down."""

    async def work(admin: Admin) -> int:
        did = await _did(admin, account)
        found = _shown(await admin.get(_ADMIN + "getAccountInfo", did=did), {})
        status = await admin.get(_ADMIN + "getSubjectStatus", did=did)
        repo = await admin.get(_SYNC + "getRepoStatus", did=did)
        found["state"] = "active" if repo["active"] else repo.get("status", "inactive")
        found["takedown"] = status.get("takedown", {}).get("ref")
        found["rev"] = repo.get("rev")
        show({name: value for name, value in found.items() if value is not None}, as_json=as_json)
        return DONE

    return ask(work, url, data, config, sets)


def takedown(
    subject: Subject,
    *,
    reference: Annotated[str | None, Parameter(help="What it is known by: a case's number; else the time.")] = None,
    url: Url = None,
    data: Data = None,
    config: Config = None,
    sets: Sets = None,
) -> int:
    """Hide an account, here and on the network, or one record; what it holds stays. An account's sessions end."""
    applied = {"applied": True} | ({} if reference is None else {"ref": reference})
    return ask(_status(subject, {"takedown": applied}), url, data, config, sets)


def untakedown(
    subject: Subject, *, url: Url = None, data: Data = None, config: Config = None, sets: Sets = None
) -> int:
    """Show again what was taken down."""
    return ask(_status(subject, {"takedown": {"applied": False}}), url, data, config, sets)


def reset_password(
    account: Account, *, url: Url = None, data: Data = None, config: Config = None, sets: Sets = None
) -> int:
    """Give an account a new password, which is printed on stdout; its sessions end."""

    async def work(admin: Admin) -> int:
        password = secrets.token_urlsafe(18)
        did = await _did(admin, account)
        await admin.post(_ADMIN + "updateAccountPassword", {"did": did, "password": password})
        sys.stdout.write(password + "\n")
        return DONE

    return ask(work, url, data, config, sets)


def delete(
    account: Account,
    *,
    yes: Annotated[bool, Parameter(help="Yes, for good.", negative=())] = False,
    url: Url = None,
    data: Data = None,
    config: Config = None,
    sets: Sets = None,
) -> int:
    """Delete an account for good, with its records and blobs. Only a backup has it then."""
    if not yes:
        return fail(USAGE, f"{account} would be deleted, with all its records and blobs, for good: say so with --yes")

    async def work(admin: Admin) -> int:
        did = await _did(admin, account)
        await admin.post(_ADMIN + "deleteAccount", {"did": did})
        show({"deleted": did}, as_json=False)
        return DONE

    return ask(work, url, data, config, sets)


def groups() -> tuple[cyclopts.App, ...]:
    accounts = cyclopts.App(name="accounts", help="Accounts of a PDS, for its operator.")
    for command in (takedown, untakedown, reset_password, delete):
        accounts.command(command)
    accounts.command(list_, name="list")
    accounts.command(show_, name="show")
    return (accounts,)


def _status(subject: str, change: dict[str, Any]) -> Callable[[Admin], Awaitable[int]]:
    async def work(admin: Admin) -> int:
        named = await _subject(admin, subject)
        answer = await admin.post(_ADMIN + "updateSubjectStatus", {"subject": named, **change})
        taken = answer["takedown"]
        show(
            {"subject": named.get("uri") or named["did"], **{f"takedown {k}": v for k, v in taken.items()}},
            as_json=False,
        )
        return DONE

    return work


async def _subject(admin: Admin, subject: str) -> dict[str, Any]:
    if not subject.startswith("at://"):
        return {"$type": _REPO, "did": await _did(admin, subject)}
    found = await admin.get(_ADMIN + "getSubjectStatus", uri=subject)
    return {"$type": _RECORD, "uri": subject, "cid": found["subject"]["cid"]}


async def _did(admin: Admin, account: str) -> str:
    """Also of a handle whose account is hidden, which no resolution tells."""
    if account.startswith("did:"):
        return account
    wanted = account.removeprefix("@").lower()
    try:
        found = await admin.get("/xrpc/com.atproto.identity.resolveHandle", handle=wanted)
        return str(found["did"])
    except AnsweredError:
        async for view in _accounts(admin, None):
            if view["handle"] == wanted:
                return str(view["did"])
        raise AnsweredError(
            _NOT_FOUND, "AccountNotFound", f"no account {wanted} here: `headrace accounts list` shows all"
        ) from None


async def _accounts(admin: Admin, email: str | None) -> AsyncIterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        page = await admin.get(_ADMIN + "searchAccounts", email=email, limit=_PAGE, cursor=cursor)
        for view in page["accounts"]:
            yield view
        cursor = page.get("cursor")
        if cursor is None:
            return


async def _away(admin: Admin) -> AsyncIterator[tuple[str, str]]:
    """Accounts that are not active, and why."""
    cursor: str | None = None
    while True:
        page = await admin.get(_SYNC + "listRepos", limit=_STATES_PAGE, cursor=cursor)
        for repo in page["repos"]:
            if not repo["active"]:
                yield repo["did"], repo.get("status", "inactive")
        cursor = page.get("cursor")
        if cursor is None:
            return


def _shown(view: dict[str, Any], away: dict[str, str]) -> dict[str, Any]:
    return {
        "did": view["did"],
        "handle": view["handle"],
        "state": away.get(view["did"], "active"),
        "since": view["indexedAt"],
        "email": view.get("email"),
    }

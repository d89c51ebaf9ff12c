"""com.atproto.sync.listRepos: every repo hosted here, inactive ones too, in order of creation."""

from __future__ import annotations

from typing import Any

from api.xrpc import Answer, Ctx, Endpoint


async def handle(ctx: Ctx) -> Answer:
    page, cursor = ctx.services.pds.sync.list_repos(cursor=ctx.params.get("cursor"), limit=ctx.params["limit"])
    repos: list[dict[str, Any]] = []
    for status in page:
        if status.commit is None:  # a migration that has not brought its repo yet
            continue
        repo = {"did": status.did, "head": str(status.commit), "rev": status.rev, "active": status.active}
        if not status.active:
            repo["status"] = status.status
        repos.append(repo)
    answer: dict[str, Any] = {"repos": repos}
    if cursor is not None:
        answer["cursor"] = cursor
    return answer


ENDPOINT = Endpoint("com.atproto.sync.listRepos", handle)

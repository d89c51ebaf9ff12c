"""The calls of a relay's operator beside a PDS, by path: hosts and backfills. Accounts are the PDS's operator's.

Does not own the calls (`api.relay.admin`, `api.relay.backfills`).
"""

from __future__ import annotations

from api.auth import Authenticator
from api.relay import admin, backfills
from api.server import Handler
from ingest.relay.backfill_view import BackfillAdmin
from ingest.relay.directory import RelayDirectory

_ACCOUNTS = "/admin/repo/"


def hosts(
    relay: RelayDirectory, fetching: BackfillAdmin, authenticator: Authenticator
) -> tuple[dict[str, Handler], dict[str, Handler]]:
    """What is asked, and what is done."""
    doing = {path: call for path, call in admin.POSTS.items() if not path.startswith(_ACCOUNTS)}
    return (
        {**admin.handlers(relay, authenticator, admin.GETS), **admin.handlers(fetching, authenticator, backfills.GETS)},
        {**admin.handlers(relay, authenticator, doing), **admin.handlers(fetching, authenticator, backfills.POSTS)},
    )

"""com.atproto.sync.getCheckout: deprecated; the whole repo, as getRepo gives it."""

from __future__ import annotations

from api.com.atproto.sync import get_repo
from api.xrpc import Auth, Endpoint

ENDPOINT = Endpoint("com.atproto.sync.getCheckout", get_repo.handle, Auth.ACCESS_OR_ADMIN_OPTIONAL)

"""The `atproto-proxy` header: which service a client wants its call forwarded to.

One process has one AppView; a call for it needs no hop. Does not own forwarding to other services: there is none.
"""

from __future__ import annotations

from api.config import ServerConfig
from api.errors import invalid_request

_APPVIEW = "bsky_appview"


def check_proxy(header: str, config: ServerConfig) -> None:
    """Raises XrpcError unless `did#service` names our own AppView."""
    did, mark, service = header.partition("#")
    if not did:
        raise invalid_request("no did specified in proxy header")
    if not mark or not service:
        raise invalid_request("no service id specified in proxy header")
    if "#" in service:
        raise invalid_request("invalid proxy header format")
    if " " in header:
        raise invalid_request("proxy header cannot contain spaces")
    if did != config.appview_did:
        raise invalid_request(f"could not resolve proxy did: this server forwards to {config.appview_did} alone")
    if service != _APPVIEW:
        raise invalid_request(f"could not resolve proxy did service url: {did} offers #{_APPVIEW} alone")

"""did:web as this network allows it: a host name and nothing else (https://atproto.com/specs/did#blessed-did-methods).

Does not own fetching (fetch.py) or the document (did_doc.py).
"""

from __future__ import annotations

import re

from ingest.identity.reasons import IdentityReason, IdentityRefused
from schemas.syntax import Did, Handle

PREFIX = "did:web:"
MAX_DOCUMENT = 65_536

_LOCALHOST = re.compile(r"localhost(?:%3[Aa](?P<port>[1-9][0-9]{0,4}))?", re.ASCII)


def document_url(did: Did, *, allow_localhost: bool = False) -> str:
    """Where the document of a did:web lies. `localhost`, with a port as `%3A`, is for development networks.

    Raises IdentityRefused(HOST) for paths, ports, addresses and reserved names.
    """
    host = did.removeprefix(PREFIX)
    local = _LOCALHOST.fullmatch(host)
    if local and allow_localhost:
        port = local["port"]
        return "http://localhost" + (f":{port}" if port else "") + "/.well-known/did.json"
    # A handle's syntax is that of a host name whose last label is no number: no address passes.
    if not did.startswith(PREFIX) or not Handle.is_valid(host) or host != host.lower():
        raise IdentityRefused(IdentityReason.HOST, f"expected did:web:<lower-case host name>, found {did[:200]}")
    return f"https://{host}/.well-known/did.json"

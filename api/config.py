"""What the HTTP layer must know of where and as whom it serves.

Does not own: where the values come from (`headrace/settings.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """`hostname` has no port; `public_url` has scheme and port; DIDs are did:web of the hostname unless set."""

    hostname: str
    public_url: str
    service_did: str
    appview_did: str
    handle_domains: tuple[str, ...]  # each with its leading dot
    admin_token: str = field(repr=False)
    ops_token: str = field(repr=False)
    version: str
    blob_limit: int  # bytes one uploadBlob may bring
    json_limit: int  # bytes one JSON body may have
    trust_forwarded: bool = False  # take the client's address from X-Forwarded-For (behind a proxy of ours only)
    image_url: str = ""  # base of image addresses in views; empty: public_url
    offers: tuple[str, ...] = ("pds", "appview")  # what the server's DID document names

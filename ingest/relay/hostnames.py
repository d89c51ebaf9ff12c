"""What a host may be called, and the origin it is reached at. Pure.

A public host is a DNS name of two labels or more, reached by https at its usual port; with `private` (a laboratory,
tests) also localhost and 127.0.0.1 with any port, by http. Does not own whether it may be connected to
(`ingest.identity.ssrf`: the address is judged when the socket is made).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ingest.relay.reasons import RelayReason
from schemas.errors import Refused

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?").fullmatch
_PRIVATE = re.compile(r"(?:localhost|127\.0\.0\.1)(?::[0-9]{1,5})?").fullmatch
_SCHEMES = ("https://", "wss://", "http://", "ws://")


class Origin(NamedTuple):
    hostname: str
    url: str


def parse_host(text: str, *, private: bool = False) -> Origin:
    """A hostname or a URL without a path. Raises Refused(HOST_SYNTAX)."""
    name = text.strip().lower()
    for scheme in _SCHEMES:
        name = name.removeprefix(scheme)
    name = name.removesuffix("/")
    if private and _PRIVATE(name):
        return Origin(name, f"http://{name}")
    name = name.removesuffix(":443")
    if not _NAME(name):
        raise Refused(
            RelayReason.HOST_SYNTAX, f"expected a public host name as pds.example.com, found {text.strip()[:100]!r}"
        )
    return Origin(name, f"https://{name}")


def is_under(hostname: str, domains: frozenset[str] | set[str]) -> bool:
    """Whether a host is one of the domains, or lies below one."""
    name = hostname.partition(":")[0].removesuffix(".")
    while name:
        if name in domains:
            return True
        _, _, name = name.partition(".")
    return False

"""Names in DNS that others are to find us by: the server's, those of public addresses, and any handle below a domain.

Names of this machine, and those that are reserved for it, are in no DNS: they are left out, and said. Does not own how
names are looked up (`ingest.identity.dns_txt`).
"""

from __future__ import annotations

import secrets
from ipaddress import ip_address
from urllib.parse import urlsplit

from headrace.doctor.finding import WrongError
from headrace.settings import Settings
from ingest.identity.dns_txt import DnsTxt
from ingest.identity.reasons import IdentityRefused

# RFC 2606, RFC 6761, RFC 6762, and .internal, which ICANN keeps for private use.
_RESERVED = frozenset({"example", "internal", "invalid", "local", "localhost", "test"})


def public(settings: Settings) -> tuple[list[str], list[str]]:
    """(names to look up, names that are in no DNS), each once."""
    urls = (settings.public_url, settings.image_url, settings.appview_url)
    hosts = [settings.hostname, *(urlsplit(url).hostname or "" for url in urls if url is not None)]
    every = list(dict.fromkeys(host.lower().rstrip(".") for host in hosts)) + [
        f"*{each}" for each in settings.handle_domains
    ]
    asked = [name for name in every if _is_public(name)]
    return asked, [name for name in every if name not in asked]


def _is_public(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return "." in name and name.rpartition(".")[2] not in _RESERVED
    return False


async def found(settings: Settings, name: str) -> str:
    """Of a domain (`*.example.com`) a name below it that nobody can have made by hand. Raises WrongError."""
    asked = f"doctor-{secrets.token_hex(6)}{name[1:]}" if name.startswith("*") else name
    try:
        addresses = await DnsTxt(settings.dns_servers).addresses(asked)
    except IdentityRefused as refused:
        raise WrongError(
            f"{asked} was looked up, expected an answer, found none ({refused.detail}): check the name servers"
            " (dns_servers, /etc/resolv.conf) and that this machine may ask them (UDP and TCP, port 53)"
        ) from refused
    if not addresses:
        what = (
            "handles below it are found by nobody: make a wildcard record" if name.startswith("*") else "make a record"
        )
        raise WrongError(
            f"{name} has no address in DNS ({asked} was asked), expected this server's or its proxy's: {what}"
            " (A or AAAA), or set hostname, public_url and handle_domains to names that are yours"
        )
    return f"{name} is {', '.join(sorted(addresses)[:4])}"


def left_out(names: list[str]) -> str:
    return f"{', '.join(names)}: of this machine alone, in no DNS"

"""Where outgoing requests on behalf of strangers may connect: public unicast addresses, ports 80 and 443.

The address is judged when the socket is made, after every name, odd spelling, redirect and second DNS answer has become
the address that would be connected to; nothing is judged by its URL. Development networks are let in by listing them.
Does not own redirects, sizes or time (fetch.py).
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import TCPConnector
from aiohttp.abc import AbstractResolver

Network = IPv4Network | IPv6Network

PORTS = frozenset((80, 443))
LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

# Special ranges of which ipaddress says is_global: 6to4 relays, AS112, AMT, and what embeds a v4 address in a v6 one.
_SPECIAL_V4 = tuple(map(IPv4Network, ("192.88.99.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.175.48.0/24")))
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")))
_ISATAP = (0x00005EFE, 0x02005EFE)


class BlockedAddress(OSError):  # noqa: N818 - says what happened where aiohttp collects OSErrors
    """The guard refused to open a socket; the text is the same for every address, so that several collapse to one."""

    def __init__(self) -> None:
        super().__init__("refused by the outgoing address guard: not a public address on port 80 or 443")


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether packets to it leave for the public internet as ordinary unicast, whatever its form."""
    if isinstance(address, IPv6Address):
        if address.scope_id or address not in _GLOBAL_UNICAST or (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
            return False
        return address.is_global and not any(address in network for network in _SPECIAL_V6)
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return not any(address in network for network in _SPECIAL_V4)


class AddressGuard:
    """`allowed` networks pass on any port; everything else must be public and on port 80 or 443."""

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self._allowed = tuple(allowed)

    def permits(self, host: str, port: int) -> bool:
        """`host` is a numeric address as the socket layer spells it."""
        try:
            address = ip_address(host)
        except ValueError:
            return False
        plain = address.ipv4_mapped if isinstance(address, IPv6Address) and address.ipv4_mapped else address
        if any(plain in network for network in self._allowed):
            return True
        return port in PORTS and is_public(address)

    def socket(self, info: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        """The socket factory for aiohttp. Raises BlockedAddress."""
        family, kind, protocol, _, address = info
        host, port = address[:2]
        inet = family in (socket.AF_INET, socket.AF_INET6)
        if not inet or not isinstance(host, str) or not isinstance(port, int) or not self.permits(host, port):
            raise BlockedAddress
        return socket.socket(family, kind, protocol)

    def connector(self, resolver: AbstractResolver | None = None, limit: int = 128) -> TCPConnector:
        """A connector whose every new socket passes this guard; names are looked up anew each time."""
        return TCPConnector(
            resolver=resolver,
            socket_factory=self.socket,
            use_dns_cache=False,
            limit=limit,
            limit_per_host=16,
        )

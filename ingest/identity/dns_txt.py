"""TXT look-ups by dnspython on the event loop, and whether a name has an address; the only file that imports it.

Does not own what a record means (handles.py).
"""

from __future__ import annotations

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.resolver

from ingest.identity.reasons import IdentityReason, IdentityRefused

MAX_RECORDS = 64


class DnsTxt:
    """`await lookup(name)` gives the TXT values of a name; none when there is no such name.

    `nameservers` (addresses, with a port as 192.0.2.1:5353 or [::1]:5353) replace the system's; `port` is of those
    without one; `timeout` is for the whole look-up.
    """

    def __init__(self, nameservers: tuple[str, ...] = (), port: int = 53, timeout: float = 3.0) -> None:
        self._nameservers = nameservers
        self._port = port
        self._timeout = timeout
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def lookup(self, name: str) -> tuple[str, ...]:
        """Raises IdentityRefused(UNREACHABLE or TIMEOUT) when the servers do not say."""
        try:
            answer = await self._open().resolve(name, "TXT", lifetime=self._timeout, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ()
        except dns.exception.Timeout as error:
            raise IdentityRefused(IdentityReason.TIMEOUT, f"no DNS answer within {self._timeout} s: {name}") from error
        except (dns.exception.DNSException, OSError) as error:
            raise IdentityRefused(IdentityReason.UNREACHABLE, f"DNS: {type(error).__name__}: {name}") from error
        records = list(answer)[:MAX_RECORDS]
        return tuple(b"".join(record.strings).decode("utf-8", "replace") for record in records)

    async def addresses(self, name: str) -> tuple[str, ...]:
        """Its IPv4 and IPv6 addresses; none when there is no such name. Raises as `lookup` does."""
        try:
            answer = await self._open().resolve_name(name, lifetime=self._timeout, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ()
        except dns.exception.Timeout as error:
            raise IdentityRefused(IdentityReason.TIMEOUT, f"no DNS answer within {self._timeout} s: {name}") from error
        except (dns.exception.DNSException, OSError) as error:
            raise IdentityRefused(IdentityReason.UNREACHABLE, f"DNS: {type(error).__name__}: {name}") from error
        return tuple(answer.addresses())[:MAX_RECORDS]

    def _open(self) -> dns.asyncresolver.Resolver:
        if self._resolver is None:
            self._resolver = dns.asyncresolver.Resolver(configure=not self._nameservers)
            if self._nameservers:
                self._resolver.nameservers = [_server(each, self._port) for each in self._nameservers]
        return self._resolver


def _server(text: str, port: int) -> dns.nameserver.Nameserver:
    """Of `192.0.2.1`, `::1`, or either with a port."""
    address, colon, number = text.rpartition(":")
    if colon and (address.startswith("[") or ":" not in address):
        return dns.nameserver.Do53Nameserver(address.strip("[]"), int(number))
    return dns.nameserver.Do53Nameserver(text, port)

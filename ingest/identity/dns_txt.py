"""TXT look-ups by dnspython on the event loop; the only file that imports it.

Does not own what a record means (handles.py).
"""

from __future__ import annotations

import dns.asyncresolver
import dns.exception
import dns.resolver

from ingest.identity.reasons import IdentityReason, IdentityRefused

MAX_RECORDS = 64


class DnsTxt:
    """`await lookup(name)` gives the TXT values of a name; none when there is no such name.

    `nameservers` (addresses) and `port` replace the system's; `timeout` is for the whole look-up.
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

    def _open(self) -> dns.asyncresolver.Resolver:
        if self._resolver is None:
            self._resolver = dns.asyncresolver.Resolver(configure=not self._nameservers)
            if self._nameservers:
                self._resolver.nameservers = list(self._nameservers)
                self._resolver.port = self._port
        return self._resolver

"""Certificates: those that the settings name, and those that broker and store show. None has ended or is about to.

Does not own how they are read (`headrace/certificates.py`). Shows nothing of a key.
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from shlex import quote

from headrace import certificates
from headrace.doctor.finding import WrongError
from headrace.settings import Settings

# The alert HeadraceCertificateEnds fires from there too.
SOON = timedelta(days=14)
_SECONDS = 5.0


def file(settings: Settings, name: str) -> str:
    """Raises SettingsError, WrongError."""
    found = certificates.read(settings, name)
    shown = quote(str(found.path))
    return judged(
        str(found.path),
        found.ends,
        f"put its successor there and start the processes again that were given it (openssl x509 -enddate -noout -in"
        f" {shown} says the first one's end)",
    )


def key(settings: Settings) -> str:
    """Raises SettingsError, WrongError."""
    if not certificates.key_fits(settings):
        raise WrongError(
            f"{settings.kafka_ssl_key or settings.kafka_ssl_cert} is not the key of {settings.kafka_ssl_cert}, expected"
            " the one that it was issued for: put certificate and key there together"
        )
    return f"is the key of {settings.kafka_ssl_cert}"


def judged(what: str, ends: datetime, cure: str) -> str:
    """Raises WrongError when it has ended or will within two weeks."""
    left, day = ends - datetime.now(UTC), f"{ends:%Y-%m-%dT%H:%M:%SZ}"
    if left <= timedelta(0):
        raise WrongError(f"{what} ended on {day}, expected a certificate that holds: {cure}")
    if left < SOON:
        raise WrongError(f"{what} ends on {day}, expected {SOON.days} days or more from now: {cure}")
    return f"{what} holds until {day}"


async def shown(address: str, context: ssl.SSLContext) -> str:
    """What the server at `address` (host:port) shows to a client that checks it as ours do. Raises WrongError."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    except ssl.SSLCertVerificationError as error:
        raise WrongError(
            f"{address} shows a certificate that does not hold ({error.verify_message}), expected one that our"
            " authorities have signed for that name: renew it there, or set the file of authorities to those that did"
        ) from error
    except (OSError, TimeoutError) as error:
        raise WrongError(
            f"{address}: expected a server that speaks TLS, found {str(error) or 'no answer'}: check the address,"
            " and whether TLS is what it speaks"
        ) from error
    found = writer.get_extra_info("peercert") or {}
    writer.close()
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(found["notAfter"]), UTC)
    return judged(f"the certificate of {address}", ends, "renew it there")

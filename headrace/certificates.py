"""When the certificates that the settings name end. Keys and passwords have no end of their own.

Does not own how connections are made of them (`ingest.log_kafka.client`, `views.cql.settings`), nor certificates of
listeners: this process serves none, TLS ends in front of it.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from headrace.settings import Settings, SettingsError, where

AUTHORITIES = ("kafka_ssl_ca", "cql_ssl_ca")
OWN = ("kafka_ssl_cert",)
NAMES = AUTHORITIES + OWN
_READ_MAX = 16 << 20  # bytes; the authorities of a whole operating system are 0.3 MB


class Certificate(NamedTuple):
    """`setting` names the file; `ends` is when it is of no more use."""

    setting: str
    path: Path
    ends: datetime


def named(settings: Settings, *servers: str) -> list[str]:
    """The settings of certificates that connections to `servers` (kafka, cql) are made with."""
    plain = not settings.kafka_security.endswith("SSL")
    wanted = [name for name in NAMES if name.partition("_")[0] in servers and not (plain and name.startswith("kafka"))]
    return [name for name in wanted if getattr(settings, name) is not None]


def read(settings: Settings, name: str) -> Certificate:
    """Raises SettingsError for a file that holds no certificate.

    Of a chain of ours the first end counts: it is checked whole. Of authorities the last: each of them may be the one
    that is needed, and a file keeps old ones beside their successors.
    """
    path: Path = getattr(settings, name)
    try:
        with path.open("rb") as file:
            found = x509.load_pem_x509_certificates(file.read(_READ_MAX))
    except OSError as error:
        raise _wrong(name, path, str(error.strerror)) from None
    except ValueError:
        raise _wrong(name, path, "none that can be read") from None
    ends = [each.not_valid_after_utc for each in found]
    return Certificate(name, path, max(ends) if name in AUTHORITIES else min(ends))


def key_fits(settings: Settings) -> bool:
    """Whether our key is that of our certificate, the first of its file. Raises SettingsError.

    Says nothing of what is in the key.
    """
    cert, key = settings.kafka_ssl_cert, settings.kafka_ssl_key
    assert cert is not None, "the caller has looked"
    source = key or cert  # OpenSSL takes a key out of the certificate's file
    try:
        private = load_pem_private_key(source.read_bytes(), password=None)
    except OSError as error:
        raise _wrong("kafka_ssl_key", source, str(error.strerror), "a private key") from None
    except (ValueError, TypeError):
        raise _wrong("kafka_ssl_key", source, "none that can be read without a password", "a private key") from None
    try:
        public = x509.load_pem_x509_certificates(cert.read_bytes())[0].public_key()
    except (OSError, ValueError):
        raise _wrong("kafka_ssl_cert", cert, "none that can be read") from None
    shape = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return private.public_key().public_bytes(*shape) == public.public_bytes(*shape)


def _wrong(name: str, path: Path, found: str, expected: str = "certificates") -> SettingsError:
    return SettingsError(f"{name}: expected {expected} as PEM in {path}, found {found}. Set {where(name)}")

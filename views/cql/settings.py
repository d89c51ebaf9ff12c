"""Where a CQL store is and what it must promise. Does not own connections."""

from __future__ import annotations

import ssl
from typing import Literal

import msgspec

from schemas.errors import InvariantError


class CqlSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the store is and what it must promise. `datacenter` decides the replication strategy of new keyspaces."""

    hosts: tuple[str, ...]
    port: int = 9042
    keyspace: str = "headrace"
    datacenter: str | None = None
    replication: int = 1
    consistency: str = "LOCAL_QUORUM"
    username: str | None = None
    password: str | None = None
    ssl_ca: str | None = None
    epoch: int = 0
    driver: Literal["scylla-driver", "acsylla"] = "scylla-driver"
    """What carries rows; schema is scylla-driver's in any case."""
    timeout: float = 5.0
    """Seconds that one attempt may take."""
    patience: float = 60.0
    """Seconds for which a statement is asked again before whoever asked is told that the store is away."""

    def __repr__(self) -> str:
        """Without what is secret."""
        return f"CqlSettings(hosts={self.hosts!r}, port={self.port!r}, keyspace={self.keyspace!r})"


def tls(settings: CqlSettings) -> ssl.SSLContext | None:
    """What the store's certificate is checked by; None where nothing is encrypted. Raises InvariantError."""
    if settings.ssl_ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=settings.ssl_ca)
    except (OSError, ssl.SSLError) as error:
        raise InvariantError(
            f"ssl_ca {settings.ssl_ca}: expected a PEM file of the authorities that sign the store's certificates,"
            f" found {error}"
        ) from error

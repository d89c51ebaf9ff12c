"""What the roles that read or write views are wired of: the store's settings and its tables."""

from __future__ import annotations

from typing import Literal

import msgspec

import views
from headrace import secrets
from headrace.settings import Settings
from headrace.wiring.cluster import as_text
from views.store_scylla import CqlSettings, reads_fast

TABLES = tuple(view.table for view in views.ALL)


def cql_settings(settings: Settings) -> CqlSettings:
    """Raises SettingsError when the password's file is none."""
    password = settings.cql_password_file
    return CqlSettings(
        hosts=settings.cql_hosts,
        port=settings.cql_port,
        keyspace=settings.cql_keyspace,
        datacenter=settings.cql_datacenter,
        replication=settings.cql_replication,
        consistency=settings.cql_consistency,
        username=settings.cql_username,
        password=None if password is None else secrets.read(password, "cql_password_file"),
        ssl_ca=as_text(settings.cql_ssl_ca),
        epoch=settings.cql_epoch,
        driver=_driver(settings),
    )


def reading_settings(settings: Settings, seconds: float) -> CqlSettings:
    """For who only reads, and is told after so many seconds that the store is away."""
    return msgspec.structs.replace(cql_settings(settings), timeout=seconds, patience=seconds)


def _driver(settings: Settings) -> Literal["scylla-driver", "acsylla"]:
    """`auto` is whichever costs least CPU and keeps its promises (docs/decisions/0008)."""
    if settings.cql_driver != "auto":
        return settings.cql_driver
    return "acsylla" if settings.cql_ssl_ca is None and reads_fast() else "scylla-driver"

"""Which driver carries rows: what the settings say, and what `auto` comes to."""

from __future__ import annotations

import pytest

from headrace.settings import Settings
from headrace.wiring import store
from headrace.wiring.store import cql_settings, reading_settings

HOSTS = {"cql_hosts": "127.0.0.1"}


def test_auto_is_acsylla_for_writers_and_readers_where_it_can_be_loaded(monkeypatch):
    settings = Settings(**HOSTS)
    assert {cql_settings(settings).driver, reading_settings(settings, 1.0).driver} == {"acsylla"}

    monkeypatch.setattr(store, "reads_fast", lambda: False)

    assert {cql_settings(settings).driver, reading_settings(settings, 1.0).driver} == {"scylla-driver"}


@pytest.mark.parametrize("named", ["auto", "acsylla", "scylla-driver"])
def test_tls_is_pythons_unless_a_driver_is_named(tmp_path, named):
    settings = Settings(**HOSTS, cql_ssl_ca=tmp_path / "ca.pem", cql_driver=named)

    assert cql_settings(settings).driver == ("scylla-driver" if named == "auto" else named)

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


@pytest.mark.parametrize("named", ["auto", "scylla-driver"])
def test_tls_is_pythons(tmp_path, named):
    settings = Settings(**HOSTS, cql_ssl_ca=tmp_path / "ca.pem", cql_driver=named)

    assert cql_settings(settings).driver == "scylla-driver"


def test_what_checks_no_names_is_refused_with_tls(tmp_path):
    with pytest.raises(ValueError, match="checks no names of certificates: with cql_ssl_ca use auto"):
        Settings(**HOSTS, cql_ssl_ca=tmp_path / "ca.pem", cql_driver="acsylla")

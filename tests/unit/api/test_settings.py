"""Settings: where they come from, in which order, and how a wrong one is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from headrace.commands.common import settings_of as _settings
from headrace.lock import DirectoryError, DirectoryLock, LockedError
from headrace.secrets import admin_token, ops_token
from headrace.settings import PREFIX, Settings, SettingsError, load


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text('port = 1001\nplc_port = 1002\nops_port = 1003\nhandle_domains = [".example.com"]\n')
    monkeypatch.setenv("HEADRACE_PORT", "2001")
    monkeypatch.setenv("HEADRACE_PLC_PORT", "2002")

    found = load({"port": "3001"}, file)

    assert (found.port, found.plc_port, found.ops_port, found.shards) == (3001, 2002, 1003, 1)
    assert found.handle_domains == (".example.com",)


# Of every setting: a value for the file, one for the environment, one for the flag.
VALUES: dict[str, tuple[object, str, str]] = {
    "data": ("a", "b", "c"),
    "host": ("127.0.0.2", "127.0.0.3", "127.0.0.4"),
    "port": (11, "12", "13"),
    "plc_port": (11, "12", "13"),
    "ops_port": (11, "12", "13"),
    "hostname": ("a.test", "b.test", "c.test"),
    "public_url": ("http://a.test", "http://b.test", "http://c.test"),
    "plc_url": ("http://a.test", "http://b.test", "http://c.test"),
    "handle_domains": ([".a.test"], ".b.test,.d.test", ".c.test"),
    "dns_servers": (["192.0.2.1"], "192.0.2.2:5353,::1", "[::1]:53"),
    "appview_did": ("did:web:a.test", "did:web:b.test", "did:web:c.test"),
    "image_url": ("http://a.test", "http://b.test", "http://c.test"),
    "shards": (2, "3", "4"),
    "canary_pds": ("http://a.test", "http://b.test", "http://c.test"),
    "canary_handle": ("a.test", "b.test", "c.test"),
    "canary_password_file": ("a", "b", "c"),
    "canary_seconds": (2.5, "3.5", "4.5"),
    "canary_wait_seconds": (2.5, "3.5", "4.5"),
    "rate_limits": (False, "true", "false"),
    "rate_limit_scale": (2.5, "3.5", "4.5"),
    "requests_at_once": (2, "3", "4"),
    "requests_waiting": (0, "3", "4"),
    "request_wait": (2.5, "3.5", "4.5"),
    "trust_forwarded": (True, "false", "true"),
    "allow_private_addresses": (True, "false", "true"),
    "json_limit": (100_000, "100001", "100002"),
    "blob_limit": (100_000, "100001", "100002"),
    "plc_mirror": (True, "false", "true"),
    "plc_mirror_rate": (2.5, "3.5", "4.5"),
    "plc_mirror_lag": (2.5, "3.5", "4.5"),
    "identity_cache_rows": (10, "11", "12"),
    "open_files": (10, "11", "12"),
    "pull_above": (10, "11", "12"),
    "timeline_backfill": (10, "11", "12"),
    "timeline_length": (10, "11", "12"),
    "timeline_trim_every": (10, "11", "12"),
    "audit_seconds": (2.5, "3.5", "4.5"),
    "otlp_endpoint": ("http://a.test:4318", "http://b.test:4318/x", "https://c.test"),
    "otlp_share": (0.5, "0.25", "0.75"),
    "otlp_trust_callers": (True, "False", "True"),
    "log_level": ("debug", "warning", "error"),
    "cluster": ("a", "b", "c"),
    "generation": ("a", "b", "c"),
    "runner": ("plain", "faust", "plain"),
    "pds_name": ("a", "b", "c"),
    "appview_url": ("http://a.test", "http://b.test", "http://c.test"),
    "admin_token_file": ("a", "b", "c"),
    "kafka_servers": (["a:1"], "b:2,c:3", "[::1]:4"),
    "kafka_security": ("SSL", "SASL_SSL", "SASL_PLAINTEXT"),
    "kafka_sasl_mechanism": ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
    "kafka_username": ("a", "b", "c"),
    "kafka_password_file": ("a", "b", "c"),
    "kafka_ssl_ca": ("a", "b", "c"),
    "kafka_ssl_cert": ("a", "b", "c"),
    "kafka_ssl_key": ("a", "b", "c"),
    "kafka_replication": (2, "3", "4"),
    "kafka_min_insync": (2, "3", "4"),
    "kafka_transaction_timeout_ms": (2_000, "3000", "4000"),
    "kafka_session_timeout_ms": (2_000, "3000", "4000"),
    "kafka_heartbeat_ms": (200, "300", "400"),
    "firehose_base": (1, "2", "3"),
    "cql_hosts": (["a"], "b,c", "10.0.0.1"),
    "cql_port": (11, "12", "13"),
    "cql_keyspace": ("a", "b", "c"),
    "cql_datacenter": ("a", "b", "c"),
    "cql_replication": (2, "3", "4"),
    "cql_consistency": ("ONE", "QUORUM", "ALL"),
    "cql_username": ("a", "b", "c"),
    "cql_password_file": ("a", "b", "c"),
    "cql_ssl_ca": ("a", "b", "c"),
    "cql_driver": ("acsylla", "scylla-driver", "auto"),
    "cql_epoch": (1, "2", "3"),
    "audit_rate": (10, "0", "12"),
    "late_seconds": (1.5, "2.5", "3.5"),
    "reads_at_once": (100, "101", "102"),
    "rows_kept_seconds": (0.5, "1.5", "0.25"),
    "relay_crawl": (["a.test"], "b.test,d.test", "c.test"),
    "relay_upstreams": (["wss://a.test"], "wss://b.test,wss://d.test", "wss://c.test"),
    "relay_port": (11, "12", "13"),
    "relay_processes": (1, "2", "3"),
    "relay_lenient": (True, "false", "true"),
    "relay_backlog": (False, "true", "false"),
    "relay_whole_repos": (True, "false", "true"),
    "relay_host_accounts": (10, "11", "12"),
    "relay_new_hosts_day": (10, "11", "12"),
    "relay_account_events_hour": (10, "11", "12"),
    "relay_repo_limit": (2_000_000, "2000001", "2000002"),
    "relay_tee": ("a", "b", "c"),
    "relay_backfill_per_second": (2.5, "3.5", "4.5"),
    "relay_backfill_at_once_host": (3, "4", "5"),
    "relay_backfill_at_once": (3, "5", "6"),
    "jetstream_dictionary": ("a", "b", "c"),
}


def test_every_setting_has_its_case() -> None:
    assert VALUES.keys() == Settings.model_fields.keys()


@pytest.mark.parametrize("name", VALUES)
def test_each_setting_comes_from_the_flag_then_the_environment_then_the_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_file, in_environment, in_flag = VALUES[name]
    file = tmp_path / "headrace.toml"
    file.write_text(f"{name} = {json.dumps(in_file)}\n")

    default = getattr(load({}), name)
    from_file = getattr(load({}, file), name)
    monkeypatch.setenv(PREFIX + name.upper(), in_environment)
    from_environment = getattr(load({}, file), name)
    from_flag = getattr(with_sets([f"{name}={in_flag}"], file), name)

    def plain(value: object) -> object:
        return (",".join(value) if isinstance(value, tuple) else str(value)).lower()

    assert default == Settings.model_fields[name].default
    assert from_file not in (default, from_environment)
    assert plain(from_environment) == in_environment.lower()
    assert plain(from_flag) == in_flag.lower()
    assert from_environment != from_flag


def with_sets(sets: list[str], file: Path | None = None) -> Settings:
    """As the command line reads `--set`."""
    return _settings({}, file, sets)


def test_set_takes_dashes_and_keeps_later_equals_signs() -> None:
    found = with_sets(["plc-port=1234", "public-url=http://a.test"])

    assert (found.plc_port, found.public_url) == (1234, "http://a.test")
    with pytest.raises(SettingsError, match="expected NAME=VALUE"):
        with_sets(["port"])


def test_the_file_may_be_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text("shards = 4\n")
    monkeypatch.setenv("HEADRACE_CONFIG", str(file))

    assert load({}).shards == 4


@pytest.mark.parametrize(
    ("flags", "toml", "env", "words"),
    [
        ({"port": "99999"}, "", {}, ("port", "65535", "99999", "--port")),
        ({"prt": "1"}, "", {}, ("prt", "Did you mean port?", "--set prt")),
        ({"shards": "x"}, "", {}, ("shards", "--set shards")),
        ({"handle_domains": "test"}, "", {}, ("handle_domains", "leading dot")),
        ({"dns_servers": "192.0.2.1,ns.example.org"}, "", {}, ("dns_servers", "expected addresses", "ns.example.org")),
        ({"port": 2582}, "", {}, ("must differ",)),
        ({"data": ""}, "", {}, ("data", "expected a directory", "--data")),
        ({}, "", {"HEADRACE_DATA": ""}, ("data", "expected a directory", "HEADRACE_DATA")),
        ({}, "xyzzy = 1\n", {}, ("xyzzy", "no such setting", "docs/settings.md")),
        ({}, "shards = 0\n", {}, ("shards", "headrace.toml")),
        ({}, "shards = \n", {}, ("headrace.toml", "expected TOML", "line 1")),
        ({}, "\udcff", {}, ("headrace.toml", "expected TOML")),
        ({}, "", {"HEADRACE_SHARD": "1"}, ("HEADRACE_SHARD", "HEADRACE_SHARDS")),
        ({}, "", {"HEADRACE_LOG_LEVEL": "loud"}, ("log_level", "loud", "HEADRACE_LOG_LEVEL")),
        ({"public_url": "localhost"}, "", {}, ("public_url",)),
        ({"kafka_servers": "a:1,b"}, "", {}, ("kafka_servers", "expected host:port, found 'b'", "--set kafka_servers")),
        ({"cql_hosts": "http://a"}, "", {}, ("cql_hosts", "expected a name or an address")),
        ({"canary_seconds": "600"}, "", {}, ("canary_seconds", "60")),
        ({}, "", {"HEADRACE_GENERATION": "G 1"}, ("generation", "G 1", "HEADRACE_GENERATION")),
    ],
)
def test_a_wrong_setting_is_refused_with_the_cure(  # noqa: PLR0917 - the cases' columns
    flags, toml, env, words, tmp_path, monkeypatch
) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text(toml, errors="surrogateescape")
    for name, value in env.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as refused:
        load(flags, file)

    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize("name", ["CI", "DEVSTACK_CACHE", "TEST_CQL", "TEST_KAFKA", "TOOLS_CACHE", "VECTORS"])
def test_what_tests_are_told_is_no_setting_of_what_they_start(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"HEADRACE_{name}", "anything")

    assert load({}) == Settings()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        load({}, tmp_path / "absent.toml")


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_a_directory_serves_one_process(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path / "data")

    with pytest.raises(LockedError, match=rf"process {os.getpid()}\. Stop it, or choose another"):
        DirectoryLock(tmp_path / "data")
    lock.release()
    DirectoryLock(tmp_path / "data").release()


def test_a_directory_that_cannot_hold_data_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(DirectoryError, match=r"file cannot hold data \(.*\)\. Choose another directory with --data"):
        DirectoryLock(tmp_path / "file")
    with pytest.raises(DirectoryError):
        DirectoryLock(tmp_path / "file" / "below")


def test_secrets_are_kept_and_readable_by_the_owner_alone(tmp_path: Path) -> None:
    settings = load({"data": tmp_path})
    first = (admin_token(settings), ops_token(tmp_path))

    assert first == (admin_token(settings), ops_token(tmp_path))
    assert first[0] != first[1]
    for name in ("admin_token", "ops_token"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_a_platforms_own_secret_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a secret\n")

    assert admin_token(load({"admin_token_file": tmp_path / "secret"})) == "a secret"


@pytest.mark.parametrize(
    ("content", "words"), [(None, "No such file"), (b" \n", "found nothing"), (b"\xff", "no UTF-8")]
)
def test_a_secret_that_is_none_is_refused(content: bytes | None, words: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)

    with pytest.raises(SettingsError, match=rf"admin_token_file.*{words}"):
        admin_token(load({"admin_token_file": tmp_path / "secret"}))

"""Settings: where they come from, in which order, and how a wrong one is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headrace.lock import DirectoryLock, LockedError
from headrace.secrets import admin_token, ops_token
from headrace.settings import PREFIX, Settings, SettingsError, load, markdown

ROOT = Path(__file__).resolve().parents[3]


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


def test_the_file_may_be_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text("shards = 4\n")
    monkeypatch.setenv("HEADRACE_CONFIG", str(file))

    assert load({}).shards == 4


@pytest.mark.parametrize(
    ("flags", "toml", "env", "words"),
    [
        ({"port": "99999"}, "", {}, ("port", "65535", "99999", "--port")),
        ({"prt": "1"}, "", {}, ("prt", "Did you mean port?")),
        ({"handle_domains": "test"}, "", {}, ("handle_domains", "leading dot")),
        ({"port": 2582}, "", {}, ("must differ",)),
        ({}, "colour = 1\n", {}, ("colour", "no such setting", "docs/settings.md")),
        ({}, "shards = 0\n", {}, ("shards", "headrace.toml")),
        ({}, "shards = \n", {}, ("headrace.toml",)),
        ({}, "", {"HEADRACE_SHARD": "1"}, ("HEADRACE_SHARD", "HEADRACE_SHARDS")),
        ({}, "", {"HEADRACE_LOG_LEVEL": "loud"}, ("log_level", "loud", "HEADRACE_LOG_LEVEL")),
        ({"public_url": "localhost"}, "", {}, ("public_url",)),
    ],
)
def test_a_wrong_setting_is_refused_with_the_cure(  # noqa: PLR0917 - the cases' columns
    flags, toml, env, words, tmp_path, monkeypatch
) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text(toml)
    for name, value in env.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as refused:
        load(flags, file)

    for word in words:
        assert word in str(refused.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        load({}, tmp_path / "absent.toml")


def test_the_documentation_lists_every_setting_as_it_is() -> None:
    assert markdown() in (ROOT / "docs" / "settings.md").read_text()


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_a_directory_serves_one_process(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path / "data")

    with pytest.raises(LockedError, match=rf"process {os.getpid()}\. Stop it, or choose another"):
        DirectoryLock(tmp_path / "data")
    lock.release()
    DirectoryLock(tmp_path / "data").release()


def test_secrets_are_kept_and_readable_by_the_owner_alone(tmp_path: Path) -> None:
    first = (admin_token(tmp_path), ops_token(tmp_path))

    assert first == (admin_token(tmp_path), ops_token(tmp_path))
    assert first[0] != first[1]
    for name in ("admin_token", "ops_token"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600

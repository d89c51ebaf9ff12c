from __future__ import annotations

import pytest

from ingest.pds import secrets
from ingest.pds.paths import account_path
from schemas.errors import InvariantError


def test_a_secret_is_made_once_and_is_private(tmp_path):
    first = secrets.load_or_create(tmp_path / "s")

    assert secrets.load_or_create(tmp_path / "s") == first
    assert len(first) == 64
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_short_secret_is_refused_rather_than_used(tmp_path):
    (tmp_path / "s").write_text("short")

    with pytest.raises(InvariantError, match="at least 32"):
        secrets.load_or_create(tmp_path / "s")


def test_a_key_is_the_same_after_a_restart(tmp_path):
    assert secrets.load_or_create_key(tmp_path / "k") == secrets.load_or_create_key(tmp_path / "k")


def test_paths_of_long_dids_fit_a_file_system_and_differ(tmp_path):
    long = ["did:web:" + "a" * 2000 + str(number) for number in range(2)]

    names = [account_path(tmp_path, did, ".sqlite").name for did in (*long, "did:plc:abc")]

    assert max(map(len, names)) < 255
    assert len(set(names)) == 3
    assert names[2] == "did:plc:abc.sqlite"

"""`headrace doctor` on secrets: each that is damaged, lost or another's is found, and none is shown."""

from __future__ import annotations

import asyncio
import os
import secrets as random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest

from headrace import client
from headrace.doctor import clocks
from headrace.doctor.examine import examine
from headrace.doctor.finding import Finding, WrongError
from headrace.settings import load
from headrace.wiring.embedded import Network

FREE = {"port": 0, "plc_port": 0, "ops_port": 0}
OURS = ("secrets", "account keys", "identities")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with an account in it."""
    data = tmp_path_factory.mktemp("secrets") / "data"
    before = os.umask(0o077)

    async def once() -> None:
        network = await Network.open(load({"data": data, **FREE}))
        try:
            await network.pds.create_account(handle="alice.test", email="a@example.org", password="a pass phrase")
        finally:
            await network.close()

    try:
        asyncio.run(once())
    finally:
        os.umask(before)
    yield data
    shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "data"))


async def at_rest(data: Path) -> dict[str, Finding]:
    return {each.check: each for each in await examine(load({"data": data, **FREE}))}


def wrong(found: dict[str, Finding]) -> list[str]:
    return [name for name, each in found.items() if not each.well]


async def while_it_serves(data: Path) -> dict[str, Finding]:
    before = os.umask(0o077)
    try:
        network = await Network.open(load({"data": data, **FREE}))
        try:
            client.write_addresses(data, {"pid": os.getpid(), **network.addresses})
            return await at_rest(data)
        finally:
            client.forget_addresses(data)
            await network.close()
    finally:
        os.umask(before)


async def test_secrets_that_are_whole_are_well(data: Path) -> None:
    resting, serving = await at_rest(data), await while_it_serves(data)

    assert (wrong(resting), wrong(serving)) == ([], [])
    assert resting["account keys"].message == "1 accounts have signing keys"
    assert serving["identities"].message == "1 accounts looked at: their identities name our keys"


@pytest.mark.parametrize("name", ["jwt_secret", "plc_rotation_key", "admin_token", "ops_token"])
@pytest.mark.parametrize("holds", ["short-and-secret", "two words, both of them secret and long enough", "ä" * 40])
async def test_a_secret_that_cannot_be_one_is_found_and_not_shown(name: str, holds: str, data: Path) -> None:
    (data / name).write_text(holds)

    found = await at_rest(data)

    assert wrong(found) == ["secrets"]
    assert f"{data / name} has" in found["secrets"].message
    assert all(holds not in each.message for each in found.values())


async def test_a_rotation_key_that_is_no_key_is_found_and_not_shown(data: Path) -> None:
    for holds in ("f" * 64, "0" * 64, "g" * 64, "ab" * 20):
        (data / "plc_rotation_key").write_text(holds)
        found = await at_rest(data)

        assert wrong(found) == ["secrets"], holds
        assert "is no secp256k1 key" in found["secrets"].message
        assert holds not in found["secrets"].message


@pytest.mark.parametrize("name", ["jwt_secret", "plc_rotation_key"])
async def test_a_secret_that_is_lost_beside_accounts_is_found(name: str, data: Path) -> None:
    (data / name).unlink()

    found = await at_rest(data)

    assert wrong(found) == ["secrets"]
    assert f"{data / name} is missing beside accounts.sqlite: bring it back from a backup" in found["secrets"].message


@pytest.mark.parametrize("key", [b"", b"\0" * 32, b"x" * 31, b"\xff" * 32])
async def test_an_accounts_key_that_is_none_is_found(key: bytes, data: Path) -> None:
    write(data, "UPDATE accounts SET signing_key = ?", key)

    found = await at_rest(data)

    assert wrong(found) == ["account keys"]
    assert "the signing keys of did:plc:" in found["account keys"].message


async def test_a_rotation_key_of_another_server_is_found(data: Path) -> None:
    (data / "plc_rotation_key").write_text(random.token_hex(32))

    resting, serving = await at_rest(data), await while_it_serves(data)

    assert (wrong(resting), wrong(serving)) == ([], ["identities"])
    assert "among the rotation keys of did:plc:" in serving["identities"].message


async def test_a_signing_key_of_another_account_is_found(data: Path) -> None:
    write(data, "UPDATE accounts SET signing_key = ?", random.token_bytes(32))

    found = await while_it_serves(data)

    assert wrong(found) == ["identities"]
    assert "names other signing keys of did:plc:" in found["identities"].message


async def test_a_clock_that_is_apart_is_found() -> None:
    now = time.time()

    assert "within" in clocks.judged("the store's", now + 4.9, now, now)
    assert "within" in clocks.judged("the store's", now + 2, now, now + 4)
    with pytest.raises(WrongError, match=r"this clock is 6\.0 s behind the store's, expected at most 5 s: set the"):
        clocks.judged("the store's", now + 6, now, now)
    with pytest.raises(WrongError, match=r"this clock is 6\.0 s ahead of the store's"):
        clocks.judged("the store's", now - 6, now, now + 1)


async def test_the_clock_of_a_directory_is_read(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = await Network.open(load({"data": data, **FREE}))
    try:
        well = await clocks.directory(network.addresses["plc"])
        late = time.time() - 3_600
        monkeypatch.setattr(clocks, "time", SimpleNamespace(time=lambda: late))
        with pytest.raises(WrongError, match="behind the did:plc directory's"):
            await clocks.directory(network.addresses["plc"])
    finally:
        await network.close()

    assert "of the did:plc directory's" in well


def write(data: Path, statement: str, value: bytes) -> None:
    con = apsw.Connection(str(data / "accounts.sqlite"))
    con.execute(statement, (value,))
    con.close()

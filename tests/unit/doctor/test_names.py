"""`headrace doctor` on names, against a name server of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.doctor.examine import examine
from headrace.doctor.finding import Finding
from headrace.settings import load
from ingest.identity.dns_txt import DnsTxt
from tests.support.name_server import name_server

TABLE = {"pds.example.org": "192.0.2.7", "*.users.example.org": "192.0.2.7", "img.example.org": "192.0.2.8"}
NAMED = {"hostname": "pds.example.org", "handle_domains": ".users.example.org", "image_url": "https://img.example.org"}


async def found_with(tmp_path: Path, table: dict[str, str], **more: object) -> dict[str, Finding]:
    async with name_server(table) as server:
        free = {"data": tmp_path / "none", "port": 0, "plc_port": 0, "ops_port": 0, "dns_servers": server}
        return {each.check: each for each in await examine(load({**free, **more}))}


async def test_names_that_have_addresses_are_well(tmp_path: Path) -> None:
    found = await found_with(tmp_path, TABLE, **NAMED)

    assert [name for name in found if name.startswith("name")] == [
        *("name pds.example.org", "name img.example.org", "name *.users.example.org"),
    ]
    assert all(each.well for each in found.values())
    assert found["name *.users.example.org"].message == "*.users.example.org is 192.0.2.7"


@pytest.mark.parametrize(
    ("gone", "check", "cure"),
    [
        ("pds.example.org", "name pds.example.org", "make a record"),
        ("*.users.example.org", "name *.users.example.org", "make a wildcard record"),
        ("img.example.org", "name img.example.org", "make a record"),
    ],
)
async def test_a_name_without_an_address_is_found(gone: str, check: str, cure: str, tmp_path: Path) -> None:
    found = await found_with(tmp_path, {name: address for name, address in TABLE.items() if name != gone}, **NAMED)

    assert [name for name, each in found.items() if not each.well] == [check]
    assert cure in found[check].message


async def test_a_handle_that_was_made_by_hand_is_no_wildcard(tmp_path: Path) -> None:
    table = {"pds.example.org": "192.0.2.7", "img.example.org": "192.0.2.8", "alice.users.example.org": "192.0.2.7"}

    assert not (await found_with(tmp_path, table, **NAMED))["name *.users.example.org"].well


async def test_names_of_this_machine_are_left_out_and_said(tmp_path: Path) -> None:
    found = await found_with(tmp_path, {}, hostname="127.0.0.1", public_url="http://localhost:2583")

    assert [name for name in found if name.startswith("name")] == ["names"]
    assert found["names"].message == "127.0.0.1, localhost, *.test: of this machine alone, in no DNS"


async def test_name_servers_that_are_silent_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DnsTxt.__init__, "__defaults__", ((), 53, 0.2))
    async with name_server({}) as server:
        pass  # gone again
    free = {"data": tmp_path / "none", "port": 0, "plc_port": 0, "ops_port": 0, "dns_servers": server}
    found = {each.check: each for each in await examine(load({**free, "hostname": "pds.example.org"}))}

    assert [name for name, each in found.items() if not each.well] == ["name pds.example.org"]
    assert "check the name servers" in found["name pds.example.org"].message


async def test_handles_are_asked_of_the_servers_that_are_set() -> None:
    asked: list[str] = []
    async with name_server({"a.example.org": "192.0.2.7"}, asked) as server:
        texts = await DnsTxt((server,)).lookup("_atproto.a.example.org")

    assert (texts, asked) == ((), ["_atproto.a.example.org"])

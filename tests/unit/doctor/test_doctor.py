"""`headrace doctor` on real directories: a whole one is well, and each thing that is broken is found with its cure."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import orjson
import pytest
from aiohttp import web

from headrace import client, logs
from headrace.commands.doctor import doctor
from headrace.doctor import directory, files
from headrace.doctor.examine import examine
from headrace.doctor.finding import Finding, WrongError, find
from headrace.lock import DirectoryLock
from headrace.settings import Settings, load
from headrace.wiring.embedded import Network
from ingest.log_kafka.relay.view import FILE as RELAY_VIEW
from ingest.log_kafka.relay.view import RelayView
from schemas.limits import FUTURE_REV_MICROS
from schemas.tid import tid_from_micros

FREE = {"port": 0, "plc_port": 0, "ops_port": 0}
HOUR = 3_600_000_000
CHECKS = [
    *(
        "names",
        "data directory",
        "disk",
        "process",
        "ports",
        "secrets",
        "account keys",
        "files",
        "log",
        "clock",
        "views",
    ),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory as `headrace up` leaves it."""
    data = tmp_path_factory.mktemp("doctor") / "data"
    before = os.umask(0o077)

    async def once() -> None:
        await (await Network.open(load({"data": data, **FREE}))).close()

    try:
        asyncio.run(once())
    finally:
        os.umask(before)
    yield data
    shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "data"))


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens at and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def settings_for(data: Path, **more: object) -> Settings:
    return load({"data": data, **FREE, **more})


async def found_in(data: Path, **more: object) -> dict[str, Finding]:
    return {each.check: each for each in await examine(settings_for(data, **more))}


def wrong(found: dict[str, Finding]) -> list[str]:
    return [name for name, each in found.items() if not each.well]


def write(file: Path, statement: str) -> None:
    con = apsw.Connection(str(file))
    con.execute(statement)
    con.close()


def snapshot(data: Path) -> dict[str, bytes]:
    ours = ("lock",)  # says who had it last
    paths = [path for path in data.rglob("*") if path.is_file() and path.name not in ours]
    return {str(path): path.read_bytes() for path in paths if not path.name.endswith(("-shm", "-wal"))}


async def test_a_whole_directory_is_well_and_stays_as_it_is(data: Path) -> None:
    before = snapshot(data)

    found = await found_in(data)

    assert wrong(found) == []
    assert list(found) == CHECKS
    assert found["files"].message == f"{sum(name.endswith('.sqlite') for name in before)} SQLite files are whole"
    assert len(before) > 5
    assert snapshot(data) == before


async def test_a_directory_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    found = await found_in(tmp_path / "none")

    assert (wrong(found), list(found)) == ([], ["names", "data directory", "disk", "ports"])
    assert "is not there yet" in found["data directory"].message
    assert not (tmp_path / "none").exists()


def test_a_directory_that_holds_nothing_is_well_and_left_empty(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)

    assert wrong(asyncio.run(found_in(tmp_path))) == []
    assert list(tmp_path.iterdir()) == []


async def test_a_file_in_its_place_is_found(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    assert "is no directory" in (await found_in(tmp_path / "data"))["data directory"].message


@pytest.mark.parametrize("name", [".", "jwt_secret", "admin_token", "accounts.sqlite", "mail"])
async def test_what_others_may_read_is_found(name: str, data: Path) -> None:
    (data / name).chmod((data / name).stat().st_mode | 0o004)

    found = await found_in(data)

    assert wrong(found) == ["data directory"]
    assert f"{data / name} (0" in found["data directory"].message
    assert f"chmod -R go= {data}" in found["data directory"].message


def test_the_cure_of_an_open_file_closes_it(data: Path) -> None:
    (data / "jwt_secret").chmod(0o644)
    shown = asyncio.run(found_in(data))["data directory"].message
    subprocess.run(shlex.split(shown[shown.index("chmod") : shown.index(", and change")]), check=True)

    assert wrong(asyncio.run(found_in(data))) == []


@pytest.mark.parametrize(("mode", "holds", "says"), [(0o604, "x" * 32, "chmod o="), (0o640, " \n", "is empty")])
async def test_a_secret_that_a_setting_names_is_looked_at(mode: int, holds: str, says: str, data: Path) -> None:
    secret = data.with_name("password")
    secret.write_text(holds)
    secret.chmod(mode)

    found = await found_in(data, admin_token_file=secret)

    assert (wrong(found), says in found["admin_token_file"].message) == (["admin_token_file"], True)


async def test_a_secret_that_is_not_there_is_found_by_its_setting(data: Path) -> None:
    found = await found_in(data, admin_token_file=data.with_name("none"))

    assert wrong(found) == ["admin_token_file"]
    assert "found No such file or directory: make it, or name another" in found["admin_token_file"].message


def test_a_full_volume_is_found(data: Path) -> None:
    assert "are left" in directory.judged_room(data, 10 * 2**30, 100 * 2**30)
    with pytest.raises(WrongError, match=r"9\.9 GiB of 100\.0 GiB are left .* expected a tenth or more"):
        directory.judged_room(data, int(9.9 * 2**30), 100 * 2**30)


async def test_the_room_is_that_of_the_volume(data: Path) -> None:
    total = shutil.disk_usage(data).total / 2**30

    assert f"of {total:.1f} GiB are left on the volume of {data}" in (await found_in(data))["disk"].message


async def test_a_lock_whose_holder_is_silent_is_found(data: Path) -> None:
    lock = DirectoryLock(data)
    try:
        found = await found_in(data)
    finally:
        lock.release()

    assert wrong(found) == ["process"]
    assert f"process {os.getpid()} has {data} locked, and does not answer" in found["process"].message
    assert "not looked at while a process uses them" in found["files"].message


async def test_what_may_not_be_read_is_found() -> None:
    def refuse() -> str:
        raise PermissionError(errno.EACCES, "Permission denied", "/data")

    found = await find("x", refuse)

    assert found == Finding("x", False, "/data: expected to be read, found Permission denied: run this as its owner")


async def test_nobody_takes_the_directory_while_its_files_are_read(data: Path) -> None:
    with directory.at_rest(data) as resting, (data / "lock").open() as other:
        assert resting
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def test_a_running_network_is_well_and_its_ports_are_ours(data: Path) -> None:
    async with running(data) as network:
        found = await found_in(data)

        assert wrong(found) == []
        assert found["process"].message == f"process {os.getpid()} serves {data}"
        assert all(address in found["ports"].message for address in network.addresses.values())


async def test_a_listener_that_is_gone_is_found(data: Path) -> None:
    async with running(data) as network:
        gone = f"http://127.0.0.1:{closed_port()}"
        client.write_addresses(data, {"pid": os.getpid(), **network.addresses, "xrpc": gone})

        found = await found_in(data)

    assert wrong(found) == ["ports"]
    assert f"nothing listens as xrpc at {gone}" in found["ports"].message


@asynccontextmanager
async def running(data: Path) -> AsyncIterator[Network]:
    before = os.umask(0o077)
    try:
        network = await Network.open(settings_for(data))
        try:
            client.write_addresses(data, {"pid": os.getpid(), **network.addresses})
            yield network
        finally:
            client.forget_addresses(data)
            await network.close()
    finally:
        os.umask(before)


async def test_a_port_that_is_taken_is_found(data: Path, taken: int) -> None:
    found = await found_in(data, ops_port=taken)

    assert wrong(found) == ["ports"]
    assert (
        f"cannot bind 127.0.0.1:{taken} (Address already in use). Choose another --ops-port" in found["ports"].message
    )


@pytest.mark.parametrize("name", ["log.sqlite", "accounts.sqlite", "plc.sqlite", "views.sqlite", "generations.sqlite"])
async def test_a_corrupt_file_is_found(name: str, data: Path) -> None:
    with (data / name).open("r+b") as file:
        file.write(b"\0" * 100)

    found = await found_in(data)

    assert "files" in wrong(found)
    assert f"{data / name} (" in found["files"].message
    assert "bring back a copy" in found["files"].message


async def test_a_page_that_is_torn_is_found(data: Path) -> None:
    log = data / "log.sqlite"
    write(log, "CREATE TABLE torn(a); INSERT INTO torn VALUES(zeroblob(200000)); PRAGMA wal_checkpoint(TRUNCATE)")
    with log.open("r+b") as file:
        file.seek(-8192 * 3, os.SEEK_END)
        file.write(os.urandom(8192 * 2))

    assert f"{log} (" in (await found_in(data))["files"].message


async def test_another_number_of_shards_is_found(data: Path) -> None:
    found = await found_in(data, shards=3)

    assert wrong(found) == ["log"]
    assert "has 1 for its number of shards, expected 3 as set" in found["log"].message


async def test_a_log_of_another_format_is_found(data: Path) -> None:
    write(data / "log.sqlite", "UPDATE meta SET value = 9 WHERE key = 'format'")

    found = await found_in(data)

    assert wrong(found) == ["log", "clock", "views"]
    assert "expected a log of format 1, found 9" in found["log"].message


async def test_a_clock_behind_the_log_is_found(data: Path) -> None:
    ahead = time.time_ns() // 1000 + HOUR
    write(data / "log.sqlite", f"INSERT OR REPLACE INTO meta VALUES('last_time', {ahead})")

    found = await found_in(data)

    assert wrong(found) == ["clock"]
    assert "log's newest entry is of" in found["clock"].message


@pytest.mark.parametrize(("ahead", "expected"), [(FUTURE_REV_MICROS // 2, []), (HOUR, ["clock"])])
async def test_a_clock_behind_a_rev_is_found_beyond_what_the_verifier_takes(
    ahead: int, expected: list[str], data: Path
) -> None:
    rev = tid_from_micros(time.time_ns() // 1000 + ahead, 0)
    write(
        data / "log.sqlite",
        "INSERT INTO heads(account, did, rev, status, partial, taken_down, verified_at)"
        f" VALUES(1, 'did:plc:aaa', '{rev}', 'active', 0, 0, 0)",
    )

    assert wrong(await found_in(data)) == expected


async def test_views_of_another_shape_are_found(data: Path) -> None:
    write(data / "generations.sqlite", "UPDATE generations SET shape = 'older'")

    found = await found_in(data)

    assert wrong(found) == ["views"]
    assert "generation g1 is of another version's shape (older)" in found["views"].message


async def test_views_of_another_log_are_found(data: Path) -> None:
    write(data / "log.sqlite", "UPDATE meta SET value = 5 WHERE key = 'id'")

    found = await found_in(data)

    assert wrong(found) == ["views"]
    assert "expected 0000000000000005, the directory's" in found["views"].message


async def test_a_registry_that_is_none_is_found(data: Path) -> None:
    write(data / "generations.sqlite", "DROP TABLE generations")

    found = await found_in(data)

    assert wrong(found) == ["views"]
    assert "expected the registry of generations" in found["views"].message


def test_what_is_not_there_is_not_of_a_shape(tmp_path: Path) -> None:
    assert files.shape(tmp_path).startswith("none yet")


async def test_a_directory_of_dids_that_answers_is_well(data: Path) -> None:
    async with running(data) as network:
        found = await found_in(data.with_name("other"), plc_url=network.addresses["plc"])

    assert wrong(found) == []
    assert found["did:plc directory"].message.endswith("answers")


async def test_a_directory_of_dids_that_is_not_there_is_found(data: Path) -> None:
    url = f"http://127.0.0.1:{closed_port()}"

    found = await found_in(data, plc_url=url)

    assert wrong(found) == ["did:plc directory"]
    assert f"{url}: expected the answer of a did:plc directory, found unreachable" in found["did:plc directory"].message


@pytest.mark.parametrize(("status", "body"), [(404, "no such page"), (500, "{}"), (302, ""), (200, "[]"), (200, "{}")])
async def test_a_server_that_is_no_directory_of_dids_is_found(status: int, body: str, data: Path) -> None:
    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(status=status, text=body)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    try:
        found = await found_in(data, plc_url=f"http://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        await runner.cleanup()

    assert wrong(found) == ["did:plc directory"]
    assert "check plc_url" in found["did:plc directory"].message


async def test_a_broker_and_a_store_that_are_not_there_are_found(tmp_path: Path) -> None:
    kafka, cql = closed_port(), closed_port()

    found = await found_in(tmp_path / "none", kafka_servers=f"127.0.0.1:{kafka}", cql_hosts="127.0.0.1", cql_port=cql)

    assert wrong(found) == ["broker", "store"]
    assert list(found) == ["names", "broker", "store"]
    assert f"expected a Kafka broker at 127.0.0.1:{kafka}" in found["broker"].message
    assert f"no CQL store answers at 127.0.0.1 port {cql}" in found["store"].message


def test_the_command_says_each_in_a_line_and_ends_by_what_it_found(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # It would outlast the test, and write to what was captured here.
    monkeypatch.setattr(logs, "configure", lambda _: None)
    ports = ["port=0", "plc_port=0", "ops_port=0"]
    assert doctor(data=data, sets=ports) == 0
    well = capsys.readouterr().out.splitlines()
    (data / "jwt_secret").chmod(0o644)
    assert doctor(data=data, sets=ports) == 1
    broken = capsys.readouterr().out.splitlines()
    assert doctor(data=data, sets=ports, as_json=True) == 1
    document = orjson.loads(capsys.readouterr().out)

    assert [line.split("  ")[0] for line in well] == ["ok"] * len(CHECKS)
    assert (len(broken), broken[1].startswith("WRONG  data directory  ")) == (len(CHECKS), True)
    assert document["well"] is False
    assert [each["check"] for each in document["checks"] if not each["well"]] == ["data directory"]


async def test_a_relay_of_another_cluster_is_found(tmp_path: Path) -> None:
    made = tmp_path / "data"
    made.mkdir(mode=0o700)
    RelayView(made / RELAY_VIEW, cluster="ours", topic="t", shards=4).close()
    settings = load({"data": made, "cluster": "ours", "shards": 4, **FREE})
    other = settings.model_copy(update={"cluster": "theirs"})

    well, wrong = [{each.check: each for each in await examine(each)}["relay's view"] for each in (settings, other)]

    assert well.well, well.message
    assert not wrong.well
    assert "is of cluster ours with 4 shards, expected theirs with 4" in wrong.message

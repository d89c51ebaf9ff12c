"""An archive played as a host: what went in comes out, when it is due, and a recorder gets the same bytes again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from headrace.load.archive import index
from headrace.load.archive.blocks import Item, Kind
from headrace.load.archive.cut import cut, import_frames, shown
from headrace.load.archive.directory import Directory
from headrace.load.archive.reader import Archive, Wanted, last_seq
from headrace.load.archive.record import Recorder, RecordReason
from headrace.load.archive.verify import Verifier
from headrace.load.archive.writer import DOCUMENTS, ArchiveWriter, paths
from headrace.load.pace import flat_out, recorded, steady
from headrace.load.serve_archive import ArchiveHost
from headrace.load.synthesis.pool import synthesise
from headrace.load.synthesis.steps import Population
from ingest.identity import did_doc
from ingest.repo.frame import account_frame, decode_frame
from ingest.repo.messages import CommitMessage, ErrorMessage, InfoMessage
from ingest.repo.repo_car import open_repo_car
from schemas.entries import cbor_uint
from schemas.errors import Refused
from schemas.syntax import Did
from tests.interop.firehose_vectors import CORPUS, real_frames

Vectors = Callable[[str], Path]
BOUND = 60.0


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    directory = tmp_path_factory.mktemp("archives") / "a"
    with ArchiveWriter(directory, source="test") as writer:
        synthesise(Population(seed=4, accounts=12, events=400), writer)
    return Archive(directory)


async def record(url: str, directory: Path, frames: int, cursor: int | None = 0, *, plc: bool = True) -> Recorder:
    documents = Directory(url)
    try:
        with ArchiveWriter(directory, source=url) as writer:
            recorder = Recorder(url, writer, documents if plc else None, cursor=cursor)
            async with asyncio.timeout(BOUND):
                await recorder.run(frames=frames)
    finally:
        await documents.close()
    return recorder


async def frames_from(
    url: str, count: int, cursor: int | None = None, until: asyncio.Event | None = None
) -> list[bytes]:
    """`until`: stay for it, as who leaves takes the host's stream along."""
    query = {} if cursor is None else {"cursor": str(cursor)}
    async with (
        asyncio.timeout(BOUND),
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/xrpc/com.atproto.sync.subscribeRepos", params=query) as socket,
    ):
        found = [await socket.receive_bytes() for _ in range(count)]
        if until is not None:
            await until.wait()
        return found


async def ask(url: str, path: str, **query: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}{path}", params=query) as response:
        if response.content_type.endswith("json"):
            return response.status, await response.json(content_type=None)
        return response.status, await response.read()


def data(archive: Archive) -> list[bytes]:
    return [item.data for item in archive.items()]


async def test_recording_what_is_played_gives_equal_bytes_and_verifies(archive: Archive, tmp_path: Path) -> None:
    expected = data(archive)
    async with ArchiveHost(archive.directory) as host:
        recorder = await record(host.url, tmp_path / "b", len(expected))
        again = Archive(tmp_path / "b")
        assert data(again) == expected
        assert recorder.frames == len(expected)
        assert recorder.undocumented == 0
        assert Verifier(again).run().failures == {}
        async with ArchiveHost(tmp_path / "b") as second:
            await record(second.url, tmp_path / "c", len(expected))
    assert data(Archive(tmp_path / "c")) == expected


async def test_a_recording_that_is_cut_verified_played_and_recorded_again_is_the_cut_byte_for_byte(
    archive: Archive, tmp_path: Path
) -> None:
    frames = len(data(archive))
    async with ArchiveHost(archive.directory) as host:
        await record(host.url, tmp_path / "recorded", frames)
    recorded = Archive(tmp_path / "recorded")
    chosen = frozenset(sorted({item.did_key for item in recorded.items()})[:2])
    with ArchiveWriter(tmp_path / "cut", source="cut") as writer:
        copied = cut(recorded, writer, Wanted(dids=chosen))
    expected = [item.data for item in recorded.items() if item.did_key in chosen]
    failures = Verifier(Archive(tmp_path / "cut")).run().failures
    async with ArchiveHost(tmp_path / "cut") as host:
        await record(host.url, tmp_path / "again", copied)

    assert 0 < copied == len(expected) < frames
    assert failures == {}
    assert data(Archive(tmp_path / "cut")) == expected
    assert data(Archive(tmp_path / "again")) == expected
    assert Verifier(Archive(tmp_path / "again")).run().failures == {}


async def test_the_real_frames_survive_play_and_record(vectors: Vectors, tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "a", source="corpus") as writer:
        import_frames(vectors(f"{CORPUS}/frames.bin"), vectors(f"{CORPUS}/did_docs.json"), writer)
    async with ArchiveHost(tmp_path / "a") as host:
        await record(host.url, tmp_path / "b", 80)

    assert data(Archive(tmp_path / "b")) == real_frames(vectors)
    assert Verifier(Archive(tmp_path / "b")).run().failures == {}


async def test_a_recording_goes_on_where_it_ended(archive: Archive, tmp_path: Path) -> None:
    expected = data(archive)
    async with ArchiveHost(archive.directory) as host:
        first = await record(host.url, tmp_path / "b", 100)
        await record(host.url, tmp_path / "b", len(expected) - 100, first.cursor)

    assert data(Archive(tmp_path / "b")) == expected


async def test_a_cursor_gets_what_follows_it_and_one_ahead_an_error(archive: Archive) -> None:
    expected = data(archive)
    async with ArchiveHost(archive.directory) as host:
        assert await frames_from(host.url, 5, 30) == expected[30:35]
        (error,) = await frames_from(host.url, 1, 10**6)
    assert decode_frame(error) == ErrorMessage("FutureCursor", f"cursor 1000000 is ahead of {len(expected)}")


async def test_an_error_ends_a_recording_and_silence_of_the_dead_does_too(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.load.archive.record.RETRIES", 1)
    async with ArchiveHost(archive.directory) as host:
        with pytest.raises(Refused, match="FutureCursor"):
            await record(host.url, tmp_path / "b", 1, 10**6)
    with pytest.raises(Refused) as refused:
        await record(host.url, tmp_path / "b", 1)
    assert refused.value.reason is RecordReason.UNREACHABLE


async def test_an_outdated_cursor_is_told_and_not_recorded(vectors: Vectors, tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "a", source="corpus") as writer:
        import_frames(vectors(f"{CORPUS}/frames.bin"), None, writer)
    async with ArchiveHost(tmp_path / "a") as host:
        told = decode_frame((await frames_from(host.url, 1, 5))[0])
        await record(host.url, tmp_path / "b", 80, 5, plc=False)

    assert isinstance(told, InfoMessage)
    assert told.name == "OutdatedCursor"
    assert data(Archive(tmp_path / "b")) == data(Archive(tmp_path / "a"))
    assert paths(tmp_path / "b", DOCUMENTS) == []


async def test_events_come_when_they_are_due(archive: Archive) -> None:
    now = [0.0]
    async with ArchiveHost(archive.directory, steady(10.0), clock=lambda: now[0]) as host:
        host.play()
        now[0] = 5.05
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{host.url}/xrpc/com.atproto.sync.subscribeRepos", params={"cursor": "0"}) as socket,
            asyncio.timeout(BOUND),
        ):
            due = [await socket.receive_bytes() for _ in range(51)]
            for _ in range(3):  # the next event waits for the clock, which stands
                await asyncio.sleep(0.05)
            assert host.sent == 51
        assert due == data(archive)[:51]


def test_paces_are_what_they_say(archive: Archive) -> None:
    items = list(archive.items())
    pace = recorded(archive, 4.0)

    assert pace(0, items[0].time) == 0.0
    assert pace(9, items[0].time + 8_000_000) == 2.0
    assert steady(50.0)(100, 0) == 2.0
    assert flat_out(10**9, 10**18) == 0.0


async def test_who_comes_late_without_a_cursor_begins_with_what_comes_now(archive: Archive) -> None:
    now = [0.0]
    async with ArchiveHost(archive.directory, steady(10.0), clock=lambda: now[0]) as host:
        host.play()
        now[0] = 10.0
        listening = asyncio.create_task(frames_from(host.url, 1))
        assert await listening == [data(archive)[100]]


async def test_a_loop_goes_on_with_rising_seqs(archive: Archive) -> None:
    length = len(data(archive))
    async with ArchiveHost(archive.directory, loops=2) as host:
        both = await frames_from(host.url, 2 * length, 0, host.ended)
        tail = await frames_from(host.url, 3, length + 10)
    seqs = [decode_frame(frame).seq for frame in both]

    assert seqs == list(range(1, 2 * length + 1))
    assert both[:length] == data(archive)
    assert tail == both[length + 10 : length + 13]


async def test_a_crawler_finds_every_account_with_its_repo_and_document(archive: Archive) -> None:
    async with ArchiveHost(archive.directory) as host:
        status, found = await ask(host.url, "/xrpc/com.atproto.sync.listRepos", limit="5")
        assert status == 200
        repos = found["repos"]
        while "cursor" in found:
            _, found = await ask(host.url, "/xrpc/com.atproto.sync.listRepos", limit="5", cursor=found["cursor"])
            repos += found["repos"]
        assert len(repos) == 12
        for each in repos:
            status, car = await ask(host.url, "/xrpc/com.atproto.sync.getRepo", did=each["did"])
            assert status == 200
            repo = open_repo_car(car)
            assert (str(repo.signed.cid), repo.signed.rev) == (each["head"], each["rev"])
            _, document = await ask(host.url, f"/{each['did']}")
            parsed = did_doc.parse(Did(each["did"]), document)
            assert parsed.pds == host.url
            assert parsed.signing_key is not None
            assert repo.signed.is_signed_by(parsed.signing_key)
            _, latest = await ask(host.url, "/xrpc/com.atproto.sync.getLatestCommit", did=each["did"])
            assert latest == {"cid": each["head"], "rev": each["rev"]}
        _, described = await ask(host.url, "/xrpc/com.atproto.server.describeServer")
        assert described["did"].startswith("did:web:")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", 404),
        ("/did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/log", 404),
        ("/xrpc/com.atproto.sync.getRepo?did=nobody", 400),
        ("/xrpc/com.atproto.sync.getLatestCommit", 400),
        ("/xrpc/com.atproto.sync.listRepos?limit=x&cursor=-1", 200),
        ("/xrpc/com.atproto.sync.listRepos?cursor=99999999999", 200),
    ],
)
async def test_strange_questions_are_answered(archive: Archive, path: str, status: int) -> None:
    async with (
        ArchiveHost(archive.directory) as host,
        aiohttp.ClientSession() as session,
        session.get(host.url + path) as response,
    ):
        assert response.status == status


def start(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "headrace", "load", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


async def test_a_recorder_that_is_killed_loses_nothing_and_repeats_nothing(archive: Archive, tmp_path: Path) -> None:
    expected = data(archive)
    directory = tmp_path / "b"
    now = [0.0]
    async with ArchiveHost(archive.directory, steady(100.0), clock=lambda: now[0]) as host:
        host.play()
        for now[0] in (1.0, 2.0, 2.5):
            before = _size(directory)
            process = start("record", host.url, str(directory), "--cursor", str(_last(directory)))
            try:
                async with asyncio.timeout(BOUND):
                    while process.poll() is None and _size(directory) == before:  # noqa: ASYNC110 - a file
                        await asyncio.sleep(0.01)  # until it has written what is due
                assert process.poll() is None
                os.kill(process.pid, signal.SIGKILL)
            finally:
                process.kill()
                process.wait()
                assert process.stdout is not None
                process.stdout.close()
        assert 100 <= _last(directory) <= 251
        now[0] = 10_000.0
        await record(host.url, directory, len(expected) - _last(directory), _last(directory))

    whole = Archive(directory)
    assert data(whole) == expected
    assert len(whole.segments()) == 4
    assert Verifier(whole).run().failures.keys() <= {"no_document"}  # those that were killed had no directory


async def test_ctrl_c_ends_a_recording_with_what_came_so_far(archive: Archive, tmp_path: Path) -> None:
    directory = tmp_path / "b"
    now = [0.0]
    async with ArchiveHost(archive.directory, steady(100.0), clock=lambda: now[0]) as host:
        host.play()
        now[0] = 0.5
        process = start("record", host.url, str(directory), "--plc", host.url, "--json", "--cursor", "0")
        try:
            async with asyncio.timeout(BOUND):
                while process.poll() is None and not _size(directory):  # noqa: ASYNC110 - a file
                    await asyncio.sleep(0.01)
            process.send_signal(signal.SIGINT)
            said, _ = await asyncio.to_thread(process.communicate, timeout=BOUND)
        finally:
            process.kill()
            process.wait()
    counts = json.loads(said)

    assert process.returncode == 0
    assert counts["frames"] == counts["cursor"] == len(data(Archive(directory)))
    assert index.load(Archive(directory).segments()[0]) is not None
    assert Verifier(Archive(directory)).run().failures == {}


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in paths(directory, "frames")) if directory.exists() else 0


def _last(directory: Path) -> int:
    return (last_seq(directory) or 0) if directory.exists() else 0


async def test_the_commands_play_record_and_verify(archive: Archive, tmp_path: Path) -> None:
    serving = start("serve", str(archive.directory))
    assert serving.stdout is not None
    try:
        url = (await asyncio.to_thread(serving.stdout.readline)).decode().strip()
        count = str(len(data(archive)))
        for arguments, code in (
            (("record", url, str(tmp_path / "b"), "--plc", url, "--frames", count, "--cursor", "0"), 0),
            (("verify", str(tmp_path / "b"), "--json"), 0),
            (("info", str(tmp_path / "none")), 3),
        ):
            process = start(*arguments)
            await asyncio.to_thread(process.communicate)
            assert process.returncode == code, arguments
    finally:
        serving.terminate()
        code = await asyncio.to_thread(serving.wait, 30)
        serving.stdout.close()
    assert code == 0
    assert data(Archive(tmp_path / "b")) == data(archive)
    assert isinstance(decode_frame(data(archive)[2]), CommitMessage)


async def test_an_archive_without_frames_is_a_silent_host_even_in_a_loop(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "a", source="lines", signed=False) as writer:
        writer.frame(Item(1, 1, 1, Kind.LINE, b"{}"))
    async with (
        ArchiveHost(tmp_path / "a", loops=None) as host,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{host.url}/xrpc/com.atproto.sync.subscribeRepos", params={"cursor": "9" * 19}) as late,
        session.ws_connect(f"{host.url}/xrpc/com.atproto.sync.subscribeRepos", params={"cursor": "0"}) as socket,
        asyncio.timeout(BOUND),
    ):
        await host.ended.wait()
        await socket.close()
        assert isinstance(decode_frame(await late.receive_bytes()), ErrorMessage)
    assert host.sent == 0


async def test_frames_that_cannot_be_read_are_recorded_and_played_in_their_place(tmp_path: Path) -> None:
    sent = [_account(1), b"\xff\xff", _account(2), b"\xa2atd#newbop\x01\xa0"]
    with ArchiveWriter(tmp_path / "a", source="test") as writer:
        (tmp_path / "in.bin").write_bytes(b"".join(len(each).to_bytes(4, "little") + each for each in sent))
        import_frames(tmp_path / "in.bin", None, writer)
    async with ArchiveHost(tmp_path / "a") as host:
        await record(host.url, tmp_path / "b", 4, plc=False)

    assert data(Archive(tmp_path / "b")) == sent
    assert Verifier(Archive(tmp_path / "b")).run().failures.total() == 1


def _account(seq: int) -> bytes:
    head, tail = account_frame(did="did:plc:" + "a" * 24, time="2026-01-01T00:00:00.000Z", active=True, status=None)
    return head + cbor_uint(seq) + tail


async def test_many_threads_ask_one_archive(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.load.archive.reader._BLOCKS", 1)
    monkeypatch.setattr("headrace.load.archive.reader._INDEXES", 1)
    dids = sorted({found["did"] for found in map(shown, archive.items())})
    asked = Archive(archive.directory)

    found = await asyncio.gather(*(asyncio.to_thread(asked.documents, did) for did in dids * 20))

    assert all(found)

"""What was learnt of identities survives the process: bounded, as old as it is, thrown away when broken."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from ingest.identity.handles import HandleResolver
from ingest.identity.kept_documents import PENDING_MAX, USED_SECONDS, KeptDocuments
from ingest.identity.reasons import IdentityRefused
from ingest.identity.resolver import IdentityResolver
from ingest.repo.keys import PrivateKey
from tests.relay.world.people import People, _NoDns, _NoWeb, did_of

KEY = PrivateKey.generate()
HOUR = 3_600


class Clock:
    now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "identities.sqlite"


def resolver(people, kept, clock):
    return IdentityResolver(people, HandleResolver(_NoDns(), _NoWeb()), _NoWeb(), now=clock, kept=kept)


def known(people, number, pds="https://old.test"):
    people.put(did_of(number), KEY, pds)
    return did_of(number)


async def test_after_a_restart_with_the_directory_away_a_did_known_an_hour_ago_answers(path, clock):
    people = People()
    did = known(people, 1)
    kept = KeptDocuments(path, 100, clock)
    assert (await resolver(people, kept, clock).did_document(did)).pds == "https://old.test"
    await kept.close()
    clock.now += HOUR + 1
    people.away = True
    kept = KeptDocuments(path, 100, clock)
    again = resolver(people, kept, clock)

    assert (await again.did_document(did)).pds == "https://old.test"
    with pytest.raises(IdentityRefused) as refused:
        await again.did_document(did_of(2))
    assert refused.value.transient
    # Back again: what is old is given once more, and replaced behind.
    people.away = False
    known(people, 1, "https://new.test")
    clock.now += 2
    await again.did_document(did)
    await landed(again)
    assert (await again.did_document(did)).pds == "https://new.test"
    assert (kept.hits, kept.rows) == (1, 1)
    await kept.close()
    kept = KeptDocuments(path, 100, clock)
    assert (await resolver(People(), kept, clock).did_document(did)).pds == "https://new.test"
    await kept.close()


async def test_what_is_older_than_a_day_is_not_believed(path, clock):
    people = People()
    did = known(people, 1)
    kept = KeptDocuments(path, 100, clock)
    await resolver(people, kept, clock).did_document(did)
    clock.now += 24 * HOUR
    people.away = True

    with pytest.raises(IdentityRefused):
        await resolver(people, kept, clock).did_document(did)
    await kept.close()


@pytest.mark.parametrize("how", ["gone", "forgotten"])
async def test_what_is_gone_or_forgotten_does_not_come_back_from_the_disk(path, clock, how):
    people = People()
    did = known(people, 1)
    kept = KeptDocuments(path, 100, clock)
    first = resolver(people, kept, clock)
    await first.did_document(did)
    await kept.flush()
    people.away = how == "forgotten"
    if how == "gone":
        people.documents.clear()
        with pytest.raises(IdentityRefused):
            await first.did_document(did, refresh=True)
    else:
        first.forget(did)
    await kept.close()
    kept = KeptDocuments(path, 100, clock)

    assert (kept.rows, kept.get(did)) == (0, None)
    await kept.close()


async def test_the_longest_unused_make_room(path, clock):
    kept = KeptDocuments(path, 50, clock)
    for number in range(50):
        clock.now += 1
        kept.put(f"did:web:a{number}.test", {"id": number})
    await kept.flush()
    clock.now += USED_SECONDS + 50
    assert kept.get("did:web:a0.test") is not None  # used now
    await kept.flush()
    for number in range(50, 60):
        kept.put(f"did:web:a{number}.test", {"id": number})
    await kept.flush()

    left = [number for number in range(60) if kept.get(f"did:web:a{number}.test") is not None]
    assert left == [0, *range(11, 60)]
    assert (kept.rows, kept.evicted) == (50, 10)
    await kept.close()


async def test_what_waits_to_be_written_is_bounded_and_read_meanwhile(path, clock):
    kept = KeptDocuments(path, 10**6, clock)
    for number in range(PENDING_MAX + 5):
        kept.put(f"did:web:a{number}.test", {})

    assert len(kept._pending) == PENDING_MAX
    assert (kept.get("did:web:a4.test"), kept.get("did:web:a5.test")) == (None, ({}, 0.0))
    await kept.close()


async def test_a_clock_set_back_makes_nothing_younger_than_now(path, clock):
    kept = KeptDocuments(path, 10, clock)
    kept.put("did:web:a.test", {})
    clock.now -= 10 * HOUR

    assert kept.get("did:web:a.test") == ({}, 0.0)
    await kept.close()


@pytest.mark.parametrize("damage", ["noise", "cut", "pages", "format"])
async def test_a_damaged_file_is_made_anew_and_said(path, clock, damage, capsys):
    kept = KeptDocuments(path, 1_000, clock)
    for number in range(500):
        kept.put(f"did:web:a{number}.test", {"id": number, "text": str(number) * 50})
    if damage == "format":
        kept._writer.execute("UPDATE meta SET value=99")
    await kept.close()
    raw = bytearray(path.read_bytes())
    assert len(raw) > 20_000
    if damage == "noise":
        raw = bytearray(b"no database at all " * 100)
    elif damage == "cut":
        del raw[len(raw) // 2 :]
    elif damage == "pages":
        raw[4096 * 2 :] = bytes(len(raw) - 4096 * 2)
    path.write_bytes(raw)

    kept = KeptDocuments(path, 1_000, clock)
    assert kept.rows == 0
    kept.put("did:web:a.test", {"id": 1})
    await kept.close()
    kept = KeptDocuments(path, 1_000, clock)
    assert kept.get("did:web:a.test") == ({"id": 1}, 0.0)
    await kept.close()
    assert "are asked for anew" in capsys.readouterr().out


async def test_a_process_killed_while_it_writes_leaves_a_whole_file(path):
    script = f"""
import asyncio, os, signal
from pathlib import Path
from ingest.identity.kept_documents import KeptDocuments
async def main():
    kept = KeptDocuments(Path({str(path)!r}), 10_000)
    for lot in range(1_000):
        for number in range(20):
            kept.put(f"did:web:a{{lot * 20 + number}}.test", {{"id": number}})
        await kept.flush()
        if lot == 7:
            kept.put("did:web:lost.test", {{}})
            os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script], check=False, capture_output=True)
    assert done.returncode == -9, done.stderr
    kept = KeptDocuments(path, 10_000)

    assert kept.rows == 160
    await kept.close()


async def landed(of):
    while of._dids._flights:
        await next(iter(of._dids._flights.values()))

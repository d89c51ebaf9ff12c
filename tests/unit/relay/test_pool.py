"""The pool says what the inline verifier says, in each account's order, within bounds, whatever its processes do."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace

import psutil
import pytest

from ingest.relay import pool_process
from ingest.relay.pool import VerifierPool
from ingest.repo.car import car_bytes
from ingest.repo.keys import PrivateKey
from ingest.repo.messages import SyncMessage
from ingest.repo.reasons import RepoReason
from ingest.repo.verify import Verified, verify_commit, verify_sync
from schemas.entries import Sync
from schemas.errors import InvariantError, Refused
from schemas.syntax import Did
from tests.unit.repo.world import NOW, Account, path, record

LATER = NOW + 10**9
STRANGER = PrivateKey.from_bytes("p256", b"\x09" * 32)


def chain(n: int, commits: int) -> tuple[Account, list]:
    """An account and messages of its first commits, each with what stood before it."""
    account = Account(did=Did(f"did:plc:{'abcdefghijklmnopqrstuvwx'[n % 24] * 24}"))
    out = []
    for i in range(commits):
        before = None if account.rev is None else (account.rev, account.data)
        out.append((account.commit({path(i): record(str(i))}).message(), before))
    return account, out


def ends(handle: int) -> bool:
    """Whether a process (by a handle of pidfd_open) has ended, or does within half a minute."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(30_000))


async def outcome(awaitable):
    try:
        return await awaitable
    except Refused as refused:
        return refused.reason, refused.detail


def inline(message, key, before, now=LATER, **more):
    try:
        if isinstance(message, SyncMessage):
            return verify_sync(message, key, before, now)
        return verify_commit(message, key, before, now, **more)
    except Refused as refused:
        return refused.reason, refused.detail


async def test_the_pool_says_what_the_verifier_says_of_good_and_bad():
    account, messages = chain(0, 20)
    key, (last, before) = account.key.public, messages[-1]
    sync = SyncMessage(1, last.did, last.rev, car_bytes(last.commit, {}), "", b"h", b"t")
    made = account.commit({path(3): None, path(50): record("x"), path(4): record("other")})
    cases = [(message, key, standing, {}) for message, standing in messages]
    cases += [
        (made.message(), key, (last.rev, messages[-1][1][1]), {}),
        (last, STRANGER.public, before, {}),
        (last, key, (last.rev, before[1]), {}),
        (last, key, (before[0], last.commit), {}),
        (replace_struct(last, blocks=last.blocks[:-1]), key, before, {}),
        (replace_struct(last, prev_data=last.commit), key, before, {}),
        (replace_struct(last, prev_data=None), key, before, {}),
        (replace_struct(last, prev_data=None), key, before, {"lenient": True}),
        (replace_struct(last, ops=()), key, before, {}),
        (replace_struct(last, too_big=True), key, before, {}),
        (sync, key, None, {}),
        (replace_struct(sync, blocks=made.message().blocks), key, None, {}),
    ]
    signed = made.signed
    whole = SyncMessage(
        1, signed.did, signed.rev, car_bytes(signed.cid, {signed.cid.raw: signed.block}), "", b"h", b"t"
    )
    cases.append((whole, key, None, {}))

    async with VerifierPool(2) as pool:
        found = [await outcome(pool.verify(m, k, b, LATER, **more)) for m, k, b, more in cases]

    assert found == [inline(m, k, b, **more) for m, k, b, more in cases]
    assert sum(isinstance(each, Verified) for each in found) >= 21
    assert sum(isinstance(each, Sync) for each in found) == 1
    assert len({each[0] for each in found if type(each) is tuple}) >= 7
    assert pool.counters.answered == len(cases)
    assert pool.pending == (0, 0)


def replace_struct(message, **changes):
    return type(message)(**{name: changes.get(name, getattr(message, name)) for name in message.__struct_fields__})


async def test_an_accounts_messages_are_answered_in_order_and_others_beside_them():
    accounts = [chain(n, 40) for n in range(6)]
    answered: dict[str, list[str]] = defaultdict(list)
    mixed: list[str] = []

    async def ask(pool, account, message, before):
        verified = await pool.verify(message, account.key.public, before, LATER)
        assert verified.entry.ops[0].record is not None
        answered[message.did].append(message.rev)
        mixed.append(message.did)

    async with VerifierPool(3, pending_messages=50) as pool:
        await asyncio.gather(
            *(ask(pool, account, *messages[i]) for i in range(40) for account, messages in accounts),
        )

    for account, messages in accounts:
        assert answered[account.did] == [message.rev for message, _ in messages]
    assert len(set(mixed[:40])) > 1


async def test_what_waits_is_bounded_by_messages_and_by_bytes():
    account, messages = chain(0, 60)
    size = max(len(message.blocks) for message, _ in messages)
    seen = []

    async def ask(pool, message, before):
        await pool.verify(message, account.key.public, before, LATER)
        seen.append(pool.pending)

    async with VerifierPool(1, pending_messages=7) as pool:
        await asyncio.gather(*(ask(pool, *each) for each in messages))
    async with VerifierPool(1, pending_bytes=3 * size) as pool:
        await asyncio.gather(*(ask(pool, *each) for each in messages))
    async with VerifierPool(1, pending_bytes=10) as pool:  # less than any: one passes at a time
        await asyncio.gather(*(ask(pool, *each) for each in messages[:5]))

    assert len(seen) == 125
    assert max(count for count, _ in seen[:60]) <= 7
    assert max(count for count, _ in seen[:60]) > 1
    assert max(taken for _, taken in seen[60:120]) <= 3 * size
    assert max(count for count, _ in seen[120:]) <= 1


async def test_who_is_cancelled_while_waiting_leaves_no_room_taken():
    account, messages = chain(0, 8)
    async with VerifierPool(1, pending_messages=2) as pool:
        tasks = [asyncio.create_task(pool.verify(m, account.key.public, b, LATER)) for m, b in messages]
        await asyncio.sleep(0)
        for task in tasks[1::2]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(await pool.verify(*messages[0][:1], account.key.public, None, LATER), Verified)

        assert pool.pending[0] <= 1
    assert [isinstance(each, Verified) for each in outcomes[::2]] == [True] * 4
    assert all(isinstance(each, asyncio.CancelledError) for each in outcomes[1::2])


async def test_what_a_killed_process_had_under_way_is_done_again_in_order():
    accounts = [chain(n, 60) for n in range(4)]
    answered: dict[str, list[str]] = defaultdict(list)
    begun = asyncio.Event()

    async def ask(pool, account, message, before):
        verified = await pool.verify(message, account.key.public, before, LATER)
        assert verified.inverted
        answered[message.did].append(message.rev)
        begun.set()

    async with VerifierPool(2) as pool:
        first = pool.pids
        work = asyncio.gather(*(ask(pool, account, *messages[i]) for i in range(60) for account, messages in accounts))
        await begun.wait()
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        await work
        assert not set(first) & set(pool.pids)

    assert pool.counters.deaths == 2
    assert pool.counters.redone > 0
    for account, messages in accounts:
        assert answered[account.did] == [message.rev for message, _ in messages]


async def test_a_message_that_ends_two_processes_is_refused_and_no_other():
    account, messages = chain(0, 30)
    poison = replace(account.key.public, multikey="z6broken")  # no relay gives such a key: the process trips over it
    async with VerifierPool(1) as pool:
        outcomes = await asyncio.gather(
            *(
                outcome(pool.verify(message, poison if i == 11 else account.key.public, before, LATER))
                for i, (message, before) in enumerate(messages)
            )
        )

    assert outcomes[11][0] is RepoReason.VERIFIER_DIED
    assert [i for i, each in enumerate(outcomes) if not isinstance(each, Verified)] == [11]
    assert pool.counters.deaths == 2


async def test_a_message_under_suspicion_is_alone_in_its_process(monkeypatch):
    """The fourth of four under way is the one that ends processes, and more wait behind it."""
    monkeypatch.setattr(pool_process, "BATCH_MESSAGES", 2)
    account, messages = chain(0, 12)
    poison = replace(account.key.public, multikey="z6broken")
    async with VerifierPool(1) as pool:
        os.kill(pool.pids[0], signal.SIGSTOP)
        work = asyncio.gather(
            *(
                outcome(pool.verify(message, poison if i == 3 else account.key.public, before, LATER))
                for i, (message, before) in enumerate(messages)
            )
        )
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert pool.pending[0] == 12
        os.kill(pool.pids[0], signal.SIGKILL)
        outcomes = await work

    assert [i for i, each in enumerate(outcomes) if not isinstance(each, Verified)] == [3]
    assert outcomes[3][0] is RepoReason.VERIFIER_DIED
    assert (pool.counters.deaths, pool.counters.redone) == (2, 4)


async def test_a_process_that_hangs_is_ended_and_its_work_redone(monkeypatch):
    account, messages = chain(0, 3)
    async with VerifierPool(1) as pool:
        (pid,) = pool.pids
        os.kill(pid, signal.SIGSTOP)
        with monkeypatch.context() as patience:  # the process that comes after it has all the time it needs
            patience.setattr(pool_process, "BATCH_SECONDS", 0.2)
            work = asyncio.gather(*(pool.verify(m, account.key.public, b, LATER) for m, b in messages))
            for _ in range(3):  # until the batch is sent
                await asyncio.sleep(0)
        outcomes = await work

        assert pool.pids != [pid]
    assert all(isinstance(each, Verified) for each in outcomes)
    assert (pool.counters.deaths, pool.counters.redone) == (1, 3)


async def test_processes_that_do_not_come_up_are_our_fault(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    pool = VerifierPool(2)

    with pytest.raises(InvariantError, match="did not come up"):
        await pool.start()

    assert pool.pids == []


async def test_a_pool_that_does_not_start_has_ended_all_its_processes_before_it_says_so(monkeypatch):
    """The first gives up while the second has yet to come up."""
    pool = VerifierPool(2)
    first, second = pool._processes
    start = second.start

    async def fails():
        raise InvariantError("did not come up")

    async def late():
        for _ in range(3):
            await asyncio.sleep(0)
        await start()

    monkeypatch.setattr(first, "start", fails)
    monkeypatch.setattr(second, "start", late)
    with pytest.raises(InvariantError, match="did not come up"):
        await pool.start()

    assert pool.pids == []
    assert len(asyncio.all_tasks()) == 1


async def test_a_process_that_cannot_be_replaced_stops_the_pool(monkeypatch):
    account, messages = chain(0, 2)
    async with VerifierPool(1) as pool:
        os.kill(pool.pids[0], signal.SIGSTOP)
        waiting = asyncio.create_task(pool.verify(messages[0][0], account.key.public, None, LATER))
        await asyncio.sleep(0)
        monkeypatch.setattr(sys, "executable", "/bin/false")
        os.kill(pool.pids[0], signal.SIGKILL)

        for attempt in (waiting, pool.verify(messages[0][0], account.key.public, None, LATER)):
            with pytest.raises(InvariantError, match="did not come up"):
                await attempt
        assert pool.pending == (0, 0)


async def test_closing_tells_whoever_waits_and_leaves_no_process():
    account, messages = chain(0, 10)
    pool = VerifierPool(2)
    with pytest.raises(InvariantError, match="start"):
        await pool.verify(messages[0][0], account.key.public, None, LATER)
    await pool.start()
    pids = pool.pids
    tasks = [asyncio.create_task(pool.verify(m, account.key.public, b, LATER)) for m, b in messages]
    await asyncio.sleep(0)

    await pool.close()
    await pool.close()

    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, InvariantError) for each in outcomes)
    assert len(pids) == 2
    assert not any(map(psutil.pid_exists, pids))
    with pytest.raises(InvariantError, match="closed"):
        await pool.verify(messages[0][0], account.key.public, None, LATER)


HOST = """
import asyncio, os
from ingest.relay.pool import VerifierPool
async def main():
    async with VerifierPool(2) as pool:
        print(*pool.pids, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


def test_the_processes_end_with_a_relay_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", HOST], stdout=subprocess.PIPE) as host:
        try:
            handles = [os.pidfd_open(int(pid)) for pid in host.stdout.readline().split()]
        finally:
            host.kill()
    try:
        assert len(handles) == 2
        assert all(map(ends, handles))
    finally:
        for handle in handles:
            os.close(handle)

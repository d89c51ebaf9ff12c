"""A synthetic network into an archive, by as many processes as it likes: the same bytes with any number of them.

Accounts are dealt out to the workers; each runs the whole plan and makes the frames of its own accounts, which are
numbered and written here in the order of the plan. Does not own the plan (`plan.py`) nor the frames (`repos.py`).
"""

from __future__ import annotations

import gc
import multiprocessing
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from heapq import merge
from itertools import chain
from multiprocessing.connection import Connection
from threading import Event
from typing import NamedTuple

from headrace.load.archive.blocks import Item, Kind
from headrace.load.archive.writer import ArchiveWriter
from headrace.load.synthesis.accounts import Accounts
from headrace.load.synthesis.fame import Fame
from headrace.load.synthesis.plan import Plan
from headrace.load.synthesis.repos import RECORDS, Made, Repos
from headrace.load.synthesis.steps import Population, Step
from schemas.entries import cbor_uint
from schemas.errors import InvariantError
from schemas.syntax import Did

_BATCH = 128  # steps that a worker sends at once
_ALLOCATIONS, _YOUNG, _OLD = 50_000, 20, 100  # between two looks of the garbage collector
Numbered = tuple[int, list[Made]]


class Summary(NamedTuple):
    """What was made: frames by kind, and the time from the first to the last event in unix microseconds."""

    frames: dict[str, int]
    documents: int
    first_time: int
    last_time: int


class SynthesisStoppedError(Exception):
    """It was told to stop: the archive holds what was made so far."""


def synthesise(
    population: Population, writer: ArchiveWriter, *, workers: int = 1, stop: Event | None = None
) -> Summary:
    """Make it all. Raises InvariantError when a worker ends too early, SynthesisStoppedError once `stop` is set."""
    counts: Counter[str] = Counter()
    seq = documents = 0
    first = last = 0
    with ExitStack() as stack:
        steps = _alone(population) if workers == 1 else _together(population, workers, stack)
        for _, made in steps:
            if stop is not None and stop.is_set():
                raise SynthesisStoppedError
            for time, did_key, kind, head, tail in made:
                if kind >= Kind.DOCUMENT:
                    writer.document(Item(time, 0, did_key, kind, head))
                    documents += 1
                    continue
                seq += 1
                writer.frame(Item(time, seq, did_key, kind, head + cbor_uint(seq) + tail))
                counts[Kind(kind).name.lower()] += 1
                first, last = first or time, time
    return Summary(dict(sorted(counts.items())), documents, first, last)


def steps_of(population: Population, dids: list[Did], mine: Callable[[int], bool] = lambda _: True) -> Iterator[Step]:
    """The whole plan in order; what accounts write that are not `mine` may be left out."""
    plan = Fame(population, dids, mine) if population.famous else Plan(population, dids, mine=mine)
    return chain(plan.foundings(), plan.events())


def collect_rarely() -> None:
    """Of this process, from now on. What synthesis makes are trees, which go without the collector's help.

    At its usual thresholds it takes a sixth of the time to find nothing.
    """
    gc.set_threshold(_ALLOCATIONS, _YOUNG, _OLD)


def _alone(population: Population) -> Iterator[Numbered]:
    accounts = Accounts(population.seed)
    dids = [accounts.did(number) for number in range(population.accounts)]
    repos = Repos(accounts, dids)
    for number, step in enumerate(steps_of(population, dids)):
        yield number, repos.take(step) or []


def _together(population: Population, workers: int, stack: ExitStack) -> Iterator[Numbered]:
    context = multiprocessing.get_context("spawn")
    ends: list[Connection] = []
    for index in range(workers):
        here, there = context.Pipe()
        ends.append(here)
        process = context.Process(
            target=_work, args=(there, population, index, workers), name=f"synthesis-{index}", daemon=True
        )
        process.start()
        there.close()
        stack.callback(_end, process, here)
    dids = [Did("")] * population.accounts
    for index, end in enumerate(ends):
        dids[index::workers] = _received(end)
    for end in ends:
        end.send(dids)
    return merge(*map(_stream, ends))


def _stream(end: Connection) -> Iterator[Numbered]:
    while batch := _received(end):
        yield from batch


def _received(end: Connection) -> list:  # type: ignore[type-arg]  # DIDs, then batches of Numbered
    try:
        found: list = end.recv()  # type: ignore[type-arg]
    except EOFError:
        raise InvariantError("a process of the synthesis ended too early: see what it said on stderr") from None
    return found


def _end(process: multiprocessing.process.BaseProcess, end: Connection) -> None:
    end.close()  # whoever still sends is told so
    process.terminate()
    process.join()


def _work(end: Connection, population: Population, index: int, workers: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asked: it ends us
    collect_rarely()
    with suppress(BrokenPipeError, ConnectionResetError, EOFError):  # it has ended without
        _send_all(end, population, index, workers)


def _send_all(end: Connection, population: Population, index: int, workers: int) -> None:
    accounts = Accounts(population.seed)
    end.send([accounts.did(number) for number in range(index, population.accounts, workers)])
    dids = end.recv()
    mine = partial(_is_mine, index=index, workers=workers)
    repos = Repos(accounts, dids, mine=mine, room=RECORDS)
    batch: list[Numbered] = []
    for number, step in enumerate(steps_of(population, dids, mine)):
        made = repos.take(step)
        if made:
            batch.append((number, made))
            if len(batch) == _BATCH:
                end.send(batch)
                batch = []
    if batch:
        end.send(batch)
    end.send([])


def _is_mine(number: int, *, index: int, workers: int) -> bool:
    return number % workers == index

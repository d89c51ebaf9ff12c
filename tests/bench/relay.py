"""One run that prints what a relay costs: verification by stage, in one process and in more, intake, memory, serving.

`make bench-relay` prints the rows of docs/performance.md's part on the relay; JSON=FILE writes them too, in the form of
`make bench`. Nothing listens and nothing is stored while verification is measured; the pool's parent decodes frames, as
a relay does. The limit is what a verifier in Python calls and cannot do without, in libraries alone.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import orjson
import psutil
import uvloop

from ingest.relay.pool import VerifierPool
from ingest.repo import core
from ingest.repo.frame import decode_frame
from ingest.repo.messages import CommitMessage
from tests.bench import firehose_serving, go_relay, relay_cluster, relay_intake, relay_memory
from tests.bench.run import ROOT, Row, machine, say
from tests.bench.verify_frames import LATER, SECONDS, WORK, Speed, Work, limit, rate, stages

UNDER_WAY = 512  # messages that the pool is given at once


def verification() -> list[Row]:
    rows = []
    for name, make in WORK.items():
        work = make()
        suffix = "" if name == "recorded" else f"_{name}_op"
        size = sum(map(len, work.frames)) / len(work.frames)
        rows.append(say(Row(f"frame_bytes{suffix}", round(size, 0), "bytes")))
        rows += [say(Row(f"stage_{stage}{suffix}", cost, "us")) for stage, cost in stages(work).items()]
        if core.invert is not None:
            core.switch(on=False)
            rows.append(say(Row(f"stage_inversion_twin{suffix}", stages(work)["inversion"], "us")))
            rows += both(f"verify_frames_twin{suffix}", rate(work.once, len(work.frames)))
            core.switch(on=True)
        rows += both(f"verify_frames{suffix}", rate(work.once, len(work.frames)))
        rows += both(f"limit{suffix}", limit(work))
        peer = go_relay.speed(work)
        if isinstance(peer, str):
            print(f"no row for the Go relay: {peer}")
        else:
            rows += both(f"go_relay{suffix}", peer)
        rows.append(say(Row(f"verify_frames_two{suffix}", side_by_side(name, 2), "frames/s")))
        for processes in (1, 2):
            rows += [say(row) for row in uvloop.run(pooled(work, processes, suffix))]
    return rows


def both(name: str, speed: Speed) -> list[Row]:
    return [say(Row(name, speed.wall, "frames/s")), say(Row(f"{name}_per_cpu", speed.cpu, "frames/CPU-s"))]


def side_by_side(name: str, count: int) -> float:
    """Several processes, each with the whole checklist and nothing in common."""
    command = [sys.executable, "-m", "tests.bench.verify_frames", "--work", name]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(count)]
    return round(sum(orjson.loads(each.communicate()[0])["value"] for each in running), 1)


async def pooled(work: Work, processes: int, suffix: str) -> list[Row]:
    """Decoded here, verified in a pool; with this process's own share, and the memory of one of the others."""
    async with VerifierPool(processes) as pool:
        room = asyncio.Semaphore(UNDER_WAY)
        done = 0

        async def one(frame: bytes) -> None:
            nonlocal done
            message = decode_frame(frame)
            assert isinstance(message, CommitMessage)
            await pool.verify(message, work.keys[message.did], None, LATER)
            done += 1
            room.release()

        processes_cpu = used(pool.pids)
        begin, cpu = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as tasks:
            while time.perf_counter() - begin < SECONDS:
                for frame in work.frames:
                    await room.acquire()
                    tasks.create_task(one(frame))
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
        processes_cpu = used(pool.pids) - processes_cpu
        memory = max(psutil.Process(pid).memory_info().rss for pid in pool.pids)
    name = f"verify_frames_pool_{processes}{suffix}"
    return [
        Row(name, round(done / seconds, 1), "frames/s"),
        Row(f"{name}_parent", round(cpu / done * 1e6, 1), "us"),
        Row(f"{name}_processes", round(processes_cpu / done * 1e6, 1), "us"),
        Row(f"{name}_rss", round(memory / 1e6, 1), "MB each"),
    ]


def used(pids: list[int]) -> float:
    """Seconds of CPU that these processes have taken."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument(
        "--only", choices=("verification", "intake", "cluster", "memory", "serving"), help="a part of it"
    )
    options = parser.parse_args()
    rows: list[Row] = []
    if options.only in {None, "verification"}:
        rows += verification()
    if options.only in {None, "intake"}:
        rows += relay_intake.rows()
    if options.only in {None, "cluster"}:
        rows += relay_cluster.rows()
    if options.only in {None, "memory"}:
        rows += relay_memory.rows()
    if options.only in {None, "serving"}:
        rows += firehose_serving.rows()
    if options.json:
        document = {"rows": [asdict(row) for row in rows], "machine": machine(), "version": version("headrace")}
        options.json.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    main()

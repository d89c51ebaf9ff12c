"""A worker dies between any two steps of a batch, again and again, on a network of likes that are taken back.

What dies between the rows and the before-images is done again by somebody who sees the rows of a later moment and the
before-images of an earlier one, and more entries in one batch than the dead one had.
"""

from __future__ import annotations

import signal

import pytest

from schemas.crash import ENVIRONMENT
from schemas.topics import EDGES
from tests.chaos.cluster.trial import SEED, in_time, trial
from tests.support.random_network import Habits
from tests.support.stack import LONG

pytestmark = [pytest.mark.cluster, pytest.mark.chaos, pytest.mark.timeout(3600 if LONG else 600)]
POINTS = (
    "lane.before_send",
    "lane.after_send",
    "lane.after_rows",
    "lane.after_before_images",
    "lane.after_progress",
    "lane.after_watermark",
)
ROUNDS = 12 if LONG else 2
QUARREL = Habits(post=10, like=30, repost=10, follow=20, delete=50, several=20, broken=0, odd=0, status=1, leave=1)


@in_time
async def test_a_batch_that_was_torn_is_done_again_and_leaves_no_trace(tmp_path, kafka_servers, cql_address, role):
    hosts, port = (cql_address[0],), cql_address[1]
    async with trial(tmp_path, kafka_servers, hosts, port, role, seed=SEED + 3, habits=QUARREL, ahead=500) as case:
        await case.fleet.start("derive-1")
        case.world.flow()
        worker = case.fleet.worker(f"{role}-1")
        for n, point in enumerate(POINTS * ROUNDS):
            # One that dies, on whatever has piled up meanwhile, and at once another that dies elsewhere.
            await case.moment()
            nth = case.dice.randrange(1, 9)
            await worker.start({ENVIRONMENT: f"{point}:{nth}"})
            assert await worker.wait(60) == -signal.SIGKILL, worker.last_words()
            assert worker.log.read_text().count("crash: ") == n + 1, f"{point} did not fire"
        await worker.start()
        await case.recovered(f"{len(POINTS) * ROUNDS} torn batches")

        await case.finish(viewers=1)

        assert await case.repeated(EDGES) > 20, "no batch died between what it sent and what it saved"

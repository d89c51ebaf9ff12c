"""Random networks, everything the API shows of them, and the model that has only the log."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.entries import Account, Identity
from schemas.syntax import Did, Handle
from tests.oracle.compare import Comparison, Watch
from tests.oracle.run import run
from tests.support.asking import InProcess
from tests.support.fast_network import FastNetwork, dids

SEEDS = 24
STEPS = 220
ENDPOINTS = (
    "getProfile",
    "getProfiles",
    "searchActorsTypeahead",
    "getRelationships",
    "getPosts",
    "getTimeline",
    "getAuthorFeed",
    "getPostThread",
    "getLikes",
    "getRepostedBy",
    "getQuotes",
    "getFollowers",
    "getFollows",
    "getBlocks",
    "getMutes",
    "getBookmarks",
)


@pytest.mark.timeout(600)
async def test_everything_the_api_shows_is_what_the_model_says(directory):
    watch = Watch()
    happened = 0
    for seed in range(SEEDS):
        place = directory / str(seed)
        place.mkdir()
        counts = await run(place, seed, STEPS, watch)
        happened += counts["refused"] * counts["left out"]
        shutil.rmtree(place)

    assert happened
    for endpoint in ENDPOINTS:
        assert watch.counts[f"{endpoint} with something"] > 20, f"{endpoint} was hardly seen: {watch.counts}"
    for step in ("Write", "Status", "Named", "Takedown", "Again", "Operate"):
        assert watch.counts[step] > 10
    for gated in ("gated", "detached", "not for the viewer", "violations"):
        assert watch.counts[gated] > 20, f"{gated}: hardly any: {watch.counts}"
    for item in ("post", "blocked", "absent"):
        assert watch.counts[f"bookmarked {item}"] > 20, f"{item}: hardly ever bookmarked: {watch.counts}"


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(dice=st.randoms(use_true_random=False), steps=st.integers(5, 60))
def test_a_network_that_hypothesis_makes_up_is_what_the_model_says(dice, steps):
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:
        asyncio.run(run(Path(directory), 0, steps, Watch(), dice))


async def test_a_handle_stays_with_who_verified_it_last_whatever_becomes_of_who_had_it(directory):
    network = await FastNetwork(directory, dids(2)).open()
    first, second = (Did(did) for did in network.dids)
    for entry in (
        Identity(first, Handle("one.test")),
        Identity(second, Handle("one.test")),
        Account(first, "deactivated"),
    ):
        network.clock += 1_000_000
        await network.log.append(entry)

    model = await network.settle()

    asked = InProcess(network.store)
    comparison = Comparison(model, asked, network.dids, random.Random(0), watch=Watch(), context="a handle taken over")
    try:
        await comparison.of_viewer(None)
    finally:
        await network.close()

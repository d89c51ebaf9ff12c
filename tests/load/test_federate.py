"""The price of a workload: counted by hand on a small one, and as the network grows on a synthetic one."""

from __future__ import annotations

import subprocess
import sys

import orjson
import pytest

from headrace.load.archive.writer import ArchiveWriter
from headrace.load.federate import Act, Workload, grown, html, split, steps, workload
from headrace.load.synthesis.pool import synthesise
from headrace.load.synthesis.steps import Population
from tests.support.browser import look

# 0 is followed by 1, 2 and 3; posts twice and answers 3; 1 likes 0.
SMALL = Workload(4, {0: {1, 2, 3}}, [Act(0, True, ()), Act(0, True, ()), Act(0, True, (3,)), Act(1, False, (0,))])


@pytest.mark.parametrize(
    ("instances", "deliveries", "pairs"),
    [(1, 0, 0), (2, 3 + 1, 2), (4, 3 * 3 + 1, 4)],
)
def test_deliveries_are_one_an_instance_that_has_a_follower(instances, deliveries, pairs) -> None:
    found = split(SMALL, instances, 0.0, 16)

    assert (found.acts, found.deliveries, found.retries, found.pairs) == (4, deliveries, 0, pairs)


def test_what_goes_to_the_dead_is_tried_again() -> None:
    assert split(SMALL, 4, 0.25, 16).retries == 3 * 16  # instance 3 is gone: three posts went there


def test_a_network_that_grows_counts_only_who_is_there() -> None:
    found = [grown(SMALL, 2, instances, 0.0, 0) for instances in (1, 2)]

    assert [(each.accounts, each.deliveries) for each in found] == [(2, 0), (4, 3)]


def test_both_ways_write_the_same_timelines() -> None:
    assert SMALL.pushes == 9


def test_steps_end_with_the_last() -> None:
    assert steps(30) == [1, 2, 5, 10, 20, 30]
    assert steps(100) == [1, 2, 5, 10, 20, 50, 100]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    directory = tmp_path_factory.mktemp("federate") / "archive"
    with ArchiveWriter(directory, source="a test") as writer:
        synthesise(Population(seed=3, accounts=120, events=1500), writer)
    return directory


def test_deliveries_outgrow_appends(archive) -> None:
    from headrace.load.archive.reader import Archive

    load = workload(Archive(archive))
    small, large = (grown(load, 2, instances, 0.0, 0) for instances in (15, 60))

    assert load.accounts == 120
    assert large.acts / small.acts < large.deliveries / small.deliveries
    assert split(load, 60, 0.0, 0).deliveries > split(load, 6, 0.0, 0).deliveries > 0


def test_the_command_prints_and_draws_it(archive, tmp_path) -> None:
    page = tmp_path / "federate.html"
    words = ("load", "federate", str(archive), "--instances", "50", "--html", str(page), "--json")
    done = subprocess.run([sys.executable, "-m", "headrace", *words], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    said = orjson.loads(done.stdout)
    assert [each["instances"] for each in said["split"]] == [1, 2, 5, 10, 20, 50]
    assert said["split"][0]["deliveries"] == 0
    seen = look(page, width=380)
    assert len(seen.plots) == 2
    assert "pairs of instances that talk" in seen.text
    assert seen.scrolls <= 380


def test_an_archive_that_is_not_there_is_refused(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headrace", "load", "federate", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (3, "")


def test_the_page_is_the_same_each_time() -> None:
    prices = [split(SMALL, number, 0.0, 16) for number in (1, 2, 4)]

    assert html(SMALL, prices, prices, "x") == html(SMALL, prices, prices, "x")

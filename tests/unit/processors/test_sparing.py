"""A client's complaints while its broker is away do not fill the log."""

from __future__ import annotations

import logging

from processors.lanes import sparing


def test_of_one_kind_of_line_one_passes_until_a_while_has_gone(caplog, monkeypatch):
    now = 0.0
    monkeypatch.setattr(sparing.time, "monotonic", lambda: now)
    logger = logging.getLogger("noisy.client")
    kept = sparing.spare("noisy")
    try:
        with caplog.at_level(logging.WARNING):
            for number in range(100):
                logger.warning("no connection to node %s", number)
                logger.warning("another kind")
            now = 11.0
            logger.warning("no connection to node %s", 7)
    finally:
        logger.removeFilter(kept)

    assert [record.getMessage() for record in caplog.records] == [
        "no connection to node 0",
        "another kind",
        "no connection to node 7 (and 99 like it)",
    ]
    assert kept.left_out == 198


def test_others_are_not_touched(caplog):
    logger = logging.getLogger("noisyelse")
    sparing.spare("noisy")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            logger.warning("mine")

    assert len(caplog.records) == 3

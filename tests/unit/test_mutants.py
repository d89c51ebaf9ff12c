"""Every mutant still finds what it changes, and what is to notice it is there."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from tests.mutants import cluster
from tests.mutants.machine import ROOT, SOAK, Mutant, StaleMutantError, patched
from tests.oracle import mutants as oracle

ALL = (*cluster.MUTANTS, *oracle.MUTANTS)


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: f"{mutant.file}: {mutant.name}")
def test_a_mutant_changes_what_the_code_says_and_is_python(mutant):
    text = patched(mutant)

    ast.parse(text)
    assert text != (ROOT / mutant.file).read_text()
    assert all((ROOT / name).is_file() for name in mutant.noticed_by if name.startswith("tests/"))


def test_a_mutant_of_what_the_code_does_not_say_is_refused():
    with pytest.raises(StaleMutantError, match="rewrite the mutant"):
        patched(Mutant("none", "processors/marks.py", "what nobody wrote", ""))


def test_the_cluster_has_mutants_enough_each_of_its_own_name():
    assert len(cluster.MUTANTS) >= 20
    assert max(Counter(mutant.name for mutant in ALL).values()) <= 2
    assert not [mutant.name for mutant in cluster.MUTANTS if mutant.noticed_by == SOAK]

"""None of the ways to get something unreviewed into production passes; see docs/boundary.md.

UPDATE_GOLDENS=1 renews what is told, and the list. A new way is a function in a module *_ways.py.
"""

import os

import pytest
from listing import DOCS, ELSEWHERE, listed
from stands import SUBMIT
from toy_project import ROOT
from ways import GOLDENS, WAYS


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_way_does_not_pass(way, request, golden):
    golden(way.name, request.getfixturevalue(way.stand).refusal_of(way))


def test_release_that_nobody_touched_gets_to_the_workspace(release):
    assert release.main(*SUBMIT).status == 2
    assert release.outside.asked


def test_release_that_nobody_touched_is_submitted(workspace):
    outcome = workspace.main(*SUBMIT)
    assert (outcome.status, outcome.err) == (0, "")
    assert len(workspace.jobs()) == 1


def test_model_that_nobody_touched_is_registered(model):
    assert model.register() == 0


def test_model_that_is_better_than_the_champion_is_registered(model):
    model.compare()
    assert model.register() == 0


def test_list_in_the_docs_is_that_of_the_cases():
    """After the cases, which write what the list tells."""
    text = (ROOT / DOCS).read_text(encoding="utf-8")
    expected = listed(text)
    if os.environ.get("UPDATE_GOLDENS") == "1":
        (ROOT / DOCS).write_text(expected, encoding="utf-8")
    assert text == expected or os.environ.get("UPDATE_GOLDENS") == "1"


def test_each_golden_is_of_a_way():
    assert {path.stem for path in GOLDENS.glob("*.txt")} == set(WAYS)


@pytest.mark.parametrize("file", ELSEWHERE)
def test_each_test_elsewhere_is_there(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    assert [name for name in ELSEWHERE[file] if f"def {name}(" not in text] == []

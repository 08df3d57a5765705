"""What a step is given again: its parameters, and what a measured speed decided then."""

import pytest

from tfhub_blocks.control.reproduction.reproduction_plan import command_texts
from tfhub_blocks.records.base.lineage import Provenance


def texts(parameters, **facts):
    return command_texts(Provenance("step", parameters, (), "c", "e", "", "", facts))


def test_parameters_are_given_as_they_stood_in_a_command_line():
    given = {"fraction": 0.15, "count": 3, "flag": False, "word": "a b", "nothing": None}
    expected = {"fraction": "0.15", "count": "3", "flag": "False", "word": "a b"}
    assert texts(given) == (expected, [])


@pytest.mark.parametrize("kind", ["openvino/cpu", "openvino"])
def test_engine_that_auto_chose_is_given_in_its_place(kind):
    found, told = texts({"engine": "auto"}, engine={"kind": kind})
    assert found == {"engine": "openvino"}
    assert told == ["engine is openvino, which auto chose in the first run"]


def test_cut_that_auto_chose_is_given_in_its_place():
    found, _ = texts({"trainable": "auto"}, trained_from="blocks/15/kernel")
    assert found == {"trainable": "blocks/15/kernel"}


def test_what_was_asked_for_or_never_recorded_stays():
    assert texts({"engine": "tensorflow"}, engine={"kind": "openvino/cpu"})[0]["engine"] == (
        "tensorflow"
    )
    assert texts({"engine": "auto", "strengths": "auto"})[0] == {
        "engine": "auto",
        "strengths": "auto",
    }

"""Which folder is served for what a person names."""

import json

import pytest

from tfhub_blocks.control.lineage.model_folders import find_model_folder
from tfhub_blocks.control.lineage.run_archive import Archive
from tfhub_blocks.records.base.errors import BlocksError


@pytest.fixture
def find(chain):
    return lambda text: find_model_folder(text, Archive(chain.folder / ".runs"), "serve")


def test_a_registered_model_is_the_newest_version_or_the_one_that_is_named(find):
    name, newest = find("toy")
    assert name == "toy:2"
    assert (newest / "MLmodel").is_file()
    assert find("toy:1")[1] != newest
    with pytest.raises(BlocksError, match="no version '9'"):
        find("toy:9")


def test_a_folder_is_itself(find, chain):
    model = chain.output("trained", "model")
    assert find(str(model)) == (model.name, model)


def test_a_run_is_its_one_model_and_several_are_told(find, chain):
    record = chain.folder / ".runs" / "runs" / chain.runs[0] / "run.json"
    run = json.loads(record.read_text())
    model = str(chain.output("trained", "model"))
    for outputs, told in (
        ({"model": model}, ""),
        ({"model": model, "report": str(chain.folder)}, ""),
        ({"first": model, "second": model}, "several models: first, second"),
        ({}, "the run wrote no model"),
    ):
        record.write_text(json.dumps(run | {"outputs": outputs}))
        if told:
            with pytest.raises(BlocksError, match=told):
                find(chain.runs[0])
        else:
            assert str(find(chain.runs[0])[1]) == model


def test_what_is_nothing_is_told_with_what_it_may_have_meant(find):
    with pytest.raises(BlocksError, match="Did you mean 'toy'"):
        find("toyy")

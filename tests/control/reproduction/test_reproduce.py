"""A registered model is made again from its lineage, by the command line, with real steps."""

import json
import os
import re
import shutil

import pytest
from chain_tampering import edit_json, forge

from tfhub_blocks.records.base.lineage import STATEMENT_NAME


def reproduce(chain, *words, what="toy:2"):
    return chain.main("reproduce", what, *words, anew=False)


def normal(chain, text):
    """Text without what differs from one making to the next, and from machine to machine."""
    text = chain.normal(text)
    text = re.sub(r"train_toy-\d{8}T\d{6}Z(-\d+)?", "train_toy-TIME", text)
    # Two steps that run side by side end in either order.
    text = re.sub(r"^\w+ +(Running|Completed)\b.*\n", "", text, flags=re.M)
    return re.sub(r"built on \S+", "built on IMAGE", text)


@pytest.fixture(autouse=True)
def place(place_of_sources):
    """Each test depends on whether the sources are there."""


def test_model_is_made_again_bit_by_bit_from_its_sources_on(chain, sources, golden):
    outcome = reproduce(chain)
    assert outcome.status == 0, outcome.err
    golden("equal", normal(chain, outcome.out))
    # What was recorded is as it was.
    assert chain.kinds("toy:2") == set()


def test_where_sources_are_gone_it_begins_with_what_was_made_of_them(chain, golden):
    outcome = reproduce(chain, "--json")
    assert outcome.status == 0, outcome.err
    told = json.loads(outcome.out)
    assert told["equal"]
    assert told["steps"] == ["trained"]
    assert len(told["begins"]) == 2
    assert all(text.endswith(" is gone") for text in told["begins"])
    golden("equal_without_sources", normal(chain, outcome.err))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda it: (it / "cat/3.bmp").write_bytes(b"x"), "'cat/3.bmp' is changed in"),
        (lambda it: (it / "cat/3.bmp").unlink(), "'cat/3.bmp' is gone from"),
        (lambda it: shutil.copy(it / "cat/3.bmp", it / "cat/new.bmp"), "'cat/new.bmp' is new in"),
    ],
)
def test_source_that_changed_is_not_read_again(change, told, chain, sources):
    change(sources / "pictures")
    outcome = reproduce(chain, "--dry-run", "--json")
    assert outcome.status == 0, outcome.err
    plan = json.loads(outcome.out)
    assert plan["steps"] == ["encoder", "trained"]
    (begins,) = plan["begins"]
    assert told in begins


def test_encoder_whose_files_changed_is_not_read_again(chain, sources):
    (sources / "saved/saved_model.pb").write_text("another graph")
    plan = json.loads(reproduce(chain, "--dry-run", "--json").out)
    assert plan["steps"] == ["snapshot", "trained"]
    assert "'saved_model.pb' is not as pinned in" in plan["begins"][0]


def test_snapshot_that_is_gone_is_made_again_as_the_run_tells(chain, sources):
    shutil.rmtree(chain.output("snapshot", "snapshot").parent)
    outcome = reproduce(chain, "--json")
    assert outcome.status == 0, outcome.err
    told = json.loads(outcome.out)
    assert "is gone; snapshot runs again, as run" in told["note"][0]
    snapshot = next(it for it in told["outputs"] if it["kind"] == "snapshot")
    assert snapshot["equal"]
    assert told["equal"]


def test_what_is_gone_is_named_before_anything_starts(chain, golden):
    """Snapshot and source, and the code of a step that nobody has any more."""
    shutil.rmtree(chain.output("snapshot", "snapshot").parent)
    for run in chain.runs:
        shutil.rmtree(chain.folder / ".runs/runs" / run / "steps/trained/code")
    component = chain.folder / "components/train_toy/component.py"
    component.write_text(component.read_text() + "# of a later time\n")
    outcome = reproduce(chain)
    assert outcome.status == 2
    assert not (chain.folder / ".runs/reproductions").exists()
    golden("error_missing", normal(chain, outcome.out + outcome.err))


def test_code_of_this_checkout_is_taken_if_it_is_the_same(chain):
    for run in chain.runs:
        shutil.rmtree(chain.folder / ".runs/runs" / run / "steps/trained/code")
    outcome = reproduce(chain)
    assert outcome.status == 0, outcome.out + outcome.err
    assert "code of this checkout" in outcome.out


def test_edited_parameter_is_refused_before_anything_starts(chain, golden):
    model = chain.output("trained", "model")
    edit_json(model / STATEMENT_NAME, lambda s: _parameters(s).update(strength=7.0))
    outcome = reproduce(chain, what=str(model))
    assert outcome.status == 2
    assert not (chain.folder / ".runs/reproductions").exists()
    golden("error_tampered", normal(chain, outcome.err))


def test_parameter_edited_with_all_that_tells_of_it_gives_another_model(chain, golden):
    """No record is left that contradicts the statement; making the model again does."""
    model = chain.output("trained", "model")
    edit_json(model / STATEMENT_NAME, lambda s: _parameters(s).update(strength=7.0))
    forge(model)
    for run in chain.runs:
        path = chain.folder / ".runs/runs" / run / "run.json"
        edit_json(path, lambda record: record["steps"]["trained"].update(inputs={}))
    shutil.rmtree(chain.output("measured", "evidence").parent)
    outcome = reproduce(chain, what=str(model))
    assert outcome.status == 1, outcome.err
    golden("differs", normal(chain, outcome.out))


def _parameters(statement):
    return statement["predicate"]["buildDefinition"]["externalParameters"]


@pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="This process may use one core. Run it on two or more"
)
def test_other_number_of_threads_is_told_before_and_after(chain):
    cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(cores)})
        outcome = reproduce(chain, "--json")
    finally:
        os.sched_setaffinity(0, cores)
    assert outcome.status == 0, outcome.err
    wanted = f"cores (threads): was {len(cores)}, locally 1 (trained)"
    assert wanted in json.loads(outcome.out)["different_here"]


def test_step_that_fails_is_told_with_its_log(chain):
    text = (
        'format_version = 1\ndescription = "x"\nengine = "local"\n'
        'environment_policy = "refuse"\n[roles.cpu]\ncompute = "local"\ntimeout_s = 60\n'
    )
    chain.write("pipelines/profiles/strict.toml", text)
    outcome = reproduce(chain, "--profile", "strict", "--json")
    assert outcome.status == 1
    assert "error: step trained (train_toy): [train_toy > environment]" in outcome.err
    told = json.loads(outcome.out)
    assert told["reasons"] == ["a step failed"]
    assert told["outputs"][0]["difference"] == "the output was not rebuilt"


def test_model_whose_files_are_gone_from_the_registry_is_made_again(chain):
    shutil.rmtree(next(chain.folder.glob(".runs/mlflow/*/*/artifacts/model")))
    for what in ("toy:1", "toy:2"):
        outcome = reproduce(chain, "--dry-run", what=what)
        assert outcome.status == 0, outcome.err


def test_profile_of_a_workspace_needs_one(chain):
    remote = (
        'format_version = 1\ndescription = "x"\nengine = "azureml"\n'
        '[job]\nowner = "me"\ncost_centre = "us"\n[roles.cpu]\ncompute = "c"\ntimeout_s = 60\n'
    )
    chain.write("pipelines/profiles/remote.toml", remote)
    outcome = reproduce(chain, "--profile", "remote")
    assert outcome.status == 2
    assert "[workspace > config.json] neither " in outcome.err


def test_job_without_a_profile_of_a_workspace_is_refused(chain, golden):
    outcome = reproduce(chain, "--job", "reproduce_train_toy-1")
    assert outcome.status == 2
    golden("error_job_here", normal(chain, outcome.err))


def test_run_without_a_model_is_told(chain, golden):
    outcome = reproduce(chain, what=str(chain.output("snapshot", "snapshot")))
    assert outcome.status == 2
    golden("error_no_model", normal(chain, outcome.err))

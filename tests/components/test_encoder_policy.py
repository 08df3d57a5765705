"""What import_encoder refuses outside of an experiment: in the step, not in who submits it."""

import shutil
from dataclasses import replace

import pytest

from tfhub_blocks.compute.encoders.encoder_policy import treatment
from tfhub_blocks.records.pins.pins import Decisions, read_pin

PRODUCTION = {"TFHUB_BLOCKS_ENCODER_POLICY": "production"}
DECIDED = Decisions("mounted", "forbidden", "batch")


@pytest.fixture
def imported(execute_step, imported_encoder, tmp_path):
    """Imports the small encoder with other contents of its pin; its status and what it told."""

    def run(variables, **changes):
        source = shutil.copytree(imported_encoder, tmp_path / "source", dirs_exist_ok=True)
        replace(read_pin(source / "encoder.toml"), **changes).write(source / "encoder.toml")
        output = tmp_path / "encoder"
        shutil.rmtree(output, ignore_errors=True)
        done = execute_step("import_encoder", {"source": source}, {"encoder": output}, **variables)
        assert (done.returncode == 0) == (output / "lineage.json").exists()
        return done.returncode, done.stderr

    return run


@pytest.mark.slow
def test_an_undecided_encoder_is_for_experiments(imported):
    open_ = Decisions(loading="mounted")
    assert imported({}, decisions=open_) == (0, "")
    assert imported(PRODUCTION, decisions=DECIDED) == (0, "")
    assert imported(PRODUCTION, decisions=open_) == (
        1,
        "error: [import_encoder > decisions] fine_tuning, inference are undecided. Expected a "
        "value for each decision. Write the values into the pin (`tfhub-blocks encoder show` "
        "explains them), or for an experiment set encoder_policy = 'experiment' in the profile "
        "(TFHUB_BLOCKS_ENCODER_POLICY).\n",
    )


def test_what_nobody_said_is_production(imported):
    status, told = imported({"TFHUB_BLOCKS_ENCODER_POLICY": ""}, decisions=Decisions())
    assert status == 1
    assert "loading, fine_tuning, inference are undecided" in told


@pytest.mark.slow
def test_a_handle_without_a_version_is_for_experiments(imported):
    mutable = {"handle": "https://tfhub.dev/someone/small", "decisions": DECIDED}
    assert imported({}, **mutable) == (0, "")
    status, told = imported(PRODUCTION, **mutable)
    assert status == 1
    assert told.startswith(
        "error: [import_encoder > https://tfhub.dev/someone/small] the handle names no version, "
        "so it may refer to another encoder tomorrow. Expected a handle with a version. Add the "
        "version to the handle, or for an experiment set"
    )


def test_a_handle_without_a_version_is_refused_before_anything_is_asked(execute_step, tmp_path):
    handle = "http://127.0.0.1:9/someone/small"
    inputs = {"handle": handle, "unpinned": "accept"}
    done = execute_step("import_encoder", inputs, {"encoder": tmp_path / "e"}, **PRODUCTION)
    assert f"[import_encoder > {handle}] the handle names no version" in done.stderr


def test_an_unknown_policy_is_told(imported):
    status, told = imported({"TFHUB_BLOCKS_ENCODER_POLICY": "prodction"}, decisions=DECIDED)
    assert (status, told) == (
        1,
        "error: [import_encoder > TFHUB_BLOCKS_ENCODER_POLICY] 'prodction' is not a known policy. "
        "Expected one of experiment, production. Did you mean 'production'?\n",
    )


def test_a_profile_gives_one_answer_about_an_encoder_without_a_pin(monkeypatch):
    for policy, answer in (("experiment", "accept"), ("production", "refuse"), ("", "refuse")):
        monkeypatch.setenv("TFHUB_BLOCKS_ENCODER_POLICY", policy)
        assert treatment("import_encoder") == answer

"""`tfhub-blocks env bake` and what runs in a baked environment, in a toy project."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from toy_pins import toy_pin

from tfhub_blocks.records.base.lineage import read_lineage
from tfhub_blocks.records.environment.installed_packages import (
    definition_version,
    installed_packages,
)
from tfhub_blocks.records.pins.pins import Decisions, hashed_files

SHOW_ENCODERS = """import os
place = os.environ.get("TFHUB_BLOCKS_ENCODERS", "none")
held = sorted(p.relative_to(place).as_posix() for p in Path(place).rglob("*.pb"))
(folder / "held.txt").write_text("\\n".join(held))"""


@pytest.fixture
def encoder(project):
    """``encoder(content=b"graph", loading="baked")`` writes a pinned folder; nothing loads it."""

    def write(content=b"graph", loading="baked"):
        folder = project.folder / "encoders/Lite0"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "saved_model/variables").mkdir(parents=True)
        (folder / "saved_model/saved_model.pb").write_bytes(content)
        (folder / "saved_model/variables/variables.index").write_bytes(b"index")
        decisions = Decisions(loading)
        handle = "https://tfhub.dev/someone/lite0/2"
        pin = toy_pin("Lite0", handle, folder / "saved_model", decisions)
        pin.write(folder / "encoder.toml")
        return pin

    return write


@pytest.fixture
def base(project):
    """The environment ``toy-env``, which fits what is installed here, and a step pinned to it."""
    installed = {name: installed_packages()[name] for name in ("numpy", "tomli-w")}
    python = ".".join(map(str, sys.version_info[:2]))
    lines = [f"{name}=={version} --hash=sha256:0\n" for name, version in installed.items()]
    described = f'# Ours.\nname: toy-env\nowner: us\npurpose: A toy.\npython: "{python}"\n'
    digest = "# requirements: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
    for name, text in {
        "Dockerfile": "FROM example.org/toy:1\n",
        "requirements.in": "",
        "requirements.lock": f"{digest}# python: {python}\n{''.join(lines)}",
        "environment.yaml": described,
    }.items():
        project.write(f"components/environments/toy/{name}", text)
    folder = project.folder / "components/environments/toy"
    path = project.folder / "components/make/component.py"
    pinned = path.read_text().replace(
        "azureml:x:1", f"azureml:toy-env:{definition_version(folder)}"
    )
    path.write_text(pinned)
    return folder


@pytest.fixture
def baked(project, encoder, base):
    """The folder of an environment that continues ``toy-env`` with an encoder."""
    encoder()
    outcome = project.main("env", "bake", "encoders/Lite0", "--onto", "toy")
    assert outcome.status == 0, outcome.err
    return project.folder / "components/environments/toy-lite0"


def normal(project, text):
    text = re.sub(r"(Python +)3\.\d+", r"\g<1>3.N", project.normal(text))
    text = re.sub(r"\b[0-9a-f]{64}\b", "SHA256", text)
    return re.sub(r"\b[0-9a-f]{12}\b", "VERSION", text)


def test_bake_continues_an_environment_with_a_layer_that_holds_the_encoder(
    project, encoder, base, golden
):
    pin = encoder()
    outcome = project.main("env", "bake", "encoders/Lite0", "--onto", "toy")
    assert outcome.status == 0, outcome.err
    golden("env_bake", normal(project, outcome.out))
    folder = project.folder / "components/environments/toy-lite0"
    assert (folder / "Dockerfile").read_text() == (
        "FROM example.org/toy:1\n\n"
        "# The encoder, below the digest of its files: another model makes another version.\n"
        f"COPY encoders/{pin.digest} /opt/tfhub-blocks/encoders/{pin.digest}\n"
    )
    assert (folder / "requirements.lock").read_bytes() == (base / "requirements.lock").read_bytes()
    assert hashed_files(folder / "encoders" / pin.digest / "saved_model") == pin.files
    assert project.main("env", "check", "toy-lite0").err == ""


def test_version_follows_from_the_encoder_and_the_same_is_the_same(project, encoder, base):
    def version(content):
        encoder(content)
        outcome = project.main("env", "bake", "encoders/Lite0", "--onto", "toy", "--to", "mine")
        return re.search(r"tfhub-blocks-mine:(\w+)", outcome.out)[1]

    first = version(b"graph")
    assert version(b"another") != first
    assert version(b"graph") == first
    folder = project.folder / "components/environments/mine"
    assert len(list((folder / "encoders").iterdir())) == 1
    assert not list(folder.glob(".encoders*"))


def test_show_and_diff_tell_of_the_encoder(project, baked, golden):
    golden("env_show_baked", normal(project, project.main("env", "show", "toy-lite0").out))
    record = json.loads(project.main("env", "diff", "toy", "toy-lite0", "--json").out)
    assert record["facts"]["encoder"]["kind"] == "added"
    assert record["packages"] == {}


def test_baked_environment_follows_what_it_continues(project, base, baked, golden):
    (base / "Dockerfile").write_text("FROM example.org/toy:2\n")
    outcome = project.main("env", "check", "toy-lite0")
    assert outcome.status == 1
    golden("env_check_baked_behind", normal(project, outcome.err))
    outcome = project.main("env", "lock", "toy-lite0")
    golden("env_lock_baked", normal(project, outcome.out))
    assert (baked / "Dockerfile").read_text().startswith("FROM example.org/toy:2\n\n# The encoder")
    assert project.main("env", "check", "toy-lite0").status == 0
    assert "no change" in project.main("env", "lock", "toy-lite0").out


def test_encoder_that_was_changed_in_the_context_is_found_and_a_missing_one_is_not(
    project, baked, golden
):
    [graph] = baked.glob("encoders/*/saved_model/saved_model.pb")
    graph.write_bytes(b"other")
    outcome = project.main("env", "check", "toy-lite0")
    assert outcome.status == 1
    golden("env_check_baked_damaged", normal(project, outcome.err))
    shutil.rmtree(baked / "encoders")
    assert project.main("env", "check", "toy-lite0").status == 0


def test_layer_taken_out_by_hand_is_told(project, baked, base):
    (baked / "Dockerfile").write_text((base / "Dockerfile").read_text())
    outcome = project.main("env", "check", "toy-lite0")
    assert (
        "Dockerfile > COPY] the Dockerfile copies no encoder into the image. Expected"
        in outcome.err
    )


WRONG = {
    "decision": ({"loading": "mounted"}, ["--onto", "toy"]),
    "baked_base": ({}, ["--onto", "toy-lite0"]),
    "other_folder": ({}, ["--onto", "toy", "--to", "toy"]),
    "unknown_base": ({}, ["--onto", "tooy"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_request_is_told_in_one_line(name, project, baked, encoder, golden):
    pinned, arguments = WRONG[name]
    encoder(**pinned)
    outcome = project.main("env", "bake", "encoders/Lite0", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    golden(f"error_env_bake_{name}", normal(project, outcome.err))


def test_encoder_that_is_not_as_pinned_is_not_baked(project, baked, encoder):
    before = sorted(baked.rglob("*"))
    encoder()
    (project.folder / "encoders/Lite0/saved_model/saved_model.pb").write_bytes(b"other")
    outcome = project.main("env", "bake", "encoders/Lite0", "--onto", "toy")
    assert outcome.status == 2
    assert "[env bake > saved_model.pb] file saved_model.pb has sha256" in outcome.err
    assert sorted(baked.rglob("*")) == before


@pytest.fixture
def profile(project):
    """A profile in which steps pinned to toy-env run in the baked environment."""
    project.limit()
    path = project.folder / "pipelines/profiles/limited.toml"
    moved = '[environments]\ntoy-env = "toy-lite0"\n'
    path.write_text(path.read_text() + moved)
    return ["--profile", "limited"]


def test_profile_moves_steps_into_the_baked_environment(project, baked, profile):
    """The step finds the encoder, its lock holds there, and no output of elsewhere is reused."""
    project.effect(SHOW_ENCODERS)
    make = project.folder / "components/make/component.py"
    version = definition_version(baked.parent / "toy")
    make.write_text(make.read_text().replace("azureml:x:1", f"azureml:toy-env:{version}"))
    assert project.run().status == 0
    outcome = project.run(*profile)
    assert outcome.status == 0, outcome.err
    assert outcome.record["steps"]["left"]["warnings"] == []
    assert outcome.reused() == {"left": False, "right": False, "joined": False}
    made = Path(outcome.record["steps"]["left"]["outputs"]["made"])
    [digest] = [path.name for path in (baked / "encoders").iterdir()]
    assert (made / "held.txt").read_text() == f"{digest}/saved_model/saved_model.pb"
    environment = read_lineage(made).provenance.facts["environment"]
    assert environment["environment"] == f"toy-env:{version}"


def test_steps_are_not_moved_where_another_lock_would_hold(project, base, baked, profile, golden):
    (base / "Dockerfile").write_text("FROM example.org/toy:2\n")
    project.main("env", "lock", "toy-lite0")
    outcome = project.main("run", "toy", "--set", "source=src", *profile)
    assert outcome.status == 2
    golden("error_profile_environments", normal(project, outcome.err))


def test_profile_that_names_no_environment_is_told(project, baked, profile):
    path = project.folder / "pipelines/profiles/limited.toml"
    path.write_text(path.read_text().replace("toy-lite0", "toy-lite9"))
    outcome = project.main("run", "toy", "--set", "source=src", *profile)
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "toy-lite9] environment 'toy-lite9' is not defined" in outcome.err

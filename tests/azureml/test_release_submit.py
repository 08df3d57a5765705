"""Production accepts only a release lock from a clean commit; what it refuses is in tests/boundary.

UPDATE_GOLDENS=1 renews what is told.
"""

import json
import re
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from chain_tampering import edit_json
from loopback.requests import Fault
from release_project import STRICT, commit, edit, lock_file, write_release_project

from tfhub_blocks.control.project.assets import DIGEST_TAG
from tfhub_blocks.records.formats.locked_expectations import VARIABLE
from tfhub_blocks.records.formats.releases import read_lock

INLINE = """
format_version = 1
description = "x"
engine = "azureml"
environment_policy = "record"
encoder_policy = "experiment"
[job]
owner = "tester"
cost_centre = "toys"
components = "inline"
[roles.cpu]
compute = "cpu-cluster"
timeout_s = 60
"""
SOURCE = ("--set", "source=src", "--set", "owner=us")


@pytest.fixture
def released(project):
    """A project whose environment is what is installed here, published, with a lock; jobs wait.

    The lock is of settings: a run that proves it takes longer, and is replayed below.
    """
    return release(project)


def release(project, run=False):
    project.write("pipelines/profiles/strict.toml", STRICT)
    write_release_project(project, own_lock=True)
    project.main("publish", "make", "join", "judge", "--data", "words=src")
    project.furnish(run)
    proof = ("--from-run", "latest") if run else SOURCE
    if run:
        assert project.main("run", "judged", *SOURCE).status == 0
    words = (*proof, "--name", "first", "--data", "source=words")
    outcome = project.main("lock", "judged", *words)
    assert outcome.status == 0, outcome.err
    commit(project, "a release")
    project.plane.recorder.clear()
    return project


def send(project, *words, what="first"):
    return project.main("submit", what, "--profile", "strict", *words)


def normal(project, text):
    text = re.sub(r"judged-\d{8}T\d{6}Z(-\d+)?", "judged-TIME", project.normal(text))
    return re.sub(r"\b[0-9a-f]{8}…", "DIGEST__…", text)


def test_release_is_deployed_with_everything_fixed(released):
    until = str(datetime.now(UTC).date() + timedelta(1))
    words = ("deploy", "batch", "first", "--profile", "strict", "--until", until, "--name", "first")
    outcome = released.main(*words)
    assert (outcome.status, outcome.err) == (0, "")
    assert "inputs    none, all inputs are fixed" in outcome.out
    workspace = released.plane.workspace
    [component] = workspace.versions("components", "judged_batch")
    spec = component["properties"]["componentSpec"]
    assert not spec.get("inputs")
    for node in spec["jobs"].values():
        assert VARIABLE in node["environment_variables"]
        assert "parent.inputs" not in str(node["inputs"])
    [deployment] = workspace.deployments("batchEndpoints", "first")
    assert deployment["tags"]["tfhub_blocks.lock"] == "first"
    assert (
        "accepts only a release lock" in released.main("deploy", "batch", "judged", *words[3:]).err
    )


def test_lock_is_submitted_by_its_name_or_its_path(released):
    for word in ("first", str(lock_file())):
        outcome = send(released, what=word)
        assert (outcome.status, outcome.err) == (0, "")
    job = released.jobs()[0]["properties"]
    lock = released.read(str(lock_file()))
    assert job["tags"]["owner"] == "us"
    assert job["tags"]["tfhub_blocks.lock"] == "first"
    assert f'commit = "{job["tags"]["tfhub_blocks.commit"]}"' in lock
    assert f'digest = "{job["tags"]["tfhub_blocks.lock_digest"]}"' in lock
    assert job["inputs"]["source"]["uri"].endswith("/versions/" + released.words.split(":")[-1])
    for node in job["jobs"].values():
        assert "/components/" in node["componentId"]
        expected = json.loads(node["environment_variables"][VARIABLE])
        assert expected["environment"].startswith("toy:")
        assert expected["policies"]["TFHUB_BLOCKS_ENVIRONMENT_POLICY"] == "refuse"


@pytest.mark.slow
def test_replayed_release_makes_what_its_run_made(project, tmp_path, golden):
    release(project, run=True)
    outcome = send(project, "--wait")
    assert outcome.status == 0, outcome.out + outcome.err
    job = outcome.out.partition("\n")[0]
    assert project.main("compare", job, "latest").out.count("same     output") == 2
    assert project.main("download", job, "--output", "made").status == 0
    lineage = json.loads(project.read(f".runs/downloads/{job}/made/lineage.json"))
    assert facts(lineage)["release_lock"] == "first"

    # The job proves a release as well, by what is in the workspace.
    told = lock_of(project, job, "second")
    assert (told.status, told.err) == (0, "")
    lock = read_lock(project.folder / lock_file("second"))
    assert (lock.run, lock.profile) == (job, "strict")
    found = json.loads(project.main("lock", "diff", "first", "second", "--json").out)
    keys = {(it["subject"], it["key"]) for it in found}
    assert keys <= {(it, "") for it in ("name", "commit", "run", "profile", "cost_centre")} | {
        ("evidence", "evidence_digest")
    }

    # Not of another tree, nor with what was changed there since.
    edit(project, "components/make/component.py", "# EFFECT", "print(1)")
    edit(project, "pipelines/judged.py", "flag=True", "flag=False")
    commit(project)
    run = next(it for it in project.plane.workspace.step_runs.values() if it["rootRunId"] == job)
    made = run["outputs"]["made"]["assetId"]
    storage, statement = project.plane.storage, tmp_path / "lineage.json"
    storage.download(f"{made}/lineage.json", statement)
    edit_json(statement, lambda it: facts(it)["environment"].update(missing={"alpha": "1.0"}))
    for path in (statement, project.write(".runs/f.txt", "other")):
        storage.upload(path, f"{made}/{path.name}")
    shutil.rmtree(project.folder / ".runs/fetched")
    outcome = lock_of(project, job, "third")
    assert outcome.status == 2
    golden("lock_job_differs", normal(project, outcome.err))

    # What travelled with a job is known by its code.
    project.write("pipelines/profiles/inline.toml", INLINE)
    commit(project)
    words = ("--profile", "inline", "--set", f"source={project.words}", "--set", "owner=us")
    outcome = project.main("submit", "judged", *words, "--wait")
    assert outcome.status == 0, outcome.out + outcome.err
    inline = outcome.out.partition("\n")[0]
    told = lock_of(project, inline, "third")
    assert (told.status, told.err) == (0, "")
    lock = read_lock(project.folder / lock_file("third"))
    assert (lock.profile, lock.steps["first"].parameters["flag"]) == ("inline", False)
    assert lock.evidence.passed


def facts(statement):
    return statement["predicate"]["buildDefinition"]["internalParameters"]["facts"]


def lock_of(project, job, name):
    return project.main("lock", "judged", "--from-run", job, "--name", name)


def test_job_that_is_no_proof_is_told(released, golden):
    outcome = lock_of(released, "judged-20270101T000000Z-abcdef", "second")
    assert outcome.status == 2
    send(released)
    [job] = released.jobs()
    told = outcome.err + lock_of(released, job["name"], "second").err
    job["properties"]["status"] = "Completed"
    job["properties"]["tags"].pop("tfhub_blocks.profile")
    told += lock_of(released, job["name"], "second").err
    golden("lock_job_error", normal(released, told))


def test_encoder_is_locked_by_its_pin_and_looked_for_among_models(released, imported_encoder):
    edit(released, "pipelines/judged.py", 'Input(type="uri_folder"', 'Input(type="custom_model"')
    commit(released)
    released.main("publish", "make", "--encoder", str(imported_encoder))
    words = ("--set", f"source={imported_encoder}", "--set", "owner=us", "--name", "second")
    assert released.main("lock", "judged", *words).status == 0
    commit(released)
    lock = read_lock(released.folder / lock_file("second"))
    [model] = released.plane.workspace.versions("models")
    assert lock.encoder["source"].version == model["name"]
    assert lock.encoder["source"].digest == model["properties"]["tags"][DIGEST_TAG]
    assert lock.encoder["source"].encoder_digest == model["properties"]["tags"]["encoder_digest"]
    assert send(released, what="second").status == 0
    node = released.jobs()[0]["properties"]["jobs"]["first"]
    expected = json.loads(node["environment_variables"][VARIABLE])
    assert expected["inputs"] == {"source": lock.encoder["source"].digest}
    reference = f"azureml:{lock.encoder['source'].name}:{model['name']}"
    words = ("--set", f"source={reference}", "--set", "owner=us", "--name", "third")
    assert released.main("lock", "judged", *words, "--profile", "strict").status == 0
    found = json.loads(released.main("lock", "diff", "second", "third", "--json").out)
    differing = {(it["subject"], it["key"]) for it in found}
    assert differing == {
        ("name", ""),
        ("commit", ""),
        ("profile", ""),
        ("cost_centre", ""),
        ("encoder source", "handle"),
    }


def test_reference_without_a_known_content_is_not_locked(released, golden):
    told = ""
    for reference in ("azureml:words:nothing", "azureml:words@latest", "https://x.net/words"):
        words = ("--set", f"source={reference}", "--set", "owner=us", "--name", "second")
        outcome = released.main("lock", "judged", *words, "--profile", "strict")
        assert outcome.status == 2
        told += outcome.err
    golden("lock_unknown_data", normal(released, told))


def test_interrupted_submission_of_a_release_is_taken_up(released, azure, quick_retries):
    send(released)
    before, requests = len(released.jobs()), len(azure.recorder.requests)
    azure.recorder.inject(Fault.LOST_ANSWER, at=requests - 1)
    if send(released).status != 0:
        assert send(released).status == 0
    assert len(released.jobs()) == before + 1

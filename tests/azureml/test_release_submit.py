"""Production takes a release lock from a clean commit, and nothing else.

UPDATE_GOLDENS=1 renews what is told.
"""

import json
import re

import pytest
from azure.ai.ml.entities import ComputeInstance
from loopback.requests import Fault
from release_project import STRICT, commit, edit, git, lock_file, pin, write_release_project

from tfhub_blocks.control.workspace.assets import DIGEST_TAG
from tfhub_blocks.records.expectations import VARIABLE
from tfhub_blocks.records.releases import read_lock

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


def refused(project, *words, **what):
    """The error of a submission that sends nothing."""
    outcome = send(project, *words, **what)
    assert outcome.status == 2, outcome.out
    assert outcome.err.count("\n") == 1
    assert project.jobs() == []
    assert all(r.method == "GET" for r in project.plane.recorder.requests)
    return outcome.err


def normal(project, text):
    text = re.sub(r"judged-\d{8}T\d{6}Z(-\d+)?", "judged-TIME", project.normal(text))
    return re.sub(r"\b[0-9a-f]{8}…", "DIGEST__…", text)


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


def test_profile_that_takes_locks_takes_nothing_else(released, golden):
    told = "".join(
        refused(released, *words, what=what)
        for words, what in (
            (["--set", f"source={released.words}", "--set", "owner=us"], "judged"),
            ([], "judged"),
            (["--set", "count=5"], "first"),
            (["--register", "made=x"], "first"),
            ([], "frist"),
            ([], "pipelines/releases/second.lock.toml"),
        )
    )
    assert released.plane.recorder.requests == []
    golden("lock_only", normal(released, told))


def test_schedule_of_such_a_profile_is_refused(released, golden):
    released.write(
        "pipelines/schedules/night.toml",
        'format_version = 1\npipeline = "judged"\nprofile = "strict"\ntime_zone = "UTC"\n'
        f'cron = "0 3 * * 1"\n[inputs]\nsource = "{released.words}"\nowner = "us"\n',
    )
    outcome = released.main("schedule", "apply")
    assert outcome.status == 2
    golden("lock_only_schedule", normal(released, outcome.err))
    assert released.plane.recorder.requests == []


def test_lock_that_is_not_of_a_clean_commit_is_refused(released, golden):
    told = ""
    released.write("note", "x")
    told += refused(released)
    (released.folder / "note").unlink()
    edit(released, str(lock_file()), "count = 3", "count = 4")
    told += refused(released)
    git(released, "checkout", "-q", ".")
    released.write("../first.lock.toml", released.read(str(lock_file())))
    told += refused(released, what="../first.lock.toml")
    git(released, "checkout", "-q", "--orphan", "other")
    commit(released)
    told += refused(released)
    assert released.plane.recorder.requests == []
    golden("lock_unclean", normal(released, told))


def test_what_is_here_and_not_what_is_locked_is_refused(released, golden):
    edit(released, "components/make/component.py", "# EFFECT", "print(1)")
    edit(released, "pipelines/judged.py", "flag=True", "flag=False")
    commit(released)
    golden("lock_other_tree", normal(released, refused(released)))
    assert released.plane.recorder.requests == []


def test_other_wiring_than_locked_is_refused(released):
    edit(
        released,
        "pipelines/judged.py",
        "    verdict = judge(made=first.outputs.made",
        "    other = make(source=source)\n    verdict = judge(made=other.outputs.made",
    )
    commit(released)
    told = refused(released)
    assert "step other nothing → make" in told
    assert "verdict: inputs made jobs.first.outputs.made → jobs.other.outputs.made" in told


def test_environment_edited_after_the_lock_is_refused(released):
    edit(released, "components/environments/toy/Dockerfile", "base:1", "base:2")
    pin(released)
    commit(released)
    assert "environment toy: base image example.org/base:1 → example.org/base:2" in refused(
        released
    )


@pytest.mark.parametrize("kind", ["environments", "data", "components"])
def test_version_with_another_digest_in_the_workspace_is_refused(released, kind, golden):
    for key, resource in released.plane.workspace.resources.items():
        properties = resource.get("properties", {})
        for holder in (properties, properties.get("componentSpec", {})):
            if key.startswith(f"{kind}/") and (holder.get("tags") or {}).get(DIGEST_TAG):
                holder["tags"][DIGEST_TAG] = "0" * 64
    golden(f"lock_other_{kind}", normal(released, refused(released)))


def test_version_that_is_gone_is_refused(released):
    kept = released.plane.workspace.resources
    for key in [key for key in kept if key.startswith("data/words/")]:
        del kept[key]
    assert re.search(r"data words:\w+ is not there", refused(released))


def test_compute_instance_is_refused(released, golden):
    client = released.plane.client()
    client.compute.begin_delete("cpu-cluster").result()
    machine = ComputeInstance(name="cpu-cluster", size="Standard_DS3_v2")
    client.compute.begin_create_or_update(machine).result()
    released.plane.recorder.clear()
    golden("lock_compute_instance", normal(released, refused(released)))


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('environment_policy = "refuse"', 'environment_policy = "warn"', "environment_policy"),
        ('encoder_policy = "production"', 'encoder_policy = "experiment"', "encoder_policy"),
        ("[job]", '[job]\ncomponents = "inline"', "job.components"),
        ('takes = "locks"', 'takes = "lock"', "takes"),
    ],
)
def test_profile_that_takes_locks_lets_nothing_in_that_no_lock_holds(released, old, new, key):
    edit(released, "pipelines/profiles/strict.toml", old, new)
    commit(released)
    assert key in refused(released)


def test_replayed_release_makes_what_its_run_made(project, tmp_path):
    release(project, run=True)
    outcome = send(project, "--wait")
    assert outcome.status == 0, outcome.out + outcome.err
    job = outcome.out.partition("\n")[0]
    assert project.main("compare", job, "latest").out.count("same     output") == 2
    assert project.main("download", job, "--output", "made").status == 0
    lineage = json.loads(project.read(f".runs/downloads/{job}/made/lineage.json"))
    definition = lineage["predicate"]["buildDefinition"]
    assert definition["internalParameters"]["facts"]["release_lock"] == "first"


def replaced_blob(project, job):
    [words] = project.plane.workspace.versions("data", "words")
    project.write("src/word", "bye")
    project.plane.workspace.storage.upload(project.folder / "src", words["properties"]["dataUri"])


def other_parameter(project, job):
    for value in job["inputs"].values():
        if value.get("value") == "3":
            value["value"] = "4"


def other_policy(project, job):
    job["jobs"]["first"]["environment_variables"]["TFHUB_BLOCKS_ENVIRONMENT_POLICY"] = "warn"


def other_code(project, job):
    storage = project.plane.workspace.storage
    for code in project.plane.workspace.versions("codes"):
        container, name = storage.locate(f"{code['properties']['codeUri']}/component.py")
        blob = storage.service.get_blob_client(container, name)
        text = blob.download_blob().readall()
        blob.upload_blob(text + b"# an edit\n", overwrite=True)


def unreadable_promise(project, job):
    job["jobs"]["first"]["environment_variables"][VARIABLE] = "{"


@pytest.mark.parametrize(
    "change", [replaced_blob, other_parameter, other_policy, other_code, unreadable_promise]
)
def test_change_after_the_submission_fails_the_run(released, golden, change):
    job = send(released).out.partition("\n")[0]
    properties = released.plane.workspace.get(f"jobs/{job}")["properties"]
    change(released, properties)
    released.plane.run_jobs()(job)
    outcome = released.main("status", job, "--wait")
    assert outcome.status == 1
    lines = [line for line in outcome.out.splitlines() if "error" in line or "[make >" in line]
    text = re.sub(r"\b[0-9a-f]{12}…", "DIGEST______…", "\n".join(lines) + "\n")
    golden(f"lock_change_{change.__name__}", normal(released, text))


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

"""A release with an open input learns from new data: each firing resolves it to a child lock."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from release_project import STRICT, commit, edit, lock_file, write_release_project

from tfhub_blocks.control.promotion import release_origin
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.formats.data_versions import (
    ChildLock,
    DataVersion,
    read_child,
    read_versions,
)
from tfhub_blocks.records.formats.locked_expectations import VARIABLE
from tfhub_blocks.records.formats.releases import (
    LockedOpen,
    LockedStep,
    ReleaseLock,
    read_lock,
)

SOURCE = ("--set", "source=src", "--set", "owner=us", "--data", "source=words")
NIGHTLY = """
format_version = 1
pipeline = "first"
profile = "strict"
time_zone = "UTC"
cron = "0 3 * * *"
"""
RESOLVING = """
        def take(path):
            word = (path / "word").read_text()
            if word == "unfit":
                raise BlocksError("make", "word", "the word is unfit", "", "Write another word")
            folder = run.begin_output("made", Format("made", 1))
            (folder / "f.txt").write_text(f"{word} {text} {count} {flag} {maybe}|")

        run.first_passing("source", take)
"""


@pytest.fixture
def opened(project):
    """A release in a workspace whose data input is open, with a nightly schedule; jobs run."""
    project.write("pipelines/profiles/strict.toml", STRICT)
    write_release_project(project, own_lock=True)
    make = "components/make/component.py"
    head, _, _ = project.read(make).partition('        folder = run.begin_output("made"')
    head = head.replace('tags={"role": "cpu"}', 'tags={"role": "cpu", "opens": "source"}')
    project.write(make, head.rstrip() + RESOLVING)
    edit(
        project,
        make,
        "from tfhub_blocks.records.base.folders",
        ERRORS + "from tfhub_blocks.records.base.folders",
    )
    commit(project)
    project.main("publish", "make", "join", "judge", "--data", "words=src")
    project.furnish()
    outcome = project.main("lock", "judged", *SOURCE, "--name", "first", "--open", "source")
    assert outcome.status == 0, outcome.err
    project.write("pipelines/schedules/nightly.toml", NIGHTLY)
    commit(project, "a release")
    return project


ERRORS = "from tfhub_blocks.records.base.errors import BlocksError\n"


def fire(project, day):
    """Let the schedule fire, and return the statement and the text of what its job made."""
    name = project.plane.workspace.fire("nightly", datetime(2030, 1, day, 3, tzinfo=UTC))
    project.plane.executor.wait()
    job = project.plane.workspace.get(f"jobs/{name}")["properties"]
    assert job["status"] == "Completed", project.main("status", name).out
    folder = Path(f"fetched-{day}")
    assert project.main("download", name, "--output", "made", "--to", str(folder)).status == 0
    statement = json.loads((folder / "made/lineage.json").read_text())
    return name, statement, (folder / "made/f.txt").read_text()


def child_of(statement):
    facts = statement["predicate"]["buildDefinition"]["internalParameters"]["facts"]
    return read_child(facts["child_lock"])


def publish(project, word):
    project.write("src/word", word)
    outcome = project.main("publish", "make", "--data", "words=src")
    assert outcome.status == 0, outcome.err
    commit(project, word)


@pytest.mark.slow
def test_each_firing_learns_from_the_newest_version_that_passes(opened):
    lock = read_lock(opened.folder / lock_file())
    outcome = opened.main("schedule", "apply", "nightly")
    assert outcome.status == 0, outcome.err
    assert "  data words:newest\n" in outcome.out
    _, statement, text = fire(opened, 7)
    first = child_of(statement)
    assert text.startswith("hello ")
    assert (first.release, first.parent, first.rule) == ("first", lock.digest, "newest")
    assert (first.version, first.content) == (
        lock.data["source"].version,
        lock.data["source"].digest,
    )

    publish(opened, "bye")
    _, statement, text = fire(opened, 8)
    second = child_of(statement)
    assert text.startswith("bye ")
    assert (second.parent, second.skipped) == (lock.digest, ())
    assert len({first.version, second.version}) == len({first.digest, second.digest}) == 2

    publish(opened, "unfit")
    name, statement, text = fire(opened, 9)
    third = child_of(statement)
    assert text.startswith("bye ")
    assert third.version == second.version
    assert [why for _, why in third.skipped] == [
        "[make > word] the word is unfit. Write another word."
    ]
    job = opened.plane.workspace.get(f"jobs/{name}")["properties"]
    assert job["tags"]["tfhub_blocks.lock_digest"] == lock.digest
    assert job["settings"]["force_rerun"] is True


def test_version_that_was_changed_in_storage_fails_the_firing(opened):
    publish(opened, "bye")
    assert opened.main("schedule", "apply", "nightly").status == 0
    storage = opened.plane.workspace.storage
    newest = opened.plane.workspace.versions("data", "words")
    uris = [it["properties"]["dataUri"] for it in newest]
    for uri in uris:
        storage.upload(opened.write(".runs/word", "others"), f"{uri.rstrip('/')}/word")
    name = opened.plane.workspace.fire("nightly", datetime(2030, 1, 7, 3, tzinfo=UTC))
    opened.plane.executor.wait()
    assert opened.plane.workspace.get(f"jobs/{name}")["properties"]["status"] == "Failed"
    assert "does not have digest" in opened.main("status", name).out


@pytest.mark.slow
def test_other_inputs_of_an_open_release_stay_as_they_were_locked(opened):
    assert opened.main("check", "first", "--profile", "strict").status == 0
    outcome = opened.main("submit", "first", "--profile", "strict", "--wait")
    assert outcome.status == 0, outcome.out + outcome.err
    [job] = opened.jobs()
    assert job["properties"]["inputs"]["source"]["uri"].endswith("/paths/tfhub-blocks")
    node = job["properties"]["jobs"]["first"]
    expected = json.loads(node["environment_variables"][VARIABLE])
    assert expected["inputs"] == {}
    assert expected["open"]["source"]["name"] == "words"
    assert expected["parameters"]["count"] == 3

    # The job proves a release of just the version that it took, which is not open any more.
    words = ("lock", "judged", "--from-run", job["name"], "--name", "second")
    outcome = opened.main(*words)
    assert outcome.status == 0, outcome.err
    first, second = (read_lock(opened.folder / lock_file(it)) for it in ("first", "second"))
    assert (second.data, second.open) == (first.data, None)


def test_input_that_no_step_can_resolve_is_not_left_open(opened):
    words = ("lock", "judged", *SOURCE, "--name", "second", "--open")
    for name in ("count", "sauce"):
        assert (
            f"--open {name}] {name} is not an input for a folder of data"
            in opened.main(*words, name).err
        )
    edit(opened, "components/make/component.py", ', "opens": "source"', "")
    commit(opened)
    outcome = opened.main(*words, "source")
    assert "step first reads source at port source, and cannot resolve its version" in outcome.err


def test_schedule_of_a_release_sets_no_input(opened):
    edit(opened, "pipelines/schedules/nightly.toml", "cron", '[inputs]\ncount = "4"\n#')
    edit(opened, "pipelines/schedules/nightly.toml", "time_zone", 'cron = "0 3 * * *"\ntime_zone')
    commit(opened)
    outcome = opened.main("schedule", "apply", "nightly")
    assert "release first sets every input and output already" in outcome.err


def test_open_release_is_no_batch_endpoint(opened):
    words = ("--profile", "strict", "--until", str(datetime.now(UTC).date()), "--name", "words")
    outcome = opened.main("deploy", "batch", "first", *words)
    assert "input source of release first is open" in outcome.err


CHILD = ChildLock(
    "first", "1" * 64, "source", "newest", "words", "v1", "2" * 64, (("v2", "unfit"),)
)
LOCK = ReleaseLock(
    "first",
    "toy",
    "us",
    "0" * 40,
    "strict",
    digest="1" * 64,
    steps={"first": LockedStep("make", "toy", {"source": "inputs.source"})},
    open={"source": LockedOpen("words", "newest")},
)


def made(child, component="make"):
    facts = {} if child is None else {"child_lock": child}
    return Provenance(component, {}, (), "0" * 64, "0" * 64, "", "", facts=facts)


def test_child_lock_is_read_as_it_was_written_and_not_if_it_was_edited():
    fact = json.loads(json.dumps(CHILD.as_fact()))
    assert read_child(fact) == CHILD
    for key in fact:
        with pytest.raises(ValueError, match=r"digest|argument|unpack"):
            read_child({**fact, key: "other"})
        with pytest.raises(ValueError, match=r"digest|argument"):
            read_child({name: value for name, value in fact.items() if name != key})


@pytest.mark.parametrize(
    ("child", "problem"),
    [
        (CHILD.as_fact(), None),
        (None, "no valid child lock"),
        ({**CHILD.as_fact(), "version": "v9"}, "no valid child lock"),
        (replace(CHILD, parent="3" * 64).as_fact(), "replayed another lock of that name"),
        (replace(CHILD, name="others").as_fact(), "which the lock does not open"),
        (replace(CHILD, input="other").as_fact(), "which the lock does not open"),
        (replace(CHILD, rule="oldest").as_fact(), "which the lock does not open"),
    ],
)
def test_promotion_compares_the_child_lock_with_its_parent(child, problem):
    found = "; ".join(release_origin._child_differences(LOCK, made(child)))
    assert problem in found if problem else found == ""


def test_step_that_chose_data_without_an_open_input_is_found():
    closed = replace(LOCK, open=None)
    [found] = release_origin._child_differences(closed, made(CHILD.as_fact()))
    assert "chose the version of its data itself" in found


def test_versions_are_read_newest_first_and_only_inside_the_folder(tmp_path):
    for day, version in ((1, "old"), (2, "new")):
        it = DataVersion("words", version, "1" * 64, f"{version}/src", f"2030-01-0{day}T00:00:00Z")
        file = tmp_path / it.file_name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(it.as_text())
    assert [it.version for it in read_versions(tmp_path, "words", "make")] == ["new", "old"]
    assert list(read_versions(tmp_path, "others", "make")) == []
    for path in ("/etc", "../other"):
        file.write_text(replace(it, path=path).as_text())
        with pytest.raises(BlocksError, match="not the record of a data version"):
            list(read_versions(tmp_path, "words", "make"))

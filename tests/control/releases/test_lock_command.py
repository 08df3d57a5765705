"""A release lock is written from a run that proves it, or not at all. UPDATE_GOLDENS=1 renews."""

import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest
from release_project import commit, edit, git, lock_file, pin, write_release_project
from toy_project import ROOT

from tfhub_blocks.control.project.output_store import content_digest
from tfhub_blocks.control.project.run_requests import pipeline_ports
from tfhub_blocks.control.releases.resolution import resolve_inputs
from tfhub_blocks.records.base.digests import record_digest
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.formats.locked_expectations import has_content
from tfhub_blocks.records.formats.models import MODEL
from tfhub_blocks.records.formats.releases import LockedEncoder, read_lock

SET = ("--set", "source=src", "--set", "owner=us")


@pytest.fixture
def release(project):
    write_release_project(project)
    return project


@pytest.fixture
def proven(release):
    """A project with a run of ``judged``."""
    assert release.main("run", "judged", *SET).status == 0
    return release


def lock(project, *words, name="first"):
    return project.main("lock", "judged", "--name", name, *words)


def locked(project, name="first"):
    return read_lock(project.folder / lock_file(name))


def normal(project, text):
    text = re.sub(r"judged-\d{8}T\d{6}Z(-\d+)?", "judged-TIME", project.normal(text))
    return re.sub(r"\b[0-9a-f]{12}\b", "DIGEST______", re.sub(r"\b[0-9a-f]{8}…", "DIGEST__…", text))


def test_lock_holds_everything_that_the_run_resolved(proven):
    head = git(proven, "rev-parse", "HEAD")
    outcome = lock(proven, "--from-run", "latest")
    assert (outcome.status, outcome.err) == (0, "")
    it = locked(proven)
    assert (it.pipeline, it.owner, it.commit, it.profile) == ("judged", "us", head, "local")
    assert it.run.startswith("judged-")
    digest = content_digest(proven.folder / "src")
    assert it.data["source"].digest == digest
    assert it.data["source"].reference == f"azureml:src:{digest[:12]}"
    assert it.data["source"].type == "uri_folder"
    assert it.inputs == {"owner": "us", "count": 3, "rate": 0.5}
    assert it.steps["first"].parameters == {"text": "a", "count": 3, "flag": True}
    assert it.steps["verdict"].parameters == {"at_least": 0.5}
    assert it.steps["verdict"].component == "judge"
    assert it.steps["first"].inputs == {"source": "inputs.source"}
    assert it.steps["verdict"].inputs == {"made": "jobs.first.outputs.made"}
    assert it.environments["toy"].base_image_digest == "sha256:" + "1" * 64
    assert it.components["make"].version.startswith("1.0.0-")
    assert it.evidence.metrics == {"accuracy": {"value": 0.75, "low": 0.7, "high": 0.8}}
    assert it.evidence.thresholds == {"accuracy": {"asked": 0.5, "measured": 0.75}}
    run = json.loads(proven.read(".runs/runs/latest/run.json"))
    statement = json.loads(Path(run["outputs"]["evidence"]).read_text())
    assert it.evidence.evidence_digest == statement.pop("digest") == record_digest(statement)


def test_lock_fits_the_published_schema(proven):
    schema = json.loads((ROOT / "docs/release-lock.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    lock(proven, "--from-run", "latest")
    lock(proven, *SET, name="second")
    for name in ("first", "second"):
        record = tomllib.loads(proven.read(str(lock_file(name))))
        assert list(validator.iter_errors(record)) == []
        for key in ("owner", "commit", "data", "steps", "components"):
            assert list(validator.iter_errors({k: v for k, v in record.items() if k != key})), key
        assert list(validator.iter_errors(record | {"more": 1}))


def test_lock_written_again_is_the_same_and_another_is_refused(proven, golden):
    lock(proven, "--from-run", "latest")
    text = proven.read(str(lock_file()))
    assert "is up to date" in lock(proven, "--from-run", "latest").out
    assert proven.read(str(lock_file())) == text
    proven.main("run", "judged", *SET, "--set", "count=4")
    outcome = lock(proven, "--from-run", "latest")
    assert outcome.status == 2
    assert proven.read(str(lock_file())) == text
    golden("lock_differs", normal(proven, outcome.err))
    assert lock(proven, "--from-run", "latest", "--replace").status == 0
    assert locked(proven).inputs["count"] == 4


def test_lock_from_settings_says_that_no_run_proved_it(release):
    assert lock(release, *SET, "--owner", "them", "--cost-centre", "toys").status == 0
    it = locked(release)
    assert (it.run, it.evidence, it.owner, it.cost_centre) == (None, None, "them", "toys")
    assert it.inputs["owner"] == "them"
    assert lock(release, *SET, "--data", "source=words", name="named").status == 0
    assert locked(release, "named").data["source"].name == "words"


def test_model_is_locked_as_promote_names_it_by_its_content(tmp_path):
    made = Provenance("train_head", {}, (), "0" * 64, "0" * 64, "", "")
    (begin_folder(tmp_path / "model", made) / "weights").write_text("7")
    digest = finish_folder(tmp_path / "model", "model", MODEL, made).digest
    ports = {"champion": pipeline_ports("transfer_learning")["champion"]}
    promoted = {"tfhub_blocks.digest": digest, "tfhub_blocks.encoder_digest": "e"}
    for value, encoder in ((tmp_path / "model", ""), (f"azureml:toys:{digest[:12]}", "e")):
        found = resolve_inputs(
            ports, {"champion": value}, {"champion": "toys"}, lambda *_: promoted
        ).encoder["champion"]
        expected = LockedEncoder("toys", digest[:12], digest, "mlflow_model", encoder)
        assert found == expected
        assert has_content(tmp_path / "model", found.digest)


def edit_step(project):
    edit(project, "components/make/component.py", "# EFFECT", "print(1)")


def edit_data(project):
    project.write("src/word", "bye")


def edit_pipeline(project):
    edit(project, "pipelines/judged.py", "flag=True", "flag=False")


def edit_output(project):
    run = json.loads(project.read(".runs/runs/latest/run.json"))
    Path(run["steps"]["first"]["outputs"]["made"], "f.txt").write_text("other")


def edit_environment(project):
    edit(project, "components/environments/toy/Dockerfile", "base:1", "base:2")
    pin(project)


@pytest.mark.parametrize(
    "change", [edit_step, edit_data, edit_pipeline, edit_output, edit_environment]
)
def test_run_that_the_tree_no_longer_makes_is_refused(proven, golden, change):
    change(proven)
    git(proven, "add", "--all")
    git(proven, "commit", "-q", "--allow-empty", "-m", "another state")
    outcome = lock(proven, "--from-run", "latest")
    assert outcome.status == 2
    assert not (proven.folder / lock_file()).exists()
    golden(f"lock_{change.__name__}", normal(proven, outcome.err))


def test_dirty_tree_is_refused_with_its_files(release, golden):
    edit_step(release)
    release.write("new", "x")
    git(release, "update-index", "--assume-unchanged", "pipelines/judged.py")
    outcome = lock(release, *SET)
    assert outcome.status == 2
    golden("lock_dirty", normal(release, outcome.err))
    assert not (release.folder / lock_file()).exists()


def test_what_git_ignores_counts_where_it_would_be_part_of_a_step(release):
    release.write(".gitignore", ".runs/\n*.txt\n__pycache__/\n")
    commit(release)
    release.write("notes.txt", "x")
    release.write("components/make/__pycache__/x.txt", "x")
    assert lock(release, *SET).status == 0
    release.write("components/make/words.txt", "x")
    assert ": components/make/words.txt. Expected" in lock(release, *SET, name="second").err


def test_another_repository_in_the_environment_does_not_count(release, monkeypatch):
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert lock(release, *SET).status == 0


def test_project_below_the_root_of_its_repository_is_locked_too(release):
    (release.folder / ".git").rename(release.folder.parent / ".git")
    commit(release)
    release.write(".gitignore", ".runs/\n*.txt\n__pycache__/\n")
    commit(release)
    assert lock(release, *SET).status == 0
    assert "is up to date" in lock(release, *SET).out
    release.write("components/make/words.txt", "x")
    assert "project/components/make/words.txt. Expected" in lock(release, *SET, name="second").err


def test_what_is_no_repository_is_refused(release):
    (release.folder / ".git").rename(release.folder / "git")
    outcome = lock(release, *SET)
    assert outcome.status == 2
    assert "a repository with a commit" in outcome.err


def test_environment_that_is_not_defined_is_refused(release):
    text = release.read("components/judge/component.py")
    release.write("components/judge/component.py", re.sub(r"azureml:toy:\w+", "azureml:x:1", text))
    commit(release)
    outcome = lock(release, *SET)
    assert outcome.status == 2
    assert "the environment azureml:x:1 is not defined in the repository" in outcome.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from-run", "nothing"], "has no run nothing"),
        ([*SET, "--from-run", "latest"], "run latest sets every input already"),
        ([*SET, "--data", "sauce=x"], "Did you mean 'source'?"),
        ([*SET, "--profile", "locale"], "Did you mean 'local'?"),
        (["--set", "source=src"], "Add --set owner=VALUE"),
    ],
)
def test_wrong_request_is_told_in_a_line(release, monkeypatch, words, message):
    monkeypatch.setenv("USER", "")
    outcome = lock(release, *words)
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_what_is_for_something_else_is_refused(release):
    assert "tfhub-blocks lock diff A B" in release.main("lock", "judged", "first").err
    assert "lock judged --name NAME" in release.main("lock", "judged", *SET).err
    assert "the number of locks is 1. Expected two" in release.main("lock", "diff", "first").err


def test_data_that_the_pipeline_itself_names_is_refused(release, golden):
    edit(
        release,
        "pipelines/judged.py",
        "make(source=source",
        'make(source=Input(type="uri_folder", path="src")',
    )
    commit(release)
    outcome = lock(release, *SET)
    assert outcome.status == 2
    golden("lock_own_data", normal(release, outcome.err))


def test_release_named_like_a_pipeline_is_refused(release):
    outcome = lock(release, *SET, name="toy")
    assert outcome.status == 2
    assert "toy is a pipeline" in outcome.err


def test_failed_run_proves_nothing(release):
    edit(release, "components/make/component.py", "# EFFECT", "raise SystemExit(3)")
    commit(release)
    assert release.main("run", "judged", *SET).status == 1
    name = next((release.folder / ".runs/runs").glob("judged-*")).name
    outcome = lock(release, "--from-run", name)
    assert outcome.status == 2
    assert "the status of the run is Failed" in outcome.err


def test_lock_edited_by_hand_and_one_of_a_newer_format_are_refused(proven, golden):
    lock(proven, "--from-run", "latest")
    text = proven.read(str(lock_file()))
    told = ""
    for old, new in (
        ("count = 3", "count = 4"),
        ("format_version = 1", "format_version = 2"),
        ('owner = "us"', 'ownr = "us"'),
    ):
        proven.write(str(lock_file()), text.replace(old, new))
        outcome = proven.main("lock", "diff", "first", "first")
        assert outcome.status == 2
        told += outcome.err
    proven.write(str(lock_file("other")), text)
    told += proven.main("lock", "diff", "other", "other").err
    told += proven.main("lock", "diff", "first", "frist").err
    golden("lock_unsound", normal(proven, told))


def test_diff_speaks_of_what_differs(proven, golden):
    lock(proven, "--from-run", "latest")
    outcome = proven.main("lock", "diff", "first", str(lock_file()))
    assert (outcome.status, outcome.out) == (0, "")
    commit(proven)
    proven.write("src/word", "bye")
    edit_environment(proven)
    commit(proven)
    words = ("--set", "count=4", "--set", "maybe=0.25", "--set", "rate=0.7")
    proven.main("run", "judged", *SET, *words)
    assert lock(proven, "--from-run", "latest", "--owner", "them", name="second").status == 0
    outcome = proven.main("lock", "diff", "first", "second")
    assert outcome.status == 1
    golden("lock_diff", normal(proven, outcome.out))
    found = json.loads(proven.main("lock", "diff", "first", "second", "--json").out)
    assert {"subject": "step first", "key": "parameter count", "before": 3, "after": 4} in found
    assert len(found) == len(outcome.out.splitlines())


def test_cost_and_check_take_a_release_for_its_pipeline_with_what_it_was_given(proven):
    lock(proven, "--from-run", "latest")
    for name in ("first", str(lock_file())):
        outcome = proven.main("cost", name, "--profile", "experiment")
        assert outcome.status == 0, outcome.err
        assert "judged with profile experiment" in outcome.out
    found = proven.main("check", "first", "--profile", "experiment", "--format", "json")
    assert json.loads(found.out)["pipelines"] == ["judged"]
    for command in ("cost", "check"):
        refused = proven.main(command, "first", "--set", "count=4")
        assert refused.status != 0
        assert refused.err == (
            f"error: [{command} > --set count=4] first is a release lock, which fixes all inputs. "
            "Expected a release without --set. Leave out --set, or write another lock with "
            "`tfhub-blocks lock`.\n"
        )

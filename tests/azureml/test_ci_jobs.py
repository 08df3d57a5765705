"""The jobs after a pull request, on Azure ML on loopback: a merge, a release, a night."""

import json
import re
import subprocess
from contextlib import contextmanager

import pytest
from ci_project import write_ci_project
from entra import Entra
from github_api import TOKEN, GitHubApi
from loopback.resources import GROUP, WORKSPACE
from release_project import STRICT, commit, git
from test_promote_from import ADA, elsewhere, working  # noqa: F401  # fixtures
from workflow_runner import Runner, make_remote

from tfhub_blocks.records.formats.promotions import read_promotion
from tfhub_blocks.records.formats.releases import LockedEvidence, ReleaseLock, write_lock

pytestmark = pytest.mark.slow


@contextmanager
def runner_of(project, azure, tmp_path):
    """A runner whose jobs sign in as jobs of GitHub do: no managed identity is there."""
    github = GitHubApi()
    entra = Entra(azure.identity, azure.certificates, github.subject)
    variables = azure.environment()
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        del variables[name]
    variables |= github.environment() | github.identity() | entra.environment()
    del variables["GITHUB_TOKEN"]
    contexts = {
        "github.token": TOKEN,
        "vars.AZURE_CLIENT_ID": entra.environment()["AZURE_CLIENT_ID"],
        "vars.AZURE_TENANT_ID": entra.environment()["AZURE_TENANT_ID"],
        "vars.AZURE_SUBSCRIPTION_ID": azure.workspace.subscription,
        "vars.AZURE_RESOURCE_GROUP": GROUP,
        "vars.AZURE_WORKSPACE": WORKSPACE,
        "vars.BLOCKS_OWNER": "team",
        "vars.BLOCKS_COST_CENTRE": "toys",
    }
    runner = Runner(make_remote(project, tmp_path / "remote.git"), tmp_path, variables, contexts)
    runner.github, runner.entra = github, entra
    yield runner
    for server in (github, entra):
        server.shutdown()
        server.server_close()


@pytest.fixture
def hosted(project, azure, tmp_path):
    """A runner of the toy project, whose steps are published."""
    project.main("publish", "make", "join", "--data", "words=src")
    version = project.words.rpartition(":")[2]
    write_ci_project(project, version)
    project.publish()
    project.furnish(run=False)
    with runner_of(project, azure, tmp_path) as runner:
        yield runner


def main_of(project):
    return git(project, "rev-parse", "main")


def test_merge_publishes_once_and_starts_experiments_without_waiting(hosted, project, azure):
    done = hosted.run("tfhub-blocks-merge", "publish", main_of(project))
    assert not done.failed, done.logs
    jobs = azure.workspace.versions("jobs")
    assert len(jobs) == 1
    assert jobs[0]["properties"]["status"] not in ("Completed", "Failed")
    assert hosted.entra.granted
    assert hosted.entra.refused == []
    # The same merge again publishes nothing twice.
    done = hosted.run("tfhub-blocks-merge", "publish", main_of(project))
    assert not done.failed, done.logs
    assert " published" not in done.logs["Publish"], done.logs["Publish"]


def test_night_goes_on_after_a_failure_and_says_what_failed(hosted, project, azure):
    done = hosted.run("tfhub-blocks-night", "night", main_of(project))
    log = done.logs["Apply schedules and end endpoints"]
    for command in ("schedule apply", "deploy reap", "cost history", "owners", "ci spent"):
        assert f"## tfhub-blocks {command}" in log
    # The cluster of the test has no owner, and its workspace lacks what a doctor asks for each
    # profile: the night says so after everything else.
    failed = ["owners", *["doctor"] * 3]
    assert re.findall(r"^tfhub-blocks (\w+)", log, re.M) == failed, log
    assert "### owners" in done.summary
    assert len(azure.workspace.versions("jobs")) == 1  # [night.judged]
    spent = json.loads((hosted.scratch / "artifacts/records/spent.json").read_text())
    assert spent["format_version"] == 1
    assert not hosted.run("tfhub-blocks-night", "records", main_of(project)).failed
    assert git(project, "ls-remote", "origin", "refs/heads/tfhub-blocks/records")
    project.write("pipelines/schedules/bad.toml", "format_version = 1\n")
    commit(project)
    git(project, "push", "-q", "origin", "main")
    done = hosted.run("tfhub-blocks-night", "night", main_of(project))
    assert done.failed
    log = done.logs["Apply schedules and end endpoints"]
    assert "## tfhub-blocks ci spent" in log
    assert re.findall(r"^tfhub-blocks (\w+)", log, re.M) == ["schedule", *failed]


def test_release_waits_for_a_reviewer_in_whose_name_it_promotes(hosted, project):
    contexts = {"inputs.model": "toy:1", "inputs.reason": "It is better: $(id) `id`"}
    done = hosted.run("tfhub-blocks-release", "promote", main_of(project), contexts)
    assert done.failed
    assert "nobody approved this run" in done.logs["Promote"]
    hosted.github.approvals = [{"state": "approved", "user": {"login": "ada", "id": 12}}]
    done = hosted.run("tfhub-blocks-release", "promote", main_of(project), contexts)
    # The toy registered no model: promote is asked, in the reviewer's name, and says so.
    assert done.failed
    email = git_config(done.folder, "user.email")
    assert email == "12+ada@users.noreply.github.com"
    assert re.search(r"error: .*toy", done.logs["Promote"])


def test_release_promotes_a_model_of_the_workspace_and_keeps_its_provenance(
    working,  # noqa: F811
    azure,
    tmp_path,
):
    """A model that a job registered: ada made it, bob approves the run, a registry gets it."""
    working.submit(ADA, strength="9")
    working.write(
        "pipelines/profiles/production.toml", f'{STRICT}[promotion]\nregistry = "shared"\n'
    )
    settings = 'format_version = 1\nexperiment = "research"\ninstall = ["tfhub-blocks --version"]\n'
    working.write("pipelines/ci.toml", settings)
    working.write(".gitignore", ".runs/\n__pycache__/\nconfig.json\nrecords/\n")
    assert working.main("ci", "write", "github", anew=False).status == 0
    git(working, "init", "-q", "-b", "main")
    head = commit(working, "base")
    working.submit(ADA, strength="9")
    # The lock that names the model, after its review.
    tags = working.registered()["tags"]
    digests = [tags[f"tfhub_blocks.{name}_digest"] for name in ("model", "evidence")]
    said = {"owner": "us", "commit": head, "evidence": LockedEvidence(*digests, True)}
    lock = ReleaseLock(name="one", pipeline="toy_model", profile="research", **said).sealed()
    write_lock(lock, working.folder / "pipelines/releases/one.lock.toml")
    commit(working, "releases: lock one")
    contexts = {"inputs.model": "toy:1", "inputs.reason": "It holds: $(id) `id`"}
    with runner_of(working, azure, tmp_path) as runner:
        # Who made the model may not be the one who lets it pass.
        for name, number in (("ada", 11), ("bob", 12)):
            user = {"login": name, "id": number}
            runner.github.approvals = [{"state": "approved", "user": user}]
            done = runner.run("tfhub-blocks-release", "promote", main_of(working), contexts)
            assert done.failed == (name == "ada"), done.logs
            assert bool(working.models()) == (name == "bob")
            # The log names the condition that is not met.
            assert ("other than ada" in done.logs["Promote"]) == (name == "ada")
    assert "actions/attest" in runner.used
    [path] = (runner.scratch / "artifacts" / "records").glob("model.promotion-*.json")
    decision = read_promotion(path, "")
    assert decision.release == "one"
    assert decision.reason == "It holds: $(id) `id`"
    assert "12+bob@users.noreply.github.com" in decision.promoters
    assert ADA in decision.authors


def git_config(folder, key):
    return subprocess.run(
        ["git", "config", key], cwd=folder, capture_output=True, text=True
    ).stdout.strip()


def test_lock_of_a_job_is_proposed_as_a_change(hosted, project):
    """The second job alone: what the first one hands on is a patch of one lock."""
    folder = hosted.scratch / "artifacts" / "records"
    folder.mkdir(parents=True)
    git(project, "switch", "-q", "-c", "scratch")
    project.write("pipelines/releases/one.lock.toml", "format_version = 1\n")
    commit(project, "releases: lock one, proven by job")
    (folder / "lock.patch").write_text(git(project, "format-patch", "-1", "--stdout") + "\n")
    (folder / "release").write_text("one\n")
    git(project, "switch", "-q", "main")
    done = hosted.run("tfhub-blocks-lock", "propose", main_of(project))
    assert not done.failed, done.logs
    [proposed] = hosted.github.proposed
    assert (proposed["head"], proposed["base"]) == ("release/one", "main")
    git(project, "fetch", "-q", "origin", "release/one")
    assert "pipelines/releases/one.lock.toml" in git(
        project, "diff", "--name-only", "main", "FETCH_HEAD"
    )

"""The jobs of a pull request, each script as it stands: fine, a broken rule, doubled cost, a fork.

UPDATE_GOLDENS=1 renews the comments, which docs/ci.md shows.
"""

import json
import re

import pytest
from ci_project import PROFILE, write_ci_project
from github_api import REPOSITORY, TOKEN, GitHubApi
from release_project import edit, git
from toy_project import ROOT
from workflow_runner import Runner, make_remote, propose

FILE, FORK = "tfhub-blocks-pull-request", "tfhub-blocks-fork-comment"


@pytest.fixture
def hosted(project, tmp_path):
    """``hosted(number, change)`` runs the job of the review, and gives it with its contexts."""
    write_ci_project(project)
    github = GitHubApi()
    remote = make_remote(project, tmp_path / "remote.git")
    variables = github.environment()
    del variables["GITHUB_TOKEN"]  # only the steps that need it have it
    runner = Runner(remote, tmp_path, variables, {"github.token": TOKEN})

    def review(number, change):
        event = propose(project, number, change)
        github.pulls[number] = event["head"]
        run = runner.run(FILE, "review", event["sha"], event)
        return run, event

    def comment(event):
        return runner.run(FILE, "comment", event["sha"], event)

    review.comment, review.github, review.runner, review.project = comment, github, runner, project
    yield review
    github.shutdown()
    github.server_close()


def normal(text, event):
    text = text.replace(event["sha"][:12], "HEAD").replace(str(ROOT), "ROOT")
    return re.sub(r"(Review of HEAD against )[0-9a-f]{12}", r"\1BASE", text)


def change_step(project):
    edit(project, "components/make/component.py", "# EFFECT", "print(1)")


@pytest.mark.slow
def test_fine_change_is_commented_once_and_a_change_of_words_not_at_all(hosted, golden):
    run, event = hosted(1, change_step)
    assert not run.failed, run.logs
    done = hosted.comment(event)
    assert not done.failed, done.logs
    [body] = hosted.github.bodies(1)
    golden("comment_fine", normal(body, event))
    assert run.summary == body
    assert not hosted.comment(event).failed
    assert hosted.github.bodies(1) == [body]
    assert not hosted.runner.run(FILE, "annotate", event["sha"], event).failed
    report = json.loads((hosted.runner.scratch / "artifacts/review/experiment.sarif").read_text())
    assert report["version"] == "2.1.0"
    junit = (hosted.runner.scratch / "artifacts/review/experiment.junit").read_text()
    assert junit.startswith("<?xml")
    run, event = hosted(2, lambda project: project.write("README.md", "words"))
    assert not run.failed, run.logs
    assert not hosted.comment(event).failed
    assert hosted.github.bodies(2) == []


@pytest.mark.slow
def test_broken_rule_fails_and_is_at_its_line(hosted, golden):
    def idle(project):
        edit(project, PROFILE, "max_nodes = 2", "max_nodes = 2\nidle_s = 7200")

    run, event = hosted(3, idle)
    assert run.statuses["Check the pipelines"] == 0
    assert run.statuses["Fail if a check or a guardrail failed"] == 1
    assert "check: profile experiment" in run.logs["Fail if a check or a guardrail failed"]
    assert not hosted.comment(event).failed
    [body] = hosted.github.bodies(3)
    golden("comment_broken_rule", normal(body, event))
    report = json.loads((hosted.runner.scratch / "artifacts/review/experiment.sarif").read_text())
    [found] = [it for it in report["runs"][0]["results"] if it["level"] == "error"]
    place = found["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == PROFILE
    assert place["region"]["startLine"] > 1


@pytest.mark.slow
def test_doubled_cost_waits_for_the_approval_of_a_named_person(hosted, golden):
    def change(project):
        edit(project, PROFILE, "timeout_s = 600", "timeout_s = 2400")

    run, event = hosted(4, change)
    assert run.statuses["Review the change"] == 0
    assert "a guardrail" in run.logs["Fail if a check or a guardrail failed"]
    assert not hosted.comment(event).failed
    [body] = hosted.github.bodies(4)
    golden("comment_doubled_cost", normal(body, event))
    # Who may not approve changes nothing; an approval of ada lets it pass, and the comment says so.
    said = {"state": "APPROVED", "commit_id": event["head"]}
    hosted.github.reviews[4] = [
        {"user": {"login": "bob"}, **said},
        {"user": {"login": "Ada"}, **said},
    ]
    run = hosted.runner.run(FILE, "review", event["sha"], event)
    assert not run.failed, run.logs
    assert not hosted.comment(event).failed
    [body] = hosted.github.bodies(4)
    assert "approved by ada" in body


@pytest.mark.slow
def test_fork_is_commented_by_the_second_workflow_alone(hosted, golden):
    run, event = hosted(5, change_step)
    assert not run.failed, run.logs
    # GitHub gives the jobs of a fork a token that cannot write, and does not start these two.
    workflow = (hosted.project.folder / f".github/workflows/{FILE}.yml").read_text()
    assert workflow.count("head.repo.full_name == github.repository") == 2
    main = git(hosted.project, "rev-parse", "main")
    contexts = {
        "github.event.workflow_run.head_sha": event["head"],
        "github.repository": REPOSITORY,
    }
    done = hosted.runner.run(FORK, "comment", main, contexts)
    assert not done.failed, done.logs
    [body] = hosted.github.bodies(5)
    golden("comment_fork", normal(body, event))
    # Its artifact names the pull request of another: refused.
    hosted.github.pulls[6] = "c" * 40
    (hosted.runner.scratch / "artifacts/review/change").write_text("6")
    done = hosted.runner.run(FORK, "comment", main, contexts)
    assert done.failed
    assert "change 6 has another commit" in done.logs["Write the comment"]
    assert hosted.github.bodies(6) == []


def test_scripts_without_a_compiler_run_as_they_stand(hosted):
    """The lean part of the above: the spending of a night, approvals, and the comment."""
    event = propose(hosted.project, 9, change_step)
    hosted.github.pulls[9] = event["head"]
    artifacts = hosted.runner.scratch / "artifacts"
    (artifacts / "review").mkdir(parents=True)
    (artifacts / "review/review.md").write_text("<!-- tfhub-blocks review -->\nhello\n")
    (artifacts / "review/review.json").write_text('{"empty": false}')
    done = hosted.comment(event)
    assert not done.failed, done.logs
    assert hosted.github.bodies(9) == ["<!-- tfhub-blocks review -->\nhello\n"]
    (artifacts / "records").mkdir()
    (artifacts / "records/spent.json").write_text('{"format_version": 1}')
    main = git(hosted.project, "rev-parse", "main")
    for _ in range(2):
        done = hosted.runner.run("tfhub-blocks-night", "records", main)
        assert not done.failed, done.logs
    kept = git(hosted.project, "ls-remote", "origin", "refs/heads/tfhub-blocks/records")
    assert kept


def test_docs_show_the_comments_of_these_changes():
    page = (ROOT / "docs/ci.md").read_text()
    for path in sorted((ROOT / "tests/control/automation/goldens").glob("comment_*.txt")):
        assert path.read_text().strip() in page, path.name

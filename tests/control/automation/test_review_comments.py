"""The comment of a review: found again, updated, hidden, left out; a fork's artifact is data."""

import json
from pathlib import Path

import pytest
from github_api import GitHubApi

from tfhub_blocks.cli import main
from tfhub_blocks.control.review.review_markdown import MARKER

HEAD, OTHER = "a" * 40, "b" * 40


@pytest.fixture
def github(monkeypatch, tmp_path):
    server = GitHubApi()
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    server.pulls[7] = HEAD
    yield server
    server.shutdown()
    server.server_close()


def write(text, empty=False, change="7"):
    folder = Path("review")
    folder.mkdir(exist_ok=True)
    (folder / "review.md").write_text(f"{MARKER}\n{text}\n")
    (folder / "review.json").write_text(json.dumps({"empty": empty}))
    (folder / "change").write_text(f"{change}\n")


def comment(*words):
    return main(["ci", "comment", "review", "--head", HEAD, *words])


def test_nothing_is_posted_where_nothing_changes(github, capsys):
    write("nothing", empty=True)
    assert comment("--change", "7") == 0
    assert github.bodies(7) == []
    assert "no comment is needed" in capsys.readouterr().out


def test_one_comment_is_found_again_and_updated(github):
    github.comment(7, f"{MARKER}\nby a person", kind="User")
    for number in range(150):  # more than a page
        github.comment(7, f"talk {number}")
    write("first")
    assert comment() == 0
    write("second")
    assert comment() == 0
    asked = len(github.asked)
    assert comment() == 0
    assert not [it for it in github.asked[asked:] if not it.startswith("GET")]
    own = [it for it in github.bodies(7) if it.startswith(MARKER)]
    assert own == [f"{MARKER}\nby a person", f"{MARKER}\nsecond\n"]
    write("nothing any more", empty=True)
    assert comment() == 0
    assert "nothing any more" in github.bodies(7)[-1]


def test_modes_write_new_comments_and_hide_old_ones(github):
    write("first")
    assert comment("--mode", "new") == 0
    assert comment("--mode", "new") == 0  # the same text once
    write("second")
    assert comment("--mode", "new") == 0
    assert (len(github.bodies(7)), github.hidden) == (2, [])
    write("third")
    assert comment("--mode", "hide-and-new") == 0
    assert len(github.bodies(7)) == 3
    assert github.hidden == ["IC_700", "IC_701"]


def test_artifact_cannot_name_another_change_or_bring_another_text(github, capsys):
    github.pulls[8] = OTHER
    for change, told in (
        ("8", "change 8 has another commit"),
        ("9", "status 404"),
        ("../8", "'../8' is not the number of a change"),
        ("", "'' is not the number of a change"),
    ):
        write("text", change=change)
        assert comment() == 2
        assert told in capsys.readouterr().err
    write("text")
    github_file = Path("review/review.md")
    github_file.write_text("spam")
    assert comment() == 2
    github_file.write_text(f"{MARKER}\n{'x' * 200_001}")
    assert comment() == 2
    github_file.unlink()
    github_file.symlink_to("/etc/passwd")
    assert comment() == 2
    assert github.comments == {}


def test_last_review_of_each_person_counts_if_it_is_about_this_commit(github, capsys):
    def said(name, state, commit=HEAD):
        return {"user": {"login": name}, "state": state, "commit_id": commit}

    github.reviews[7] = [
        said("ada", "APPROVED"),
        said("ada", "COMMENTED"),
        said("bob", "APPROVED", OTHER),
        said("carol", "APPROVED"),
        said("carol", "CHANGES_REQUESTED"),
        said("dan", "APPROVED"),
        said("dan", "DISMISSED"),
    ]
    assert main(["ci", "approvals", "7", "--head", HEAD]) == 0
    assert capsys.readouterr().out == "ada\n"


def test_reviewer_of_the_environment_is_named_by_address(github, capsys):
    assert main(["ci", "reviewer"]) == 2
    assert "nobody approved this run" in capsys.readouterr().err
    github.approvals = [{"state": "approved", "user": {"login": "ada", "id": 12}}]
    assert main(["ci", "reviewer"]) == 0
    assert capsys.readouterr().out == "12+ada@users.noreply.github.com\n"
    assert main(["ci", "reviewer", "--name"]) == 0
    assert capsys.readouterr().out == "ada\n"


def test_branch_is_proposed_once(github, capsys):
    for _ in range(2):
        assert main(["ci", "propose", "release/one", "--into", "main", "--title", "one"]) == 0
    assert len(github.proposed) == 1
    assert capsys.readouterr().out.splitlines() == [f"{github.url}/pull/0"] * 2


def test_token_appears_nowhere_and_no_service_is_a_sentence(github, capsys, monkeypatch):
    monkeypatch.setenv("GITHUB_TOKEN", "wrong-token")
    write("text")
    assert comment() == 2
    told = capsys.readouterr().err
    assert "status 401" in told
    assert "wrong-token" not in told
    monkeypatch.delenv("GITHUB_TOKEN")
    assert comment() == 2
    assert "neither GitHub Actions nor Azure Pipelines" in capsys.readouterr().err

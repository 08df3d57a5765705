"""`tfhub-blocks ci write` and `ci check`: the files pass their linters, and stay up to date."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from toy_project import ROOT

from tfhub_blocks.cli import main
from tfhub_blocks.control.automation.ci_settings import read_project
from tfhub_blocks.control.automation.pinned_actions import ACTIONS
from tfhub_blocks.control.automation.written_files import SYSTEMS, file_differences, wanted_files

BIN = Path(sys.executable).parent
SETTINGS = """format_version = 1
branch = "trunk"
comment = "hide-and-new"
install = ["tfhub-blocks --version"]
tests = ["python -m pytest"]
cache = ["requirements.txt"]
code_owners = ["@team/owners"]
[merge.toy]
source = "azureml:words:1"
text = "it's $HOME"
[night.toy]
source = "azureml:words:1"
"""


@pytest.fixture(params=[None, SETTINGS], ids=["default", "everything"])
def written(request, project):
    """The files of both systems, from no settings and from all of them."""
    if request.param:
        project.write("pipelines/ci.toml", request.param)
    for system in SYSTEMS:
        assert main(["ci", "write", system]) == 0
    return project


def lint(folder, *words):
    program = BIN / words[0]
    assert program.exists(), f"{words[0]} is missing: run `make setup`"
    plain = {key: it for key, it in os.environ.items() if key != "CI"} | {"NO_COLOR": "1"}
    done = subprocess.run(
        [program, *words[1:]], cwd=folder, capture_output=True, text=True, env=plain
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_files_pass_their_linters(written):
    github = sorted(str(it) for it in Path(".github/workflows").iterdir())
    azure = sorted(str(it) for it in Path(".azure-pipelines").iterdir())
    assert (len(github), len(azure)) == (6, 5)
    lint(".", "actionlint", *github)
    told = lint(".", "zizmor", "--offline", "--no-config", "--persona", "pedantic", ".github")
    # A second workflow, which comments forks, is what the audit would forbid altogether.
    assert "No findings to report. Good job! (1 ignored)" in told
    words = ("check-jsonschema", "--builtin-schema")
    lint(".", *words, "vendor.github-workflows", *github)
    lint(".", *words, "custom.github-workflows-require-timeout", *github)
    transform = ("--data-transform", "azure-pipelines", "--regex-variant", "nonunicode")
    lint(".", *words, "vendor.azure-pipelines", *transform, *azure)


def test_scripts_contain_no_expression_and_jobs_have_the_least_permissions(written):
    for path in Path(".github/workflows").iterdir():
        text = path.read_text()
        workflow = yaml.safe_load(text)
        assert workflow["permissions"] == {}
        assert "concurrency" in workflow
        for job in workflow["jobs"].values():
            assert job["timeout-minutes"] <= 120
            scripts = "".join(step.get("run", "") for step in job["steps"])
            assert "${{" not in scripts
            writes = {key for key, value in job["permissions"].items() if value == "write"}
            assert "id-token" not in writes or "environment" in job
            # A job whose token can write runs no code of the change.
            if writes & {"pull-requests", "contents", "security-events"}:
                checkout = next(it for it in job["steps"] if "checkout" in it.get("uses", ""))
                ref = checkout["with"].get("ref", "")
                is_change = "pull_request" in workflow[True]
                assert not is_change or "base.sha" in ref or "install" not in scripts
        for action, commit, version in re.findall(r"uses: (\S+)@(\w+) # (\S+)", text):
            assert ACTIONS[action] == (commit, version)
        assert len(re.findall("uses:", text)) == len(
            re.findall(r"uses: \S+@[0-9a-f]{40} # v", text)
        )
    for path in Path(".azure-pipelines").iterdir():
        for script in scripts_in(yaml.safe_load(path.read_text())):
            assert "$(System" not in script
            assert "${{" not in script


def scripts_in(found):
    """Every script of a pipeline file."""
    if isinstance(found, list):
        yield from (script for it in found for script in scripts_in(it))
    elif isinstance(found, dict):
        yield from (found[key] for key in ("bash", "inlineScript") if key in found)
        yield from (script for it in found.values() for script in scripts_in(it))


def test_scripts_are_the_same_on_both_systems(written):
    def scripts(folder):
        texts = "".join(path.read_text() for path in sorted(Path(folder).iterdir()))
        lines = re.sub(r"^ +", "", texts, flags=re.M)
        return {name: name in lines for name in ("tfhub-blocks publish", "attempt tfhub-blocks")}

    assert all(scripts(".github/workflows").values())
    assert scripts(".github/workflows") == scripts(".azure-pipelines")


def test_settings_are_written_as_they_are_meant(project):
    project.write("pipelines/ci.toml", SETTINGS)
    main(["ci", "write", "github"])
    merge = Path(".github/workflows/tfhub-blocks-merge.yml").read_text()
    assert "'text=it'\"'\"'s $HOME'" in merge
    assert "--wait" not in merge
    assert 'branches: ["trunk"]' in merge
    request = Path(".github/workflows/tfhub-blocks-pull-request.yml").read_text()
    assert "--mode hide-and-new" in request
    assert "cache: pip" in request


def test_edited_old_and_missing_files_are_shown(project, capfd):
    assert main(["ci", "check"]) == 2
    assert "has no workflow files" in capfd.readouterr().err
    assert main(["ci", "write", "github"]) == 0
    assert main(["ci", "check"]) == 0
    assert main(["ci", "check", "azure-devops"]) == 1
    capfd.readouterr()
    path = Path(".github/workflows/tfhub-blocks-merge.yml")
    path.write_text(path.read_text().replace("timeout-minutes: 60", "timeout-minutes: 600"))
    (path.parent / "tfhub-blocks-gone.yml").write_text("old: true\n")
    (path.parent / "own.yml").write_text("name: ours\n")
    assert main(["ci", "check"]) == 1
    told = capfd.readouterr()
    assert "-    timeout-minutes: 600\n+    timeout-minutes: 60\n" in told.out
    assert "-old: true\n" in told.out
    assert "own.yml" not in told.out
    assert "ci write github" in told.err
    assert main(["ci", "write", "github"]) == 0
    assert "tfhub-blocks-gone.yml: deleted" in capfd.readouterr().out
    assert main(["ci", "check"]) == 0
    project.write("pipelines/ci.toml", 'format_version = 1\nbranch = "trunk"\n')
    assert main(["ci", "check"]) == 1


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ('branch = "a b"', "branch is 'a b'"),
        ('nightly = "soon"', "nightly is 'soon'"),
        ('install = ["echo ${{ github.token }}"]', "one line of a shell without an expression"),
        ('experiment = "nope"', "no profile of Azure ML is called 'nope'"),
        ('experiment = "production"', "accepts only release locks"),
        ('production = "experiment"', "accepts more than release locks"),
        ("[merge.tay]", "no pipeline is called 'tay'"),
        ('[merge.toy]\ntext = "${{ x }}"', "one line without an expression"),
        ("colour = 1", "colour"),
    ],
)
def test_wrong_settings_are_refused(project, capfd, setting, told):
    project.write("pipelines/ci.toml", f"format_version = 1\n{setting}\n")
    assert main(["ci", "write", "github"]) == 2
    assert told in capfd.readouterr().err


def test_this_project_uses_what_it_writes(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert file_differences(wanted_files(read_project(), "github"), "github") == ""


def test_setup_prints_subjects_roles_and_owners_and_runs_each_command_once(
    project, monkeypatch, capfd, tmp_path
):
    project.write("pipelines/ci.toml", SETTINGS)
    place = ("--repository", "team/models", "--subscription", "S", "--resource-group", "G")
    words = ("ci", "setup", "github", *place, "--workspace", "W", "--tenant", "T")
    assert main([*words, "--reviewer", "ada"]) == 0
    printed = capfd.readouterr().out
    for environment in ("blocks-experiment", "blocks-production", "blocks-night"):
        assert f'"subject": "repo:team/models:environment:{environment}"' in printed
    assert "/pipelines/releases/ @team/owners" in printed
    assert "client-secret" not in printed
    assert "password" not in printed.replace("which has no password", "")
    script = tmp_path / "setup.sh"
    script.write_text(re.sub(r"^/.* @team.*$", "", printed, flags=re.M))
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    # Programs that answer, and write down what they were asked.
    log = tmp_path / "log"
    for name in ("az", "gh"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            f'#!/bin/sh\necho "{name} $*" >> {log}\ncase "$*" in\n'
            f'*"ad app list"*|*"sp show"*|*"credential list"*)'
            f" cat {tmp_path}/found 2> /dev/null;;\n"
            f"*--input*) cat >> {log};;\n*users/ada*) echo 12;;\n*) echo an-id;;\nesac\n"
        )
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    assert main([*words, "--reviewer", "ada", "--run"]) == 0
    ran = log.read_text()
    assert ran.count("az ad app create") == ran.count("az ad sp create") == 3
    assert '"id": 12' in ran
    assert (
        "gh variable set AZURE_CLIENT_ID --env blocks-night --repo team/models --body an-id" in ran
    )
    log.unlink()
    (tmp_path / "found").write_text("there\n")
    assert main([*words, "--reviewer", "ada", "--run"]) == 0
    assert "create --display-name" not in log.read_text()
    assert "--assignee-object-id there" in log.read_text()
    monkeypatch.setenv("PATH", "/nowhere")
    assert main([*words, "--run"]) == 2
    assert "az is not installed" in capfd.readouterr().err

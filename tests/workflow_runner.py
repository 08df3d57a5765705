"""Jobs of a written GitHub workflow, run here: each script as it stands, actions in short."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from release_project import commit, git

_EXPRESSION = re.compile(r"\$\{\{ ([\w.-]+) \}\}")


@dataclass
class JobRun:
    """What a job did: the log and the status of each step, and its folder."""

    folder: Path
    failed: bool = False
    logs: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    summary: str = ""


@dataclass
class Runner:
    """Runs jobs in fresh clones of a bare repository, with artifacts in a folder."""

    remote: Path
    scratch: Path
    variables: dict[str, str]
    contexts: dict[str, str] = field(default_factory=dict)
    used: list[str] = field(default_factory=list)
    count: int = 0

    def run(
        self, workflow: str, job: str, sha: str, contexts: dict[str, str] | None = None
    ) -> JobRun:
        """Run a job of a workflow file as it is in a commit."""
        self.count += 1
        folder = self.scratch / f"job{self.count}"
        temporary = folder / "temporary"
        temporary.mkdir(parents=True)
        path = f".github/workflows/{workflow}.yml"
        found = yaml.safe_load(git_show(self.remote, sha, path))["jobs"][job]
        known = (
            self.contexts | (contexts or {}) | {"runner.temp": str(temporary), "github.sha": sha}
        )

        def value(written: Any) -> str:
            return _EXPRESSION.sub(lambda it: known.get(it[1], ""), str(written))

        run = JobRun(folder / "work")
        environment = {key: value(it) for key, it in (found.get("env") or {}).items()}
        for step in found["steps"]:
            if run.failed and step.get("if") != "always()":
                continue
            if "uses" in step:
                self._use(step, value, sha, run)
                continue
            script = folder / "script.sh"
            script.write_text(step["run"])
            summary = folder / "summary.md"
            own = {key: value(it) for key, it in (step.get("env") or {}).items()}
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
                cwd=run.folder,
                env=self._environment(folder)
                | environment
                | own
                | {"GITHUB_STEP_SUMMARY": str(summary)},
                capture_output=True,
                text=True,
            )
            run.logs[step["name"]] = done.stdout + done.stderr
            run.statuses[step["name"]] = done.returncode
            run.failed = run.failed or done.returncode != 0
            run.summary = summary.read_text() if summary.exists() else ""
        return run

    def _environment(self, folder: Path) -> dict[str, str]:
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            **self.variables,
        }

    def _use(self, step: dict[str, Any], value: Any, sha: str, run: JobRun) -> None:
        action, words = step["uses"].partition("@")[0], step.get("with") or {}
        self.used.append(action)
        match action:
            case "actions/checkout":
                assert words["persist-credentials"] is False
                _git(self.scratch, "clone", "-q", self.remote, run.folder)
                _git(run.folder, "fetch", "-q", "origin", "+refs/pull/*:refs/pull/*")
                _git(run.folder, "checkout", "-q", value(words["ref"]) if "ref" in words else sha)
            case "actions/upload-artifact":
                target = self.scratch / "artifacts" / words["name"]
                shutil.rmtree(target, ignore_errors=True)
                if (source := run.folder / words["path"]).is_dir():
                    shutil.copytree(source, target)
            case "actions/download-artifact":
                shutil.copytree(
                    self.scratch / "artifacts" / words["name"],
                    run.folder / words["path"],
                    dirs_exist_ok=True,
                )
            case "github/codeql-action/upload-sarif":
                assert (run.folder / words["sarif_file"]).is_file()
            case "actions/attest":
                assert list(run.folder.glob(words["subject-path"]))
            case _:
                assert action == "actions/setup-python"


def _git(folder: Path, *words: Any) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def git_show(repository: Path, commit: str, path: str) -> str:
    return _git(repository, "show", f"{commit}:{path}")


def make_remote(project: Any, folder: Path) -> Path:
    """A bare repository with the project's main branch."""
    _git(project.folder, "clone", "-q", "--bare", project.folder, folder)
    git(project, "remote", "add", "origin", str(folder))
    return folder


def propose(project: Any, number: int, change: Any) -> dict[str, str]:
    """Commit a change on a branch, push it as a pull request, and give the event's contexts."""
    base = git(project, "rev-parse", "main")
    git(project, "switch", "-q", "-c", f"change{number}", "main")
    change(project)
    head = commit(project, f"change {number}")
    git(project, "switch", "-q", "--detach", "main")
    git(project, "merge", "-q", "--no-ff", "-m", "merge", head)
    merged = git(project, "rev-parse", "HEAD")
    git(project, "push", "-q", "origin", f"{merged}:refs/pull/{number}/merge")
    git(project, "switch", "-q", "main")
    event = "github.event.pull_request"
    return {
        "sha": merged,
        "head": head,
        f"{event}.number": str(number),
        f"{event}.base.sha": base,
        f"{event}.head.sha": head,
    }

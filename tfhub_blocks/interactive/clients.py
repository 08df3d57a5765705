"""The clients for Python: the same calls for this machine and for a workspace of Azure ML."""

# decision 103

from pathlib import Path
from typing import Any

from tfhub_blocks.interactive.local_jobs import LocalJob, open_run, start_run
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.base.quiet_libraries import quiet_libraries

_RUNS_DIR = ".runs"


class LocalClient:
    """A client that runs pipelines on this machine.

        client = tfhub_blocks.LocalClient()
        job = client.jobs.create_or_update(transfer_learning(source="photos", encoder="enc"))

    Args:
        profile: The name of a profile whose engine is ``local``.
        runs_dir: The directory of the runs, their outputs and the model registry.

    Raises:
        BlocksError: The profile does not exist, or its engine is another one.
    """

    def __init__(self, profile: str = "local", runs_dir: str | Path = _RUNS_DIR) -> None:
        from tfhub_blocks.control.project.profiles import load_profile

        quiet_libraries()
        found = load_profile(profile)
        if found.engine != "local":
            raise BlocksError(
                "LocalClient",
                profile,
                f"profile {profile} runs on {found.engine}",
                'a profile with engine = "local"',
                f"Call tfhub_blocks.client({profile!r})",
            )
        self.jobs = LocalJobs(found, Path(runs_dir))


class LocalJobs:
    """The runs of a client."""

    def __init__(self, profile: Any, runs_dir: Path) -> None:
        self._profile, self._runs_dir = profile, runs_dir

    def create_or_update(self, job: Any, *, reuse: bool = True) -> LocalJob:
        """Start a run of a pipeline, and return it while it goes on.

        Args:
            job: The pipeline, called with its inputs.
            reuse: False to run every step, even if its output exists from an earlier run.

        Raises:
            BlocksError: The pipeline or an input contains mistakes. Nothing has run.
        """
        return start_run(job, self._profile, self._runs_dir, reuse)

    def get(self, name: str) -> LocalJob:
        """Return an earlier run.

        Raises:
            BlocksError: The run does not exist.
        """
        names = self.list()
        if name not in names:
            raise BlocksError(
                "jobs",
                name,
                f"no run in {self._runs_dir} is called {name!r}",
                "a name that client.jobs.list() returns",
                nearest(name, names) or "Call client.jobs.list()",
            )
        return open_run(self._runs_dir, name)

    def list(self) -> list[str]:
        """Return the names of the runs, the newest first."""
        from tfhub_blocks.control.project.run_records import past_runs

        return [
            record.run for path, record in past_runs(self._runs_dir) if path.parent.name == "runs"
        ]


def client(profile: str = "local", workspace_config: str | Path | None = None) -> Any:
    """Return the client of a profile: for this machine, or for a workspace of Azure ML.

    Args:
        profile: The name of the profile; its ``engine`` decides.
        workspace_config: The ``config.json`` of the workspace, if it is not in this directory or
            above it.

    Raises:
        BlocksError: The profile does not exist, or no workspace is named.
    """
    from tfhub_blocks.control.project.profiles import load_profile

    if load_profile(profile).engine == "local":
        return LocalClient(profile)
    from tfhub_blocks.interactive.workspace_clients import WorkspaceClient

    quiet_libraries()
    return WorkspaceClient(profile, Path(workspace_config) if workspace_config else None)

"""Jobs of a trial: the probe on nodes, and the facts in its log."""

# decision 87

import json
import shutil
import time
from collections.abc import Callable
from typing import Any

from azure.ai.ml import Input, Output, command, dsl

from tfhub_blocks.control.costs.job_states import ENDED
from tfhub_blocks.control.doctor import node_probe
from tfhub_blocks.control.doctor.trial import STEP_TIMEOUT_S, WHERE, Trial, role_for_probes
from tfhub_blocks.control.environments.environment_catalog import find_environments
from tfhub_blocks.control.jobs.submitted_jobs import Job
from tfhub_blocks.control.project.assets import environment_asset
from tfhub_blocks.control.project.job_furnishing import Furnishing, furnish_job
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.run_records import COMPLETED
from tfhub_blocks.control.project.step_graph import Graph, Node
from tfhub_blocks.control.workspace.asset_publishing import plan, publish
from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.control.workspace.connection import poll_interval_s
from tfhub_blocks.records.base.errors import BlocksError

ENVIRONMENT = "cpu"


def environment_reference(trial: Trial) -> str:
    """Publish the environment of CPU steps, and return its reference.

    The published version stays: it is the one that ``publish`` would create.

    Raises:
        BlocksError: Azure refused a request.
    """
    [environment] = find_environments([ENVIRONMENT])
    asset = environment_asset(environment)
    publish(trial.connection, list(plan(trial.connection, [asset])), lambda *_: None)
    return asset.reference


def probe_node(profile: Profile, nodes: int = 1) -> Node:
    """Return the probe as a step, from which its cost and its settings derive."""
    roles = {id(role): name for name, role in profile.roles.items()}
    return Node(
        name="probe",
        component="probe",
        version="1",
        role=roles[id(role_for_probes(profile))],
        environment=ENVIRONMENT,
        command="",
        deterministic=False,
        timeout_s=STEP_TIMEOUT_S,
        input_types={},
        output_types={},
        inputs={},
        entity=None,
        shares_work=nodes > 1,
        instance_count=nodes,
    )


def submit_probe(trial: Trial, mode: str, nodes: int = 1) -> Job:
    """Submit a job with one step, the probe, and return the job.

    Raises:
        BlocksError: Azure refused the request.
    """
    job = probe_job(trial, mode, nodes)
    trial.creates("job", job.name)
    with told(WHERE, f"probe {mode}"):
        made = trial.connection.client.jobs.create_or_update(job)
    return Job(trial.connection, made.name, is_new=True)


def probe_job(trial: Trial, mode: str, nodes: int = 1) -> Any:
    """Return a job with one step, the probe, with the settings of the profile."""
    folder = trial.folder / "probe"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(str(node_probe.__file__), folder / "node_probe.py")
    probe = command(
        name="doctor_probe",
        version="1",
        code=str(folder),
        command="python node_probe.py --mode ${{inputs.mode}} --folder ${{outputs.folder}} "
        "--file ${{outputs.file}}",
        environment=environment_reference(trial),
        inputs={"mode": Input(type="string", default=mode)},
        outputs={"folder": Output(type="uri_folder"), "file": Output(type="uri_file")},
        is_deterministic=False,
    ).component

    @dsl.pipeline(name="doctor_probe")  # type: ignore[untyped-decorator]
    def doctor_probe() -> Any:
        probe(mode=mode)

    job = doctor_probe()
    [name] = job.jobs
    node = probe_node(trial.profile, nodes)
    graph = Graph("doctor_probe", {name: node}, {})
    settings = trial.profile.job
    if settings is None:
        problem = f"profile {trial.profile.name} is for local runs"
        remedy = "Pass a profile for Azure ML with --profile"
        raise BlocksError(WHERE, trial.profile.name, problem, "a table [job]", remedy)
    furnish_job(job, graph, Furnishing("doctor_probe", trial.profile, settings, False, {}))
    job.name = f"{trial.name}-{mode}-{int(time.time())}"
    return job


def ended(job: Job, seen: Callable[[str], None] = lambda _: None) -> str:
    """Wait for the end of a job, and return its last status.

    Raises:
        BlocksError: The workspace did not answer.
    """
    return job.wait(lambda record: seen(record.status)).status


def completed(job: Job) -> list[str]:
    """Wait for a job, and return each status that it had in turn.

    Raises:
        BlocksError: The job did not complete. The error contains the end of the log.
    """
    states: list[str] = []

    def see(status: str) -> None:
        if states[-1:] != [status]:
            states.append(status)

    last = ended(job, see)
    if last != COMPLETED:
        log = " ".join(text for _, text in job.logs([]))[-400:]
        problem = f"job {job.name} is {last}: {' '.join(log.split())}"
        remedy = f"Run `tfhub-blocks logs {job.name}`"
        raise BlocksError(WHERE, job.name, problem, "a completed job", remedy)
    return states


def facts_of(job: Job) -> dict[str, Any]:
    """Return the facts that the probe printed, of all nodes.

    Raises:
        BlocksError: The workspace did not answer.
    """
    found = {}
    for _, text in job.logs([]):
        for line in text.splitlines():
            if line.startswith(node_probe.PREFIX):
                name, _, fact = line.removeprefix(node_probe.PREFIX).partition(" ")
                found[name] = json.loads(fact)
    return found


def late_facts_of(job: Job, name: str, most_s: float) -> dict[str, Any]:
    """Return the facts of an ended job, whose log may be complete later than the job.

    Args:
        job: The ended job.
        name: The fact to wait for.
        most_s: The longest wait. After it the facts are returned without that one.

    Raises:
        BlocksError: The workspace did not answer.
    """
    limit = time.monotonic() + most_s
    while name not in (found := facts_of(job)) and time.monotonic() < limit:
        time.sleep(poll_interval_s())
    return found


def wait_for_line(job: Job, sign: str, most_s: float) -> bool:
    """Wait until a line of a job's log begins with a text; False if the job ends before."""
    limit = time.monotonic() + most_s
    while time.monotonic() < limit:
        lines = [line for _, text in job.logs([]) for line in text.splitlines()]
        if any(line.startswith(sign) for line in lines):
            return True
        if job.record().status in ENDED:
            return False
        time.sleep(poll_interval_s())
    return False

"""The parts of a trial, in the order in which they run."""

# decision 87

import base64
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from azure.ai.ml.entities import CronTrigger, JobSchedule

from tfhub_blocks.control.costs.ceilings import Ceiling, ceiling, step_terms
from tfhub_blocks.control.costs.prices import load_prices
from tfhub_blocks.control.deployments.candidates import DeploymentCandidate
from tfhub_blocks.control.deployments.end_dates import End
from tfhub_blocks.control.deployments.endpoint_requests import OnlineRequest
from tfhub_blocks.control.deployments.online_endpoints import deploy_online
from tfhub_blocks.control.doctor import node_probe
from tfhub_blocks.control.doctor.trial import (
    WHERE,
    Part,
    Trial,
    UntriedError,
    role_for_probes,
)
from tfhub_blocks.control.doctor.trial_jobs import (
    completed,
    ended,
    environment_reference,
    facts_of,
    late_facts_of,
    probe_job,
    probe_node,
    submit_probe,
    wait_for_line,
)
from tfhub_blocks.control.jobs.submission import SubmissionRequest, prepare, submit
from tfhub_blocks.control.jobs.submitted_jobs import Job
from tfhub_blocks.control.project.output_store import content_digest
from tfhub_blocks.control.project.profiles import SERVERLESS
from tfhub_blocks.control.project.run_requests import prepare_draft
from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.control.workspace.online_sizes import is_online_size
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.runtimes import Runtime

PIPELINE = "transfer_learning"
GROUPS, PICTURES = 6, 60
# One encoder of each catalogue.
HANDLES = {
    "tfhub": "https://tfhub.dev/tensorflow/efficientnet/lite0/feature-vector/2",
    "kaggle": "kagglehub:google/nnlm/tensorFlow2/en-dim50/1",
}
_SETTINGS = (
    *("min_accuracy=0.0", "min_test_items=1", "min_class_test_items=0", "unpinned=accept"),
)
# An endpoint that is created later in the day than this ends tomorrow.
_LEAST_HOURS = 3.0
_SAVING_S = 600.0
# A job can be Canceled while its step still has time to end, and before the end of its log is in
# storage.
_LATE_LOG_S = 60.0


def _image(trial: Trial) -> Mapping[str, Any]:
    """Let Azure build the image of CPU steps, by the first job that needs it."""
    reference = environment_reference(trial)
    started = time.monotonic()
    states = completed(submit_probe(trial, "facts"))
    seconds = round(time.monotonic() - started, 1)
    return {"image.environment": reference, "image.states": states, "image.seconds": seconds}


def _probe(trial: Trial) -> Mapping[str, Any]:
    """Record what a node has: mount, uri_file, variables, identity, driver, MLflow."""
    job = submit_probe(trial, "facts")
    completed(job)
    return _all_facts(facts_of(job), "probe.")


def _all_facts(found: Mapping[str, Any], prefix: str) -> Mapping[str, Any]:
    if not any(name.startswith(prefix) for name in found):
        problem = "the log of the probe contains no fact"
        raise BlocksError(WHERE, prefix, problem, "", "Read the log in Studio")
    return found


def _handles(trial: Trial) -> Mapping[str, Any]:
    """Pin one encoder of each catalogue, on this machine, as a user does."""
    for name, handle in HANDLES.items():
        folder = trial.folder / "encoders" / name
        if not folder.exists():
            words = ["encoder", "pin", handle, "--to", str(folder)]
            done = subprocess.run(
                [sys.executable, "-m", "tfhub_blocks.cli", *words],
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
            )
            if done.returncode:
                lines = done.stderr.strip().splitlines()
                problem = f"{handle} was not pinned: {lines[-1] if lines else done.returncode}"
                remedy = f"Run `tfhub-blocks encoder pin {handle} --to DIR`"
                raise BlocksError(WHERE, name, problem, "", remedy)
        trial.found[f"handles.{name}"] = {"handle": handle, "digest": content_digest(folder)}
    return {}


def _training(trial: Trial) -> Mapping[str, Any]:
    """Train, evaluate and register on 60 pictures."""
    encoder = trial.encoder
    if encoder is None:
        trial.needs("handles")
        encoder = trial.folder / "encoders" / "tfhub"
    with TemporaryDirectory(prefix="tfhub-blocks-doctor-") as scratch:
        pictures = Path(scratch) / "pictures"
        try:
            trial.write_pictures(pictures, PICTURES // GROUPS)
        except ModuleNotFoundError as error:
            reason = f"{error.name} is missing; run pip install 'tfhub-blocks[samples]'"
            raise UntriedError(reason) from error
        # Content of this trial alone, so that nothing of anybody is removed with it.
        note = pictures / "ATTRIBUTION.txt"
        note.write_text(f"{note.read_text(encoding='utf-8')}{trial.name}\n", encoding="utf-8")
        trial.creates("upload", content_digest(pictures))
        model, registered = f"{trial.name}-model", f"{trial.name}-output"
        trial.creates("model", model)
        settings = (
            *_SETTINGS,
            f"model_name={model}",
            f"source={pictures}",
            f"encoder={encoder}",
            f"owner={_owner(trial)}",
        )
        trial.creates("model", registered)
        request = SubmissionRequest(PIPELINE, settings, {"model": registered}, False)
        prepared = prepare(trial.connection, request, trial.profile)
        made = submit(trial.connection, prepared, trial.folder)
    trial.creates("job", made.name)
    job = Job(trial.connection, made.name, is_new=True)
    states = completed(job)
    record = job.record()
    return {
        "training.job": made.name,
        "training.states": states,
        "training.seconds": {name: round(step.seconds, 1) for name, step in record.steps.items()},
        "training.model": [registered, made.name.removeprefix(f"{PIPELINE}-")],
    }


def _owner(trial: Trial) -> str:
    return trial.profile.job.owner if trial.profile.job else "doctor"


def _cancel(trial: Trial) -> Mapping[str, Any]:
    """Cancel a step while it writes its output."""
    job = submit_probe(trial, "save")
    if not wait_for_line(job, f"{node_probe.SAVED} 3", _SAVING_S):
        problem = f"job {job.name} did not begin to write within {_SAVING_S:g} s"
        raise BlocksError(WHERE, "cancel", problem, "", f"Run `tfhub-blocks logs {job.name}`")
    job.cancel()
    started, states = time.monotonic(), list[str]()
    last = ended(job, states.append)
    seconds = round(time.monotonic() - started, 1)
    facts = {
        "cancel.status": last,
        "cancel.states": list(dict.fromkeys(states)),
        "cancel.ended_after_s": seconds,
    }
    # No line means that the step was killed without a signal that it could see.
    return {"cancel.signal": None, **facts, **late_facts_of(job, "cancel.signal", _LATE_LOG_S)}


def _two_nodes(trial: Trial) -> Mapping[str, Any]:
    """Let two nodes write into one output, and remove a file of it."""
    role = role_for_probes(trial.profile)
    cluster = trial.profile.clusters.get(role.compute)
    if role.compute != SERVERLESS and cluster is not None and cluster.max_nodes < 2:
        raise UntriedError(f"cluster {role.compute} has one node; set max_nodes to 2 or more")
    job = submit_probe(trial, "nodes", nodes=2)
    completed(job)
    return _all_facts(facts_of(job), "two-nodes.")


def _schedule(trial: Trial) -> Mapping[str, Any]:
    """Create a schedule, fire it once, and compare the job's name and identity."""
    name = f"{trial.name}-schedule"
    job, schedules = probe_job(trial, "facts"), trial.connection.client.schedules
    job.name = None
    trigger = CronTrigger(expression="0 0 * * 0", time_zone="UTC")
    trial.creates("schedule", name)
    with told(WHERE, f"schedule {name}"):
        schedules.begin_create_or_update(
            JobSchedule(name=name, trigger=trigger, create_job=job, tags=job.tags)
        ).result()
        now = datetime.now(UTC).replace(microsecond=0)
        fired = str(schedules.trigger(name, schedule_time=now.isoformat()).job_name)
    trial.creates("job", fired)
    made = Job(trial.connection, fired, is_new=True)
    states = completed(made)
    expected = f"{name}-{now:%Y%m%dT%H%M%SZ}"
    record = made.record()
    return {
        "schedule.job_name": {"found": fired, "as_documented": fired == expected},
        "schedule.states": states,
        "schedule.started_by": record.started_by,
    }


def _endpoint(trial: Trial) -> Mapping[str, Any]:
    """Deploy the trained model, ask it, and delete it."""
    name, version = trial.needs("training")["training.model"]
    size = endpoint_size(trial)
    candidate = DeploymentCandidate(
        label=f"{name}:{version}",
        name=name,
        digest=hashlib.sha256(version.encode()).hexdigest(),
        runtime=Runtime(compute_size=size),
        size=size,
        reference=f"azureml:{name}:{version}",
        asset=None,
    )
    request = OnlineRequest(trial.name, candidate, trial.profile, endpoint_end(), size, 1)
    trial.creates("endpoint", trial.name)
    started, states = time.monotonic(), dict[str, str]()
    deploy_online(trial.connection, request, lambda what, state: states.update({what: state}))
    seconds = round(time.monotonic() - started, 1)
    trial.found |= {"endpoint.seconds": seconds, "endpoint.states": list(states.values())}
    with TemporaryDirectory() as scratch:
        body = Path(scratch) / "request.json"
        body.write_text(json.dumps({"inputs": [_picture(trial)]}), encoding="utf-8")
        asked = time.monotonic()
        with told(WHERE, f"endpoint {trial.name}"):
            answer = trial.connection.client.online_endpoints.invoke(
                trial.name, request_file=str(body)
            )
    return {
        "endpoint.answer": str(answer)[:500],
        "endpoint.ms": round(1e3 * (time.monotonic() - asked)),
    }


def _picture(trial: Trial) -> str:
    """Return one sample picture, as a request for a model of pictures contains it."""
    with TemporaryDirectory() as scratch:
        trial.write_pictures(Path(scratch) / "one", 1)
        first = sorted((Path(scratch) / "one").rglob("*.png"))[0]
        return base64.b64encode(first.read_bytes()).decode()


def endpoint_size(trial: Trial) -> str:
    """Return the first size of the profile that online endpoints offer.

    Raises:
        UntriedError: No size of the profile is one of online endpoints.
    """
    sizes = [it.size for it in trial.profile.clusters.values()]
    sizes += [role.size for role in trial.profile.roles.values() if role.size]
    found = next((size for size in sizes if is_online_size(size)), None)
    if found is None:
        raise UntriedError("no size of the profile is offered for online endpoints")
    return found


def endpoint_end(now: datetime | None = None) -> End:
    """Return the end of the endpoint, if nothing deletes it before: today, or soon tomorrow."""
    now = now or datetime.now(UTC)
    today = End(now.date())
    return today if today.hours(now) >= _LEAST_HOURS else End(now.date() + timedelta(days=1))


def _probe_cost(nodes: int = 1) -> Callable[[Trial], float]:
    def cost(trial: Trial) -> float:
        prices = load_prices()
        terms = step_terms(probe_node(trial.profile, nodes), trial.profile, prices)
        return Ceiling(prices.currency, {"probe": terms}).total or 0.0

    return cost


def _training_cost(trial: Trial) -> float:
    _, graph, _ = prepare_draft(PIPELINE, [], trial.profile)
    return ceiling(graph, trial.profile, load_prices()).total or 0.0


def _endpoint_cost(trial: Trial) -> float:
    try:
        size = endpoint_size(trial)
    except UntriedError:
        return 0.0
    hours = endpoint_end().hours(datetime.now(UTC))
    return hours * load_prices().price_per_hour(size, "dedicated")


PARTS = (
    Part("image", "build the image of CPU steps", _image, _probe_cost()),
    Part("probe", "record what a node has", _probe, _probe_cost()),
    Part("handles", "pin an encoder of tfhub.dev and one of Kaggle", _handles, lambda _: 0.0),
    Part("training", f"run {PIPELINE} on {PICTURES} pictures", _training, _training_cost),
    Part("cancel", "cancel a step while it saves", _cancel, _probe_cost()),
    Part("two-nodes", "run one step on two nodes", _two_nodes, _probe_cost(2)),
    Part("schedule", "fire a schedule once", _schedule, _probe_cost()),
    Part("endpoint", "deploy an endpoint, ask it and delete it", _endpoint, _endpoint_cost),
)


def priced(trial: Trial, parts: Sequence[Part]) -> Iterator[tuple[Part, float]]:
    """Yield each part with its highest possible cost. A part without one is not tried."""
    for part in parts:
        try:
            yield part, part.cost(trial)
        except BlocksError as error:
            trial.skip(part, str(error))


def choose(trial: Trial, only: Sequence[str]) -> list[Part]:
    """Return the parts to run: the named ones, or those that have not passed yet."""
    if only:
        return [part for part in PARTS if part.name in only]
    passed = {name for name, it in trial.outcomes.items() if it.state == "passed"}
    return [part for part in PARTS if part.name not in passed]

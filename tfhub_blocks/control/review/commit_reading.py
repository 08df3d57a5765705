"""The reading of a commit: its pipelines are compiled from a private copy, without credentials."""

# decision 107

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from tfhub_blocks.control.costs.ceilings import ceiling
from tfhub_blocks.control.costs.cost_estimates import CostEstimate, StepEstimate
from tfhub_blocks.control.costs.prices import load_prices, prices_path
from tfhub_blocks.control.environments.environment_catalog import read_definitions
from tfhub_blocks.control.environments.environment_diffs import compare
from tfhub_blocks.control.project.assets import component_interface, pin_files
from tfhub_blocks.control.project.committed_sources import commit_sources
from tfhub_blocks.control.project.instance_counts import instance_count, role_of
from tfhub_blocks.control.project.profiles import Profile, profile_files, read_profile
from tfhub_blocks.control.project.run_requests import NotGiven, prepare_job
from tfhub_blocks.control.project.schedule_files import read_definition, schedule_files
from tfhub_blocks.control.project.step_graph import Graph, Node, OutputOf
from tfhub_blocks.control.releases.release_names import (
    find_lock,
    lock_files,
    replay_settings,
)
from tfhub_blocks.control.releases.release_replay import check_resolution
from tfhub_blocks.control.repository.catalog import pipeline_files
from tfhub_blocks.control.repository.git_objects import GitObjects
from tfhub_blocks.control.review.commit_states import (
    CommitState,
    PipelineState,
    ProfileState,
    StepState,
)
from tfhub_blocks.control.review.past_spending import PastSpending
from tfhub_blocks.control.rules.checked_repository import Repository
from tfhub_blocks.control.rules.cost_rules import created_endpoints
from tfhub_blocks.control.rules.rule_checks import check, load_rules
from tfhub_blocks.control.rules.subject import Subject, told
from tfhub_blocks.records.base.digests import CACHE_FOLDERS, record_digest, sources_sha256
from tfhub_blocks.records.base.documents import as_record
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.project_folders import origin_text
from tfhub_blocks.records.formats.releases import SUFFIX, ReleaseLock, read_lock
from tfhub_blocks.records.pins.pins import read_pin

WHERE = "review"
_MONTH = timedelta(days=31)
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
# Facts that no reader can compare, or that a digest stands for.
_OF_PIN = {"files", "golden", "training", "format_version"}
_OF_LOCK = {"components", "steps", "job", "profiles", "environments", "format_version"}
_SHOWN_FINDINGS = 3


def read_state(objects: GitObjects, commit: str, day: date, past: PastSpending) -> CommitState:
    """Return the state of a commit. Nothing is sent, and no step runs.

    Each variable that a profile names has its own name as its value, so the result does not depend
    on the environment of the process.

    Args:
        objects: The repository.
        commit: The name of the commit.
        day: The day on which exceptions are judged and schedules are counted.
        past: The durations of earlier steps.

    Raises:
        BlocksError: The commit cannot be copied, or a profile or another file of it is not valid.
    """
    with commit_sources(WHERE, objects, commit), _named_variables():
        return _State(day, past).read(commit)


@contextmanager
def _named_variables() -> Iterator[None]:
    """Let each variable that a profile names have its own name as its value, until the end."""
    before = dict(os.environ)
    for path in profile_files().values():
        for plain, braced in _VARIABLE.findall(path.read_text(encoding="utf-8", errors="replace")):
            os.environ[plain or braced] = plain or braced
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class _State:
    """The reading of one commit, whose parts share what they computed."""

    def __init__(self, day: date, past: PastSpending) -> None:
        self.day, self.past = day, past
        self._files: dict[str, Mapping[str, str]] = {}
        self._ports: dict[str, str] = {}

    def read(self, commit: str) -> CommitState:
        """Return the state of the commit that is taken."""
        profiles = {name: read_profile(name) for name in sorted(profile_files())}
        remote = {name: it for name, it in profiles.items() if it.engine == "azureml"}
        locks = {path.name.removesuffix(SUFFIX): _lock(file) for path, file in lock_files().items()}
        facts: dict[str, dict[str, Mapping[str, str]]] = {
            "environments": dict(_environments()),
            "encoders": dict(_encoders()),
            "data": {},
            "releases": {name: _lock_facts(it) for name, it in locks.items()},
            "schedules": {name: _toml(path) for name, path in sorted(schedule_files().items())},
            "endpoints": {},
            "profiles": {name: _toml(it.path) for name, it in profiles.items()},
            "prices": {"prices.toml": _toml(prices_path())},
        }
        runs = self._runs_per_month()
        pipelines, states, findings = {}, {}, {}
        for name, profile in remote.items():
            repository = Repository(profile, self.day)
            subjects = [repository.subject(it) for it in sorted(pipeline_files())]
            report = check(profile, subjects, load_rules())
            findings[name] = report.findings
            for subject in subjects:
                key = name, subject.pipeline
                if not isinstance(subject, Subject):
                    pipelines[key] = PipelineState(problem=subject.problem)
                    continue
                pipelines[key] = self._pipeline(subject, runs.get(key, 0))
                _add_data(subject, facts["data"])
                _add_endpoints(subject, facts["endpoints"])
            limits = {"longest_days": str(profile.deployments.longest_days)}
            if profile.budget and profile.budget.endpoints is not None:
                limits["budget"] = f"{profile.budget.endpoints:g} {profile.budget.currency}"
            facts["endpoints"][f"profile {name}"] = limits
            refused = dict(self._refused(profile, locks)) if profile.takes == "locks" else {}
            states[name] = ProfileState(
                profile.takes == "locks",
                profile.review,
                profile.budget,
                tuple(
                    (it.expires, f"{it.rule}, {it.owner}: {it.reason}") for it in profile.exceptions
                ),
                refused,
            )
        return CommitState(commit, facts, pipelines, states, findings)

    def _pipeline(self, subject: Subject, runs: int) -> PipelineState:
        profile, graph = subject.profile, subject.graph
        try:
            steps = {it.name: self._step(it, profile) for it in graph.nodes.values()}
            return PipelineState(steps, self._estimate(graph, profile), runs)
        except BlocksError as error:
            problem = origin_text(f"{error.what}: {error.problem}")
            return PipelineState({}, None, runs, problem)

    def _estimate(self, graph: Graph, profile: Profile) -> CostEstimate:
        prices = load_prices()
        most = ceiling(graph, profile, prices)
        steps = {}
        for name, terms in most.steps.items():
            component = graph.nodes[name].component
            seconds = self.past.seconds.get(component)
            longest = float(terms.timeout_s * terms.attempts)
            expected = None if seconds is None else min(seconds, longest)
            basis = "no earlier run; uses the limit" if seconds is None else "earlier runs"
            steps[name] = StepEstimate(component, replace(terms, expected_s=expected), basis)
        day = prices.day()
        return CostEstimate(graph.name, profile.name, day, profile.budget, most, steps)

    def _step(self, node: Node, profile: Profile) -> StepState:
        role = role_of(node, profile)
        cluster = profile.clusters.get(role.compute)
        size = role.size or (cluster.size if cluster else "")
        if node.component not in self._files:
            with node.entity._build_code() as built:
                code = Path(built.path) if built else None
                found = sources_sha256(code, omit=CACHE_FOLDERS) if code else {}
            self._files[node.component] = found
            self._ports[node.component] = record_digest(component_interface(node.entity))
        return StepState(
            component=node.component,
            deterministic=node.deterministic,
            environment=node.environment.removeprefix("azureml:"),
            ports=self._ports[node.component],
            size=size,
            files=self._files[node.component],
            settings={
                "compute": role.compute,
                "size": size,
                "time limit": f"{node.timeout_s or role.timeout_s} s",
                "nodes": str(instance_count(node, profile)),
                **{f"policy {name}": value for name, value in profile.policies.items()},
                **{f"variable {k}": v for k, v in node.environment_variables.items()},
            },
            inputs={port: _value(value) for port, value in sorted(node.inputs.items())},
            sources=tuple(sorted(node.needs)),
        )

    def _runs_per_month(self) -> dict[tuple[str, str], int]:
        """Return the number of scheduled runs in a month, by profile and pipeline."""
        found: dict[tuple[str, str], int] = {}
        start = datetime.combine(self.day, time(), UTC)
        for name in schedule_files():
            try:
                definition = read_definition(name)
            except BlocksError:
                continue  # its file is among the facts, and `schedule apply` refuses it
            path = find_lock(definition.file.pipeline)
            pipeline = read_lock(path).pipeline if path else definition.file.pipeline
            key = definition.file.profile, pipeline
            firings = sum(1 for _ in definition.trigger.times(start, start + _MONTH))
            found[key] = found.get(key, 0) + firings
        return found

    def _refused(
        self, profile: Profile, locks: Mapping[str, ReleaseLock | str]
    ) -> Iterator[tuple[str, str]]:
        """Yield each release that a profile would refuse to submit, with the reason."""
        bare = replace(profile, inputs={})
        for name, lock in locks.items():
            if isinstance(lock, str):
                yield name, lock
                continue
            if lock.evidence and not lock.evidence.passed:
                yield name, "the run of the lock did not meet its thresholds"
                continue
            try:
                job, graph, _ = prepare_job(lock.pipeline, replay_settings(lock), bare)
                check_resolution(lock, job, graph)
            except BlocksError as error:
                yield name, origin_text(error.problem)
                continue
            subject = Repository(bare, self.day).subject(lock.pipeline, replay_settings(lock))
            found = [it for it in check(bare, [subject], load_rules()).findings if it.stands]
            if found:
                texts = [f"{it.rule}, {it.node}: {it.problem}" for it in found[:_SHOWN_FINDINGS]]
                yield name, f"it breaks the rules: {'; '.join(texts)}"


def _lock(path: Path) -> ReleaseLock | str:
    try:
        return read_lock(path)
    except BlocksError as error:
        return origin_text(f"{error.what}: {error.problem}")


def _lock_facts(lock: ReleaseLock | str) -> Mapping[str, str]:
    if isinstance(lock, str):
        return {"problem": lock}
    record = as_record(lock)
    facts = dict(_flat({key: it for key, it in record.items() if key not in _OF_LOCK}))
    facts |= {f"environment {name}": it.version for name, it in lock.environments.items()}
    facts |= {f"component {name}": it.version for name, it in lock.components.items()}
    for name, step in lock.steps.items():
        facts |= {f"step {name}: {key}": text for key, text in _flat(dict(step.parameters))}
    return facts


def _toml(path: Path) -> Mapping[str, str]:
    try:
        return dict(_flat(tomllib.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError) as error:
        return {"problem": origin_text(f"the file cannot be read: {error}")}


def _flat(record: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield each value of nested tables with its dotted key, as text."""
    if isinstance(record, Mapping):
        for key, value in record.items():
            yield from _flat(value, f"{prefix}{key}.")
    elif isinstance(record, list | tuple) and any(isinstance(it, Mapping) for it in record):
        for number, value in enumerate(record):
            yield from _flat(value, f"{prefix}{number}.")
    else:
        text = str(record).lower() if isinstance(record, bool) else str(record)
        yield prefix.removesuffix("."), text


def _environments() -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield each environment: version, base image, Python, CUDA, and each package."""
    for key, definition in read_definitions().items():
        try:
            facts = {it.title: it.after for it in compare(definition, definition).facts}
            facts |= {f"package {k}": v for k, v in definition.lock.target_versions().items()}
        except BlocksError as error:
            facts = {"problem": origin_text(f"{error.what}: {error.problem}")}
        yield key, facts


def _encoders() -> Iterator[tuple[str, Mapping[str, str]]]:
    for folder, file in pin_files().items():
        try:
            record = as_record(read_pin(file))
        except BlocksError as error:
            yield folder.as_posix(), {"problem": origin_text(f"{error.what}: {error.problem}")}
            continue
        kept = {key: value for key, value in record.items() if key not in _OF_PIN}
        yield folder.as_posix(), dict(_flat(kept))


def _add_data(subject: Subject, facts: dict[str, Mapping[str, str]]) -> None:
    found = {it.input: told(it.address) for it in subject.data()}
    if found:
        key = f"{subject.pipeline} ({subject.profile.name})"
        facts[key] = {name: origin_text(text) for name, text in sorted(found.items())}


def _add_endpoints(subject: Subject, facts: dict[str, Mapping[str, str]]) -> None:
    named = {f"step {it.name}": it.path for it in subject.steps.values()}
    for name, path in {f"pipeline {subject.pipeline}": subject.path, **named}.items():
        found = created_endpoints(subject.sources, path) if path else ()
        calls = {made: "ends" if ends else "has no end date" for made, _, ends in found}
        if calls:
            facts[name] = calls


def _value(value: Any) -> str:
    match value:
        case OutputOf():
            return f"{value.node}.{value.port}"
        case NotGiven():
            return "open"
        case Path():
            return origin_text(str(value).replace(":/", "://", 1))
    return str(value)

"""The subject of rules: a pipeline with its steps, its profile, and the repository around it."""

# decision 24

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfhub_blocks.control.project.profiles import Cluster, Profile, Role
from tfhub_blocks.control.project.run_requests import NotGiven
from tfhub_blocks.control.project.step_graph import Graph, Node, OutputOf
from tfhub_blocks.control.repository.catalog import DATA_TYPES
from tfhub_blocks.control.rules.rule import Finding
from tfhub_blocks.control.rules.source_lines import SourceLine, Sources
from tfhub_blocks.records.environment.environment_definitions import EnvironmentDefinition

if TYPE_CHECKING:
    from tfhub_blocks.control.rules.checked_repository import Repository


@dataclass(frozen=True)
class Port:
    """A port of a step as its component declares it; ``least`` and ``most`` are for numbers."""

    type: str
    description: str = ""
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class DeclaredStep:
    """A component as it is defined; ``path`` is None if its file is not local."""

    name: str
    path: Path | None
    description: str
    tags: Mapping[str, str]
    deterministic: bool
    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]


def told(address: str) -> str:
    """Return an address without the parts that may be secret."""
    return re.sub(r"://[^/@]*@", "://", address.partition("?")[0])


@dataclass(frozen=True)
class Data:
    """Data or a model that a request, a file or a pipeline names: the input, type and place."""

    input: str
    type: str
    address: str
    node: str
    place: SourceLine

    @property
    def is_address(self) -> bool:
        """True if the address is a location, in a datastore or elsewhere, and not an asset."""
        is_asset = self.address.startswith("azureml:") and not self.address.startswith("azureml://")
        return "://" in self.address and not is_asset and "/versions/" not in self.address

    @property
    def is_local(self) -> bool:
        """True if the address is a local path."""
        return not self.address.startswith("azureml:") and "://" not in self.address

    @property
    def version(self) -> str:
        """The version of the asset, or an empty text."""
        asset = self.address.removeprefix("azureml:")
        _, there, version = asset.rpartition("/versions/" if asset.startswith("//") else ":")
        return version if there and "@" not in version else ""


@dataclass(frozen=True)
class Subject:
    """One pipeline under one profile, as it would be submitted.

    A rule reads nothing else, so any other source with these facts, such as a release lock, can
    be checked by the same rules. ``given`` contains the pipeline's inputs from a request or the
    profile; in the graph, NotGiven stands for inputs without a value.
    """

    pipeline: str
    path: Path
    profile: Profile
    graph: Graph
    steps: Mapping[str, DeclaredStep]
    input_types: Mapping[str, str]
    given: Mapping[str, Any]
    repository: "Repository"
    today: date

    @property
    def nodes(self) -> Iterator[Node]:
        """The steps of the pipeline."""
        return iter(self.graph.nodes.values())

    @property
    def sources(self) -> Sources:
        """The files of the repository, to find lines in."""
        return self.repository.sources

    @property
    def is_remote(self) -> bool:
        """True if the pipeline runs on Azure ML."""
        return self.profile.engine == "azureml"

    @property
    def experiment_name(self) -> str:
        """The experiment that lists the pipeline's jobs in the workspace."""
        return (self.profile.job and self.profile.job.experiment) or self.pipeline

    def role(self, node: Node) -> Role | None:
        """Return the profile's role of a node, or None."""
        return self.profile.roles.get(node.role)

    def clusters(self) -> dict[str, Cluster | None]:
        """Return the clusters of the nodes by name; None if the profile does not describe one."""
        roles = {node.role: self.role(node) for node in self.nodes}
        names = {role.compute for role in roles.values() if role and not role.size}
        return {name: self.profile.clusters.get(name) for name in sorted(names)}

    def environments(self) -> dict[tuple[str, str], EnvironmentDefinition | None]:
        """Return environment definitions by step and reference; None if not defined locally."""
        named = {(node.component, node.environment) for node in self.nodes}
        return {pair: self.repository.environment(pair[1]) for pair in sorted(named)}

    def data(self) -> Iterator[Data]:
        """Yield all data that a request, the profile, a schedule or the pipeline itself names."""
        types = self.input_types
        for name, value in self.given.items():
            if types.get(name) in DATA_TYPES:
                place = self._input_place(name)
                yield Data(name, types[name], str(value), f"input {name}", place)
        for name, path, schedule in self.schedules():
            for key, text in schedule.inputs.items():
                if types.get(key) in DATA_TYPES:
                    place = self.sources.key(path, f"inputs.{key}")
                    yield Data(key, types[key], text, f"schedule {name}", place)
        for node in self.nodes:
            for port, value in node.inputs.items():
                if isinstance(value, Path) and value not in self.given.values():
                    # A path writes "//" as "/".
                    address = str(value).replace(":/", "://", 1)
                    kind, named = node.input_types[port], f"{node.name}.{port}"
                    yield Data(named, kind, address, node.name, self._place(node))

    def schedules(self) -> Iterator[tuple[str, Path, Any]]:
        """Yield name, file and content of each schedule of this pipeline under this profile."""
        for name, (path, schedule) in self.repository.schedules.items():
            if (schedule.pipeline, schedule.profile) == (self.pipeline, self.profile.name):
                yield name, path, schedule

    def scheduled(self, value: NotGiven) -> Iterator[str]:
        """Yield the values that schedules set for an input without another value."""
        for _, _, schedule in self.schedules():
            if value.name in schedule.inputs:
                yield schedule.inputs[value.name]

    def values(self, node: Node) -> dict[str, Any]:
        """Return the values of a node's parameters that are known."""
        return {
            port: value
            for port, value in node.inputs.items()
            if node.input_types[port] not in DATA_TYPES
            and not isinstance(value, OutputOf | NotGiven)
        }

    def at_node(self, node: Node, problem: str, remedy: str) -> Finding:
        """Return a finding about one node."""
        return Finding(problem, remedy, node.name, self.pipeline, self._place(node))

    def at_pipeline(self, problem: str, remedy: str, line: int = 0) -> Finding:
        """Return a finding about the whole pipeline, or about a line of its file."""
        place = self.sources.node(self.path, "")
        place = replace(place, line=line) if line else place
        return Finding(problem, remedy, f"pipeline {self.pipeline}", self.pipeline, place)

    def at_step(
        self, name: str, problem: str, remedy: str, word: str = "", line: int = 0
    ) -> Finding:
        """Return a finding about a component: at a port, a decorator argument, or a line."""
        path = self.steps[name].path
        place = self.sources.step(path, word) if path else self.sources.node(self.path, "")
        place = replace(place, line=line) if line else place
        return Finding(problem, remedy, f"step {name}", "", place)

    def at_profile(self, key: str, problem: str, remedy: str) -> Finding:
        """Return a finding about a key of the profile."""
        place = self.sources.key(self.profile.path, key)
        return Finding(f"{key}: {problem}", remedy, f"profile {self.profile.name}", "", place)

    def at_environment(
        self, definition: EnvironmentDefinition, file: str, problem: str, remedy: str
    ) -> Finding:
        """Return a finding about the definition of an environment."""
        place = SourceLine(Path(definition.where) / file)
        return Finding(problem, remedy, f"environment {definition.key}", "", place)

    def at_data(self, data: Data, problem: str, remedy: str) -> Finding:
        """Return a finding about data that is named."""
        return Finding(f"{data.input}: {problem}", remedy, data.node, self.pipeline, data.place)

    def at_schedule(self, name: str, key: str, problem: str, remedy: str) -> Finding:
        """Return a finding about a key of a schedule."""
        place = self.sources.key(self.repository.schedules[name][0], key)
        return Finding(problem, remedy, f"schedule {name}", self.pipeline, place)

    def _place(self, node: Node) -> SourceLine:
        return self.sources.node(self.path, node.name)

    def _input_place(self, name: str) -> SourceLine:
        if name in self.profile.inputs:
            return self.sources.key(self.profile.path, f"inputs.{name}")
        return self.sources.node(self.path, "")

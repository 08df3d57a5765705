"""What rules look at: a pipeline with its steps and its profile, and the repository around it."""

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
    """A port of a step, as its component declares it; ``least`` and ``most`` are of numbers."""

    type: str
    description: str = ""
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class DeclaredStep:
    """A component as it is defined; without a path if its file is not here."""

    name: str
    path: Path | None
    description: str
    tags: Mapping[str, str]
    deterministic: bool
    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]


def told(address: str) -> str:
    """An address without what may be secret in it."""
    return re.sub(r"://[^/@]*@", "://", address.partition("?")[0])


@dataclass(frozen=True)
class Data:
    """Data, or a model, that somebody names: for which input, as what, and where it is named."""

    input: str
    type: str
    address: str
    node: str
    place: SourceLine

    @property
    def is_address(self) -> bool:
        """Whether it is a place, in a datastore or elsewhere, rather than an asset."""
        is_asset = self.address.startswith("azureml:") and not self.address.startswith("azureml://")
        return "://" in self.address and not is_asset and "/versions/" not in self.address

    @property
    def is_local(self) -> bool:
        """Whether it is a path of this machine."""
        return not self.address.startswith("azureml:") and "://" not in self.address

    @property
    def version(self) -> str:
        """The version of the asset that it names, or nothing."""
        asset = self.address.removeprefix("azureml:")
        _, there, version = asset.rpartition("/versions/" if asset.startswith("//") else ":")
        return version if there and "@" not in version else ""


@dataclass(frozen=True)
class Subject:
    """One pipeline under one profile, as it would be submitted.

    A rule asks nothing but this, so whatever else can say the same, such as a release lock, can
    be held to the same rules. ``given`` holds the pipeline's inputs as a request or the profile
    gives them; in the graph, NotGiven stands for those that nobody has named.
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
        """The files."""
        return self.repository.sources

    @property
    def is_remote(self) -> bool:
        """Whether it is for Azure ML."""
        return self.profile.engine == "azureml"

    @property
    def experiment_name(self) -> str:
        """What its jobs are listed under in the workspace."""
        return (self.profile.job and self.profile.job.experiment) or self.pipeline

    def role(self, node: Node) -> Role | None:
        """What the profile says of a node's role."""
        return self.profile.roles.get(node.role)

    def clusters(self) -> dict[str, Cluster | None]:
        """What the nodes run on, by name; None where the profile does not describe it."""
        roles = {node.role: self.role(node) for node in self.nodes}
        names = {role.compute for role in roles.values() if role and not role.size}
        return {name: self.profile.clusters.get(name) for name in sorted(names)}

    def environments(self) -> dict[tuple[str, str], EnvironmentDefinition | None]:
        """By step and the environment that it names: that, if it is defined here."""
        named = {(node.component, node.environment) for node in self.nodes}
        return {pair: self.repository.environment(pair[1]) for pair in sorted(named)}

    def data(self) -> Iterator[Data]:
        """All data that a request, the profile, a schedule or the pipeline itself names."""
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
        """Name, file and content of each schedule of this pipeline under this profile."""
        for name, (path, schedule) in self.repository.schedules.items():
            if (schedule.pipeline, schedule.profile) == (self.pipeline, self.profile.name):
                yield name, path, schedule

    def scheduled(self, value: NotGiven) -> Iterator[str]:
        """What schedules give for an input that nobody else names."""
        for _, _, schedule in self.schedules():
            if value.name in schedule.inputs:
                yield schedule.inputs[value.name]

    def values(self, node: Node) -> dict[str, Any]:
        """What a node's parameters are set to, as far as that is known."""
        return {
            port: value
            for port, value in node.inputs.items()
            if node.input_types[port] not in DATA_TYPES
            and not isinstance(value, OutputOf | NotGiven)
        }

    def at_node(self, node: Node, problem: str, remedy: str) -> Finding:
        """A finding about one node."""
        return Finding(problem, remedy, node.name, self.pipeline, self._place(node))

    def at_pipeline(self, problem: str, remedy: str, line: int = 0) -> Finding:
        """A finding about the pipeline as a whole, or about a line of its file."""
        place = self.sources.node(self.path, "")
        place = replace(place, line=line) if line else place
        return Finding(problem, remedy, f"pipeline {self.pipeline}", self.pipeline, place)

    def at_step(
        self, name: str, problem: str, remedy: str, word: str = "", line: int = 0
    ) -> Finding:
        """A finding about a component: at a port, an argument of its decorator, or a line."""
        path = self.steps[name].path
        place = self.sources.step(path, word) if path else self.sources.node(self.path, "")
        place = replace(place, line=line) if line else place
        return Finding(problem, remedy, f"step {name}", "", place)

    def at_profile(self, key: str, problem: str, remedy: str) -> Finding:
        """A finding about a key of the profile."""
        place = self.sources.key(self.profile.path, key)
        return Finding(f"{key}: {problem}", remedy, f"profile {self.profile.name}", "", place)

    def at_environment(
        self, definition: EnvironmentDefinition, file: str, problem: str, remedy: str
    ) -> Finding:
        """A finding about the definition of an environment."""
        place = SourceLine(Path(definition.where) / file)
        return Finding(problem, remedy, f"environment {definition.key}", "", place)

    def at_data(self, data: Data, problem: str, remedy: str) -> Finding:
        """A finding about data that is named."""
        return Finding(f"{data.input}: {problem}", remedy, data.node, self.pipeline, data.place)

    def at_schedule(self, name: str, key: str, problem: str, remedy: str) -> Finding:
        """A finding about a key of a schedule."""
        place = self.sources.key(self.repository.schedules[name][0], key)
        return Finding(problem, remedy, f"schedule {name}", self.pipeline, place)

    def _place(self, node: Node) -> SourceLine:
        return self.sources.node(self.path, node.name)

    def _input_place(self, name: str) -> SourceLine:
        if name in self.profile.inputs:
            return self.sources.key(self.profile.path, f"inputs.{name}")
        return self.sources.node(self.path, "")

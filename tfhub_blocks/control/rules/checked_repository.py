"""The repository around a pipeline, for rules: each part is read when a rule first needs it."""

import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from tfhub_blocks.control.environments.environment_catalog import locked_version, read_definitions
from tfhub_blocks.control.project.assets import VERSION_DIGITS, pin_files, pinned_digest
from tfhub_blocks.control.project.profiles import Profile, profile_files, read_profile
from tfhub_blocks.control.project.run_requests import pipeline_ports, prepare_draft
from tfhub_blocks.control.project.schedule_files import FORMAT_VERSION, ScheduleFile, schedule_files
from tfhub_blocks.control.repository.catalog import (
    component_files,
    find_pipeline,
    parse_settings,
    pipeline_files,
)
from tfhub_blocks.control.rules.source_lines import SourceLine, Sources
from tfhub_blocks.control.rules.subject import DeclaredStep, Port, Subject
from tfhub_blocks.records.base.documents import read_document
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.project_folders import origin_text, taken_path
from tfhub_blocks.records.environment.environment_definitions import EnvironmentDefinition
from tfhub_blocks.records.environment.package_locks import Lock
from tfhub_blocks.records.pins.pins import PIN_NAME, Pin, read_pin


@dataclass(frozen=True)
class Uncompiled:
    """A pipeline that does not compile, and the reason; ``others`` are further reasons."""

    pipeline: str
    place: SourceLine
    problem: str
    others: tuple["Uncompiled", ...] = ()


class Repository:
    """The working folder and the installed package, under one profile."""

    def __init__(self, profile: Profile, today: date | None = None) -> None:
        self.profile = profile
        self.today = today or datetime.now(UTC).date()
        self.sources = Sources()
        self._subjects: dict[str, Subject | Uncompiled] = {}
        self._steps: dict[int, DeclaredStep] = {}
        self._locks: dict[str, Lock] = {}
        self._packages: dict[tuple[str, re.Pattern[str]], bool] = {}

    def subject(self, pipeline: str, settings: Sequence[str] = ()) -> Subject | Uncompiled:
        """Return a pipeline as it would be submitted, compiled once.

        Raises:
            BlocksError: The pipeline does not exist, or has no input of a setting's name.
        """
        if pipeline not in self._subjects:
            self._subjects[pipeline] = self._compiled(pipeline, settings)
        return self._subjects[pipeline]

    def others(self, pipeline: str) -> Iterator[Subject]:
        """Yield each other pipeline that compiles."""
        for name in pipeline_files():
            if name != pipeline and isinstance(found := self.subject(name), Subject):
                yield found

    @cached_property
    def environment_definitions(self) -> tuple[EnvironmentDefinition, ...]:
        """The environments that components/environments defines."""
        return tuple(read_definitions().values())

    def environment(self, reference: str) -> EnvironmentDefinition | None:
        """Return the definition of an environment ``azureml:NAME:VERSION``, in any version."""
        name = reference.removeprefix("azureml:").partition("@")[0].partition(":")[0]
        return self._environments.get(name)

    def lock(self, definition: EnvironmentDefinition) -> Lock:
        """Return the lock of an environment.

        Raises:
            BlocksError: The lock is missing or not readable.
        """
        if definition.key not in self._locks:
            self._locks[definition.key] = definition.lock
        return self._locks[definition.key]

    def locks_package(self, definition: EnvironmentDefinition, pattern: re.Pattern[str]) -> bool:
        """Return True if an environment's lock contains a package whose name matches."""
        key = definition.key, pattern
        if key not in self._packages:
            self._packages[key] = bool(locked_version(self.lock(definition), pattern))
        return self._packages[key]

    @cached_property
    def _environments(self) -> dict[str, EnvironmentDefinition]:
        return {definition.name: definition for definition in self.environment_definitions}

    @cached_property
    def schedules(self) -> Mapping[str, tuple[Path, Any]]:
        """File and content of each schedule, by name."""
        return {
            name: (path, read_document(path, ScheduleFile, FORMAT_VERSION))
            for name, path in schedule_files().items()
        }

    @cached_property
    def other_profiles(self) -> tuple[Profile, ...]:
        """All profiles except the one of the check."""
        return tuple(read_profile(name) for name in profile_files() if name != self.profile.name)

    def pin(self, encoder: str) -> Pin | None:
        """Return the local pin of an encoder, named by its folder or as a model asset, or None.

        Raises:
            BlocksError: The pin cannot be read.
        """
        if not encoder.startswith("azureml:"):
            file = taken_path(Path(encoder) / PIN_NAME)
            return read_pin(file) if file.is_file() else None
        name, _, version = encoder.removeprefix("azureml:").rpartition(":")
        for folder, file in pin_files().items():
            pin = read_pin(file)
            digest = pinned_digest(folder, file) if pin.name == name else ""
            if digest and digest[:VERSION_DIGITS] == version:
                return pin
        return None

    def _compiled(self, pipeline: str, settings: Sequence[str]) -> Subject | Uncompiled:
        file = find_pipeline(pipeline)
        try:
            ports = pipeline_ports(pipeline)
        except Exception as error:
            return self._uncompiled(pipeline, file.path, error)
        remote = self.profile.engine == "azureml"
        parse_settings(settings, ports, {}, pipeline, remote, whole=False)
        try:
            _, graph, given = prepare_draft(pipeline, settings, self.profile)
        except Exception as error:
            return self._uncompiled(pipeline, file.path, error)
        return Subject(
            pipeline=pipeline,
            path=file.path,
            profile=self.profile,
            graph=graph,
            steps={node.component: self._step(node.entity) for node in graph.nodes.values()},
            input_types={name: port.type for name, port in ports.items()},
            given=given,
            repository=self,
            today=self.today,
        )

    def _uncompiled(self, pipeline: str, path: Path, error: Exception) -> Uncompiled:
        if faults := getattr(error, "faults", ()):
            first, *others = (self._uncompiled(pipeline, path, fault) for fault in faults)
            return replace(first, others=tuple(others))
        message = (
            str(error) if isinstance(error, BlocksError) else f"{type(error).__name__}: {error}"
        )
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno or 1 for frame in frames if frame.filename == str(path)]
        if isinstance(error, SyntaxError) and error.filename == str(path):
            lines.append(error.lineno or 1)
        what = error.what.partition(".")[0] if isinstance(error, BlocksError) else ""
        place = self.sources.node(path, what)
        place = replace(place, line=lines[-1]) if lines else place
        where = error.where if isinstance(error, BlocksError) else ""
        file, _, line = where.rpartition(":")
        if line.isdigit():  # the error names its line itself
            place = SourceLine(Path(file), int(line))
        return Uncompiled(pipeline, place, " ".join(origin_text(message).split()))

    def _step(self, component: Any) -> DeclaredStep:
        if id(component) not in self._steps:
            file = self._component_files.get(component.name)
            self._steps[id(component)] = DeclaredStep(
                name=component.name,
                path=file.path if file else None,
                description=component.description or "",
                tags=dict(component.tags or {}),
                deterministic=component.is_deterministic is not False,
                inputs={name: _port(it) for name, it in component.inputs.items()},
                outputs={name: _port(it) for name, it in component.outputs.items()},
            )
        return self._steps[id(component)]

    @cached_property
    def _component_files(self) -> Mapping[str, Any]:
        return component_files()


def _port(port: Any) -> Port:
    def number(key: str) -> float | None:
        value = getattr(port, key, None)
        return None if value is None else float(value)

    choices = tuple(str(choice) for choice in getattr(port, "enum", None) or ())
    return Port(port.type, port.description or "", choices, number("min"), number("max"))

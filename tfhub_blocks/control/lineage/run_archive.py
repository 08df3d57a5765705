"""The contents of ``.runs``: outputs by content, and the steps of the runs that wrote them."""

# decision 49

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tfhub_blocks.control.lineage.recorded_output import (
    Output,
    downloaded_outputs,
    read_output,
    stored_outputs,
)
from tfhub_blocks.control.project.run_records import RunRecord, StepRecord, began, past_runs
from tfhub_blocks.records.base.lineage import Material

# The folder of downloads from workspaces: a store of its own, with records of jobs.
FETCHED = "fetched"


@dataclass(frozen=True)
class StepOfRun:
    """A step of a run."""

    folder: Path
    run: RunRecord
    name: str

    @property
    def step(self) -> StepRecord:
        """The record of the step."""
        return self.run.steps[self.name]

    def __str__(self) -> str:
        """Return the name of the step and its run, as users read it."""
        return f"step {self.name} of {self.run.run}"


@dataclass(frozen=True)
class Archive:
    """A folder ``.runs``, read once."""

    folder: Path

    @cached_property
    def outputs(self) -> dict[tuple[str, str], Output]:
        """The outputs of the store by key and port, and those of jobs by job and name."""
        stored = stored_outputs(self.folder / "store")
        fetched = stored_outputs(self.folder / FETCHED / "store")
        loaded = downloaded_outputs(self.folder / "downloads")
        found: dict[tuple[str, str], Output] = {}
        for output in (*stored, *fetched, *loaded):
            found.setdefault((output.path.parent.name, output.path.name), output)
        return found

    @cached_property
    def runs(self) -> list[tuple[Path, RunRecord]]:
        """Runs and jobs with their folders, the newest first."""
        found = [*past_runs(self.folder), *past_runs(self.folder / FETCHED)]
        return sorted(found, key=lambda item: began(item[1].started), reverse=True)

    @cached_property
    def _by_digest(self) -> dict[str, list[Output]]:
        found = defaultdict(list)
        for output in self.outputs.values():
            for digest in {output.digest, output.recorded_digest} - {""}:
                found[digest].append(output)
        return found

    @cached_property
    def _places(self) -> dict[tuple[str, str], list[StepOfRun]]:
        found = defaultdict(list)
        for folder, run in self.runs:
            for name, step in run.steps.items():
                for path in step.outputs.values():
                    found[Path(path).parent.name, Path(path).name].append(
                        StepOfRun(folder, run, name)
                    )
        return found

    def find(self, material: Material) -> Output | None:
        """Find the output that a step consumed.

        The same statement wins over the same provenance, and that over the same content. An
        output is the last choice if its content has changed since the store recorded it.
        """

        def nearness(output: Output) -> tuple[bool, bool, bool]:
            making = output.lineage.making if output.lineage else ""
            return (
                output.digest == material.digest,
                making == material.making,
                output.statement == material.statement,
            )

        return max(self._by_digest.get(material.digest or "", ()), key=nearness, default=None)

    def places(self, output: Output) -> list[StepOfRun]:
        """Return the steps that wrote an output or took it from the store, the newest first."""
        return self._places.get((output.key, output.path.name), []) if output.key else []

    def given(self, place: StepOfRun, port: str) -> Output | None:
        """Return the output that a step of a run consumed at a port, as the run recorded it."""
        source = place.step.inputs.get(port, {})
        maker = place.run.steps.get(source.get("step", ""))
        path = maker.outputs.get(source.get("port", "")) if maker else None
        return self.at(Path(path)) if path else None

    def at(self, path: Path) -> Output | None:
        """Return the output at a recorded path, also if the folder ``.runs`` was moved."""
        stored = self.outputs.get((path.parent.name, path.name))
        if stored is not None:
            return stored
        return read_output(path) if path.exists() else None

    def beside(self, output: Output) -> Iterator[Output]:
        """Yield the other outputs of the step that wrote an output."""
        for other in self.outputs.values():
            if output.key and other.key == output.key and other.path.name != output.path.name:
                yield other

    def speaker(self, output: Output) -> Output | None:
        """Return the output that carries this one's lineage: itself, or one of the same step."""
        if output.lineage:
            return output
        return next((other for other in self.beside(output) if other.lineage), None)

    def in_order(self) -> list[Output]:
        """Return all outputs by the time they were written; outputs of unknown time come last."""

        def order(output: Output) -> tuple[bool, str, str]:
            speaker = self.speaker(output)
            made = speaker.lineage.provenance.finished if speaker and speaker.lineage else ""
            return not made, made, output.path.name

        return sorted(self.outputs.values(), key=order)

    def of_run(self, run: RunRecord) -> Iterator[tuple[str, str, Output | None]]:
        """Yield step, port and output of all that a run wrote or reused, the last step first."""
        for name, step in reversed(run.steps.items()):
            for port, path in step.outputs.items():
                yield name, port, self.at(Path(path))

"""Two runs side by side: inputs, code, data and metrics."""

# decision 115

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tfhub_blocks.control.project.output_store import content_digest
from tfhub_blocks.control.project.run_records import RunRecord
from tfhub_blocks.records.base.errors import BlocksError

ABSENT = "-"
_DIGITS = 12


@dataclass(frozen=True)
class ComparedRun:
    """One of two runs: its inputs, the code of its steps by name, its outputs and its metrics."""

    name: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, Path]
    metrics: Mapping[str, float]
    code: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ComparedValue:
    """A value of one run next to that of another one; ``-`` where a run has none."""

    kind: str
    name: str
    here: str
    there: str

    @property
    def is_same(self) -> bool:
        """True if both runs have the same value."""
        return self.here == self.there

    def __str__(self) -> str:
        """Return the comparison as a line of a table."""
        verdict = "same" if self.is_same else "differs"
        return f"{verdict:<8} {self.kind:<8} {self.name:<30} {self.here:<14} {self.there}"


def compared_run(record: RunRecord) -> ComparedRun:
    """Return a local run for a comparison."""
    code = {
        name: str(step.parts["code"])[:_DIGITS]
        for name, step in record.steps.items()
        if "code" in step.parts
    }
    outputs = {name: Path(path) for name, path in record.outputs.items()}
    return ComparedRun(record.run, record.inputs, outputs, record.metrics, code)


def compare_runs(first: ComparedRun, second: ComparedRun) -> list[ComparedValue]:
    """Return the inputs and the code that differ, each output by its digest, and each metric.

    Raises:
        BlocksError: An output was deleted or changed.
    """
    # A job states no code of its steps.
    code = _rows("code", first.code, second.code) if first.code and second.code else ()
    return [
        *(row for row in _rows("input", first.inputs, second.inputs) if not row.is_same),
        *(row for row in code if not row.is_same),
        *_rows("output", _digests(first), _digests(second)),
        *_rows("metric", _texts(first.metrics), _texts(second.metrics)),
    ]


def _rows(kind: str, here: Mapping[str, str], there: Mapping[str, str]) -> Iterator[ComparedValue]:
    for name in sorted(here.keys() | there.keys()):
        yield ComparedValue(kind, name, here.get(name, ABSENT), there.get(name, ABSENT))


def _digests(run: ComparedRun) -> dict[str, str]:
    for name, path in run.outputs.items():
        if not path.exists():
            raise BlocksError(
                "compare",
                f"{run.name} > {name}",
                f"output {name} is not at {path}",
                "the outputs of a finished run",
                "Run the pipeline again; finished steps are reused from the store",
            )
    return {name: content_digest(path)[:_DIGITS] for name, path in run.outputs.items()}


def _texts(metrics: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{value:.6g}" for name, value in metrics.items()}

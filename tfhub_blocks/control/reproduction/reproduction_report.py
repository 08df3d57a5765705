"""The report of a reproduction, before and after the steps run, for users and programs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tfhub_blocks.control.reproduction.reproduction_diff import ReproducedOutput
from tfhub_blocks.control.reproduction.reproduction_plan import ReproductionPlan

_DIGITS = 12


@dataclass(frozen=True)
class Before:
    """The facts before anything runs: where the plan begins, differences, and missing parts."""

    plan: ReproductionPlan
    differences: list[str]
    images: list[str]
    packages_gone: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yield the report as lines of text."""
        works = self.plan.works.values()
        many = "1 step" if len(works) == 1 else f"{len(works)} steps"
        yield f"{self.plan.title}: {many} to run again"
        for work in works:
            origin = f"code of {work.code.origin}" if work.code else "code not found locally"
            yield f"  {work.name:<14} {work.step:<18} {origin}"
        for title, texts in self._told().items():
            yield from (f"{title.replace('_', ' ')}: {text}" for text in texts)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return {"title": self.plan.title, "steps": list(self.plan.works), **self._told()}

    def _told(self) -> dict[str, list[str]]:
        return {
            "begins": self.plan.begins,
            "note": self.plan.notes,
            "different_here": self.differences,
            "base_image": self.images,
            "package_gone": self.packages_gone,
            "missing": self.plan.missing,
        }


@dataclass(frozen=True)
class After:
    """The result: each output next to that of the first build, and the reasons for differences.

    ``model_lines`` and ``model_record`` describe the difference of both models in variables and
    predictions. Both are empty if the models are equal.
    """

    plan: ReproductionPlan
    rows: list[ReproducedOutput]
    differences: list[str]
    folder: str
    status: str
    model_lines: list[str] = field(default_factory=list)
    model_record: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> ReproducedOutput:
        """The row of the model."""
        wanted = self.plan.model
        return next(it for it in self.rows if (it.step, it.port) == (wanted.node, wanted.port))

    def lines(self) -> Iterator[str]:
        """Yield the report as lines of text."""
        yield _columns("step", "output", "then", "now", "")
        for row in self.rows:
            then, now = (it[:_DIGITS] or "-" for it in (row.recorded, row.rebuilt))
            verdict = "equal" if row.is_equal else f"differs: {row.difference}"
            yield _columns(row.step, row.port, then, now, verdict)
        yield from self.model_lines
        if self.model.is_equal:
            yield f"{self.plan.title} was reproduced bit by bit"
        else:
            first = next(row for row in self.rows if not row.is_equal)
            yield f"the first output that differs is {first.port} of {first.step}"
            yield from (f"possible reason: {text}" for text in self._reasons())
            yield f"{self.plan.title} was not reproduced"
        yield f"kept in {self.folder}"

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return {
            "status": self.status,
            "equal": self.model.is_equal,
            "model_digest": self.model.recorded,
            "outputs": [row.as_dict() for row in self.rows],
            "model_difference": self.model_record,
            "reasons": [] if self.model.is_equal else self._reasons(),
            "folder": self.folder,
        }

    def _reasons(self) -> list[str]:
        if any(not row.rebuilt for row in self.rows):
            return ["a step failed"]
        return self.differences or [
            "no recorded condition differs, so a statement is incomplete, or a step is not "
            "deterministic"
        ]


def _columns(step: str, port: str, then: str, now: str, verdict: str) -> str:
    return f"{step:<14} {port:<12} {then:<{_DIGITS}} {now:<{_DIGITS}} {verdict}".rstrip()

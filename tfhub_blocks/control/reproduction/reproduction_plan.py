"""A plan to rebuild a model from its lineage alone: the steps to run again, and where to begin."""

# decision 36

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tfhub_blocks.control.lineage.chains import Chain, Knot, Link, trace
from tfhub_blocks.control.lineage.recorded_output import Output
from tfhub_blocks.control.lineage.run_archive import Archive, StepOfRun
from tfhub_blocks.control.project.step_graph import OutputOf
from tfhub_blocks.control.reproduction.external_inputs import why_not_again
from tfhub_blocks.control.reproduction.recorded_code import StepCode, find_code
from tfhub_blocks.records.base.digests import record_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import Lineage, Provenance

# A choice by measured speed may differ the next time.
AUTO = "auto"


@dataclass(frozen=True)
class RecordedOutput:
    """An output of the first build: its digest, and the output if it exists locally."""

    digest: str
    output: Output | None = None


@dataclass
class Work:
    """A step to run again.

    ``texts`` are its parameters as in a command line, and ``inputs`` its other inputs.
    ``recorded`` are those outputs of the first build that the model depends on. Without
    ``lineage``, only the record of a run describes the step.
    """

    name: str
    step: str
    lineage: Lineage | None
    code: StepCode | None = None
    texts: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, OutputOf | Path] = field(default_factory=dict)
    recorded: dict[str, RecordedOutput] = field(default_factory=dict)


@dataclass
class ReproductionPlan:
    """The steps to run again, each after the steps that it needs.

    ``model`` is the output to reproduce. ``begins`` lists where the plan begins and why,
    ``notes`` the decisions of the plan, and ``missing`` the parts that do not exist locally. A
    plan with missing parts cannot run.
    """

    title: str
    model: OutputOf
    works: dict[str, Work] = field(default_factory=dict)
    begins: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def make_plan(chain: Chain, knot: Knot, archive: Archive, scratch: Path) -> ReproductionPlan:
    """Plan to reproduce the model at a node of a chain.

    A step that reads a source runs again if the source is unchanged. Otherwise the plan begins at
    the output of that step: a snapshot contains its items, and an encoder its files.

    Args:
        chain: The chain of the model, in which no fault was found.
        knot: The node of the model.
        archive: The local outputs and runs.
        scratch: A folder for code that is copied from this checkout.
    """
    planner = _Planner(archive, dict(chain.knots), scratch)
    planner.plan.title = chain.title
    made = planner.made(knot.output)
    if isinstance(made, OutputOf):
        planner.plan.model = made
    elif not planner.plan.missing:
        planner.plan.missing.append(f"{knot.output.path}: the step that wrote it is not known")
    return planner.plan


@dataclass
class _Planner:
    archive: Archive
    knots: dict[Path, Knot]
    scratch: Path
    plan: ReproductionPlan = field(default_factory=lambda: ReproductionPlan("", OutputOf("", "")))
    _works: dict[str, Work] = field(default_factory=dict)

    def made(self, output: Output) -> OutputOf | Path:
        """Return the step output that rebuilds an output, or its path if the plan begins there."""
        speaker = self.archive.speaker(output)
        if speaker is None or speaker.lineage is None:
            self._begin(f"{output.path}, which no statement describes")
            return output.path.absolute()
        lineage, knot = speaker.lineage, self._knot(output)
        reason = self._reason_to_begin(output, lineage, knot)
        if reason:
            self._begin(f"{output.path} of {lineage.provenance.step}: {reason}")
            return output.path.absolute()
        made = lineage.provenance
        identity = {"work": made.work, "of": [it.making for it in made.materials]}
        work = self._work(record_digest(identity), made.step, knot.places, lineage)
        port = output.path.name if output.lineage is None else output.port
        work.recorded.setdefault(port, RecordedOutput(output.digest, output))
        if work.name not in self.plan.works:
            work.texts, decided = command_texts(made)
            for text in decided:
                self._note(f"{work.name}: {text}")
            work.inputs = self._inputs(work, knot)
            self._put(work, made.code_digest, knot.places)
        return OutputOf(work.name, port)

    def _inputs(self, work: Work, knot: Knot) -> dict[str, OutputOf | Path]:
        found = {}
        for link in knot.links:
            value = self._input(work, link, knot)
            if value is not None:
                found[link.port] = value
        return found

    def _input(self, work: Work, link: Link, knot: Knot) -> OutputOf | Path | None:
        if link.output:
            return self.made(link.output)
        if link.place and Path(link.place).exists():
            return Path(link.place)
        for place in knot.places:
            source = place.step.inputs.get(link.port, {})
            if source.get("step") in place.run.steps:
                maker = StepOfRun(place.folder, place.run, source["step"])
                return self._from_run(maker, source["port"], link.material.digest or "")
        problem = why_not_again(None, link.place) if link.is_source else "not found locally"
        content = f" with digest {link.material.digest}" if link.material.digest else ""
        self._miss(f"{link.port}{content}, an input of {work.name} ({work.step}): {problem}")
        return None

    def _from_run(self, place: StepOfRun, port: str, digest: str) -> OutputOf:
        """Rebuild an output that is gone with its statement, from the record of a run."""
        work = self._work(f"{place}", place.step.component, (place,), None)
        work.recorded[port] = RecordedOutput(digest)
        if work.name not in self.plan.works:
            path = place.step.outputs.get(port, port)
            self._note(f"{path} is gone; {work.name} runs again, as run {place.run.run} records it")
            for name, told in place.step.inputs.items():
                if "value" in told:
                    work.texts[name] = told["value"]
                    continue
                value = self._told_input(place, name, told)
                if value is None:
                    gone = told.get("path") or "the output"
                    self._miss(f"{name}, an input of {work.name} ({work.step}): {gone} is gone")
                else:
                    work.inputs[name] = value
            self._put(work, "", (place,))
        return OutputOf(work.name, port)

    def _told_input(
        self, place: StepOfRun, port: str, told: Mapping[str, str]
    ) -> OutputOf | Path | None:
        given = self.archive.given(place, port)
        if given:
            return self.made(given)
        if told.get("step") in place.run.steps:
            maker = StepOfRun(place.folder, place.run, told["step"])
            return self._from_run(maker, told["port"], "")
        path = Path(told.get("path", ""))
        return path if "path" in told and path.exists() else None

    def _work(
        self, identity: str, step: str, places: tuple[StepOfRun, ...], lineage: Lineage | None
    ) -> Work:
        """Return the step of an identity, or a new one without inputs."""
        if identity not in self._works:
            wanted, number = places[0].name if places else step, 1
            name, taken = wanted, {work.name for work in self._works.values()}
            while name in taken:
                number += 1
                name = f"{wanted}_{number}"
            self._works[identity] = Work(name, step, lineage)
        return self._works[identity]

    def _put(self, work: Work, digest: str, places: tuple[StepOfRun, ...]) -> None:
        """Add a step whose inputs are known, with its code."""
        try:
            work.code = find_code(work.step, digest, places, self.scratch)
            problem = f"code {digest} of {work.name} ({work.step}): not in a run or this checkout"
        except (BlocksError, OSError, SyntaxError, ValueError) as error:
            problem = f"code of {work.name} ({work.step}): {error}"
        if work.code is None:
            self._miss(problem)
        odd = [f"{name}={text!r}" for name, text in work.texts.items() if set("'\n") & set(text)]
        if odd or not work.step.isidentifier():
            self._miss(
                f"a command for {work.name} ({work.step}): {', '.join(odd)} cannot be part of one"
            )
        self.plan.works[work.name] = work

    def _knot(self, output: Output) -> Knot:
        if output.path not in self.knots:
            self.knots |= trace("", self.archive, [output]).knots
        return self.knots[output.path]

    def _reason_to_begin(self, output: Output, lineage: Lineage, knot: Knot) -> str:
        """Return the reason why the plan begins at an output; empty if its step runs again."""
        if output.kind == "encoder" and lineage.provenance.parameters.get("handle"):
            handle = lineage.provenance.parameters["handle"]
            return f"{handle} is not downloaded again; the files are as the pin states"
        for link in knot.links:
            if link.is_source:
                reason = why_not_again(output, link.place)
                if reason:
                    return reason
        return ""

    def _begin(self, text: str) -> None:
        _add(self.plan.begins, text)

    def _note(self, text: str) -> None:
        _add(self.plan.notes, text)

    def _miss(self, text: str) -> None:
        _add(self.plan.missing, text)


def command_texts(made: Provenance) -> tuple[dict[str, str], list[str]]:
    """Return a step's parameters as command-line texts, and a note for each resolved ``auto``."""
    texts = {name: str(value) for name, value in made.parameters.items() if value is not None}
    engine = made.facts.get("engine") or {}
    chosen = {
        "engine": str(engine.get("kind", "")).partition("/")[0],
        "trainable": str(made.facts.get("trained_from", "")),
    }
    decided = []
    for name, choice in chosen.items():
        if texts.get(name) == AUTO and choice:
            texts[name] = choice
            decided.append(f"{name} is {choice}, which {AUTO} chose in the first run")
    return texts, decided


def _add(told: list[str], text: str) -> None:
    if text not in told:
        told.append(text)

"""What is done again to make a model anew, from its lineage alone, and where that begins."""

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

# What a measured speed decides may be decided otherwise the next time.
AUTO = "auto"


@dataclass(frozen=True)
class RecordedOutput:
    """An output as it was: its digest, and itself if it is here."""

    digest: str
    output: Output | None = None


@dataclass
class Work:
    """A step that is done again.

    ``texts`` are its parameters as they stand in a command line; ``inputs`` what else it gets;
    ``recorded`` its outputs as they were, those that the model was made from. Without ``lineage``
    a run alone tells of it.
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
    """The steps to do again, each after those that it needs; with what there is to know of that.

    ``model`` is the output that it is all for. ``begins`` says where it begins and why, ``notes``
    what was decided, ``missing`` what is not here: then nothing can be run.
    """

    title: str
    model: OutputOf
    works: dict[str, Work] = field(default_factory=dict)
    begins: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def make_plan(chain: Chain, knot: Knot, archive: Archive, scratch: Path) -> ReproductionPlan:
    """The plan to make the model at a knot of a chain again.

    A step that reads what no step made is done again if that is as it was; else what it made is
    where the plan begins: a snapshot holds its items, and an encoder its files.

    Args:
        chain: The chain behind the model, in which no fault was found.
        knot: The model.
        archive: What is here.
        scratch: A folder for code that is taken from this checkout.
    """
    planner = _Planner(archive, dict(chain.knots), scratch)
    planner.plan.title = chain.title
    made = planner.made(knot.output)
    if isinstance(made, OutputOf):
        planner.plan.model = made
    elif not planner.plan.missing:
        planner.plan.missing.append(f"{knot.output.path}: no step is known that made it")
    return planner.plan


@dataclass
class _Planner:
    archive: Archive
    knots: dict[Path, Knot]
    scratch: Path
    plan: ReproductionPlan = field(default_factory=lambda: ReproductionPlan("", OutputOf("", "")))
    _works: dict[str, Work] = field(default_factory=dict)

    def made(self, output: Output) -> OutputOf | Path:
        """What makes an output again, or the output, if that is where the plan begins."""
        speaker = self.archive.speaker(output)
        if speaker is None or speaker.lineage is None:
            self._begin(f"{output.path}, which no statement tells of")
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
        problem = why_not_again(None, link.place) if link.is_source else "it is not here"
        content = f" with digest {link.material.digest}" if link.material.digest else ""
        self._miss(f"{link.port}{content}, which {work.name} ({work.step}) was given: {problem}")
        return None

    def _from_run(self, place: StepOfRun, port: str, digest: str) -> OutputOf:
        """What makes an output again that is gone with its statement, as a run recorded it."""
        work = self._work(f"{place}", place.step.component, (place,), None)
        work.recorded[port] = RecordedOutput(digest)
        if work.name not in self.plan.works:
            path = place.step.outputs.get(port, port)
            self._note(f"{path} is gone; {work.name} is done again as run {place.run.run} tells")
            for name, told in place.step.inputs.items():
                if "value" in told:
                    work.texts[name] = told["value"]
                    continue
                value = self._told_input(place, name, told)
                if value is None:
                    gone = told.get("path") or "what made it"
                    self._miss(f"{name}, which {work.name} ({work.step}) was given: {gone} is gone")
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
        """The work of an identity: the one there is, or one that still lacks its inputs."""
        if identity not in self._works:
            wanted, number = places[0].name if places else step, 1
            name, taken = wanted, {work.name for work in self._works.values()}
            while name in taken:
                number += 1
                name = f"{wanted}_{number}"
            self._works[identity] = Work(name, step, lineage)
        return self._works[identity]

    def _put(self, work: Work, digest: str, places: tuple[StepOfRun, ...]) -> None:
        """Add a work whose inputs are there, with its code."""
        try:
            work.code = find_code(work.step, digest, places, self.scratch)
            problem = f"code {digest} of {work.name} ({work.step}): neither a run nor this checkout"
        except (BlocksError, OSError, SyntaxError, ValueError) as error:
            problem = f"code of {work.name} ({work.step}): {error}"
        if work.code is None:
            self._miss(f"{problem} has it")
        odd = [f"{name}={text!r}" for name, text in work.texts.items() if set("'\n") & set(text)]
        if odd or not work.step.isidentifier():
            self._miss(
                f"a command for {work.name} ({work.step}): {', '.join(odd)} cannot be in one"
            )
        self.plan.works[work.name] = work

    def _knot(self, output: Output) -> Knot:
        if output.path not in self.knots:
            self.knots |= trace("", self.archive, [output]).knots
        return self.knots[output.path]

    def _reason_to_begin(self, output: Output, lineage: Lineage, knot: Knot) -> str:
        """Why the plan begins at an output that is here; nothing if its step is done again."""
        if output.kind == "encoder" and lineage.provenance.parameters.get("handle"):
            handle = lineage.provenance.parameters["handle"]
            return f"it came from {handle}, which is not asked; its files are as its pin says"
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
    """A step's parameters as in a command line; in place of ``auto`` what that chose by speed."""
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
            decided.append(f"{name} is {choice}, which {AUTO} chose then")
    return texts, decided


def _add(told: list[str], text: str) -> None:
    if text not in told:
        told.append(text)

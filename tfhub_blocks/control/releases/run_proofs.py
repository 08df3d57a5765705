"""A run on this machine as the proof of a release: what it made is what is here would make."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tfhub_blocks.control.project.output_store import Store, Stored, content_digest
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.run_records import COMPLETED, RECORD_NAME, RunRecord, read_run
from tfhub_blocks.control.project.step_graph import Graph, Node
from tfhub_blocks.control.project.step_keys import StepKeys
from tfhub_blocks.control.releases.resolution import Resolved
from tfhub_blocks.control.releases.run_evidence import proven_evidence
from tfhub_blocks.records.base.digests import files_sha256
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, Provenance, read_lineage
from tfhub_blocks.records.environment.installed_packages import environment_digest
from tfhub_blocks.records.formats.releases import LockedEvidence, LockedStep


@dataclass(frozen=True)
class Here:
    """What the inputs of a run give here, under the profile that the run was made under.

    ``job`` is the pipeline as azure-ai-ml has it, ``resolved`` what each step of it resolves to.
    """

    job: Any
    graph: Graph
    resolved: Resolved
    profile: Profile


@dataclass(frozen=True)
class Proof:
    """A run that ended well, as its record has it."""

    record: RunRecord
    runs_dir: Path

    @property
    def settings(self) -> tuple[str, ...]:
        """Its inputs, as words like those of ``--set``."""
        return tuple(f"{name}={text}" for name, text in self.record.inputs.items())

    @property
    def again(self) -> str:
        """The command that makes such a run again."""
        return f"tfhub-blocks run {self.record.pipeline} --profile {self.record.profile}"

    def check(self, here: Here) -> LockedEvidence | None:
        """See that it made what the same inputs make here now; give the evidence that it reached.

        Each step's outputs lie under the digest of code, environment, parameters and all that they
        were made from; that digest is computed again, from what is here, and the outputs are read
        in full.

        Raises:
            BlocksError: Something differs, each named, or an output was changed.
        """
        return _check_made(self, here.graph, here.resolved.steps, here.profile)


def find_proof(name: str, runs_dir: Path, pipeline: str) -> Proof:
    """The run of that name, or the ``latest``.

    Raises:
        BlocksError: There is none, it did not end well, or it is of another pipeline.
    """
    path = runs_dir / "runs" / name / RECORD_NAME
    known = ["latest", *(p.parent.name for p in sorted(runs_dir.glob(f"runs/*/{RECORD_NAME}")))]
    try:
        record = read_run(path.resolve())
    except FileNotFoundError as error:
        raise BlocksError(
            "lock",
            f"--from-run {name}",
            f"there is no such run in {runs_dir}",
            "a run on this machine",
            nearest(name, known) or f"tfhub-blocks run {pipeline}",
        ) from error
    except (OSError, ValueError) as error:
        raise BlocksError(
            "lock", f"--from-run {name}", str(error), "a run.json that a run wrote", "run it again"
        ) from error
    check_run(record, pipeline)
    return Proof(record, runs_dir)


def check_run(record: RunRecord, pipeline: str) -> None:
    """See that a run is one of a pipeline, and ended well.

    Raises:
        BlocksError: It is not.
    """
    for what, found, wanted in (
        ("status", record.status, COMPLETED),
        ("pipeline", record.pipeline, pipeline),
    ):
        if found != wanted:
            raise BlocksError(
                "lock",
                f"--from-run {record.run}",
                f"its {what} is {found}",
                wanted,
                f"name another run, or tfhub-blocks run {pipeline}",
            )


def _check_made(
    proof: Proof, graph: Graph, steps: Mapping[str, LockedStep], profile: Profile
) -> LockedEvidence | None:
    record, made = proof.record, dict[str, Stored]()
    keys, store = StepKeys(record.run, profile), Store(proof.runs_dir.absolute() / "store")
    if record.steps.keys() != graph.nodes.keys():
        names = sorted(record.steps.keys() ^ graph.nodes.keys())
        raise differs(proof, [f"{name} is a step of one of the two only" for name in names])
    problems: list[str] = []
    for node in graph.nodes.values():
        if not node.needs <= made.keys():
            continue  # what it was made from is told already
        with TemporaryDirectory() as scratch:
            code = Path(scratch) / "code"
            node.write_code(code)
            key, stored = keys.key(node, made, code), None
            if key in _folders(record, node):
                stored = store.peek(key)
            told = [] if stored else _reasons(proof, node, steps[node.name], code)
        if stored and (changed := _changed(stored)):
            told = [f"step {node.name}: its output {changed} was changed after it was made"]
        if stored and not told:
            made[node.name] = stored
        problems += told
    if problems:
        raise differs(proof, problems)
    return proven_evidence(graph, made)


def _folders(record: RunRecord, node: Node) -> set[str]:
    return {Path(path).parent.name for path in record.steps[node.name].outputs.values()}


def _changed(stored: Stored) -> str:
    """The first output that is not what it was when it was stored, or nothing."""
    try:
        return next(
            (p for p, path in stored.outputs.items() if content_digest(path) != stored.digests[p]),
            "",
        )
    except OSError as error:
        return str(error)


def _reasons(proof: Proof, node: Node, step: LockedStep, code: Path) -> list[str]:
    """Why a step of the run is not the step that is here: as much as can be told."""
    record = proof.record
    told = [*_code_reasons(record, node, code), *_lineage_reasons(record, node, step)]
    if not told:
        ports = [port for port, value in node.inputs.items() if isinstance(value, Path)]
        told = [f"{', '.join(ports)} has other content" if ports else "the profile is another"]
    return [f"step {node.name}: {it}" for it in told]


def _code_reasons(record: RunRecord, node: Node, code: Path) -> Iterator[str]:
    then = Path(record.folder) / "steps" / node.name / "code"
    if not then.is_dir():
        yield f"its code is gone from {then}"
        return
    old, new = files_sha256(then), files_sha256(code)
    changed = sorted(n for n in old.keys() | new.keys() if old.get(n) != new.get(n))
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        yield f"its code differs ({', '.join(changed[:3])}{more})"


def _lineage_reasons(record: RunRecord, node: Node, step: LockedStep) -> Iterator[str]:
    for path in map(Path, record.steps[node.name].outputs.values()):
        if not (path / STATEMENT_NAME).is_file():
            continue
        made = read_lineage(path).provenance
        facts = made.facts.get("environment") or {}
        pinned = node.environment.removeprefix("azureml:")
        if facts.get("environment") not in (None, pinned):
            yield f"it was pinned to {facts['environment']}, here it is to {pinned}"
        if made.environment_digest != environment_digest():
            yield "what is installed here is not what it ran in"
        yield from parameter_reasons(made, step)
        return


def parameter_reasons(made: Provenance, step: LockedStep) -> Iterator[str]:
    """Which parameters of a step were others than here, as its statement tells."""
    for name in sorted(made.parameters.keys() | step.parameters.keys()):
        before, now = made.parameters.get(name), step.parameters.get(name)
        if before != now:
            yield f"parameter {name} was {before!r}, here it is {now!r}"


def differs(proof: Proof, problems: list[str]) -> BlocksError:
    """What is told of a run that is not what is here now would make."""
    told = "; ".join(problems[:5])
    if len(problems) > 5:
        told += f"; and {len(problems) - 5} more"
    return BlocksError(
        "lock",
        f"--from-run {proof.record.run}",
        f"the run is not what is here now would make: {told}",
        "a run of the commit that is checked out",
        f"run it again: {proof.again}",
    )

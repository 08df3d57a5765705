"""A local run as the proof of a release: the repository would build the same outputs."""

# decision 31

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
from tfhub_blocks.records.base.digests import CACHE_FOLDERS, sources_sha256
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, Provenance, read_lineage
from tfhub_blocks.records.environment.installed_packages import environment_digest
from tfhub_blocks.records.formats.releases import LockedEvidence, LockedStep


@dataclass(frozen=True)
class Here:
    """The pipeline in this repository with the inputs of a run, under the profile of the run.

    ``job`` is the azure-ai-ml pipeline; ``resolved`` contains the resolved steps.
    """

    job: Any
    graph: Graph
    resolved: Resolved
    profile: Profile


@dataclass(frozen=True)
class Proof:
    """A completed run, as its record describes it."""

    record: RunRecord
    runs_dir: Path

    @property
    def settings(self) -> tuple[str, ...]:
        """The inputs of the run, as words like those of ``--set``."""
        return tuple(f"{name}={text}" for name, text in self.record.inputs.items())

    @property
    def again(self) -> str:
        """The command that repeats the run."""
        return f"tfhub-blocks run {self.record.pipeline} --profile {self.record.profile}"

    def check(self, here: Here) -> LockedEvidence | None:
        """Check that the same inputs would give the same outputs now; return the evidence.

        The store names each step's outputs by a digest of code, environment, parameters and
        inputs. That digest is computed again from the repository, and the outputs are read in
        full.

        Raises:
            BlocksError: A step differs, each one named, or an output was changed.
        """
        return _check_made(self, here.graph, here.resolved.steps, here.profile)


def find_proof(name: str, runs_dir: Path, pipeline: str) -> Proof:
    """Find the run of a name, or the ``latest`` run.

    Raises:
        BlocksError: The run does not exist, did not complete, or is of another pipeline.
    """
    path = runs_dir / "runs" / name / RECORD_NAME
    known = ["latest", *(p.parent.name for p in sorted(runs_dir.glob(f"runs/*/{RECORD_NAME}")))]
    try:
        record = read_run(path.resolve())
    except FileNotFoundError as error:
        raise BlocksError(
            "lock",
            f"--from-run {name}",
            f"{runs_dir} has no run {name}",
            "a local run",
            nearest(name, known) or f"Run `tfhub-blocks run {pipeline}` first",
        ) from error
    except (OSError, ValueError) as error:
        raise BlocksError(
            "lock",
            f"--from-run {name}",
            f"the record of the run cannot be read: {error}",
            "a run.json that a run wrote",
            f"Run `tfhub-blocks run {pipeline}` again, and lock the new run",
        ) from error
    check_run(record, pipeline)
    return Proof(record, runs_dir)


def check_run(record: RunRecord, pipeline: str) -> None:
    """Check that a run is of a pipeline, and completed.

    Raises:
        BlocksError: The run did not complete, or is of another pipeline.
    """
    for what, found, wanted in (
        ("status", record.status, COMPLETED),
        ("pipeline", record.pipeline, pipeline),
    ):
        if found != wanted:
            raise BlocksError(
                "lock",
                f"--from-run {record.run}",
                f"the {what} of the run is {found}",
                wanted,
                f"Pass another run, or run `tfhub-blocks run {pipeline}` first",
            )


def _check_made(
    proof: Proof, graph: Graph, steps: Mapping[str, LockedStep], profile: Profile
) -> LockedEvidence | None:
    record, made = proof.record, dict[str, Stored]()
    keys, store = StepKeys(record.run, profile), Store(proof.runs_dir.absolute() / "store")
    if record.steps.keys() != graph.nodes.keys():
        names = sorted(record.steps.keys() ^ graph.nodes.keys())
        raise differs(proof, [f"step {name} is only in one of them" for name in names])
    problems: list[str] = []
    for node in graph.nodes.values():
        if not node.needs <= made.keys():
            continue  # the difference of an earlier step explains this one
        with TemporaryDirectory() as scratch:
            code = Path(scratch) / "code"
            node.write_code(code)
            key, stored = keys.key(node, made, code), None
            if key in _folders(record, node):
                stored = store.peek(key)
            reasons = [] if stored else _reasons(proof, node, steps[node.name], code)
        if stored and (changed := _changed(stored)):
            reasons = [f"step {node.name}: output {changed} was changed after the step wrote it"]
        if stored and not reasons:
            made[node.name] = stored
        problems += reasons
    if problems:
        raise differs(proof, problems)
    return proven_evidence(graph, made)


def _folders(record: RunRecord, node: Node) -> set[str]:
    return {Path(path).parent.name for path in record.steps[node.name].outputs.values()}


def _changed(stored: Stored) -> str:
    """Return the first output that changed since it was stored, or an empty text."""
    try:
        return next(
            (p for p, path in stored.outputs.items() if content_digest(path) != stored.digests[p]),
            "",
        )
    except OSError as error:
        return str(error)


def _reasons(proof: Proof, node: Node, step: LockedStep, code: Path) -> list[str]:
    """Return the reasons why a step of the run differs from the repository, as far as known."""
    record = proof.record
    reasons = [*_code_reasons(record, node, code), *_lineage_reasons(record, node, step)]
    if not reasons:
        ports = [port for port, value in node.inputs.items() if isinstance(value, Path)]
        reasons = [f"{', '.join(ports)} has other content" if ports else "the profile differs"]
    return [f"step {node.name}: {it}" for it in reasons]


def _code_reasons(record: RunRecord, node: Node, code: Path) -> Iterator[str]:
    then = Path(record.folder) / "steps" / node.name / "code"
    if not then.is_dir():
        yield f"the code of the run is gone from {then}"
        return
    old, new = (sources_sha256(it, omit=CACHE_FOLDERS) for it in (then, code))
    changed = sorted(n for n in old.keys() | new.keys() if old.get(n) != new.get(n))
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        yield f"the code differs ({', '.join(changed[:3])}{more})"


def _lineage_reasons(record: RunRecord, node: Node, step: LockedStep) -> Iterator[str]:
    for path in map(Path, record.steps[node.name].outputs.values()):
        if not (path / STATEMENT_NAME).is_file():
            continue
        made = read_lineage(path).provenance
        facts = made.facts.get("environment") or {}
        pinned = node.environment.removeprefix("azureml:")
        if facts.get("environment") not in (None, pinned):
            yield f"the environment was {facts['environment']}, now it is {pinned}"
        if made.environment_digest != environment_digest():
            yield "the installed packages differ from those of the run"
        yield from parameter_reasons(made, step)
        return


def parameter_reasons(made: Provenance, step: LockedStep) -> Iterator[str]:
    """Yield the parameters of a step that differ from those in its statement."""
    for name in sorted(made.parameters.keys() | step.parameters.keys()):
        before, now = made.parameters.get(name), step.parameters.get(name)
        if before != now:
            yield f"parameter {name} was {before!r}, now it is {now!r}"


def differs(proof: Proof, problems: list[str]) -> BlocksError:
    """Return the error about a run that the repository would not repeat in the same way."""
    texts = "; ".join(problems[:5])
    if len(problems) > 5:
        texts += f"; and {len(problems) - 5} more"
    return BlocksError(
        "lock",
        f"--from-run {proof.record.run}",
        f"the run and the repository differ: {texts}",
        "a run of the commit that is checked out",
        f"Run `{proof.again}`, and lock the new run",
    )

"""The release lock of a model: the lock that its evidence proved, or that its steps replayed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tfhub_blocks.control.lineage.chain_evidence import digests_of_model
from tfhub_blocks.control.lineage.chains import Knot
from tfhub_blocks.control.promotion.promotion_case import RELEASE_FACT, WHERE, Case, Release
from tfhub_blocks.control.releases.release_names import FOLDER, lock_files
from tfhub_blocks.control.repository.git_state import (
    check_committed,
    check_descends,
    clean_commit,
)
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.formats.data_versions import CHILD_FACT, read_child
from tfhub_blocks.records.formats.releases import ReleaseLock, read_lock


def with_release(case: Case) -> Case:
    """Return a case with the release lock of its model, if pipelines/releases/ has one.

    A lock whose evidence names the model wins over a lock that the model's steps replayed.
    """
    model, replayed = case.model, _replayed(case)
    named = digests_of_model(model) if model else set()
    found = None
    for path, lock in _locks():
        if lock is None:
            continue
        if lock.evidence and lock.evidence.model_digest in named:
            return replace(case, release=Release(lock, path, is_replay=False))
        if lock.name == replayed:
            found = Release(lock, path, is_replay=True)
    return replace(case, release=found)


def _locks() -> Iterator[tuple[Path, ReleaseLock | None]]:
    """Yield each local lock, or None for a lock that was edited, from which nothing can come."""
    for path, file in lock_files().items():
        try:
            yield path, read_lock(file)
        except BlocksError:
            yield path, None


def release_refusals(case: Case) -> Iterator[BlocksError]:
    """Yield the reasons why a model does not come from a reviewed release."""
    release = case.release
    if release is None:
        replayed = _replayed(case)
        problem = (
            f"the model replayed {replayed}, and no valid lock of that name was found"
            if replayed
            else "no release lock names the model, and its steps replayed no lock"
        )
        if unsound := [path.name for path, lock in _locks() if lock is None]:
            problem += f"; {', '.join(unsound)} was edited or cannot be read"
        yield BlocksError(
            WHERE,
            str(case.version),
            problem,
            f"a model of a lock in {FOLDER}/, as profile {case.profile.name} requires",
            "Run `tfhub-blocks lock PIPELINE --from-run RUN --name NAME`, and commit the lock "
            "after a review",
        )
        return
    for check in (
        lambda: clean_commit(WHERE),
        lambda: check_committed(WHERE, release.path),
        lambda: check_descends(WHERE, release.lock.commit, str(release.path)),
    ):
        try:
            check()
        except BlocksError as error:
            yield error
    found = "; ".join(_differences(case, release))
    if found:
        yield BlocksError(
            WHERE,
            f"release {release.lock.name}",
            f"{case.version} differs from the lock: {found}",
            "the model that the lock describes",
            f"Submit release {release.lock.name} to replay the lock, or lock the run of this model",
        )


def _replayed(case: Case) -> str:
    """Return the name of the lock that the model's step recorded as replayed, or an empty text."""
    lineage = case.model.lineage if case.model else None
    return str(lineage.provenance.facts.get(RELEASE_FACT, "")) if lineage else ""


def _differences(case: Case, release: Release) -> Iterator[str]:
    lock, evidence = release.lock, case.evidence
    if not release.is_replay:
        proven = lock.evidence
        if proven and not proven.passed:
            yield "the evidence in the lock did not meet its thresholds"
        if proven and evidence and proven.evidence_digest != evidence.as_statement()["digest"]:
            yield "the lock names other evidence than the model's registration"
        return
    for knot in case.chain.knots.values():
        if knot.is_champion:  # the lock names the champion, and the steps compared it with that
            continue
        speaker = case.archive.speaker(knot.output)
        if speaker and speaker.lineage:
            yield from _step_differences(lock, knot, speaker.lineage.provenance)


def _child_differences(lock: ReleaseLock, made: Provenance) -> Iterator[str]:
    """Yield the reasons why a step did not resolve the open input as the lock states."""
    opened = {
        name: it
        for name, it in (lock.open or {}).items()
        for step in lock.steps.values()
        if step.component == made.step and f"inputs.{name}" in step.inputs.values()
    }
    fact = made.facts.get(CHILD_FACT)
    if not opened:
        if fact is not None:
            yield f"{made.step} chose the version of its data itself"
        return
    try:
        child = read_child(fact or {})
    except ValueError as error:
        yield f"{made.step} has no valid child lock ({error})"
        return
    left = opened.get(child.input)
    if left is None or (child.name, child.rule) != (left.name, left.rule):
        yield f"{made.step} resolved {child.name} by {child.rule}, which the lock does not open"
    if child.parent != lock.digest:
        yield f"{made.step} replayed another lock of that name"


def _step_differences(lock: ReleaseLock, knot: Knot, made: Provenance) -> Iterator[str]:
    """Yield the differences of a step from the steps of the lock that it should have replayed."""
    if made.facts.get(RELEASE_FACT) != lock.name:
        yield f"{made.step} did not replay the lock ({knot.output.path.name})"
        return
    component = lock.components.get(made.step)
    if component is None or component.code_digest != made.code_digest:
        yield f"{made.step} ran other code"
    yield from _child_differences(lock, made)
    given = {name: value for name, value in made.parameters.items() if value is not None}
    steps = [it for it in lock.steps.values() if it.component == made.step]
    if not any(dict(it.parameters) == given for it in steps):
        yield f"{made.step} had other parameters"

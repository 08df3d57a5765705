"""The release lock that a model comes from: one that its evidence proved, or that was replayed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tfhub_blocks.control.lineage.chain_evidence import digests_of_model
from tfhub_blocks.control.lineage.chains import Knot
from tfhub_blocks.control.promotion.promotion_case import RELEASE_FACT, WHERE, Case, Release
from tfhub_blocks.control.releases.release_names import FOLDER
from tfhub_blocks.control.repository.git_state import (
    check_committed,
    check_descends,
    clean_commit,
)
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.formats.releases import SUFFIX, ReleaseLock, read_lock


def with_release(case: Case) -> Case:
    """A case with the lock that its model comes from, if one in pipelines/releases/ is.

    A lock whose evidence names the model goes before one that its steps say they replayed.
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
    """Each lock here; None if it is not what was written, so that nothing comes from it."""
    for path in sorted(FOLDER.glob(f"*{SUFFIX}")):
        try:
            yield path, read_lock(path)
        except BlocksError:
            yield path, None


def release_refusals(case: Case) -> Iterator[BlocksError]:
    """What keeps a model from being one of a release that was reviewed."""
    release = case.release
    if release is None:
        replayed = _replayed(case)
        told = (
            f"it replayed {replayed}, of which no sound lock is here"
            if replayed
            else ("no release lock names it, and it was not made by replaying one")
        )
        if unsound := [path.name for path, lock in _locks() if lock is None]:
            told += f"; {', '.join(unsound)} was edited or cannot be read"
        yield BlocksError(
            WHERE,
            str(case.version),
            told,
            f"a model of a lock in {FOLDER}/, since {case.profile.name} takes nothing else",
            "tfhub-blocks lock PIPELINE --from-run RUN --name NAME, reviewed and committed",
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
    told = "; ".join(_differences(case, release))
    if told:
        yield BlocksError(
            WHERE,
            f"release {release.lock.name}",
            f"{case.version} is not what is locked: {told}",
            "exactly that",
            "make it again by replaying the lock, or write a lock of what this is",
        )


def _replayed(case: Case) -> str:
    """The name of the lock that the step which made the model says it replayed."""
    lineage = case.model.lineage if case.model else None
    return str(lineage.provenance.facts.get(RELEASE_FACT, "")) if lineage else ""


def _differences(case: Case, release: Release) -> Iterator[str]:
    lock, evidence = release.lock, case.evidence
    if not release.is_replay:
        proven = lock.evidence
        if proven and not proven.passed:
            yield "the evidence in the lock did not meet its thresholds"
        if proven and evidence and proven.evidence_digest != evidence.as_statement()["digest"]:
            yield "the lock names other evidence than it is registered with"
        return
    for knot in case.chain.knots.values():
        if knot.is_champion:  # which the lock names, and steps held against that
            continue
        speaker = case.archive.speaker(knot.output)
        if speaker and speaker.lineage:
            yield from _step_differences(lock, knot, speaker.lineage.provenance)


def _step_differences(lock: ReleaseLock, knot: Knot, made: Provenance) -> Iterator[str]:
    """How a step that should have replayed a lock is none of its steps."""
    if made.facts.get(RELEASE_FACT) != lock.name:
        yield f"{made.step} did not replay it ({knot.output.path.name})"
        return
    component = lock.components.get(made.step)
    if component is None or component.code_digest != made.code_digest:
        yield f"{made.step} ran other code"
    given = {name: value for name, value in made.parameters.items() if value is not None}
    steps = [it for it in lock.steps.values() if it.component == made.step]
    if not any(dict(it.parameters) == given for it in steps):
        yield f"{made.step} had other parameters"

"""The case of a promotion: a registered model, its chain, its release, and its promoters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tfhub_blocks.control.lineage.chain_evidence import (
    digests_of_model,
    evidence_about,
    evidence_of_digest,
    sound_evidence,
)
from tfhub_blocks.control.lineage.chains import Chain, Knot
from tfhub_blocks.control.lineage.findings import Verdict
from tfhub_blocks.control.lineage.lineage_targets import chain_of_model, find_chain
from tfhub_blocks.control.lineage.local_registrations import Registration
from tfhub_blocks.control.lineage.recorded_output import Output
from tfhub_blocks.control.lineage.run_archive import Archive, StepOfRun
from tfhub_blocks.control.lineage.verification import verify
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.repository.git_state import authors_of
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.evidence import Evidence
from tfhub_blocks.records.formats.releases import ReleaseLock

WHERE = "promote"
# The fact in which a step records that it replayed a lock (compute/step/step_frame.py).
RELEASE_FACT = "release_lock"


@dataclass(frozen=True)
class Release:
    """The release lock of a model; ``is_replay`` is True if the model's steps replayed the lock."""

    lock: ReleaseLock
    path: Path
    is_replay: bool


@dataclass(frozen=True)
class Case:
    """A registered model, and a user's request to promote it with a profile.

    ``promoters`` are the known names of that user; ``is_known`` is True if one of them belongs to
    a person. ``release`` is the release lock of the model, if a local lock matches.
    """

    archive: Archive
    chain: Chain
    verdict: Verdict
    version: Registration
    profile: Profile
    promoters: tuple[str, ...] = ()
    is_known: bool = True
    release: Release | None = None

    @property
    def model(self) -> Output | None:
        """The model's folder, or None if its files were not found locally."""
        return self.knot.output if self.knot else None

    @property
    def knot(self) -> Knot | None:
        """The node of the model in its chain, or None."""
        return self.chain.knots.get(self.version.source)

    @property
    def behind(self) -> list[Knot]:
        """The model, and all outputs that it was built from."""
        return list(self.chain.behind(self.knot)) if self.knot else []

    @property
    def owner(self) -> str:
        """The owner who is responsible for the model, from its registration."""
        return self.version.tags.get("owner", "")

    @cached_property
    def proof(self) -> Output | None:
        """The evidence file that the model was registered with."""
        return evidence_of_digest(self.archive, self.version.tags.get("evidence_digest", ""))

    @property
    def evidence(self) -> Evidence | None:
        """The content of the evidence file, or None."""
        return sound_evidence(self.proof) if self.proof else None

    @property
    def latency(self) -> Evidence | None:
        """The latency evidence that the model was registered with, or None."""
        digest = self.version.tags.get("latency_digest", "")
        proof = evidence_of_digest(self.archive, digest)
        return sound_evidence(proof) if proof else None

    @cached_property
    def contrary(self) -> tuple[str, ...]:
        """The digests of other local evidence about the model that did not meet its thresholds."""
        others = self.model and evidence_about(self.archive, *digests_of_model(self.model))
        found = (sound_evidence(it) for it in others or () if it != self.proof)
        failed = (it for it in found if it and not it.passed)
        return tuple(sorted(str(it.as_statement()["digest"]) for it in failed))

    @cached_property
    def makers(self) -> tuple[str, ...]:
        """The names of the model's makers: who started its runs, or wrote its release lock.

        The names are empty if no record names who built the model itself. The makers of its
        inputs alone do not count.
        """
        made_model = _makings(self.knot) if self.knot else ()
        if not self.release and not any(place.run.started_by for place in made_model):
            return ()
        names = [name for place in self._places() for name in place.run.started_by]
        if self.release:
            names += [self.release.lock.owner, *authors_of(self.release.path)]
        return tuple(sorted({name for name in names if name.strip()}))

    @property
    def authors(self) -> tuple[str, ...]:
        """All users who may not promote alone: makers, and owners of the model or of its runs."""
        names = {*self.makers, self.owner, *(place.run.owner for place in self._places())}
        return tuple(sorted(name for name in names if name.strip()))

    def _places(self) -> Iterator[StepOfRun]:
        """Yield the steps of runs that wrote outputs of the chain, except replays of the lock.

        The user who starts a replay does not change the model that the lock fixes.
        """
        if not (self.release and self.release.is_replay):
            for knot in self.chain.knots.values():
                yield from _makings(knot)


def _makings(knot: Knot) -> Sequence[StepOfRun]:
    """Return the steps that wrote an output, or else those that took it from the store."""
    return [place for place in knot.places if not place.step.reused] or knot.places


def open_case(
    text: str, archive: Archive, profile: Profile, fetched: Registration | None = None
) -> Case:
    """Open the case of a registered model, with the verdict on its chain but without promoters.

    Args:
        text: The model, as MODEL or MODEL:VERSION.
        archive: The local outputs and runs.
        profile: The destination and its conditions.
        fetched: The model, if it is registered in a workspace.

    Raises:
        BlocksError: The text names no registered model, or no version where one is required.
    """
    chain = chain_of_model(fetched, archive) if fetched else find_chain(text, archive, WHERE)
    version = chain.registration
    if version is None:
        raise BlocksError(
            WHERE,
            text,
            f"{text} is no registered model",
            "MODEL:VERSION, which has a name and an owner",
            "Register the model with the step register_model of a pipeline",
        )
    if profile.takes == "locks" and ":" not in text:
        raise BlocksError(
            WHERE,
            text,
            f"profile {profile.name} needs an explicit version",
            f"{text}:VERSION",
            f"Run `tfhub-blocks promote {version}` (the newest) with the same options",
        )
    return Case(archive, chain, verify(chain, archive), version, profile)

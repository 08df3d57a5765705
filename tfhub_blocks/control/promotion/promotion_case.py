"""What a promotion is decided on: a registered model, all that stands behind it, and who asks."""

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
# The fact by which a step tells that it replayed a lock (compute/step/step_frame.py).
RELEASE_FACT = "release_lock"


@dataclass(frozen=True)
class Release:
    """The release lock that a model comes from; ``is_replay`` if its steps replayed it."""

    lock: ReleaseLock
    path: Path
    is_replay: bool


@dataclass(frozen=True)
class Case:
    """A registered model that somebody wants to promote with a profile.

    ``promoters`` are the names of who asks, ``is_known`` whether one of them is a person's;
    ``release`` is where the model comes from, if a lock here tells.
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
        """The model's folder, if its files are here."""
        return self.knot.output if self.knot else None

    @property
    def knot(self) -> Knot | None:
        """The model in its chain."""
        return self.chain.knots.get(self.version.source)

    @property
    def behind(self) -> list[Knot]:
        """The model and all that it was made from."""
        return list(self.chain.behind(self.knot)) if self.knot else []

    @property
    def owner(self) -> str:
        """Who answers for it, as it was registered."""
        return self.version.tags.get("owner", "")

    @cached_property
    def proof(self) -> Output | None:
        """The evidence that it was registered with."""
        return evidence_of_digest(self.archive, self.version.tags.get("evidence_digest", ""))

    @property
    def evidence(self) -> Evidence | None:
        """What that says."""
        return sound_evidence(self.proof) if self.proof else None

    @property
    def latency(self) -> Evidence | None:
        """The evidence that it answers soon enough, with which it was registered."""
        digest = self.version.tags.get("latency_digest", "")
        proof = evidence_of_digest(self.archive, digest)
        return sound_evidence(proof) if proof else None

    @cached_property
    def contrary(self) -> tuple[str, ...]:
        """The digests of other evidence about it here, which did not meet its thresholds."""
        others = self.model and evidence_about(self.archive, *digests_of_model(self.model))
        found = (sound_evidence(it) for it in others or () if it != self.proof)
        failed = (it for it in found if it and not it.passed)
        return tuple(sorted(str(it.as_statement()["digest"]) for it in failed))

    @cached_property
    def makers(self) -> tuple[str, ...]:
        """Names of whoever made it: started what made it, or wrote the lock that it comes from.

        None, if nothing tells of the model itself: who made what it was made from did not make it.
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
        """All who may not decide alone: who made it, and who answers for it or for its runs."""
        names = {*self.makers, self.owner, *(place.run.owner for place in self._places())}
        return tuple(sorted(name for name in names if name.strip()))

    def _places(self) -> Iterator[StepOfRun]:
        """The steps of runs that made something of the chain, but replays of the lock.

        Who starts a replay adds nothing to what the lock says.
        """
        if not (self.release and self.release.is_replay):
            for knot in self.chain.knots.values():
                yield from _makings(knot)


def _makings(knot: Knot) -> Sequence[StepOfRun]:
    """The steps that made an output; if none is known, those that took it from the store."""
    return [place for place in knot.places if not place.step.reused] or knot.places


def open_case(
    text: str, archive: Archive, profile: Profile, fetched: Registration | None = None
) -> Case:
    """A registered model with the verdict on its chain; who asks is not known yet.

    Args:
        text: What it is called.
        archive: What is kept here.
        profile: Where it is to go, and on what conditions.
        fetched: The model, if it is a workspace's.

    Raises:
        BlocksError: It is no registered model, or no exact version where one is asked for.
    """
    chain = chain_of_model(fetched, archive) if fetched else find_chain(text, archive, WHERE)
    version = chain.registration
    if version is None:
        raise BlocksError(
            WHERE,
            text,
            "it is no registered model",
            "MODEL:VERSION, which has a name and an owner",
            "register it: a pipeline does so by the step register_model",
        )
    if profile.takes == "locks" and ":" not in text:
        raise BlocksError(
            WHERE,
            text,
            f"it names no version, and profile {profile.name} takes no newest one",
            f"{text}:VERSION",
            f"look at it first; the newest is {version}",
        )
    return Case(archive, chain, verify(chain, archive), version, profile)

"""A trial of a workspace: its parts, their facts, and everything that has to be removed again."""

# decision 87

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import tfhub_blocks
from tfhub_blocks.control.lineage.signatures import Signer, sign_file
from tfhub_blocks.control.project.profiles import Profile, Role
from tfhub_blocks.control.workspace.azure_errors import find, told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import write_file
from tfhub_blocks.records.base.redaction import redacted
from tfhub_blocks.records.base.sealed_statements import sealed

WHERE = "doctor --live"
FORM = "doctor-facts/1"
STEP_TIMEOUT_S = 900
PASSED: Final = "passed"
FAILED: Final = "failed"
UNTRIED: Final = "could not be tried"


class UntriedError(Exception):
    """The reason why a part could not be tried, such as a part before it that failed."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one part: its facts, and the problem if it did not pass."""

    state: Literal["passed", "failed", "could not be tried"]
    facts: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    seconds: float = 0.0
    time: str = ""


@dataclass(frozen=True)
class Part:
    """One part of a trial. ``run`` returns the facts; ``cost`` is the highest possible cost."""

    name: str
    purpose: str
    run: Callable[["Trial"], Mapping[str, Any]]
    cost: Callable[["Trial"], float]


@dataclass
class Trial:
    """A trial in a workspace, which a repeated call continues.

    ``folder`` contains the outcomes and the journal of what was created. A thing is in the journal
    before it is created, so a killed trial leaves nothing that is not listed. ``write_pictures``
    writes that many labelled pictures of each of six groups into a folder.
    """

    connection: Connection
    profile: Profile
    folder: Path
    write_pictures: Callable[[Path, int], object]
    encoder: Path | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    # Facts of a part that it found before it failed.
    found: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read the outcomes of an earlier call in the same workspace."""
        self.folder /= f"{self.connection.client.subscription_id}-{self.connection.name}"
        self.profile = trial_profile(self.profile)
        record = _read(self._outcomes_path, {})
        self.outcomes = {key: Outcome(**it) for key, it in record.items()}

    @cached_property
    def name(self) -> str:
        """A name for what this call creates, different at each call."""
        return f"doctor-{uuid.uuid4().hex[:8]}"

    @property
    def _outcomes_path(self) -> Path:
        return self.folder / "outcomes.json"

    @property
    def _journal_path(self) -> Path:
        return self.folder / "created.json"

    @property
    def created(self) -> list[list[str]]:
        """The things to remove, each as kind and name, in the order of their creation."""
        found: list[list[str]] = _read(self._journal_path, [])
        return found

    def creates(self, kind: str, name: str) -> None:
        """Record a thing before it is created."""
        self._keep([*self.created, [kind, name]])

    def _keep(self, created: Sequence[Sequence[str]]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_file(self._journal_path, json.dumps(list(created)).encode())

    def run(self, parts: Sequence[Part]) -> Iterator[tuple[Part, Outcome]]:
        """Run parts one after the other, and yield the outcome of each.

        A part that fails does not stop the others. The outcomes are kept after each part.
        """
        for part in parts:
            outcome = self._tried(part)
            self.outcomes[part.name] = outcome
            record = {name: asdict(it) for name, it in self.outcomes.items()}
            self.folder.mkdir(parents=True, exist_ok=True)
            write_file(self._outcomes_path, json.dumps(record, indent=1).encode())
            yield part, outcome

    def skip(self, part: Part, problem: str) -> None:
        """Record that a part could not be tried."""
        self.outcomes[part.name] = Outcome(UNTRIED, {}, problem)

    def _tried(self, part: Part) -> Outcome:
        started, now = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
        self.found = {}
        try:
            outcome = Outcome(PASSED, {**self.found, **part.run(self)})
        except UntriedError as error:
            outcome = Outcome(UNTRIED, self.found, str(error))
        except BlocksError as error:
            outcome = Outcome(FAILED, self.found, str(error))
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            problem = redacted(f"{type(error).__name__}: {error}")
            outcome = Outcome(FAILED, self.found, problem)
        return replace(outcome, seconds=round(time.monotonic() - started, 1), time=now)

    def needs(self, part: str) -> Mapping[str, Any]:
        """Return the facts of an earlier part.

        Raises:
            UntriedError: That part has not passed.
        """
        outcome = self.outcomes.get(part)
        if outcome is None or outcome.state != PASSED:
            raise UntriedError(f"part {part} has not passed; run doctor --live --only {part}")
        return outcome.facts

    def clean(self) -> Iterator[tuple[str, str, str]]:
        """Remove everything in the journal, the newest first; yield kind, name and the outcome.

        What could not be removed stays in the journal.
        """
        left = self.created
        for kind, name in reversed(self.created):
            try:
                state = _REMOVALS[kind](self.connection, name)
            except BlocksError as error:
                yield kind, name, f"not removed: {error.problem}"
                continue
            left.remove([kind, name])
            self._keep(left)
            yield kind, name, state

    def write(self, path: Path, signer: Signer) -> Path:
        """Write the facts as a signed statement, and return the path of its envelope.

        Raises:
            BlocksError: The key does not sign.
        """
        client = self.connection.client
        names = (client.subscription_id, client.resource_group_name, self.connection.name)
        statement = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "/".join(names), "digest": {}}],
            "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
            "predicate": {
                "format": FORM,
                "tfhub_blocks": tfhub_blocks.__version__,
                "profile": self.profile.name,
                "parts": {name: asdict(it) for name, it in self.outcomes.items()},
                "not_removed": self.created,
            },
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, (json.dumps(sealed(statement), indent=1) + "\n").encode())
        return sign_file(path, signer)


def trial_profile(profile: Profile) -> Profile:
    """Return a profile for trials: short steps, steps that travel with the job, no budget.

    The budget does not apply, because the ceiling of the trial is printed before it starts.
    """
    roles = {
        name: replace(role, timeout_s=min(role.timeout_s, STEP_TIMEOUT_S), instance_count=1)
        for name, role in profile.roles.items()
    }
    job = profile.job and replace(profile.job, components="inline")
    return replace(
        profile,
        roles=roles,
        job=job,
        budget=None,
        takes="pipelines",
        encoder_policy="experiment",
        environment_policy="warn",
    )


def role_for_probes(profile: Profile) -> Role:
    """Return the role on which probes run: ``cpu``, or the first role.

    Raises:
        BlocksError: The profile has no role.
    """
    if not profile.roles:
        problem = f"profile {profile.name} has no role"
        remedy = f"Add [roles.cpu] to {profile.path}"
        raise BlocksError(WHERE, profile.name, problem, "a role with a compute", remedy)
    return profile.roles.get("cpu") or next(iter(profile.roles.values()))


def _read(path: Path, otherwise: Any) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return otherwise


@contextmanager
def _removing(kind: str, name: str) -> Iterator[None]:
    with told(WHERE, f"{kind} {name}"):
        yield


def _remove_job(connection: Connection, name: str) -> str:
    found = find(WHERE, f"job {name}", connection.client.jobs.get, name)
    if found is None:
        return "does not exist"
    if str(getattr(found.status, "value", found.status)) in ("Completed", "Failed", "Canceled"):
        return "has ended; Azure keeps its record"
    with _removing("job", name):
        connection.client.jobs.begin_cancel(name).result()
    return "cancelled; Azure keeps its record"


def _remove_schedule(connection: Connection, name: str) -> str:
    schedules = connection.client.schedules
    found = find(WHERE, f"schedule {name}", schedules.get, name)
    if found is None:
        return "does not exist"
    with _removing("schedule", name):
        if found.is_enabled:
            schedules.begin_disable(name).result()
        schedules.begin_delete(name).result()
    return "deleted"


def _remove_endpoint(connection: Connection, name: str) -> str:
    endpoints = connection.client.online_endpoints
    if find(WHERE, f"endpoint {name}", endpoints.get, name) is None:
        return "does not exist"
    with _removing("endpoint", name):
        endpoints.begin_delete(name).result()
    return "deleted with its deployments"


def _remove_model(connection: Connection, name: str) -> str:
    return _archive(connection.client.models, "model", name)


def _archive(operations: Any, kind: str, name: str) -> str:
    """Archive all versions of an asset: Azure ML deletes none."""
    versions = find(WHERE, f"{kind} {name}", lambda it: list(operations.list(it)), name)
    for version in versions or ():
        with _removing(kind, name):
            operations.archive(name=name, version=version.version)
    return f"{len(versions)} versions archived" if versions else "does not exist"


def _remove_upload(connection: Connection, digest: str) -> str:
    from tfhub_blocks.control.workspace.uploads import Uploads

    return f"{Uploads(connection).remove(digest)} blobs deleted"


_REMOVALS: Mapping[str, Callable[[Connection, str], str]] = {
    "job": _remove_job,
    "schedule": _remove_schedule,
    "endpoint": _remove_endpoint,
    "model": _remove_model,
    "upload": _remove_upload,
}

"""The traffic of an endpoint, moved to a new deployment in steps that are each checked."""

# decision 112

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tfhub_blocks.control.deployments.candidates import WHERE
from tfhub_blocks.control.deployments.deployment_comparison import compare
from tfhub_blocks.control.deployments.replayed_requests import Ask, ReplayedRequest, replay
from tfhub_blocks.control.deployments.traffic import share_traffic
from tfhub_blocks.control.project.rollout_limits import RolloutLimits
from tfhub_blocks.control.project.tags import TAG
from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.control.workspace.patience import again_on_conflict, patiently
from tfhub_blocks.records.base.errors import BlocksError

# The new deployment, the one before it, and the last step that passed: written with the traffic.
ROLLOUT_TAG = f"{TAG}rollout"
# Azure mirrors requests to one deployment without live traffic, and at most 50 % of them.
# https://learn.microsoft.com/azure/machine-learning/how-to-safely-rollout-online-endpoints
_MIRRORED = 50
_SHARES = (5, 25, 100)


@dataclass(frozen=True)
class RolloutStep:
    """A state of the traffic: percent of the requests mirrored, and percent answered."""

    mirrored: int
    share: int

    def __str__(self) -> str:
        """Return the state in words."""
        return f"{self.mirrored} % mirrored" if self.mirrored else f"{self.share} %"


_NONE = RolloutStep(0, 0)


@dataclass(frozen=True)
class Rollout:
    """A change of an endpoint's traffic: the deployment before, the new one, and its target share.

    ``budget_ms`` is the latency that the new model kept when it was measured.
    """

    endpoint: str
    new: str
    target: int
    limits: RolloutLimits
    budget_ms: float | None
    before: str = ""
    passed: RolloutStep = _NONE

    def steps(self) -> list[RolloutStep]:
        """Return the steps that are left, in their order."""
        shares = [it for it in _SHARES if it < self.target] + [self.target]
        steps = [RolloutStep(_MIRRORED, 0), *(RolloutStep(0, it) for it in shares)]
        return [it for it in steps if _rank(it) > _rank(self.passed)]

    def traffic(self, now: Mapping[str, int], share: int) -> dict[str, int]:
        """Return the traffic of all deployments when the new one has a share."""
        others = {name: it for name, it in now.items() if name != self.new and it}
        return share_traffic(others or {self.before: 100}, self.new, share)

    @property
    def tag(self) -> str:
        """The state of the rollout, as a repeated call reads it."""
        return f"{self.new} {self.before} {self.passed.mirrored} {self.passed.share}"


def _rank(step: RolloutStep) -> tuple[int, int]:
    return step.share, step.mirrored


def find_rollout(endpoint: Any, wanted: Rollout) -> Rollout | None:
    """Return the rollout to begin or to continue; None if no other deployment has traffic.

    Raises:
        BlocksError: Another deployment is being rolled out.
    """
    now = {name: share for name, share in (endpoint.traffic or {}).items() if share}
    words = str((endpoint.tags or {}).get(ROLLOUT_TAG, "")).split()
    if len(words) == 4 and words[0] != wanted.new and now.get(words[0], 0) < 100:
        raise BlocksError(
            WHERE,
            f"traffic of {wanted.endpoint}",
            f"deployment {words[0]} is being rolled out, with {now.get(words[0], 0)} % so far",
            "one rollout of an endpoint at a time",
            "Deploy its model again with --requests to finish, or with --traffic 0 to give it up",
        )
    if len(words) == 4 and words[0] == wanted.new and all(it.isdecimal() for it in words[2:]):
        passed = RolloutStep(int(words[2]), int(words[3]))
        return replace(wanted, before=words[1], passed=passed)
    others = {name: share for name, share in now.items() if name != wanted.new}
    if not others:
        return None
    before = max(others, key=lambda name: (others[name], name))
    return replace(wanted, before=before, passed=RolloutStep(0, now.get(wanted.new, 0)))


def end_rollout(endpoint: Any, deployment: str) -> bool:
    """Remove the tag and the mirrored traffic of a deployment; return True if there were any."""
    tags, mirror = endpoint.tags or {}, endpoint.mirror_traffic or {}
    if str(tags.get(ROLLOUT_TAG, "")).split()[:1] != [deployment] and not mirror.get(deployment):
        return False
    endpoint.tags = {key: value for key, value in tags.items() if key != ROLLOUT_TAG}
    endpoint.mirror_traffic = {key: it for key, it in mirror.items() if key != deployment}
    return True


def roll_out(
    connection: Connection,
    rollout: Rollout,
    found: Sequence[ReplayedRequest],
    ask: Ask,
    on_change: Callable[[str, str], None],
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Move traffic step by step, and check each step with replayed requests before the next one.

    Azure holds the state: a call after any interruption continues with the step that did not pass.
    After Ctrl-C, SIGTERM or an error of Azure the traffic is that of the last step that passed.
    After SIGKILL it is that of the step in progress.

    Raises:
        BlocksError: A step failed a check. The new deployment then has no traffic.
    """
    for step in rollout.steps():
        what = f"traffic of {rollout.endpoint}"
        try:
            with _ended_by_signal():
                _set(connection, rollout, step, rollout.tag)
                on_change("traffic", f"{rollout.new} {step}, {rollout.before} before it")
                wait(rollout.limits.step_s)
                seen = compare(found, replay(ask, found, rollout.before, rollout.new))
        except (KeyboardInterrupt, BlocksError):
            _set(connection, rollout, rollout.passed, rollout.tag)
            on_change("traffic", f"interrupted: {rollout.new} has {rollout.passed}")
            raise
        faults = list(seen.faults(rollout.limits, rollout.budget_ms))
        on_change(f"check at {step}", str(seen))
        if faults:
            _set(connection, rollout, _NONE, "")
            raise _gone_back(rollout, step, what, faults)
        rollout = replace(rollout, passed=step)
    _set(connection, rollout, rollout.passed, "")
    on_change("traffic", f"{rollout.new} {rollout.passed}, as requested")


def _gone_back(rollout: Rollout, step: RolloutStep, what: str, faults: list[str]) -> BlocksError:
    return BlocksError(
        WHERE,
        what,
        f"deployment {rollout.new} failed at {step}: {'; '.join(faults)}. {rollout.before} answers"
        f" all requests again, and {rollout.new} none",
        "",
        f"Delete deployment {rollout.new}, which costs money without traffic, or repeat the"
        " command once the cause is gone",
    )


def _set(connection: Connection, rollout: Rollout, step: RolloutStep, tag: str) -> None:
    """Set the traffic of a step and the tag of the rollout in one request."""
    operations = connection.client.online_endpoints

    def change() -> None:
        endpoint = patiently(lambda: operations.get(rollout.endpoint))
        now = {name: share for name, share in (endpoint.traffic or {}).items() if share}
        mirror = {name: share for name, share in (endpoint.mirror_traffic or {}).items() if share}
        tags = {key: it for key, it in (endpoint.tags or {}).items() if key != ROLLOUT_TAG}
        traffic = rollout.traffic(now, step.share)
        mirrored = {rollout.new: step.mirrored} if step.mirrored else {}
        tags |= {ROLLOUT_TAG: tag} if tag else {}
        if (traffic, mirrored, tags) != (now, mirror, endpoint.tags or {}):
            endpoint.traffic, endpoint.mirror_traffic, endpoint.tags = traffic, mirrored, tags
            operations.begin_create_or_update(endpoint).result()

    with told(WHERE, f"traffic of {rollout.endpoint}"):
        again_on_conflict(change)


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Raise KeyboardInterrupt for SIGTERM too, as a job that is cancelled gets it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt

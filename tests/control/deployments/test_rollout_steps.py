"""Steps of a rollout, the comparison of two deployments, and files of requests."""

import json
from types import SimpleNamespace

import pytest

from tfhub_blocks.control.deployments.deployment_comparison import compare
from tfhub_blocks.control.deployments.replayed_requests import (
    DeploymentAnswer,
    ReplayedRequest,
    read_requests,
    replay,
)
from tfhub_blocks.control.deployments.rollouts import (
    ROLLOUT_TAG,
    Rollout,
    RolloutStep,
    end_rollout,
    find_rollout,
)
from tfhub_blocks.control.project.rollout_limits import RolloutLimits
from tfhub_blocks.records.base.errors import BlocksError

LIMITS = RolloutLimits()


def answers(label, count=20, status=200, seconds=0.01):
    content = {"predictions": [{"label": label, "probability": 0.5}]}
    return [DeploymentAnswer(status, seconds, content) for _ in range(count)]


def faults(before, new, budget_ms=None, collected=None, limits=LIMITS):
    found = [ReplayedRequest({}, collected) for _ in before]
    return list(compare(found, list(zip(before, new, strict=True))).faults(limits, budget_ms))


@pytest.mark.parametrize(
    ("before", "new", "told"),
    [
        (answers("cat"), answers("cat"), []),
        (answers("cat"), [*answers("cat", 19), *answers("dog", 1)], []),
        (
            answers("cat"),
            [*answers("cat", 18), *answers("dog", 2)],
            ["90.0% of the predictions agree"],
        ),
        (
            answers("cat"),
            [*answers("cat", 19), *answers("cat", 1, status=500)],
            ["1 of 20 requests failed (5.0%), and at most 1.0% may"],
        ),
        # Both refuse an item that is damaged.
        (
            [*answers("cat", 19), *answers("", 1, 400)],
            [*answers("cat", 19), *answers("", 1, 400)],
            [],
        ),
        # The new one refuses what the other one takes.
        (answers("cat"), [*answers("cat", 19), *answers("", 1, 400)], ["1 of 20 requests failed"]),
        # A deployment that is throttled like the one before is not worse.
        (
            [*answers("cat", 19), *answers("", 1, 429)],
            [*answers("cat", 19), *answers("", 1, 429)],
            [],
        ),
        (
            answers("cat"),
            [DeploymentAnswer(0, 1.0)] * 20,
            ["20 of 20 requests failed", "no request was answered by both"],
        ),
        # A page of a proxy is no answer, whatever its status.
        (answers("cat"), [DeploymentAnswer(200, 0.01)] * 20, ["20 of 20", "no request"]),
        (
            answers("cat"),
            [*answers("cat", 18), *answers("cat", 2, seconds=0.05)],
            ["95 % of the requests took up to 50 ms (10 ms before), and at most 15 ms"],
        ),
        (answers("cat"), [*answers("cat", 19), *answers("cat", 1, seconds=9.0)], []),
    ],
)
def test_limits_of_errors_agreement_and_latency(before, new, told):
    seen = faults(before, new)
    assert len(seen) == len(told), seen
    assert all(text.startswith(start) for text, start in zip(seen, told, strict=True)), seen


def test_latency_within_the_measured_budget_is_good_however_fast_the_other_is():
    assert faults(answers("cat"), answers("cat", seconds=0.05), budget_ms=60.0) == []
    assert faults(answers("cat"), answers("cat", seconds=0.07), budget_ms=60.0)


def test_collected_answer_stands_for_the_deployment_before():
    collected = {"predictions": [{"label": "cat"}]}
    assert faults(answers("dog"), answers("cat"), collected=collected) == []
    dead = [DeploymentAnswer(0, 1.0)] * 20
    assert faults(dead, answers("cat"), collected=collected) == []
    assert "agree" in faults(answers("dog"), answers("dog"), collected=collected)[0]


def test_predictions_without_labels_and_of_another_number_are_compared_whole():
    def of(*rows):
        return [DeploymentAnswer(200, 0.01, {"predictions": list(rows)})]

    few = RolloutLimits(min_requests=1)
    assert faults(of([0.1], [0.2]), of([0.1], [0.2]), limits=few) == []
    assert "50.0%" in faults(of([0.1], [0.2]), of([0.1], [0.3]), limits=few)[0]
    assert "50.0%" in faults(of([0.1], [0.2]), of([0.1]), limits=few)[0]


def test_each_deployment_is_first_for_every_other_request():
    asked = []

    def ask(name, request):
        asked.append(name)
        return DeploymentAnswer(200, 0.0, name)

    pairs = replay(ask, [ReplayedRequest({})] * 2, "old", "new")
    assert asked == ["old", "new", "new", "old"]
    assert [(one.content, other.content) for one, other in pairs] == [("old", "new")] * 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot be read (FileNotFoundError)"),
        (b"\xff", "cannot be read (UnicodeDecodeError)"),
        (b"", "contains 0 requests, and the profile needs 2"),
        (b"{}\n[1]\n", "line 2 of"),
        (b"{}\nnope\n", "line 2 of"),
        (b"[" * 100_000, "line 1 of"),
    ],
)
def test_unfit_files_of_requests_are_refused(tmp_path, text, told):
    path = tmp_path / "requests.jsonl"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(BlocksError, match="deploy online > --requests") as caught:
        read_requests(path, 2, "deploy online")
    assert told in str(caught.value)


def test_lines_are_bodies_or_bodies_with_collected_answers(tmp_path):
    path = tmp_path / "requests.jsonl"
    lines = [{"inputs": ["a"]}, {"request": {"inputs": ["b"]}, "answer": {"predictions": []}}]
    path.write_text("\n\n".join(map(json.dumps, lines)) + "\n")
    assert read_requests(path, 2, "deploy online") == (
        ReplayedRequest({"inputs": ["a"]}),
        ReplayedRequest({"inputs": ["b"]}, {"predictions": []}),
    )


def rollout(target=100, **more):
    return Rollout("shared", "new", target, LIMITS, None, **more)


def state(traffic, tag="", mirror=None):
    tags = {ROLLOUT_TAG: tag} if tag else {}
    return SimpleNamespace(traffic=traffic, mirror_traffic=mirror or {}, tags=tags)


def test_steps_begin_with_mirrored_requests_and_end_with_the_target():
    assert [str(it) for it in rollout().steps()] == ["50 % mirrored", "5 %", "25 %", "100 %"]
    assert [it.share for it in rollout(10).steps()] == [0, 5, 10]
    assert [it.share for it in rollout(passed=RolloutStep(0, 5)).steps()] == [25, 100]
    assert [it.share for it in rollout(passed=RolloutStep(50, 0)).steps()] == [5, 25, 100]


def test_repeated_call_continues_by_the_state_in_azure():
    assert find_rollout(state({}), rollout()) is None
    assert find_rollout(state({"new": 100}), rollout()) is None
    begun = find_rollout(state({"old": 70, "older": 30}), rollout())
    assert (begun.before, begun.passed) == ("old", RolloutStep(0, 0))
    found = find_rollout(state({"old": 75, "new": 25}, "new old 0 5"), rollout())
    assert (found.before, found.passed) == ("old", RolloutStep(0, 5))
    # At 100 % only the tag knows which deployment to go back to.
    found = find_rollout(state({"new": 100}, "new old 0 25"), rollout())
    assert found.traffic({"new": 100}, 0) == {"old": 100}
    with pytest.raises(BlocksError, match="deployment other is being rolled out, with 5 %"):
        find_rollout(state({"old": 95, "other": 5}, "other old 50 0"), rollout())


def test_explicit_share_ends_a_rollout():
    it = state({"old": 100}, "new old 0 0", {"new": 50})
    assert not end_rollout(it, "other")
    assert end_rollout(it, "new")
    assert (it.tags, it.mirror_traffic) == ({}, {})

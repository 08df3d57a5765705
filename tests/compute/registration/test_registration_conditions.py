"""What registration refuses, told in full."""

from dataclasses import replace

import pytest

from tfhub_blocks.compute.registration.registration_conditions import check_evidence, check_speed
from tfhub_blocks.records.base.digests import tree_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import Lineage, Provenance
from tfhub_blocks.records.formats.evidence import Evidence, Threshold
from tfhub_blocks.records.pins.pins import Decisions

PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")
FILES = {"MLmodel": "a" * 64}
PLAIN = Lineage("model", "model/1", FILES, PROVENANCE)
FAST = Lineage("model", "model/1", FILES | {"runtime.toml": "b" * 64}, PROVENANCE)
SIZE = "Standard_D2ds_v5"
BATCH, REALTIME = Decisions(inference="batch"), Decisions("mounted", "allowed", "realtime", 50.0)

EVALUATED = Evidence(tree_digest(FILES), {}, {}, (Threshold("min_accuracy", 0.9, 0.95, True),))
TIMED = Evidence(
    tree_digest(FILES),
    {"served_model": FAST.digest},
    {},
    (
        Threshold("max_difference_from_evaluation", 1e-5, 1e-7, True),
        Threshold("max_p99_ms", 40.0, 21.0, True),
    ),
    kind="latency",
    facts={"compute_size": SIZE, "precision": "float32"},
)


def test_evaluation_of_a_model_holds_for_it_with_any_runtime():
    check_evidence(PLAIN, EVALUATED)
    check_evidence(FAST, EVALUATED)
    check_evidence(FAST, replace(EVALUATED, model_digest=FAST.digest))


def test_what_holds_is_not_refused():
    check_speed(PLAIN, BATCH, None, None)
    check_speed(FAST, BATCH, TIMED, None)
    check_speed(FAST, REALTIME, TIMED, SIZE)


def refusal(check, *given):
    with pytest.raises(BlocksError) as refused:
        check(*given)
    return str(refused.value)


def test_each_refusal_says_what_is_wrong_and_what_to_do(golden):
    missed = (*TIMED.thresholds, Threshold("min_items_per_s", 100.0, 61.5, False))
    lenient = (TIMED.thresholds[0], Threshold("max_p99_ms", 80.0, 21.0, True))
    loose = (Threshold("max_difference_from_evaluation", 0.1, 1e-3, True), TIMED.thresholds[1])
    other = Lineage("model", "model/1", {"MLmodel": "c" * 64}, PROVENANCE)
    told = [
        refusal(check_evidence, other, EVALUATED),
        refusal(check_evidence, FAST, TIMED),
        refusal(check_speed, PLAIN, REALTIME, None, SIZE),
        refusal(check_speed, FAST, BATCH, None, None),
        refusal(check_speed, FAST, BATCH, EVALUATED, None),
        refusal(check_speed, PLAIN, REALTIME, TIMED, SIZE),
        refusal(check_speed, FAST, REALTIME, replace(TIMED, thresholds=missed), SIZE),
        refusal(check_speed, FAST, REALTIME, replace(TIMED, thresholds=lenient), SIZE),
        refusal(check_speed, FAST, REALTIME, replace(TIMED, thresholds=lenient[:1]), SIZE),
        refusal(check_speed, FAST, REALTIME, replace(TIMED, thresholds=lenient[1:]), SIZE),
        refusal(check_speed, FAST, BATCH, replace(TIMED, thresholds=loose), None),
        refusal(check_speed, FAST, REALTIME, TIMED, "Standard_D4ds_v5"),
        refusal(check_speed, FAST, REALTIME, TIMED, None),
        refusal(check_speed, FAST, REALTIME, replace(TIMED, facts={}), SIZE),
    ]
    golden("registrations", "".join(f"{line}\n" for line in told))

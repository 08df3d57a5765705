"""The conditions for registering a model: evidence of its accuracy and of its latency."""

# decisions 43 and 44

from tfhub_blocks.compute.latency.latency_budget import (
    FLOAT32_TOLERANCE,
    FROM_EVALUATION,
    threshold_name,
)
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import Lineage
from tfhub_blocks.records.formats.evidence import Evidence
from tfhub_blocks.records.formats.models import bare_digest
from tfhub_blocks.records.formats.runtimes import RUNTIME_NAME
from tfhub_blocks.records.pins.pins import Decisions

WHERE = "register_model"
GATE = "Pass the model and the evidence of check_latency, as the pipeline latency_gate does"


def check_evidence(model: Lineage, evidence: Evidence) -> None:
    """Check that an evaluation is about a model and met every threshold.

    Evidence about the model without its runtime is accepted.

    Raises:
        BlocksError: The evidence is about another model, or missed a threshold.
    """
    if evidence.kind != "evaluation":
        raise _refused(
            "evidence",
            f"the evidence is of kind {evidence.kind}",
            "evidence of an evaluation",
            "Pass the evidence of the step evaluate",
        )
    if evidence.model_digest not in (model.digest, bare_digest(model)):
        raise _refused(
            "evidence",
            f"the evidence is about the model with digest {evidence.model_digest}",
            f"evidence about the model to register, digest {model.digest}",
            "Evaluate this model, and pass its evidence",
        )
    for problem, expected in evidence.contradictions():
        remedy = "Evaluate the model again, and pass the new evidence"
        raise _refused("evidence", problem, expected, remedy)
    _check_thresholds("evidence", evidence)


def check_champion(champion: Lineage, evidence: Evidence) -> None:
    """Check that an evaluation compared the model with a champion.

    Raises:
        BlocksError: The evidence has no comparison, or a comparison with another model.
    """
    found = evidence.comparison.champion if evidence.comparison else ""
    if found not in (champion.digest, bare_digest(champion)):
        raise _refused(
            "champion",
            f"the evidence compares with model {found}"
            if found
            else "the evidence contains no comparison",
            f"evidence that compares with this champion, digest {champion.digest}",
            "Evaluate the model with this champion, and pass the new evidence",
        )


def check_speed(
    model: Lineage, decisions: Decisions, latency: Evidence | None, compute_size: str | None
) -> None:
    """Check the evidence of latency of a model for real time, or of a model with a runtime.

    The evidence must be about this model with this runtime, and must meet every bound, including
    the budget in the encoder's pin. It must compare the served answers with those of the
    evaluation, and come from the size of machine that the model is for.

    Raises:
        BlocksError: The evidence is missing, or fails one of these conditions.
    """
    realtime = decisions.inference == "realtime"
    if latency is None:
        if realtime or RUNTIME_NAME in model.files:
            why = "the pin states realtime" if realtime else f"the model has a {RUNTIME_NAME}"
            problem = f"the evidence of latency is missing, but {why}"
            raise _refused("latency", problem, "evidence of latency", GATE)
        return
    if latency.kind != "latency" or latency.digests.get("served_model") != model.digest:
        raise _refused(
            "latency",
            f"the evidence is of kind {latency.kind}, about model {_served(latency)}",
            f"evidence of latency about the model to register, digest {model.digest}",
            GATE,
        )
    _check_thresholds("latency", latency)
    asked = {threshold.name: threshold.asked for threshold in latency.thresholds}
    if FROM_EVALUATION not in asked:
        raise _refused(
            "latency",
            "the evidence does not compare the served answers with those of evaluate",
            f"the threshold {FROM_EVALUATION}",
            "Pass the report of evaluate to check_latency as evaluation",
        )
    if latency.facts.get("precision") != "bfloat16" and asked[FROM_EVALUATION] > FLOAT32_TOLERANCE:
        raise _refused(
            "latency",
            f"served answers may differ by {asked[FROM_EVALUATION]:g} from those of evaluate",
            f"at most {FLOAT32_TOLERANCE:g} in float32",
            "Run check_latency again",
        )
    if not realtime:
        return
    name, most_ms = threshold_name("p99_ms"), decisions.latency_budget_ms
    if most_ms is not None and not asked.get(name, float("inf")) <= most_ms:
        raise _refused(
            "latency",
            f"the threshold {name} in the evidence is {asked.get(name, 'missing')}",
            f"at most {most_ms:g}, as the pin states",
            "Run check_latency again with this pin",
        )
    measured_on = latency.facts.get("compute_size") or "a machine of unknown size"
    if compute_size is None or measured_on != compute_size:
        raise _refused(
            "compute_size",
            f"latency was measured on {measured_on}, but the model is for "
            f"{compute_size or 'a machine of unknown size'}",
            "the same size of machine",
            "Set compute_size, and run check_latency on a machine of this size",
        )


def _served(latency: Evidence) -> str:
    return latency.digests.get("served_model", latency.model_digest)


def _check_thresholds(port: str, evidence: Evidence) -> None:
    failed = [
        f"{threshold.name} is {threshold.measured:.4g}, required {threshold.asked:g}"
        for threshold in evidence.thresholds
        if not threshold.met
    ]
    if failed or not evidence.thresholds:
        raise _refused(
            port,
            "; ".join(failed) or "the evidence has no threshold",
            "evidence that met every threshold",
            "Improve the model, or evaluate it with another threshold",
        )


def _refused(what: str, problem: str, expected: str, remedy: str) -> BlocksError:
    return BlocksError(WHERE, what, problem, expected, remedy)

"""What registering a model takes: evidence that it is good, and that it answers soon enough."""

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
GATE = "let check_latency give model and evidence, as pipelines/latency_gate.py does"


def check_evidence(model: Lineage, evidence: Evidence) -> None:
    """Check that an evaluation is about a model, with or without its runtime, and was passed.

    Raises:
        BlocksError: It is not, or was not.
    """
    if evidence.kind != "evaluation":
        raise _refused("evidence", f"it is of {evidence.kind}", "an evaluation", "evaluate it")
    if evidence.model_digest not in (model.digest, bare_digest(model)):
        raise _refused(
            "evidence",
            f"it is about the model with digest {evidence.model_digest}",
            f"evidence about the model given, digest {model.digest}",
            "evaluate this model and give that evidence",
        )
    for problem, expected in evidence.contradictions():
        raise _refused("evidence", problem, expected, "evaluate it again, and give that evidence")
    _check_thresholds("evidence", evidence)


def check_champion(champion: Lineage, evidence: Evidence) -> None:
    """Check that an evaluation compared with a champion, and not with another model.

    Raises:
        BlocksError: It did not.
    """
    found = evidence.comparison.champion if evidence.comparison else ""
    if found not in (champion.digest, bare_digest(champion)):
        raise _refused(
            "champion",
            f"the evidence compares with the model {found}" if found else "nothing was compared",
            f"evidence that compares with the champion given, digest {champion.digest}",
            "evaluate the model against this champion, and give that evidence",
        )


def check_speed(
    model: Lineage, decisions: Decisions, latency: Evidence | None, compute_size: str | None
) -> None:
    """Check that a model in real time, or with a runtime, has evidence of latency that holds.

    It is about this model with this runtime, met every bound, among them the one that the pin
    decides, proves that what is served is what was evaluated, and was measured on the machine that
    the model is meant for.

    Raises:
        BlocksError: It is missing, or does not hold.
    """
    realtime = decisions.inference == "realtime"
    if latency is None:
        if realtime or RUNTIME_NAME in model.files:
            why = "its pin decides for realtime" if realtime else f"it has a {RUNTIME_NAME}"
            raise _refused("latency", f"none is given, and {why}", "evidence of latency", GATE)
        return
    if latency.kind != "latency" or latency.digests.get("served_model") != model.digest:
        raise _refused(
            "latency",
            f"it is evidence of {latency.kind} about the model {_served(latency)}",
            f"evidence of latency about the model given, digest {model.digest}",
            GATE,
        )
    _check_thresholds("latency", latency)
    asked = {threshold.name: threshold.asked for threshold in latency.thresholds}
    if FROM_EVALUATION not in asked:
        raise _refused(
            "latency",
            "nothing shows that what is served is what evaluate computed",
            f"the threshold {FROM_EVALUATION}",
            "give evaluate's report to check_latency as evaluation",
        )
    if latency.facts.get("precision") != "bfloat16" and asked[FROM_EVALUATION] > FLOAT32_TOLERANCE:
        raise _refused(
            "latency",
            f"what is served may differ by {asked[FROM_EVALUATION]:g} from what evaluate computed",
            f"at most {FLOAT32_TOLERANCE:g} in float32",
            "run check_latency again",
        )
    if not realtime:
        return
    name, most_ms = threshold_name("p99_ms"), decisions.latency_budget_ms
    if most_ms is not None and not asked.get(name, float("inf")) <= most_ms:
        raise _refused(
            "latency",
            f"it was held to {name} {asked.get(name, 'nothing')}",
            f"at most {most_ms:g}, as the pin decides",
            "run check_latency again, with the pin as it is",
        )
    measured_on = latency.facts.get("compute_size") or "a machine that nobody named"
    if compute_size is None or measured_on != compute_size:
        raise _refused(
            "compute_size",
            f"latency was measured on {measured_on}, and the model is meant for "
            f"{compute_size or 'none that was named'}",
            "the same size of machine",
            "set compute_size, and run check_latency on such a machine",
        )


def _served(latency: Evidence) -> str:
    return latency.digests.get("served_model", latency.model_digest)


def _check_thresholds(port: str, evidence: Evidence) -> None:
    failed = [
        f"{threshold.name} asked {threshold.asked:g}, measured {threshold.measured:.4g}"
        for threshold in evidence.thresholds
        if not threshold.met
    ]
    if failed or not evidence.thresholds:
        raise _refused(
            port,
            "; ".join(failed) or "no threshold was asked for",
            "evidence that met every threshold",
            "improve the model, or ask for another threshold on purpose",
        )


def _refused(what: str, problem: str, expected: str, remedy: str) -> BlocksError:
    return BlocksError(WHERE, what, problem, expected, remedy)

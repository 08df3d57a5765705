"""The evidence of a run, in the form that a release lock contains."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfhub_blocks.control.project.output_store import Stored
from tfhub_blocks.control.project.step_graph import Graph
from tfhub_blocks.records.base.digests import file_sha256, record_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, read_lineage
from tfhub_blocks.records.formats.evidence import Evidence, read_evidence
from tfhub_blocks.records.formats.models import bare_digest
from tfhub_blocks.records.formats.releases import LockedEvidence

EVIDENCE_PORT = "evidence"


def proven_evidence(graph: Graph, made: Mapping[str, Stored]) -> LockedEvidence | None:
    """Return the evidence that a pipeline outputs, or else that of its last evaluation.

    Raises:
        BlocksError: The evidence is about a model that the run did not build.
    """
    sources = [(out.node, out.port) for out in graph.outputs.values() if out.port == EVIDENCE_PORT]
    sources += [
        (n.name, EVIDENCE_PORT) for n in graph.nodes.values() if EVIDENCE_PORT in n.output_types
    ]
    if not sources:
        return None
    node, port = sources[0]
    path = made[node].outputs[port]
    found = read_evidence(path, "lock")
    lineages = [
        read_lineage(output)
        for stored in made.values()
        for output in stored.outputs.values()
        if (output / STATEMENT_NAME).is_file()
    ]
    # check_latency adds a runtime to the model, and the evidence names the model without it.
    digests = {digest for it in lineages for digest in (it.digest, bare_digest(it))}
    if found.model_digest not in digests:
        raise BlocksError(
            "lock",
            f"step {node}",
            f"the evidence is about model {found.model_digest}, which the run did not build",
            "evidence about a model of this run",
            "Run the pipeline again",
        )
    return _locked(found, path)


def _locked(found: Evidence, path: Path) -> LockedEvidence:
    thresholds: dict[str, dict[str, float]] = {
        it.name: {"asked": it.asked, "measured": it.measured} for it in found.thresholds
    }
    metrics: dict[str, dict[str, float]] = {
        name: {key: float(value) for key, value in metric.items() if _is_number(value)}
        for name, metric in sorted(found.metrics.items())
    }
    statement = json.loads(path.read_text(encoding="utf-8"))
    digest = str(statement.get("digest") or record_digest(statement) or file_sha256(path))
    return LockedEvidence(found.model_digest, digest, found.passed, thresholds, metrics)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

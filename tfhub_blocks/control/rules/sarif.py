"""A report as SARIF 2.1.0, which GitHub shows at the lines of a pull request."""

import json
from typing import Any

import tfhub_blocks
from tfhub_blocks.control.rules.rule import Finding, Rule
from tfhub_blocks.control.rules.rule_checks import CheckReport
from tfhub_blocks.records.base.digests import record_digest
from tfhub_blocks.records.base.foreign_text import printable

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif_text(report: CheckReport) -> str:
    """Return a report as one run of a tool. Paths are relative to the repository if possible."""
    places = {rule.id: index for index, rule in enumerate(report.rules)}
    run = {
        "tool": {
            "driver": {
                "name": "tfhub-blocks",
                "version": tfhub_blocks.__version__,
                "rules": [_rule(rule) for rule in report.rules],
            }
        },
        "results": [_result(it, places[it.rule]) for it in report.findings],
        "columnKind": "unicodeCodePoints",
        "properties": {"profile": report.profile, "pipelines": report.pipelines},
    }
    record = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.demand},
        "fullDescription": {"text": f"{rule.demand}: {rule.why}"},
        "help": {
            "text": f"{rule.why}; see {rule.reference}",
            "markdown": f"{rule.why}; see [{rule.id}]({rule.docs})",
        },
        "defaultConfiguration": {"level": rule.severity},
    }


def _result(it: Finding, index: int) -> dict[str, Any]:
    artifact = {"uri": it.place.path.as_posix()}
    if it.place.path.is_absolute():
        artifact["uri"] = it.place.path.as_uri()
    else:
        artifact["uriBaseId"] = "%SRCROOT%"
    name = f"{it.pipeline}/{it.node}" if it.pipeline else it.node
    result: dict[str, Any] = {
        "ruleId": it.rule,
        "ruleIndex": index,
        "level": it.severity,
        "message": {"text": printable(f"{it.node}: {it.problem}. Fix: {it.remedy}")},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": artifact,
                    "region": {"startLine": it.place.line},
                },
                "logicalLocations": [{"name": it.node, "fullyQualifiedName": name}],
            }
        ],
        # Without the line, a finding keeps its identity when lines above it change.
        "partialFingerprints": {
            "tfhubBlocks/v1": record_digest([it.rule, it.pipeline, it.node, it.problem])
        },
    }
    if it.exception is not None:
        reason = f"{it.exception.owner}, until {it.exception.expires}: {it.exception.reason}"
        result["suppressions"] = [
            {"kind": "external", "status": "accepted", "justification": reason}
        ]
    return result

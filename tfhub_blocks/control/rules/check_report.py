"""The result of a check as text or JSON; SARIF and JUnit have modules of their own."""

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any

from tfhub_blocks.control.rules.junit import junit_text
from tfhub_blocks.control.rules.rule import Finding
from tfhub_blocks.control.rules.rule_checks import CheckReport
from tfhub_blocks.control.rules.sarif import sarif_text
from tfhub_blocks.records.base.foreign_text import printable

JSON_VERSION = 1
# The text report shows so many nodes of equal findings, and so many different findings of a rule.
SHOWN_NODES, SHOWN_PROBLEMS = 3, 5


def text(report: CheckReport) -> str:
    """Return a report for users: grouped by rule, with equal findings listed once."""
    lines: list[str] = []
    rules = {rule.id: rule for rule in report.rules}
    for (kind, rule_id), group in groupby(report.findings, lambda it: (_kind(it), it.rule)):
        found, rule = list(group), rules[rule_id]
        lines += [f"{kind} {rule_id}: {rule.demand} ({len(found)})"]
        lines += map(printable, _problems(found))
        lines += [f"  why: {rule.why}", f"  see: {rule.reference}", ""]
    counts = ", ".join(_number(count, kind) for kind, count in report.counts().items())
    pipelines = _number(len(report.pipelines), "pipeline")
    lines.append(f"{counts}: {len(report.rules)} rules, {pipelines}, profile {report.profile}")
    return "\n".join(lines) + "\n"


def _kind(finding: Finding) -> str:
    return "excepted" if finding.exception else finding.severity


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 or word == 'excepted' else 's'}"


def _problems(found: list[Finding]) -> Iterator[str]:
    """Yield the different problems among the findings of a rule, each with its first nodes."""
    same: dict[tuple[Any, ...], list[Finding]] = {}
    for it in found:
        same.setdefault((it.problem, it.remedy, it.exception), []).append(it)
    for problem, remedy, exception in list(same)[:SHOWN_PROBLEMS]:
        those = same[problem, remedy, exception]
        for it in those[:SHOWN_NODES]:
            node = f"{it.pipeline} > {it.node}" if " " not in it.node else it.node
            yield f"  {it.place}  {node}"
        if len(those) > SHOWN_NODES:
            yield f"  and {len(those) - SHOWN_NODES} more"
        yield f"    {problem}"
        yield f"    fix: {remedy}"
        if exception:
            yield f"    until {exception.expires}, {exception.owner}: {exception.reason}"
    if rest := list(same.values())[SHOWN_PROBLEMS:]:
        kinds = "of another kind" if len(rest) == 1 else f"of {len(rest)} other kinds"
        yield f"  and {sum(map(len, rest))} more {kinds}; --format json lists all of them"


def json_text(report: CheckReport) -> str:
    """Return a report for programs: every finding with all its fields."""
    rules = {rule.id: rule for rule in report.rules}
    record = {
        "format_version": JSON_VERSION,
        "profile": report.profile,
        "pipelines": report.pipelines,
        "failed": report.has_failed,
        "counts": report.counts(),
        "findings": [
            {
                "rule": it.rule,
                "severity": it.severity,
                "pipeline": it.pipeline,
                "node": it.node,
                "file": it.place.path.as_posix(),
                "line": it.place.line,
                "problem": it.problem,
                "why": rules[it.rule].why,
                "fix": it.remedy,
                "docs": rules[it.rule].docs,
                "exception": it.exception
                and {
                    "owner": it.exception.owner,
                    "reason": it.exception.reason,
                    "expires": it.exception.expires.isoformat(),
                },
            }
            for it in report.findings
        ],
    }
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


FORMATS: Mapping[str, Callable[[CheckReport], str]] = {
    "text": text,
    "json": json_text,
    "sarif": sarif_text,
    "junit": junit_text,
}

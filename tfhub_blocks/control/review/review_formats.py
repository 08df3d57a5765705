"""A review as text, JSON or SARIF; Markdown has a module of its own."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from tfhub_blocks.control.costs.cost_tables import justified
from tfhub_blocks.control.project.profiles import profile_files
from tfhub_blocks.control.project.rule_exceptions import Severity
from tfhub_blocks.control.review.review_markdown import markdown_text
from tfhub_blocks.control.review.review_tables import Review, Table, details, summary
from tfhub_blocks.control.rules.rule import DOCS, Finding, Rule
from tfhub_blocks.control.rules.rule_checks import ALWAYS, CheckReport, load_rules
from tfhub_blocks.control.rules.sarif import sarif_text
from tfhub_blocks.control.rules.source_lines import SourceLine, Sources
from tfhub_blocks.records.base.foreign_text import printable

JSON_VERSION = 1
_WHY = "the profile demands an approval of such a change, or stops it"
_NOWHERE = Path("pipelines/profiles")
_PAGE = DOCS.replace("rules.md", "ci.md")


def text(review: Review) -> str:
    """Return a review for users."""
    lines = [review.title, review.verdict, "", *_lines(summary(review))]
    for table in details(review):
        lines += ["", table.title, *_lines(table)]
    return "\n".join(lines) + "\n"


def _lines(table: Table) -> list[str]:
    rows = [list(table.columns), *(list(map(printable, row)) for row in table.rows)]
    return [f"  {line}" for line in justified(rows, left=range(len(table.columns)))]


def json_text(review: Review) -> str:
    """Return a review for programs."""
    found = review.found
    record = {
        "format_version": JSON_VERSION,
        "base": found.base,
        "head": found.head,
        "day": found.day.isoformat(),
        "failed": review.has_failed,
        "empty": review.is_empty,
        "verdict": review.verdict,
        "guardrails": [
            {
                "kind": it.kind,
                "profile": it.profile,
                "change": it.text,
                "action": it.action,
                "approvers": it.approvers,
                "approved_by": it.approved_by,
                "stands": it.stands,
            }
            for it in review.guarded
        ],
        "pipelines": [
            {
                "pipeline": it.pipeline,
                "profile": it.profile,
                "changed": it.is_changed,
                "ceiling_before": it.before.ceiling if it.before else None,
                "ceiling_after": it.after.ceiling if it.after else None,
                "expected_next_run": it.next_run,
                "problem": it.after.problem if it.after else "",
                "steps": {
                    name: {"state": step.state, "why": step.reasons}
                    for name, step in it.steps.items()
                },
            }
            for it in found.pipelines
        ],
        "months": [
            {
                "profile": it.profile,
                "currency": it.currency,
                "scheduled_before": it.before,
                "scheduled_after": it.after,
                "spent": it.spent,
                "budget": it.budget.month if it.budget else None,
            }
            for it in found.months
        ],
        "tables": [
            {"title": it.title, "columns": it.columns, "rows": it.rows}
            for it in (summary(review), *details(review))
        ],
    }
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def sarif(review: Review) -> str:
    """Return the new findings and the guardrails as SARIF, at the lines of the files."""
    findings = [it for _, it in review.found.new_findings]
    rules = [*ALWAYS, *load_rules().known]
    files, sources = profile_files(), Sources()
    for change in review.guarded:
        rule = f"review-{change.kind.replace('_', '-')}"
        severity: Severity = "error" if change.stands else "note"
        path = files.get(change.profile)
        place = sources.key(path, f"review.{change.kind}") if path else None
        findings.append(
            Finding(
                change.text,
                change.verdict,
                f"profile {change.profile}",
                "",
                place or SourceLine(_NOWHERE),
                rule,
                severity,
            )
        )
        if rule not in [it.id for it in rules]:
            demand = f"a change meets the guardrail {change.kind}"
            rules.append(Rule(rule, demand, _WHY, "error", "error", _PAGE, lambda _: iter(())))
    pipelines = tuple(sorted({it.pipeline for it in review.found.pipelines}))
    return sarif_text(CheckReport("all", pipelines, tuple(rules), tuple(dict.fromkeys(findings))))


FORMATS: Mapping[str, Callable[[Review], str]] = {
    "text": text,
    "markdown": markdown_text,
    "json": json_text,
    "sarif": sarif,
}

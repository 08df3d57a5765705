"""``review``: what a change makes run again, what it costs, and what it needs."""

import argparse
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from tfhub_blocks.commands.report_files import add_also, also_files, write_reports
from tfhub_blocks.commands.status import DONE, FAILED
from tfhub_blocks.records.base.errors import BlocksError

FORMATS = ("text", "markdown", "json", "sarif")
LIMITS = ("github", "azure-devops")


def register(commands: Any) -> None:
    """Add the command to a parser's subcommands."""
    review = commands.add_parser(
        "review",
        help="Show what a change makes run again, what it costs, and what it needs.",
        description="Compare two commits without running a step and without credentials: the "
        "steps that run again, the highest and expected cost, environments, encoders, data, "
        "releases, schedules, endpoints, profiles, prices, and the findings of check. The exit "
        "status is 1 if a guardrail of a profile stops the change or needs an approval.",
    )
    review.add_argument("base", metavar="BASE", help="commit, branch or tag before the change")
    review.add_argument(
        "head",
        metavar="HEAD",
        nargs="?",
        default="HEAD",
        help="commit, branch or tag of the change (default: HEAD)",
    )
    review.add_argument(
        "--format", choices=FORMATS, default="text", help="format of the report (default: text)"
    )
    review.add_argument(
        "--limit",
        choices=LIMITS,
        default="github",
        help="longest Markdown: 200,000 bytes for github (default), 140,000 for azure-devops",
    )
    review.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="file for the report (default: standard output)",
    )
    add_also(review, FORMATS)
    review.add_argument(
        "--on", metavar="DATE", help="day of the review, YYYY-MM-DD (default: today)"
    )
    review.add_argument(
        "--spent",
        type=Path,
        metavar="FILE",
        help="spending and durations that `tfhub-blocks ci spent` wrote (default: the records in "
        "--runs-dir)",
    )
    review.add_argument(
        "--runs-dir",
        type=Path,
        default=Path(".runs"),
        metavar="DIR",
        help="directory of the runs (default: .runs)",
    )
    review.add_argument(
        "--approved-by",
        action="append",
        default=[],
        metavar="NAME",
        help="user who approved the change; may be repeated",
    )
    review.set_defaults(command=_review)


def _review(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.repository.git_state import open_objects
    from tfhub_blocks.control.review.past_spending import read_spending, recorded_spending
    from tfhub_blocks.records.base.project_folders import origin_text

    also = also_files("review", options.also, FORMATS)
    day = _day(options.on)
    past = read_spending(options.spent) if options.spent else recorded_spending(options.runs_dir)
    with open_objects("review") as objects:
        base, head = objects.resolve(options.base), objects.resolve(options.head)

        from tfhub_blocks.control.review.review_formats import FORMATS as REPORTS
        from tfhub_blocks.control.review.review_markdown import AZURE_BYTES, markdown_text
        from tfhub_blocks.control.review.reviewing import review_commits

        found = review_commits(objects, base, head, day, past, options.approved_by)

    def report(name: str) -> str:
        is_short = name == "markdown" and options.limit == "azure-devops"
        text = markdown_text(found, AZURE_BYTES) if is_short else REPORTS[name](found)
        return origin_text(text)

    write_reports("review", options.format, options.output, also, report)
    return FAILED if found.has_failed else DONE


def _day(text: str | None) -> date:
    if text is None:
        return datetime.now(UTC).date()
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BlocksError(
            "review",
            f"--on {text}",
            f"{text!r} is not a date",
            "a date such as 2026-12-01",
            "Pass --on YYYY-MM-DD",
        ) from error

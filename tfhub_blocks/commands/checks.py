"""``check``: findings of the rules about pipelines and their profile, before a step runs."""

import argparse
from pathlib import Path
from typing import Any

from tfhub_blocks.commands.report_files import add_also, also_files, write_reports
from tfhub_blocks.commands.status import DONE, FAILED
from tfhub_blocks.records.base.errors import BlocksError

FORMATS = ("text", "json", "sarif", "junit")


def register(commands: Any) -> None:
    """Add the command to a parser's subcommands."""
    check = commands.add_parser(
        "check",
        help="Check pipelines and a profile against the rules.",
        description="Check a pipeline and its profile against the rules, and report all findings "
        "at once. The exit status is 1 if a finding is an error.",
    )
    check.add_argument(
        "pipeline",
        metavar="PIPELINE",
        nargs="?",
        help="name of a pipeline, or the name or lock of a release",
    )
    check.add_argument(
        "--explain", metavar="RULE", help="explain one rule, or list all rules with --explain all"
    )
    check.add_argument("--all", action="store_true", help="check every pipeline")
    check.add_argument(
        "--profile",
        default="experiment",
        help="profile to check, with its limits (default: experiment)",
    )
    check.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="input of the pipeline to check as well; may be repeated",
    )
    check.add_argument(
        "--format", choices=FORMATS, default="text", help="format of the report (default: text)"
    )
    check.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="file for the report (default: standard output)",
    )
    add_also(check, FORMATS)
    check.set_defaults(command=_check)


def _check(options: argparse.Namespace) -> int:
    if options.explain:
        from tfhub_blocks.control.rules.explanations import explain
        from tfhub_blocks.control.rules.rule_checks import load_rules

        print(explain(options.explain, load_rules().known), end="")
        return DONE
    from tfhub_blocks.control.project.committed_sources import production_sources

    with production_sources("check", [options.profile]):
        return _report(options)


def _report(options: argparse.Namespace) -> int:
    # Before the slow import of azure-ai-ml: most wrong requests are found without it.
    from tfhub_blocks.control.project.profiles import read_profile
    from tfhub_blocks.control.releases.release_names import locked_request
    from tfhub_blocks.control.repository.catalog import find_pipeline, pipeline_files

    if bool(options.pipeline) == options.all or (options.all and options.settings):
        raise BlocksError(
            "check",
            options.pipeline or "--all",
            _problem(options),
            "either one PIPELINE, with or without --set, or --all alone",
            "Run `tfhub-blocks list` to see the names of the pipelines",
        )
    if options.pipeline and options.pipeline not in pipeline_files():
        asked = locked_request("check", options.pipeline, options.settings)
        options.pipeline, options.settings = asked
    also = also_files("check", options.also, FORMATS)
    names = list(pipeline_files()) if options.all else [find_pipeline(options.pipeline).name]
    profile = read_profile(options.profile)

    from tfhub_blocks.control.rules.check_report import FORMATS as REPORTS
    from tfhub_blocks.control.rules.checked_repository import Repository
    from tfhub_blocks.control.rules.rule_checks import check, load_rules
    from tfhub_blocks.records.base.project_folders import origin_text

    repository = Repository(profile)
    pipelines = [repository.subject(name, options.settings) for name in names]
    report = check(profile, pipelines, load_rules())

    def text(name: str) -> str:
        return origin_text(REPORTS[name](report))

    write_reports("check", options.format, options.output, also, text)
    return FAILED if report.has_failed else DONE


def _problem(options: argparse.Namespace) -> str:
    if options.pipeline:
        return f"pipeline {options.pipeline!r} and --all exclude each other"
    return "--set and --all exclude each other" if options.all else "no pipeline is named"

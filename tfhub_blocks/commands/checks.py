"""``check``: what rules find in pipelines and their profile, before anything runs."""

import argparse
import sys
from pathlib import Path
from typing import Any

from tfhub_blocks.commands.status import DONE, FAILED
from tfhub_blocks.records.base.errors import BlocksError

FORMATS = ("text", "json", "sarif", "junit")


def register(commands: Any) -> None:
    """Add the command to a parser's subcommands."""
    check = commands.add_parser(
        "check",
        help="hold pipelines and a profile to the rules",
        description="Hold a pipeline and its profile to the rules of docs/rules.md, and tell "
        "everything that is wrong at once. The exit status is 1 if an error stands.",
    )
    check.add_argument(
        "pipeline", metavar="PIPELINE", nargs="?", help="its name, or a release's or its lock's"
    )
    check.add_argument("--all", action="store_true", help="each pipeline")
    check.add_argument("--profile", default="experiment", help="under which limits (experiment)")
    check.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an input as it will be given, to check it too; may be repeated",
    )
    check.add_argument("--format", choices=FORMATS, default="text", help="of the report (text)")
    check.add_argument("--output", type=Path, metavar="FILE", help="write the report there")
    check.set_defaults(command=_check)


def _check(options: argparse.Namespace) -> int:
    # Before the slow import of azure-ai-ml: most wrong requests are found without it.
    from tfhub_blocks.control.project.profiles import read_profile
    from tfhub_blocks.control.releases.release_names import locked_request
    from tfhub_blocks.control.repository.catalog import find_pipeline, pipeline_files

    if bool(options.pipeline) == options.all or (options.all and options.settings):
        raise BlocksError(
            "check",
            options.pipeline or "--all",
            "it is not clear what is to be checked",
            "one PIPELINE, which --set may be about, or --all",
            "see `tfhub-blocks list`",
        )
    if options.pipeline and options.pipeline not in pipeline_files():
        asked = locked_request("check", options.pipeline, options.settings)
        options.pipeline, options.settings = asked
    names = list(pipeline_files()) if options.all else [find_pipeline(options.pipeline).name]
    profile = read_profile(options.profile)

    from tfhub_blocks.control.rules.check_report import FORMATS as REPORTS
    from tfhub_blocks.control.rules.checked_repository import Repository
    from tfhub_blocks.control.rules.rule_checks import check, load_rules

    repository = Repository(profile)
    pipelines = [repository.subject(name, options.settings) for name in names]
    report = check(profile, pipelines, load_rules())
    text = REPORTS[options.format](report)
    if options.output is None:
        sys.stdout.write(text)
    else:
        _write(options.output, text)
    return FAILED if report.has_failed else DONE


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BlocksError(
            "check", f"--output {path}", str(error), "a file that can be written", "name another"
        ) from error

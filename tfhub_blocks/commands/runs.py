"""``runs`` and ``compare``: list, tag, clean up and compare local runs and jobs."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfhub_blocks.commands.publishing import add_workspace
from tfhub_blocks.commands.status import DONE, FAILED
from tfhub_blocks.control.workspace.azure_roles import AzureNeeds
from tfhub_blocks.records.base.errors import BlocksError

if TYPE_CHECKING:
    from datetime import datetime

    from tfhub_blocks.compute.evaluation.answer_changes import AnswerChanges
    from tfhub_blocks.control.project.run_comparison import ComparedRun, ComparedValue

_RUNS_DIR = Path(".runs")
NEEDS = (
    AzureNeeds(
        "compare",
        (
            *("read", "jobs/read", "experiments/runs/read"),
            *("datastores/read", "datastores/listSecrets/action"),
        ),
        blobs="read",
    ),
)


def register(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    runs = commands.add_parser(
        "runs",
        help="List local runs and jobs, tag them, and delete what nothing needs.",
        description="List local runs and the jobs that were submitted from here, the newest first. "
        "Of the inputs, the table shows those that differ among the listed runs of a pipeline.",
    )
    runs.add_argument("--pipeline", default="", metavar="P", help="only runs of this pipeline")
    runs.add_argument(
        "--status", default="", metavar="S", help="only runs with this status, such as failed"
    )
    runs.add_argument(
        "--tag",
        dest="tags",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="only runs with this tag; may be repeated",
    )
    runs.add_argument(
        "--last", type=int, default=20, metavar="N", help="number of runs to list (default: 20)"
    )
    _add_common(runs)
    runs.set_defaults(command=_list)
    parts = runs.add_subparsers(metavar="COMMAND")

    tag = parts.add_parser("tag", help="Set tags of a run, such as best=yes.")
    tag.add_argument("run", metavar="RUN", help="name of a run or a job that `runs` lists")
    tag.add_argument(
        "tags", metavar="NAME=VALUE", nargs="+", help="tag to set; NAME= removes the tag"
    )
    _add_common(tag)
    tag.set_defaults(command=_tag)

    gc = parts.add_parser(
        "gc",
        help="List what no run and no registered model refers to, and how much it occupies.",
        description="List stored outputs that no run and no registered model refers to. Nothing is "
        "deleted without --delete. What a registered model needs is never listed.",
    )
    gc.add_argument(
        "--before",
        metavar="DATE",
        help="also list runs that started before this day, such as 2026-11-30, without a tag",
    )
    gc.add_argument("--delete", action="store_true", help="delete what is listed")
    _add_common(gc)
    gc.set_defaults(command=_gc)

    compare = commands.add_parser(
        "compare",
        help="Compare two local runs, two jobs, or a job with a local run.",
        description="List the inputs and the code that differ, each output by its digest, and each "
        "metric. For runs that evaluated a model, list the differences of the metrics with 95 % "
        "intervals over pairs of answers, and the items whose answer changed. Of a job and a local "
        "run, the value of the local run comes first. The exit status is 1 if a metric differs.",
    )
    compare.add_argument("first", metavar="RUN_A", help="name of a local run or a job")
    compare.add_argument("second", metavar="RUN_B", help="name of a local run or a job")
    compare.add_argument(
        "--page",
        type=Path,
        metavar="FILE",
        help="write an HTML page with the pictures of the items whose answer changed",
    )
    add_workspace(compare)
    compare.set_defaults(command=_compare)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs-dir",
        type=Path,
        default=_RUNS_DIR,
        metavar="DIR",
        help="directory of the runs (default: .runs)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON on stdout")


def _list(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.project.run_listing import list_runs, run_lines
    from tfhub_blocks.control.repository.catalog import split_words

    if options.last < 1:
        raise BlocksError(
            "runs", "--last", f"--last {options.last} is too small", "1 or more", "Pass --last 20"
        )
    tags = split_words("runs", "--tag", options.tags)
    found = list_runs(options.runs_dir, options.pipeline, options.status, tags)
    shown = found[: options.last]
    if options.json:
        print(json.dumps([it.as_dict() for it in shown], indent=1, ensure_ascii=False))
        return DONE
    if not shown:
        print(f"No run in {options.runs_dir} fits.")
        return DONE
    print("\n".join(run_lines(shown)))
    if len(found) > len(shown):
        print(f"{len(found) - len(shown)} older runs: pass --last {len(found)} to list them")
    return DONE


def _tag(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.project.run_listing import find_run, set_tags

    folder = find_run(options.runs_dir, options.run, "runs tag")
    given = dict(map(_tag_word, options.tags))
    found = set_tags(folder, given)
    if options.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        print(f"{folder.name}: {', '.join(f'{n}={v}' for n, v in found.items()) or 'no tags'}")
    return DONE


def _tag_word(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals or not name:
        raise BlocksError(
            "runs tag", word, f"{word!r} is not NAME=VALUE", "such as best=yes", "Write NAME=VALUE"
        )
    return name, value


def _gc(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.lineage.unneeded_outputs import find_unneeded

    found = find_unneeded(options.runs_dir, _day(options.before) if options.before else None)
    if options.delete:
        found.delete(options.runs_dir)
    if options.json:
        record = {
            "runs": [path.name for path in found.runs],
            "outputs": [path.name for path in found.outputs],
            "freed_bytes": found.freed_bytes,
            "deleted": options.delete,
        }
        print(json.dumps(record, indent=1))
        return DONE
    for kind, paths in (("run", found.runs), ("output", found.outputs)):
        for path in paths:
            print(f"{kind:<7} {path.name}")
    counts = f"{len(found.runs)} runs and {len(found.outputs)} outputs"
    size = f"{found.freed_bytes / 1e6:.1f} MB"
    if options.delete:
        print(f"{counts} deleted: {size} freed")
    elif found.runs or found.outputs:
        print(f"{counts} occupy {size}: pass --delete to delete them")
    else:
        print("nothing to delete")
    return DONE


def _day(text: str) -> "datetime":
    from datetime import UTC, datetime

    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise BlocksError(
            "runs gc",
            "--before",
            f"{text!r} is not a day",
            "a day such as 2026-11-30",
            "Pass --before YYYY-MM-DD",
        ) from error


def _compare(options: argparse.Namespace) -> int:
    from tfhub_blocks.commands.pipelines import is_local_run
    from tfhub_blocks.control.project.run_comparison import compare_runs

    names = [options.first, options.second]
    if not is_local_run(names[0]) and is_local_run(names[1]):
        names.reverse()
    first, second = (_compared(name, options) for name in names)
    if is_local_run(names[0]) and not is_local_run(names[1]):
        first = _with_defaults(first)
    rows = compare_runs(first, second)
    for row in rows:
        print(row)
    changes = _changes(first, second)
    if changes is not None:
        print("\n".join(changes.lines()))
    if options.page:
        _write_page(options.page, rows, changes)
    return FAILED if any(row.kind == "metric" and not row.is_same for row in rows) else DONE


def _compared(name: str, options: argparse.Namespace) -> "ComparedRun":
    from tfhub_blocks.commands.pipelines import is_local_run
    from tfhub_blocks.control.project.interrupted_runs import settle_run
    from tfhub_blocks.control.project.run_comparison import compared_run
    from tfhub_blocks.control.project.run_listing import find_run

    if is_local_run(name):
        try:
            return compared_run(settle_run(_RUNS_DIR, find_run(_RUNS_DIR, name, "compare")))
        except ValueError as error:
            raise BlocksError(
                "compare", name, str(error), "", "Delete the folder, or choose another run"
            ) from error
    from tfhub_blocks.control.workspace.connection import connect, is_configured

    if options.workspace_config is None and not is_configured():
        find_run(_RUNS_DIR, name, "compare")  # the name is wrong, whatever a workspace contains
    from tfhub_blocks.control.jobs.job_comparison import compared_job
    from tfhub_blocks.control.jobs.submitted_jobs import Job

    job = Job(connect(options.workspace_config), name)
    return compared_job(job, _RUNS_DIR / "downloads" / name)


def _with_defaults(run: "ComparedRun") -> "ComparedRun":
    """Return a local run with the defaults of its pipeline, which a job states."""
    from dataclasses import replace

    from tfhub_blocks.control.jobs.job_comparison import input_defaults
    from tfhub_blocks.control.project.run_records import RECORD_NAME, read_run

    record = read_run(_RUNS_DIR / "runs" / run.name / RECORD_NAME)
    return replace(run, inputs=input_defaults(record.pipeline) | dict(run.inputs))


def _changes(first: "ComparedRun", second: "ComparedRun") -> "AnswerChanges | None":
    """Return the items whose answer changed, or None if a run did not evaluate a model."""
    if not _has_report(first.outputs) or not _has_report(second.outputs):
        return None
    from tfhub_blocks.compute.evaluation.answer_changes import answer_changes, evaluated_run

    evaluated = [evaluated_run(it.name, it.outputs) for it in (first, second)]
    if evaluated[0] is None or evaluated[1] is None:
        return None
    return answer_changes(evaluated[0], evaluated[1])


def _has_report(outputs: Mapping[str, Path]) -> bool:
    return any((path / "answers.parquet").is_file() for path in outputs.values())


def _write_page(
    path: Path, rows: Sequence["ComparedValue"], changes: "AnswerChanges | None"
) -> None:
    from tfhub_blocks.records.base.folders import write_file

    if changes is None:
        raise BlocksError(
            "compare",
            "--page",
            "the runs have no answers to the same items with the same labels",
            "two runs that evaluated a model on common test items",
            "Leave --page out",
        )
    cells = [(row.kind, row.name, row.here, row.there) for row in rows if not row.is_same]
    write_file(path, changes.page(cells).encode())
    print(path, file=sys.stderr)

"""``data``: data sets, understood before anything is computed from them."""

import argparse
import contextlib
import json
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from tfhub_blocks.commands.status import DONE, FAILED
from tfhub_blocks.records.base.errors import BlocksError, nearest

if TYPE_CHECKING:
    from tfhub_blocks.compute.data.snapshot_options import SnapshotOptions

WHERE = "data inspect"


def register(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    data = commands.add_parser(
        "data", help="Inspect data sets before anything is computed from them."
    ).add_subparsers(metavar="ACTION", required=True)
    inspect = data.add_parser(
        "inspect",
        help="Report how a data set is understood: layout, classes, splits, every file, faults.",
        description="Report how snapshot_data understands a data set: modality, layout, classes, "
        "items per class and split, the fate of every file, and what looks wrong. Nothing is "
        "written. The exit status is 1 if snapshot_data refuses the data set.",
    )
    inspect.add_argument("source", metavar="SOURCE", type=Path, help="folder or table of the data")
    inspect.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="NAME=VALUE",
        help="a parameter of snapshot_data, such as respect_splits=true; repeatable",
    )
    inspect.add_argument(
        "--no-duplicates", action="store_true", help="do not look for near duplicates"
    )
    inspect.add_argument(
        "--html", type=Path, metavar="FILE", help="file for the report as a page with pictures"
    )
    inspect.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    inspect.set_defaults(command=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    from tfhub_blocks.compute.data.data_inspections import inspect_source
    from tfhub_blocks.compute.data.snapshot_options import OFF
    from tfhub_blocks.records.base.progress import Progress
    from tfhub_blocks.records.formats.inspections import inspection_lines

    settings = _settings(options.settings)
    if options.no_duplicates:
        settings = replace(settings, near_duplicates=OFF)
    if not options.source.exists():
        raise BlocksError(
            WHERE,
            "SOURCE",
            f"{str(options.source)!r} does not exist",
            "a folder, or a table (.csv, .jsonl, .parquet)",
            "Pass the path of a folder or of a table",
        )
    if options.html and not options.html.parent.is_dir():
        problem = f"the folder of {options.html} does not exist"
        remedy = f"Create {options.html.parent}, or pass another file"
        raise BlocksError(WHERE, "--html", problem, "a file in an existing folder", remedy)
    # Standard output is for the answer; progress goes to standard error.
    with contextlib.redirect_stdout(sys.stderr):
        found = inspect_source(options.source, settings, Progress("items"), options.html)
    if options.json:
        record = {"source": str(options.source), **found.as_dict()}
        print(json.dumps(record, indent=1, ensure_ascii=False))
    else:
        print("\n".join(inspection_lines(found, str(options.source))))
        if options.html:
            print(f"page: {options.html}")
    return DONE if found.is_usable else FAILED


def _settings(texts: list[str]) -> "SnapshotOptions":
    """Return the options of a snapshot from texts NAME=VALUE."""
    from tfhub_blocks.compute.data.snapshot_options import SnapshotOptions

    kinds = get_type_hints(SnapshotOptions)
    known = [each.name for each in fields(SnapshotOptions)]
    values: dict[str, Any] = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not mark or name not in known:
            remedy = nearest(name, known) or f"Pass one of {', '.join(known)}"
            raise BlocksError(WHERE, "--set", f"{text!r} names no parameter", "NAME=VALUE", remedy)
        values[name] = _value(name, value, kinds[name])
    try:
        return SnapshotOptions(**values)
    except BlocksError as error:
        what = f"--set {error.what}"
        raise BlocksError(WHERE, what, error.problem, error.expected, error.remedy) from error


def _value(name: str, text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise _bad(name, text, "true or false")
        return text.lower() == "true"
    if kind is str:
        return text
    if kind == Path | None:
        return Path(text)
    number = int if kind is int else float
    try:
        return number(text)
    except ValueError:
        raise _bad(name, text, "a whole number" if number is int else "a number") from None


def _bad(name: str, text: str, expected: str) -> BlocksError:
    remedy = f"Pass --set {name}=VALUE with {expected}"
    return BlocksError(WHERE, f"--set {name}", f"{text!r} is not {expected}", "", remedy)

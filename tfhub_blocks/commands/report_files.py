"""Reports of a command in several formats at once: ``--output`` and ``--also FORMAT=FILE``."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tfhub_blocks.records.base.errors import BlocksError


def add_also(parser: argparse.ArgumentParser, formats: Sequence[str]) -> None:
    """Add the option for further reports of the same result."""
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="FORMAT=FILE",
        help=f"file for another report of the same result, as {', '.join(formats)}; may be"
        " repeated",
    )


def also_files(where: str, words: Sequence[str], formats: Sequence[str]) -> Mapping[Path, str]:
    """Return the format of each further report, by its file.

    Raises:
        BlocksError: A word has another form, or names an unknown format.
    """
    found = {}
    for word in words:
        name, _, file = word.partition("=")
        if name not in formats or not file:
            raise BlocksError(
                where,
                f"--also {word}",
                f"{word!r} is not a format and a file",
                "FORMAT=FILE with FORMAT one of " + ", ".join(formats),
                f"Pass --also {formats[-1]}=FILE",
            )
        found[Path(file)] = name
    return found


def write_reports(
    where: str,
    name: str,
    output: Path | None,
    also: Mapping[Path, str],
    report: Callable[[str], str],
) -> None:
    """Write the report of one format to standard output or a file, and further ones to files.

    Raises:
        BlocksError: A file cannot be written.
    """
    for path, other in also.items():
        _write(where, f"--also {other}={path}", path, report(other))
    if output is None:
        sys.stdout.write(report(name))
    else:
        _write(where, f"--output {output}", output, report(name))


def _write(where: str, option: str, path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BlocksError(
            where,
            option,
            f"the report cannot be written: {error}",
            "",
            f"Pass {option.partition(' ')[0]} with a file in an existing directory that you may"
            " write",
        ) from error

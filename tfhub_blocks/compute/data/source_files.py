"""The files of a source: those that may be items, and the others, each with a reason."""

import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tfhub_blocks.compute.data.fields import known_path, printable, refusal
from tfhub_blocks.compute.data.source_links import SourceLinks
from tfhub_blocks.records.formats.inspections import Tally

# At the top of a source: the text that must accompany its items wherever they are shown.
ATTRIBUTION_NAME = "ATTRIBUTION.txt"
HIDDEN = "hidden files and files of the system are no items"
ATTRIBUTION = "the file is the attribution of the source"
_IGNORED_NAMES = frozenset({"Thumbs.db", "desktop.ini", "__MACOSX", "__pycache__"})


@dataclass(frozen=True)
class SourceFiles:
    """The POSIX paths of the files and folders below a folder, each list sorted.

    ``others`` counts the files that are no items. Hidden files are there only, and all files of a
    hidden folder.
    """

    files: list[str]
    folders: list[str]
    others: Tally = field(default_factory=Tally)

    @property
    def total(self) -> int:
        """The number of all files."""
        return len(self.files) + self.others.total()


def walk(folder: Path, links: SourceLinks) -> SourceFiles:
    """Return the files below a folder.

    Raises:
        BlocksError: A folder cannot be read, or is a link that is not followed.
    """
    files: list[str] = []
    folders: list[str] = []
    hidden: list[str] = []
    walked = os.walk(folder, onerror=_refuse_unreadable, followlinks=links.is_followed)
    for parent, names, file_names in walked:
        prefix = os.path.relpath(parent, folder).replace(os.sep, "/") + "/"
        prefix = "" if prefix == "./" else prefix
        for name in [name for name in names if is_ignored(name)]:
            hidden += _files_of(Path(parent, name), prefix + name)
            names.remove(name)
        for name in names:
            if Path(parent, name).is_symlink():
                links.check_folder(prefix + name)
            folders.append(prefix + name)
        for name in file_names:
            (hidden if is_ignored(name) else files).append(prefix + name)
    found = SourceFiles(sorted(files), sorted(folders))
    for path in sorted(hidden):
        found.others.add(HIDDEN, known_path(path))
    return found


def every_file(folder: Path) -> Iterator[str]:
    """Yield the path of each file below a folder; hidden files too, and links as files."""
    for parent, names, files in os.walk(folder):
        prefix = os.path.relpath(parent, folder).replace(os.sep, "/") + "/"
        prefix = "" if prefix == "./" else prefix
        links = [name for name in names if Path(parent, name).is_symlink()]
        yield from sorted(prefix + name for name in (*files, *links))
        names.sort()


def is_hidden(path: str) -> bool:
    """Return True if a part of a path is hidden."""
    return any(map(is_ignored, path.split("/")))


def _files_of(folder: Path, name: str) -> list[str]:
    """Return the files of a hidden folder, which may be unreadable; links are not followed."""
    if folder.is_symlink():
        return [name]
    return [
        f"{name}/{Path(parent, file).relative_to(folder).as_posix()}"
        for parent, _, files in os.walk(folder)
        for file in files
    ]


def _refuse_unreadable(error: OSError) -> None:
    raise refusal(
        f"the folder {error.filename!r} cannot be read: {error.strerror}",
        "folders that this step may read",
        "Allow the step's user to read this folder",
    ) from error


def is_ignored(name: str) -> bool:
    """Return True for the name of a hidden file or folder, or of one of the system."""
    return name.startswith(".") or name in _IGNORED_NAMES


def extension_of(path: str) -> str:
    """Return the extension of a path, in lower case with its dot."""
    return printable(posixpath.splitext(path)[1].lower())


def listed(seen: Counter[str]) -> str:
    """Return the commonest extensions with their numbers, in one line."""
    # By number, then by name, so that the message does not depend on the files' order.
    first = sorted(seen.items(), key=lambda item: (-item[1], item[0]))[:5]
    more = f" and {len(seen) - 5} other extensions" if len(seen) > 5 else ""
    return ", ".join(f"{number} {name or 'without extension'}" for name, number in first) + more


def listed_names(names: Iterable[str]) -> str:
    """Return the commonest extensions of some names."""
    return listed(Counter(map(extension_of, names)))


def shown_names(names: Iterable[str], most: int = 5) -> str:
    """Return some names in one line, with the number of the others."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(map(known_path, every[:most])) + more


def below(files: Iterable[str], depth: int) -> Iterator[str]:
    """Yield the files that are deeper than a number of folders."""
    return (name for name in files if name.count("/") > depth)

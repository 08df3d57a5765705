"""The structure of a folder of classes, and the signs that it means something else."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tfhub_blocks.compute.data.fields import known_path, refusal
from tfhub_blocks.compute.data.source_files import (
    ATTRIBUTION,
    ATTRIBUTION_NAME,
    SourceFiles,
    extension_of,
    shown_names,
)
from tfhub_blocks.compute.data.split_names import split_of
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.inspections import EXAMPLES, Finding

# Folders share a structure if so many have the same sub-folders, and so many of these are the same.
LEAST_SHARED_FOLDERS, LEAST_SHARED = 2, 0.6
ABOVE_CLASSES = "the file is in no class folder"
# So many of the items are deeper than the class folders before a note states it.
DEEP_SHARE = 0.5


@dataclass(frozen=True)
class FolderStructure:
    """The top folders of a source that contain files, and their sub-folders that contain files."""

    tops: tuple[str, ...]
    subs: dict[str, frozenset[str]]
    direct: Counter[str]
    """Numbers of files that are in a top folder itself."""

    @property
    def repeated(self) -> tuple[str, ...]:
        """The sub-folders that most top folders have in common, or nothing."""
        nested = [top for top in self.tops if self.subs[top]]
        if len(nested) < LEAST_SHARED_FOLDERS or len(nested) * 2 <= len(self.tops):
            return ()
        number = Counter(sub for top in nested for sub in self.subs[top])
        common = {sub for sub, count in number.items() if count * 2 > len(nested)}
        alike = sum(
            len(common & self.subs[top]) >= max(LEAST_SHARED * len(self.subs[top]), 1)
            for top in nested
        )
        is_repeated = len(common) >= LEAST_SHARED_FOLDERS and alike * 2 > len(self.tops)
        return tuple(sorted(common)) if is_repeated else ()


def structure_of(files: list[str]) -> FolderStructure:
    """Return the structure of the files of a source."""
    subs: dict[str, set[str]] = defaultdict(set)
    direct: Counter[str] = Counter()
    for name in files:
        top, *rest = name.split("/", 2)
        if len(rest) == 1:
            direct[top] += 1
        if rest:
            subs[top].update(rest[:-1])
    found = {top: frozenset(names) for top, names in subs.items()}
    return FolderStructure(tuple(sorted(found)), found, direct)


def check_class_folders(found: FolderStructure, folders: list[str]) -> None:
    """Check that the top folders are classes, not splits and not one folder around the classes.

    Raises:
        BlocksError: The names or the structure of the folders mean splits, or one folder contains
            everything.
    """
    tops = [name for name in folders if "/" not in name]
    named = {top: split for top in tops if (split := split_of(top))}
    several = len(set(named.values())) > 1
    if named and (len(named) == len(tops) or (several and _looks_split(found, named))):
        others = [top for top in tops if top not in named]
        move = (
            f"Move {shown_names(others)} out of the source, and set respect_splits to true"
            if others
            else "Set respect_splits to true"
        )
        raise refusal(
            f"the folders have names of splits, not of classes: {shown_names(named)}",
            "a folder for each class, or respect_splits with folders split/class",
            move,
        )
    if len(found.tops) == 1 and found.subs[found.tops[0]] and not found.direct:
        raise _wrapped(found)


def _looks_split(found: FolderStructure, named: dict[str, str]) -> bool:
    """Return True if the folders with names of splits share sub-folders, or contain most files."""
    subs = [found.subs[top] for top in named if found.subs.get(top)]
    return len(subs) > 1 and bool(frozenset.intersection(*subs))


def _wrapped(found: FolderStructure) -> BlocksError:
    (top,) = found.tops
    name, inside = known_path(top), sorted(found.subs[top])
    return refusal(
        f"the only class is {name!r}: one folder is around {len(inside)} others "
        f"({shown_names(inside)})",
        "two classes or more",
        f"Pass the folder {name!r} inside the source as the source",
    )


def check_split_folders(folders: list[str]) -> None:
    """Check that each top folder has a name of a split.

    Raises:
        BlocksError: The name of a top folder means no split.
    """
    others = [name for name in folders if "/" not in name and split_of(name) is None]
    if others:
        raise refusal(
            f"respect_splits is true, but the folder {known_path(others[0])!r} is not a split",
            "folders split/class with the splits train, validation, test",
            "Rename the folder, or set respect_splits to false",
        )


def structure_findings(
    found: FolderStructure, depth: int, deep_files: int, files: int
) -> Iterator[Finding]:
    """Yield the signs that folders mean something else than classes.

    Args:
        found: The structure of the files.
        depth: The number of folders above the class folders: 1 below folders of splits.
        deep_files: The number of files that are in a sub-folder of a class folder.
        files: The number of files in class folders.
    """
    if not depth and (shared := found.repeated):
        yield Finding(
            "nested-folders",
            "warning",
            f"most folders have the same sub-folders ({shown_names(shared)}), which may be the "
            f"classes, and the folders something else: {shown_names(found.tops)}",
            "if so, move the sub-folders up, or rename the folders train, validation and test and "
            "set respect_splits to true; else set group_by to folder if a sub-folder belongs "
            "together",
        )
    elif deep_files and deep_files > DEEP_SHARE * files:
        yield Finding(
            "nested-folders",
            "note",
            f"{deep_files} files are in sub-folders of the class folders, and have the class of "
            f"the {'top' if not depth else 'class'} folder",
            "set group_by to folder if the files of a sub-folder belong together",
        )
    if depth:
        yield from _meanings(found)


def _meanings(found: FolderStructure) -> Iterator[Finding]:
    of_split: dict[str, list[str]] = defaultdict(list)
    for top in found.tops:
        of_split[split_of(top) or ""].append(top)
    for split, names in sorted(of_split.items()):
        if len(names) > 1:
            yield Finding(
                "split-names",
                "warning",
                f"the folders {shown_names(names)} are one split, {split}",
                "rename the folders if they are different splits",
            )


def loose_files(
    source: SourceFiles, depth: int, extensions: frozenset[str]
) -> tuple[list[str], list[Finding]]:
    """Count the files above the class folders, and warn if they look like items.

    Returns:
        The files in class folders, and a warning for each folder with such files.
    """
    inside, outside = [], defaultdict(list)
    for name in source.files:
        if name.count("/") > depth:
            inside.append(name)
        else:
            is_attribution = name == ATTRIBUTION_NAME
            reason = ATTRIBUTION if is_attribution else ABOVE_CLASSES
            source.others.add(reason, known_path(name))
            if extension_of(name) in extensions:
                outside[name.rpartition("/")[0]].append(name)
    warnings = []
    for parent, names in sorted(outside.items()):
        where = f"in {known_path(parent)!r}" if parent else "at the top of the source"
        number = "1 file" if len(names) == 1 else f"{len(names)} files"
        verb = "is" if len(names) == 1 else "are"
        warnings.append(
            Finding(
                "files-above-classes",
                "warning",
                f"{number} {where} {verb} in no class folder and {verb} left out",
                "move them into the folders of their classes, or out of the source",
                examples=tuple(map(known_path, names[:EXAMPLES])),
            )
        )
    return inside, warnings

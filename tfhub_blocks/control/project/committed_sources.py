"""Production's sources: a private copy of the commit stands for the project during a command."""

# decisions 60 and 107

import sys
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from tfhub_blocks.control.project.profiles import profile_folders, read_profile
from tfhub_blocks.control.repository.commit_copies import commit_copy
from tfhub_blocks.control.repository.git_objects import GitObjects, find_repository
from tfhub_blocks.control.repository.git_state import open_objects, uncommitted_files
from tfhub_blocks.control.repository.loaded_code import check_interpreter, check_source
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.project_folders import (
    TakenCommit,
    origin_text,
    take_commit,
    taken_commit,
)
from tfhub_blocks.records.base.source_imports import (
    check_sources,
    forget_modules,
    import_from_source,
    is_installed,
)


@contextmanager
def production_sources(
    where: str,
    profiles: Iterable[str],
    always: bool = False,
    note: bool = True,
    acts: bool = False,
) -> Iterator[bool]:
    """Let a command of production read and run a private copy of the commit.

    Until the block ends, pipelines, steps, environments, profiles, prices, schedules, pins and
    locks come from the copy. A command is one of production if a profile takes release locks, in
    the working folder or in the commit. Other commands, and folders without a commit, keep the
    working folder.

    Args:
        where: The command, for errors.
        profiles: The names of the command's profiles.
        always: True if the command takes the commit under each profile.
        note: True to print the files that are not committed, which the command leaves out.
        acts: True to refuse a project in no repository whose own profile takes locks.

    Returns:
        True if the copy is in use.

    Raises:
        BlocksError: The commit cannot be read, contains a submodule or a link that leads out of
            it, or loads code from elsewhere.
    """
    names = list(profiles)
    if taken_commit() is not None:
        yield True
        return
    if find_repository(Path.cwd()) is None:
        if acts and (always or any(map(_is_unreviewed, names))):
            open_objects(where)  # the error names the missing repository
        yield False
        return
    with open_objects(where) as objects:
        if not always and not any(_takes_locks(objects, name) for name in names):
            yield False
            return
        check_interpreter(where, objects.repository.top)
        if note and (files := uncommitted_files(objects)):
            text = f"commit {objects.head()[:12]} is used, without the changes in {files}"
            print(f"note: {text}", file=sys.stderr)
        with commit_copy(objects, Path.cwd()) as copy, _taken(where, copy):
            yield True


@contextmanager
def commit_sources(where: str, objects: GitObjects, commit: str) -> Iterator[TakenCommit]:
    """Let a command read and run a private copy of any commit, as ``production_sources`` does.

    Raises:
        BlocksError: The commit cannot be read, contains a submodule or a link that leads out of
            it, or loads code from elsewhere.
    """
    check_interpreter(where, objects.repository.top)
    with commit_copy(objects, Path.cwd(), commit) as copy, _taken(where, copy):
        yield copy


def _is_unreviewed(name: str) -> bool:
    """Return True if a profile takes release locks and is not installed with tfhub-blocks."""
    with suppress(BlocksError):
        profile = read_profile(name)
        installed = profile.path.resolve().parent == profile_folders()[-1].resolve()
        return profile.takes == "locks" and not installed
    return False


def _takes_locks(objects: GitObjects, name: str) -> bool:
    """Return True if a profile takes release locks, as it is in the folder or in the commit."""
    with suppress(BlocksError):
        if read_profile(name).takes == "locks":
            return True
    path = Path(name) if name.endswith(".toml") else profile_folders()[0] / f"{name}.toml"
    full = path.absolute().resolve()
    top = objects.repository.top
    if not full.is_relative_to(top):
        return False
    entry = objects.find(objects.head(), full.relative_to(top).as_posix())
    if entry is None:
        return False
    with suppress(BlocksError, ValueError):
        text = objects.read(entry.name).decode()
        return bool(tomllib.loads(text).get("takes") == "locks")
    return False


@contextmanager
def _taken(where: str, copy: TakenCommit) -> Iterator[None]:
    """Let imports and errors use the copy as if it were the working folder."""
    search_path = list(sys.path)
    check_sources(partial(check_source, where))
    forget_modules(copy.origin)
    try:
        with take_commit(copy):
            entries = [Path(it) for it in sys.path if it]
            sys.path[:] = [str(it) for it in entries if it.is_absolute() and is_installed(it)]
            import_from_source()
            try:
                yield
            except BlocksError as error:
                raise _in_folder(error) from error
    finally:
        sys.path[:] = search_path
        forget_modules(copy.root)


def _in_folder(error: BlocksError) -> BlocksError:
    """Return an error that names the files of the working folder in place of their copies."""
    texts = (error.where, error.what, error.problem, error.expected, error.remedy)
    return BlocksError(*map(origin_text, texts))

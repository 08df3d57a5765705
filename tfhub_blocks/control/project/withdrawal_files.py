"""The withdrawals of the project: ``pipelines/withdrawals/DIGEST.json``, one file each."""

# decision 65

from collections.abc import Iterator
from pathlib import Path

from tfhub_blocks.control.repository.git_state import deleted_files
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import write_file
from tfhub_blocks.records.base.project_folders import project_folder, taken_commit
from tfhub_blocks.records.formats.withdrawals import VARIABLE, Withdrawal, parse_withdrawal
from tfhub_blocks.records.formats.withdrawn import Withdrawn

_MAX_BYTES = 64 * 2**20


def withdrawals_folder() -> Path:
    """Return the folder of the project's withdrawals."""
    return project_folder() / "pipelines" / "withdrawals"


def read_withdrawals(where: str) -> list[Withdrawal]:
    """Read all withdrawals of the project, the earliest first.

    Under a profile that takes release locks, the commit and its history are read: a withdrawal
    that an earlier commit contains must still exist.

    Args:
        where: The command, for errors.

    Raises:
        BlocksError: A file is not an unchanged withdrawal, or a withdrawal was deleted.
    """
    folder = withdrawals_folder()
    found = [_read(path, where) for path in _files(folder)]
    if taken_commit() is not None:
        _check_kept(where, folder)
    digests = {it.digest for it in found}
    for it in found:
        if it.restores and it.restores not in digests:
            path = folder / it.file_name
            problem = f"the withdrawal that it ends, {it.restores[:12]}, does not exist"
            raise _invalid(where, path, problem)
    return sorted(found, key=lambda it: (it.decided, it.digest))


def in_force(where: str) -> Withdrawn:
    """Return the withdrawals of the project that no later statement ended.

    Raises:
        BlocksError: A file is not an unchanged withdrawal, or a withdrawal was deleted.
    """
    return Withdrawn.of(read_withdrawals(where))


def withdrawn_variables(where: str) -> dict[str, str]:
    """Return the environment variable in which steps get the withdrawals, if there are any.

    Raises:
        BlocksError: A file is not an unchanged withdrawal, or the text is too long.
    """
    text = Withdrawn.for_steps(read_withdrawals(where)).as_text(where)
    return {VARIABLE: text} if text else {}


def keep_withdrawal(withdrawal: Withdrawal) -> Path:
    """Write a withdrawal into the project, and return its path."""
    path = withdrawals_folder() / withdrawal.file_name
    write_file(path, withdrawal.as_text().encode())
    return path


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(folder.iterdir())


def _read(path: Path, where: str) -> Withdrawal:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_BYTES:
            raise ValueError("it is no plain file of at most 64 MiB")
        found = parse_withdrawal(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _invalid(where, path, str(error)) from error
    if path.name != found.file_name:
        raise _invalid(where, path, f"its digest belongs to the name {found.file_name}")
    return found


def _check_kept(where: str, folder: Path) -> None:
    gone = [it for it in deleted_files(where, folder) if not (folder / it).exists()]
    if gone:
        raise BlocksError(
            where,
            _told(folder / gone[0]),
            f"the withdrawal {gone[0]} was committed earlier, and is deleted",
            "every withdrawal that a commit contained",
            "Restore the file from git; to end a withdrawal, run `tfhub-blocks withdraw --restore`",
        )


def _invalid(where: str, path: Path, problem: str) -> BlocksError:
    return BlocksError(
        where,
        _told(path),
        f"{path.name} is not a valid withdrawal ({problem})",
        "the unchanged statement that withdraw wrote",
        f"Restore {path.name} from git",
    )


def _told(path: Path) -> str:
    return str(path.relative_to(project_folder()))

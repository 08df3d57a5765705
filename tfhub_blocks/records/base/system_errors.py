"""Errors of the system when a file is read or written, as sentences with a remedy.

Libraries wrap these errors, and some report them only in the text of their own errors.
"""

import errno
import os
import re

from tfhub_blocks.records.base.errors import BlocksError

# By error number: problem, expected and remedy, with the path for {}.
_FAULTS = {
    errno.ENOSPC: (
        "the disk is full{}",
        "room for the outputs",
        "Free some space and run the step again; finished parts are kept",
    ),
    errno.EDQUOT: (
        "the disk quota is used up{}",
        "room for the outputs",
        "Free some space, or ask for a larger quota, and run it again; finished parts are kept",
    ),
    errno.EFBIG: (
        "a file would be larger than the system allows{}",
        "room for the outputs",
        "Raise the limit of the file size (`ulimit -f`) and run it again",
    ),
    errno.EROFS: (
        "the file system is read-only{}",
        "a folder to write into",
        "Pass another folder, such as --runs-dir DIR, or mount the file system for writing",
    ),
    errno.EACCES: (
        "the permission is missing{}",
        "a file or folder that this user may read and write",
        "Change its permissions with chmod, or pass another folder",
    ),
    errno.EPERM: (
        "the system forbids the operation{}",
        "a file or folder that this user may read and write",
        "Change its owner or permissions, or pass another folder",
    ),
    errno.ENAMETOOLONG: (
        "a name or path is too long{}",
        "names of at most 255 bytes, and paths of at most 4095",
        "Rename the file, or pass a folder with a shorter path",
    ),
    errno.ELOOP: (
        "a chain of symbolic links never ends{}",
        "a link that leads to a file or folder",
        "Remove the link, or let it lead to a file or folder",
    ),
    errno.EMFILE: (
        "the process has too many open files{}",
        "a free file descriptor",
        "Raise the limit with `ulimit -n`, and run it again",
    ),
    errno.ENFILE: (
        "the machine has too many open files{}",
        "a free file descriptor",
        "End other programs, and run it again",
    ),
    errno.EIO: (
        "the device failed{}",
        "a device that can be read and written",
        "Check the disk, and pass a folder on another one",
    ),
}
# TensorFlow, MLflow and SQLite report these only in the text of their errors.
_TEXTS = {
    "disk is full": errno.ENOSPC,
    "attempt to write a readonly database": errno.EROFS,
    **{
        os.strerror(number): number
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EMFILE)
    },
}
# As Python writes an error of the system; shutil lists several in one text.
_NUMBER = re.compile(r"\[Errno (\d+)\]")


def system_error(error: BaseException | None, where: str, what: str = "") -> BlocksError | None:
    """Return an error of the system as a sentence, or None if the cause is something else.

    Args:
        error: The error; its causes are searched too.
        where: The command or step that the user started.
        what: The item at fault; by default the path in the error.
    """
    while error is not None:
        if (number := _number(error)) is not None:
            problem, expected, remedy = _FAULTS[number]
            path = getattr(error, "filename", None)
            place = f" at {path!r}" if isinstance(path, str) and not what else ""
            return BlocksError(
                where, what or "file system", problem.format(place), expected, remedy
            )
        error = error.__cause__ or error.__context__
    return None


def _number(error: BaseException) -> int | None:
    number = getattr(error, "errno", None)
    if number in _FAULTS:
        return int(number)
    message = str(error)
    found = _NUMBER.search(message)
    if found and int(found[1]) in _FAULTS:
        return int(found[1])
    return next((it for text, it in _TEXTS.items() if text in message), None)

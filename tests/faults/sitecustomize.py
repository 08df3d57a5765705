"""Makes the n-th write below a folder fail, in this process and in those that it starts.

BLOCKS_FAULT_UNDER is the folder, BLOCKS_FAULT_COUNT a file that counts the writes of all processes,
and BLOCKS_FAULT_AT the first write that fails (0: none); all after it fail as well, as on a full
disk. A write is a file opened for writing, or a name that is made or moved. Writes of libraries in
C are not seen.
"""

import errno
import fcntl
import os
import runpy
import sys
from pathlib import Path

UNDER, COUNT = os.environ["BLOCKS_FAULT_UNDER"], os.environ["BLOCKS_FAULT_COUNT"]
AT = int(os.environ["BLOCKS_FAULT_AT"])
NUMBER = getattr(errno, os.environ.get("BLOCKS_FAULT_ERROR", "ENOSPC"))
HERE = str(Path(__file__).parent)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def watch(event, arguments):
    if event == "subprocess.Popen":
        variables = arguments[3]
        if isinstance(variables, dict):  # the steps' own, which name a site of theirs
            rest = variables.get("PYTHONPATH", "")
            if HERE not in rest:
                variables["PYTHONPATH"] = os.pathsep.join([HERE, rest])
        return
    if event == "open":
        path, mode, flags = arguments
        is_write = bool(flags & WRITING) or (isinstance(mode, str) and set(mode) & set("wax+"))
        paths = [path] if is_write else []
    elif event in ("os.mkdir", "os.truncate"):
        paths = [arguments[0]]
    elif event in ("os.rename", "os.link", "os.symlink"):
        paths = [arguments[1]]
    else:
        return
    for path in paths:
        if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(UNDER):
            count(os.fspath(path))


def count(path):
    file = os.open(COUNT, os.O_RDWR | os.O_APPEND)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.write(file, b".")
        number = os.fstat(file).st_size
    finally:
        os.close(file)
    if AT and number >= AT:
        raise OSError(NUMBER, os.strerror(NUMBER), path)


sys.addaudithook(watch)
# The site that comes after this one on the path.
for folder in sys.path:
    after = Path(folder or ".") / "sitecustomize.py"
    if folder != HERE and after.is_file():
        runpy.run_path(str(after))
        break

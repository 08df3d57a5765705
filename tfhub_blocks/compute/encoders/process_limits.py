"""Limits of the process that loads a SavedModel for the first time. Linux has all of them."""

# decision 67

import ctypes
import os
import resource
import sys
from pathlib import Path

NOBODY = 65534
MAX_OPEN_FILES = 1024
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_NO_NEW_PRIVILEGES = 38
_DUMPABLE = 4
_CAPABILITIES = 0x20080522  # the third version of the interface
# Landlock's system calls, and its rights to write, remove and make files of each kind.
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_WRITES = 1 << 1 | sum(1 << right for right in range(4, 13))
_REFER, _TRUNCATE = 1 << 13, 1 << 14


def leave_network() -> str:
    """Move this process to a network without devices, before the process has threads.

    Returns:
        The reason if the operating system does not allow it, else an empty text.
    """
    user, group = os.geteuid(), os.getegid()
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "unshare"):
        return "this operating system has no network namespaces"
    if user == 0 and library.unshare(_NEW_NETWORK) == 0:
        return ""
    if library.unshare(_NEW_USER | _NEW_NETWORK) == 0:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            _write(Path("/proc/self") / name, text)
        return ""
    return os.strerror(ctypes.get_errno())


def limit_process(memory_bytes: int) -> None:
    """Take away writing, most files, core dumps and root from this process, and bound its memory.

    Args:
        memory_bytes: The memory that the process may use in addition to what it uses now.
    """
    memory_bytes += _used_data_bytes()
    _leave_root()
    library = ctypes.CDLL(None, use_errno=True)
    if hasattr(library, "prctl"):
        library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        library.prctl(_DUMPABLE, 0, 0, 0, 0)
        _forbid_writing(library)
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
        # Memory that is reserved but not writable, as of threads, does not count.
        (resource.RLIMIT_DATA, memory_bytes),
        # The last one: from here on, a write to a file fails.
        (resource.RLIMIT_FSIZE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def _leave_root() -> None:
    """Become the user nobody, or without privileges if nobody cannot read model and program."""
    if os.geteuid() != 0:
        return
    try:
        os.setgroups([])
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
        _read_all()
    except OSError:
        os.seteuid(0)
        os.setegid(0)
        _drop_capabilities()
        return
    os.seteuid(0)
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _drop_capabilities() -> None:
    """Let root do only what the owner of root's files may do."""
    library = ctypes.CDLL(None, use_errno=True)
    if hasattr(library, "capset"):
        header = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0)
        library.capset(header, (ctypes.c_uint32 * 6)())


def _forbid_writing(library: ctypes.CDLL) -> None:
    """Forbid to create, open for writing, rename and remove files, where Linux has Landlock."""
    version = library.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return
    accesses = _WRITES | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    attributes = ctypes.c_uint64(accesses)
    rules = library.syscall(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(8), 0)
    if rules >= 0:
        library.syscall(_RESTRICT_SELF, rules, 0)
        os.close(rules)


def _read_all() -> None:
    """Open the files of the model in the working folder, and those of the program.

    Raises:
        OSError: This user may not read one of them.
    """
    for parent, _, names in os.walk(".", onerror=_raise):
        for name in names:
            os.close(os.open(Path(parent) / name, os.O_RDONLY))
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and Path(file).is_absolute():
            os.close(os.open(file, os.O_RDONLY))


def _raise(error: OSError) -> None:
    raise error


def _used_data_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    return pages * resource.getpagesize()


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="ascii")
    except OSError:  # The process then has the identity of nobody, which needs no mapping.
        return

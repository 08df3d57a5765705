"""Names of persons: those that whoever works here has, and whether two names are of one person."""

import getpass
import re

from tfhub_blocks.control.repository.git_state import configured_email

# Whoever is this in a container is not known by it.
_NOBODY = frozenset({"", "root"})


def login_name() -> str:
    """The name of the login on this machine; empty if it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        return ""


def local_names() -> tuple[str, ...]:
    """What whoever works here is called by this machine and by git; nothing if by neither.

    They are what somebody set, and prove nothing.
    """
    names = (login_name(), configured_email())
    return tuple(dict.fromkeys(name for name in names if name not in _NOBODY))


def is_same_person(one: str, other: str) -> bool:
    """Whether two names may be of one person: a login, or what stands before the @ of an address.

    Two who are called alike in two domains are taken for one: better asked twice than never.
    """
    found = {_short(one), _short(other)}
    return len(found) == 1 and "" not in found


def _short(name: str) -> str:
    local = name.strip().casefold().rpartition("\\")[2].partition("@")[0]
    # GitHub's 123+ada@users.noreply.github.com, and ada+git@example.org.
    return re.sub(r"^\d+\+", "", local).partition("+")[0]

"""Names of users: local names, and comparison of names."""

# decision 33

import getpass
import re

from tfhub_blocks.control.repository.git_state import configured_email

# These names do not identify a user, for instance in a container.
_NOBODY = frozenset({"", "root"})


def login_name() -> str:
    """Return the name of the local login; empty without one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        return ""


def local_names() -> tuple[str, ...]:
    """Return the current user's names from the local login and from git; empty without either.

    Anyone can set these names, so they prove nothing.
    """
    names = (login_name(), configured_email())
    return tuple(dict.fromkeys(name for name in names if name not in _NOBODY))


def is_same_person(one: str, other: str) -> bool:
    """Return True if two names may belong to the same person: equal logins or equal local parts.

    The local part is the part of an address before the @. Equal local parts in two domains count as
    the same person, because a needless second review is better than a missing one.
    """
    found = {_short(one), _short(other)}
    return len(found) == 1 and "" not in found


def _short(name: str) -> str:
    local = name.strip().casefold().rpartition("\\")[2].partition("@")[0]
    # GitHub's 123+ada@users.noreply.github.com, and ada+git@example.org.
    return re.sub(r"^\d+\+", "", local).partition("+")[0]

"""What is dear to make is made by one of the test processes, for all that run at once."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

# A folder which `make test` gives to all its parts.
VARIABLE = "BLOCKS_TESTS_SHARED"

Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """``made_once(name, make)`` gives a folder that ``make`` filled, here or in another process.

    Nobody may change what is in it.
    """
    shared = Path(os.environ.get(VARIABLE) or tmp_path_factory.mktemp("shared"))

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = shared / name, shared / f"{name}.made"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                assert not folder.exists(), f"another process could not make {folder}"
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return made

"""The settings of a project's CI: ``pipelines/ci.toml``, and what its profiles imply."""

# decision 109

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tfhub_blocks
from tfhub_blocks.control.project.profiles import Profile, profile_files, read_profile
from tfhub_blocks.control.repository.catalog import pipeline_files
from tfhub_blocks.records.base.documents import read_document
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.base.project_folders import project_folder

FORMAT_VERSION = 1
FILE = Path("pipelines") / "ci.toml"
CommentMode = Literal["update", "new", "hide-and-new"]
# Who needs a token of the repository or of Azure says so; everything else gets none.
_WORD = re.compile(r"[A-Za-z0-9._/-]+")
_VARIABLE = re.compile(r"\$(?:([A-Z]\w*)|\{([A-Z]\w*)\})")
_OF_LOGIN = ("USER", "LOGNAME")


@dataclass(frozen=True)
class CiSettings:
    """What a team decides about its CI; every key has a default.

    ``python`` is the version of Python in CI. ``experiment`` and ``production`` are the names of
    profiles. ``branch`` is the branch that changes are merged into, and ``comment`` the mode of the
    review's comment. ``install`` lists the commands that install tfhub-blocks without TensorFlow,
    and ``tests`` those that test the project; a folder ``tests`` has none without them. ``cache``
    names the files whose content decides about the cache of packages. ``merge`` and ``night`` name
    the pipelines that run after a merge and each night, with their inputs. ``nightly`` is a time as
    cron writes it, in UTC. ``code_owners`` review locks and profiles.
    """

    branch: str = "main"
    python: str = "3.11"
    comment: CommentMode = "update"
    experiment: str = "experiment"
    production: str = "production"
    nightly: str = "17 2 * * *"
    install: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    cache: tuple[str, ...] = ()
    code_owners: tuple[str, ...] = ()
    merge: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    night: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def installation(self) -> tuple[str, ...]:
        """The commands that install tfhub-blocks without TensorFlow."""
        if self.install:
            return self.install
        return (f"python -m pip install tfhub-blocks-control=={tfhub_blocks.__version__}",)


@dataclass(frozen=True)
class CiProject:
    """The settings, and the facts about the project that the workflow files depend on.

    ``profiles`` are those that run on Azure ML, and ``variables`` what profiles read from the
    environment.
    """

    settings: CiSettings
    profiles: tuple[str, ...]
    variables: tuple[str, ...]


def read_project() -> CiProject:
    """Return the settings of the project in the working folder.

    Raises:
        BlocksError: A file is not valid, or the settings name an unknown profile or pipeline.
    """
    path = project_folder() / FILE
    settings = read_document(path, CiSettings, FORMAT_VERSION) if path.is_file() else CiSettings()
    for key, problem, expected in _faults(settings):
        raise BlocksError("ci", f"{FILE} > {key}", problem, expected, f"Edit {key} in {FILE}")
    profiles = {name: read_profile(name) for name in sorted(profile_files())}
    remote = {name: it for name, it in profiles.items() if it.engine == "azureml"}
    for key, name in (("experiment", settings.experiment), ("production", settings.production)):
        _check_profile(key, name, remote)
    texts = [it.path.read_text(encoding="utf-8") for it in remote.values()]
    names = {one or other for text in texts for one, other in _VARIABLE.findall(text)}
    return CiProject(settings, tuple(remote), tuple(sorted(names - set(_OF_LOGIN))))


def _check_profile(key: str, name: str, remote: Mapping[str, Profile]) -> None:
    takes_locks = key == "production"
    if name not in remote:
        problem = f"no profile of Azure ML is called {name!r}"
    elif takes_locks and remote[name].takes != "locks":
        problem = f"profile {name} accepts more than release locks"
    elif not takes_locks and remote[name].takes == "locks":
        problem = f"profile {name} accepts only release locks, which no merge has"
    else:
        return
    wanted = 'a profile with takes = "locks"' if takes_locks else "a profile that takes pipelines"
    hint = nearest(name, remote) or f"Set {key} in {FILE}, or write pipelines/profiles/{name}.toml"
    raise BlocksError("ci", f"{FILE} > {key}", problem, wanted, hint)


def _faults(settings: CiSettings) -> Iterator[tuple[str, str, str]]:
    """Yield key, problem and expectation of each value that its type alone does not exclude."""
    for key, text in (
        ("branch", settings.branch),
        ("python", settings.python),
        ("experiment", settings.experiment),
        ("production", settings.production),
        *((f"cache.{n}", it) for n, it in enumerate(settings.cache)),
    ):
        if not _WORD.fullmatch(text):
            yield key, f"{key.partition('.')[0]} is {text!r}", "letters, digits, '.', '_', '-', '/'"
    if not re.fullmatch(r"[0-9*,/-]+( [0-9*,/-]+){4}", settings.nightly):
        yield (
            "nightly",
            f"nightly is {settings.nightly!r}",
            "five fields of cron, such as 17 2 * * *",
        )
    for key, commands in (("install", settings.install), ("tests", settings.tests)):
        for number, command in enumerate(commands):
            if "${{" in command or "\n" in command or not command.strip():
                problem = f"the command is {command!r}"
                yield f"{key}.{number}", problem, "one line of a shell without an expression"
    known = pipeline_files()
    for key, table in (("merge", settings.merge), ("night", settings.night)):
        for name, inputs in table.items():
            if name not in known:
                yield f"{key}.{name}", f"no pipeline is called {name!r}", "a pipeline's name"
            for port, value in inputs.items():
                if "\n" in value or "${{" in value:
                    problem = f"the value of {port} is {value!r}"
                    yield f"{key}.{name}.{port}", problem, "one line without an expression"

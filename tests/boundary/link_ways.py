"""Ways by links and paths: what is read is not what is committed."""

from dataclasses import replace

from lock_ways import LOCK, read
from release_project import commit, git
from ways import surface

from tfhub_blocks.records.formats.releases import lock_text

way = surface("Links and paths", "release")
PROFILE = "pipelines/profiles/strict.toml"
STEP = "components/make/component.py"


def replace_by_link(project, name):
    """Move a file or folder out of the repository, and commit a link to it."""
    path = project.folder / name
    path.rename(project.folder.parent / "elsewhere")
    path.symlink_to(project.folder.parent / "elsewhere")
    commit(project)


@way("commit a link to a lock that lies elsewhere")
def link_lock(project):
    replace_by_link(project, LOCK)


@way("commit a link to a folder of locks")
def link_releases(project):
    replace_by_link(project, "pipelines/releases")


@way("commit a link to a profile")
def link_profile(project):
    replace_by_link(project, PROFILE)


@way("commit a link to a folder of profiles")
def link_profiles(project):
    replace_by_link(project, "pipelines/profiles")


@way("commit a link to a step's code")
def link_step(project):
    replace_by_link(project, STEP)


@way("link to a lock from a name beside the repository")
def link_outside(project):
    link = project.folder.parent / "first.lock.toml"
    link.symlink_to(project.folder / LOCK)
    return ("submit", str(link), "--profile", "strict")


@way("name a lock outside of the repository by its path")
def path_outside(project):
    project.write("../second.lock.toml", lock_text(other(project)))
    return ("submit", "pipelines/../../second.lock.toml", "--profile", "strict")


@way("commit a lock where nobody reviews locks")
def path_other_folder(project):
    project.write("notes/second.lock.toml", lock_text(other(project)))
    commit(project)
    return ("submit", "notes/second.lock.toml", "--profile", "strict")


@way("let the name of a lock be a pattern that fits a committed one")
def path_pattern(project):
    project.write(".git/info/exclude", "notes/\n")
    name = "notes/[f]irst.lock.toml"
    project.write("notes/first.lock.toml", project.read(LOCK))
    git(project, "add", "--force", "notes/first.lock.toml")
    git(project, "commit", "-q", "-m", "notes")
    reseal_uncommitted(project, name, "[f]irst")
    return ("submit", name, "--profile", "strict")


@way("name a release so that its lock lies outside (../)")
def path_climbing_name(project):
    project.write("pipelines/second.lock.toml", lock_text(other(project)))
    commit(project)
    return ("submit", "../second", "--profile", "strict")


@way("take a profile from elsewhere by its path")
def path_profile(project):
    project.write("../strict.toml", project.read(PROFILE).replace("= 60", "= 99"))
    return ("submit", "first", "--profile", "../strict.toml")


@way("take a profile of the repository that is no profile of production, by its path")
def path_other_profile(project):
    project.write("notes/strict.toml", project.read(PROFILE).replace("= 60", "= 99"))
    commit(project)
    return ("submit", "first", "--profile", "notes/strict.toml")


def other(project):
    return replace(read(project), name="second").sealed()


def reseal_uncommitted(project, name, release):
    lock = replace(read(project), name=release).sealed()
    project.write(name, lock_text(lock))

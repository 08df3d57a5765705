"""Ways by the lock file."""

from dataclasses import replace

from release_project import commit, edit, git, lock_file
from ways import surface

from tfhub_blocks.records.releases import lock_text, read_lock

way = surface("The lock", "release")
LOCK, SECOND = str(lock_file()), str(lock_file("second"))
SUBMIT_SECOND = ("submit", "second", "--profile", "strict")


def read(project):
    return read_lock(project.folder / LOCK)


def reseal(project, name=LOCK, **other):
    """Write the lock with something else in it, as if it had been made so, and commit it."""
    project.write(name, lock_text(replace(read(project), **other).sealed()))
    commit(project)


def reseal_step(project, **other):
    steps = read(project).steps
    reseal(project, steps={**steps, "first": replace(steps["first"], **other)})


@way("edit a parameter by hand, and commit that")
def lock_edited(project):
    edit(project, LOCK, "count = 3", "count = 4")
    commit(project)


@way("edit it, compute its digest again, and not commit that")
def lock_uncommitted_edit(project):
    reseal(project, owner="them")
    git(project, "reset", "-q", "--soft", "HEAD~")


@way("edit a step's parameter, compute the digest again, and commit that")
def lock_resealed_parameter(project):
    reseal_step(project, parameters={"text": "a", "count": 9, "flag": True})


@way("let a step get its data from elsewhere, digest and all, and commit that")
def lock_resealed_wiring(project):
    reseal_step(project, inputs={"source": "jobs.verdict.outputs.evidence"})


@way("leave a step out, digest and all, and commit that")
def lock_without_step(project):
    reseal(project, steps={"first": read(project).steps["first"]})


@way("name another base image, digest and all, and commit that")
def lock_resealed_image(project):
    toy = read(project).environments["toy"]
    reseal(project, environments={"toy": replace(toy, base_image="example.org/other:1")})


@way("rename the lock of another release")
def lock_renamed(project):
    git(project, "mv", LOCK, SECOND)
    commit(project)
    return SUBMIT_SECOND


@way("write a lock, and not commit it")
def lock_uncommitted(project):
    project.write(SECOND, lock_text(replace(read(project), name="second").sealed()))
    return SUBMIT_SECOND


@way("take a lock that is committed, of a newer format")
def lock_newer_format(project):
    edit(project, LOCK, "format_version = 1", "format_version = 2")
    commit(project)


@way("add a key that this client does not know, and commit that")
def lock_unknown_key(project):
    edit(project, LOCK, 'owner = "us"', 'owner = "us"\nskip_checks = true')
    commit(project)

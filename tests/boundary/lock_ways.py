"""Ways by the lock file."""

from dataclasses import replace

from release_project import commit, edit, git, lock_file
from ways import surface

from tfhub_blocks.records.formats.releases import (
    LockedEvidence,
    LockedOpen,
    LockedProfile,
    lock_text,
    read_lock,
)

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


@way("take a lock of an older format, which this client no longer knows")
def lock_older_format(project):
    edit(project, LOCK, "format_version = 1", "format_version = 0")
    commit(project)


@way("say a key twice, so that a reader sees the first and a program the second")
def lock_key_twice(project):
    edit(project, LOCK, 'owner = "us"', 'owner = "us"\nowner = "them"')
    commit(project)


@way("hide a line behind a byte that editors do not show")
def lock_nul(project):
    edit(project, LOCK, 'owner = "us"', 'owner = "us"\x00')
    commit(project)


@way("leave the digest out")
def lock_without_digest(project):
    text = project.read(LOCK)
    [line] = [line for line in text.splitlines() if line.startswith("digest = ")][:1]
    project.write(LOCK, text.replace(line + "\n", "", 1))
    commit(project)


@way("give an input a value of a kind that no command line can, digest and all")
def lock_odd_value(project):
    edit(project, LOCK, "count = 3", "count = 2027-01-01")
    commit(project)


@way("name other data among the inputs than among the data, where it is reviewed")
def lock_data_twice(project):
    reseal(project, inputs={**read(project).inputs, "source": "azureml:others:1"})


@way("name a place that may change as if it were a version of data")
def lock_data_place(project):
    data = replace(read(project).data["source"], name="//datastores/x/paths/y", version="z")
    reseal(project, data={"source": data})


@way("name data as text among the inputs, where no digest stands beside it")
def lock_data_as_input(project):
    inputs = {**read(project).inputs, "source": "azureml:others:1"}
    reseal(project, data={}, inputs=inputs)


@way("lock a release whose evidence says that it failed")
def lock_failed_evidence(project):
    evidence = LockedEvidence("1" * 64, "2" * 64, False, {"accuracy": {"asked": 0.9}})
    reseal(project, evidence=evidence)


@way("lock another pipeline under the release's name")
def lock_other_pipeline(project):
    reseal(project, pipeline="toy")


@way("name a commit that is in no history")
def lock_no_commit(project):
    reseal(project, commit="1" * 40)


@way("let the commit be something that git takes for an option or a range")
def lock_commit_option(project):
    reseal(project, commit="--help")


@way("let the commit be a name that moves (HEAD)")
def lock_commit_name(project):
    reseal(project, commit="HEAD")


@way("let nobody own it")
def lock_no_owner(project):
    reseal(project, owner=" ")


@way("leave data open that no step can resolve, digest and all")
def lock_opened(project):
    reseal(project, open={"source": LockedOpen(read(project).data["source"].name, "newest")})


@way("leave data open under the name of other data, digest and all")
def lock_opened_other_name(project):
    reseal(project, open={"source": LockedOpen("others", "newest")})


@way("leave a parameter open, digest and all")
def lock_opened_parameter(project):
    reseal(project, open={"count": LockedOpen("count", "newest")})


@way("leave out the fields of the job, as an older client did")
def lock_without_job(project):
    reseal(project, job=None, profiles=None)


@way("leave out what the profile adds, digest and all")
def lock_without_profile(project):
    reseal(project, profiles={})


@way("let the lock agree to another machine, digest and all, and leave the profile as it is")
def lock_resealed_profile(project):
    lock = read(project)
    strict = lock.profiles["strict"]
    first = {**strict.steps["first"], "computeId": "mine"}
    other = LockedProfile(strict.job, {**strict.steps, "first": first})
    reseal(project, profiles={**lock.profiles, "strict": other})


@way("let the lock agree to arguments of docker that the pipeline does not pass")
def lock_resealed_field(project):
    reseal_step(project, sent={"resources.docker_args": "--privileged"})

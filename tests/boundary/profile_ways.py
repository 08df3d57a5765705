"""Ways by the profile: it is committed, and no part of the lock."""

from lock_ways import read, reseal
from release_project import commit, edit
from ways import surface

way = surface("The profile", "release")
PROFILE = "pipelines/profiles/strict.toml"


def change(project, old, new):
    edit(project, PROFILE, old, new)
    commit(project)


@way("let steps only record that they run in another environment")
def profile_environment_policy(project):
    change(project, 'environment_policy = "refuse"', 'environment_policy = "record"')


@way("let encoders be tried that are undecided")
def profile_encoder_policy(project):
    change(project, 'encoder_policy = "production"', 'encoder_policy = "experiment"')


@way("let steps travel with the job that nobody published")
def profile_inline(project):
    change(project, "[job]", '[job]\ncomponents = "inline"')


@way("misspell what it takes, so that it takes all")
def profile_misspelt(project):
    change(project, 'takes = "locks"', 'take = "locks"')


@way("let it take both")
def profile_takes_both(project):
    change(project, 'takes = "locks"', 'takes = "all"')


@way("let steps run in an environment that somebody baked since")
def profile_environment(project):
    for name in ("Dockerfile", "requirements.in", "requirements.lock"):
        text = project.read(f"components/environments/toy/{name}")
        project.write(f"components/environments/other/{name}", text)
    yaml = "name: other\nowner: us\npurpose: another\ncontinues: toy\n"
    project.write("components/environments/other/environment.yaml", yaml)
    change(project, "[roles.cpu]", '[environments]\ntoy = "other"\n[roles.cpu]')


@way("let the profile give another value to an input that has a default")
def profile_inputs(project):
    lock = read(project)
    inputs = {name: value for name, value in lock.inputs.items() if name != "count"}
    reseal(project, inputs=inputs)
    change(project, "[roles.cpu]", '[inputs]\ncount = "9"\n[roles.cpu]')
    lock = read(project)
    first = lock.steps["first"]
    steps = {**lock.steps, "first": first.__class__(**{**vars(first), "parameters": {"count": 9}})}
    reseal(project, steps=steps)


@way("write down nobody who owns or pays")
def profile_nobody(project):
    change(project, 'owner = "tester"', 'owner = "$NOBODY_AT_ALL"')


@way("let a role have no end")
def profile_timeout(project):
    change(project, "timeout_s = 60", "timeout_s = 0")


@way("use an engine that is this machine")
def profile_local(project):
    change(project, 'engine = "azureml"', 'engine = "local"')

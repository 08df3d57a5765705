"""Ways by what no lock holds: code and profile that are committed and break the rules."""

import time

from release_project import STRICT, commit, edit, git, pin
from ways import surface

way = surface("The rules", "release")
STEP = "components/make/component.py"
PROFILE = "pipelines/profiles/strict.toml"
LOCK = ("lock", "judged", "--set", "source=src", "--set", "owner=us", "--name", "first")


def lock_again(project):
    """Let the release be of the tree as it is, reviewed or not."""
    commit(project)
    assert project.main(*LOCK, "--data", "source=words", "--replace").status == 0
    commit(project)


@way("lock a step that installs a package while it runs")
def rule_install(project):
    edit(project, STEP, "# EFFECT", 'subprocess.run(["pip", "install", "more"])')
    lock_again(project)


@way("lock a step that is let into by a shell (services)")
def rule_services(project):
    edit(
        project,
        "pipelines/judged.py",
        "    verdict = ",
        "    from azure.ai.ml.entities import SshJobService as Shell\n\n"
        '    first.services = {"shell": Shell(ssh_public_keys="ssh-rsa x")}\n    verdict = ',
    )
    lock_again(project)


@way("lock a step that makes an endpoint which never ends")
def rule_endpoint(project):
    edit(project, STEP, "# EFFECT", 'client.online_endpoints.begin_create_or_update("e")')
    lock_again(project)


@way("lock a pipeline that gives a secret as a parameter")
def rule_secret(project):
    port = 'api_key: Input(type="string", description="x") = "hunter2"'
    edit(project, STEP, "    maybe: Input", f"    {port},\n    maybe: Input")
    lock_again(project)


@way("lock a step whose environment's lock has no hashes")
def rule_hashes(project):
    project.write("components/environments/toy/requirements.lock", "# python: 3.11\nalpha==1.0\n")
    pin(project)
    lock_again(project)


@way("let the profile run on a cluster that never ends")
def rule_cluster(project):
    edit(project, PROFILE, "max_nodes = 2", "max_nodes = 2\nmin_nodes = 1")
    commit(project)


@way("let the profile run on a compute that nobody describes")
def rule_compute(project):
    edit(project, PROFILE, 'compute = "cpu-cluster"', 'compute = "my-machine"')
    commit(project)


def exception(day):
    """A profile that puts up with a step which installs a package, until a day."""
    return STRICT + (
        '[[exceptions]]\nrule = "environment-install"\nowner = "ada"\n'
        f'reason = "It is late."\nexpires = {day}\n'
    )


@way("go on by an exception that has expired")
def rule_expired(project):
    project.write(PROFILE, exception("2020-01-31"))
    rule_install(project)


@way("set the clock back to when the exception still counted")
def rule_clock_back(project):
    project.write(PROFILE, exception("2020-01-31"))
    rule_install(project)
    project.monkeypatch.setattr(time, "time", lambda: 1.58e9)


@way("set the clock back for the last commit as well")
def rule_commit_clock_back(project):
    project.write(PROFILE, exception("2020-01-31"))
    rule_install(project)
    project.monkeypatch.setattr(time, "time", lambda: 1.58e9)
    project.monkeypatch.setenv("GIT_COMMITTER_DATE", "2020-01-30T00:00:00Z")
    git(project, "commit", "-q", "--allow-empty", "-m", "late")


@way("except a rule for ever")
def rule_no_date(project):
    text = exception("2027-01-01").replace("expires = 2027-01-01\n", "")
    project.write(PROFILE, text)
    commit(project)


@way("turn off that an exception may expire, or that a rule may crash")
def rule_off(project):
    edit(project, PROFILE, "[rules]", '[rules]\nrule-crashed = "off"')
    commit(project)

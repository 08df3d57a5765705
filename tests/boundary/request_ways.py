"""Ways by the request: what is asked for beside, or in place of, the lock."""

from release_project import commit, edit, lock_file
from ways import surface

way = surface("The request", "release")
STRICT = ("--profile", "strict")
DATA = ("--set", "source=azureml:words:1", "--set", "owner=us")


@way("submit the pipeline itself, with settings")
def request_pipeline(project):
    return ("submit", "judged", *STRICT, *DATA)


@way("submit the lock with another parameter (--set)")
def request_set(project):
    return ("submit", "first", *STRICT, "--set", "count=5")


@way("submit the lock, and register what comes out (--register)")
def request_register(project):
    return ("submit", "first", *STRICT, "--register", "made=model")


@way("misspell the release, and hope for the nearest")
def request_misspelt(project):
    return ("submit", "frist", *STRICT)


@way("let a pipeline have the release's name")
def request_pipeline_of_that_name(project):
    text = project.read("pipelines/judged.py")
    project.write("pipelines/first.py", text.replace("def judged(", "def first("))
    commit(project)


@way("let a schedule submit the pipeline")
def request_schedule(project):
    project.write(
        "pipelines/schedules/night.toml",
        'format_version = 1\npipeline = "judged"\nprofile = "strict"\ntime_zone = "UTC"\n'
        'cron = "0 3 * * 1"\n[inputs]\nsource = "azureml:words:1"\nowner = "us"\n',
    )
    commit(project)
    return ("schedule", "apply")


@way("let a schedule submit a lock that was edited")
def request_schedule_of_lock(project):
    edit(project, str(lock_file()), "count = 3", "count = 4")
    project.write(
        "pipelines/schedules/night.toml",
        'format_version = 1\npipeline = "first"\nprofile = "strict"\ntime_zone = "UTC"\n'
        'cron = "0 3 * * 1"\n',
    )
    commit(project)
    return ("schedule", "apply")


@way("run it on this machine under the profile, which no lock stops")
def request_local_run(project):
    return ("run", "judged", *STRICT, "--set", "source=src", "--set", "owner=us")

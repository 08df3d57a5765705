"""Ways by the fields of the job: the pipeline or the profile sets one that the lock lacks."""

from profile_ways import change
from release_project import commit, edit
from ways import surface

way = surface("The fields of the job", "release")
PIPELINE = "pipelines/judged.py"
BEFORE = '    return {"made"'


def more(project, *lines):
    """Let the pipeline do something more to its first node, and commit that."""
    edit(project, PIPELINE, BEFORE, "".join(f"    {line}\n" for line in lines) + BEFORE)
    commit(project)


@way("pass arguments to docker, so that the container sees the host")
def job_docker_args(project):
    more(project, 'first.resources = {"docker_args": "--privileged"}')


@way("let a step run as the user who submits, who may read more")
def job_identity(project):
    more(project, 'first.identity = {"type": "user_identity"}')


@way("open a shell into a running step")
def job_service(project):
    more(
        project,
        "from azure.ai.ml.entities import SshJobService",
        'first.services = {"s": SshJobService(ssh_public_keys="ssh-rsa AAAA")}',
    )


@way("let a step read a variable that nobody reviewed")
def job_variable(project):
    more(project, 'first.environment_variables = {"PIP_INDEX_URL": "https://example.org"}')


@way("write an output to an address where others read it")
def job_output_address(project):
    more(project, 'first.outputs["made"].path = "azureml://datastores/open/paths/x"')


@way("register an output under the name of another asset")
def job_output_name(project):
    more(project, 'first.outputs["made"].name = "others"', 'first.outputs["made"].version = "1"')


@way("mount an input instead of downloading it, so that it may change while the step reads it")
def job_input_mode(project):
    more(project, 'first.inputs["source"].mode = "rw_mount"')


@way("run a step on several nodes")
def job_distribution(project):
    more(
        project,
        "from azure.ai.ml import MpiDistribution",
        "first.distribution = MpiDistribution(process_count_per_instance=2)",
    )


@way("let a step wait in the queue of machines that Azure takes back")
def job_queue(project):
    more(project, 'first.set_queue_settings(job_tier="spot")')


@way("give a step a time limit of its own, within the profile's budget")
def job_limit(project):
    more(project, "first.set_limits(timeout=59)")


@way("tag a step, which others' tools take for a decision")
def job_node_tag(project):
    more(project, 'first.tags = {"approved": "yes"}')


@way("set a field that this client does not know")
def job_unknown_field(project):
    more(project, 'first.privileged = "yes"')


@way("set another time limit in the profile, and commit that")
def profile_limit(project):
    change(project, "timeout_s = 60", "timeout_s = 61")


@way("set another cluster in the profile, and commit that")
def profile_cluster(project):
    change(project, 'compute = "cpu-cluster"', 'compute = "shared-cluster"')


@way("let the profile's jobs run as the user who submits, and commit that")
def profile_identity(project):
    change(project, "[job]", '[job]\nidentity = "user"')


@way("let the profile's jobs join another experiment, and commit that")
def profile_experiment(project):
    change(project, "[job]", '[job]\nexperiment = "others"')


@way("submit with a profile that was written after the lock")
def profile_later(project):
    text = project.read("pipelines/profiles/strict.toml")
    project.write("pipelines/profiles/later.toml", text)
    commit(project)
    return ("submit", "first", "--profile", "later")

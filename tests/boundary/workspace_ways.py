"""Ways by the workspace: what it holds is not what the names promise."""

from azure.ai.ml.entities import ComputeInstance
from release_project import edit
from ways import surface

from tfhub_blocks.control.project.assets import DIGEST_TAG

way = surface("The workspace", "workspace")


def retag(stand, kind, digest):
    for key, resource in stand.resources.items():
        properties = resource.get("properties", {})
        for holder in (properties, properties.get("componentSpec", {})):
            if key.startswith(f"{kind}/") and (holder.get("tags") or {}).get(DIGEST_TAG):
                holder["tags"][DIGEST_TAG] = digest


@way("publish other data as the same version")
def assets_other_data(stand):
    retag(stand, "data", "0" * 64)


@way("publish another environment as the same version")
def assets_other_environment(stand):
    retag(stand, "environments", "0" * 64)


@way("publish another step as the same version")
def assets_other_component(stand):
    retag(stand, "components", "0" * 64)


@way("take the tag with the digest off a version")
def assets_no_tag(stand):
    for properties in stand.versions("data"):
        del properties["tags"][DIGEST_TAG]


@way("delete the data that is locked")
def assets_gone(stand):
    for key in [key for key in stand.resources if key.startswith("data/words/")]:
        del stand.resources[key]


@way("publish a step whose command installs a package, under the version and the tag of another")
def assets_other_command(stand):
    for properties in stand.versions("components"):
        spec = properties["componentSpec"]
        spec["command"] = f"pip install more && {spec['command']}"


@way("let a published step run in another environment, under the version and the tag of another")
def assets_other_step_environment(stand):
    for properties in stand.versions("components"):
        spec = properties["componentSpec"]
        spec["environment"] = spec["environment"].rpartition("/")[0] + "/1"


@way("let a published step come from a cache though it has effects")
def assets_other_determinism(stand):
    for properties in stand.versions("components"):
        properties["componentSpec"]["is_deterministic"] = False


@way("let a published step be other code, under the version and the tag of another")
def assets_other_code(stand):
    codes = {p["componentSpec"]["name"]: p["componentSpec"] for p in stand.versions("components")}
    codes["make"]["code"] = codes["join"]["code"]


@way("make an environment of an image, under the version and the tag of one that is built")
def assets_image(stand):
    for properties in stand.versions("environments"):
        del properties["build"]
        properties["image"] = "example.org/mine:1"


@way("run it on somebody's own machine, which has the cluster's name")
def compute_instance(stand):
    client = stand.plane.client()
    client.compute.begin_delete("cpu-cluster").result()
    machine = ComputeInstance(name="cpu-cluster", size="Standard_DS3_v2")
    client.compute.begin_create_or_update(machine).result()


@way("submit a pipeline to production's workspace, with the profile for trials")
def workspace_trial(stand):
    stand.plane.workspace.tags["tfhub_blocks.takes"] = "locks"
    data = stand.plane.workspace.versions("data")[0]["name"]
    words = ("--set", f"source=azureml:words:{data}", "--set", "owner=us")
    return ("submit", "judged", "--profile", "trial", *words)


@way("submit the lock to it with the profile for trials, which takes a tree that is not clean")
def workspace_trial_of_lock(stand):
    stand.plane.workspace.tags["tfhub_blocks.takes"] = "locks"
    stand.write("note", "x")
    return ("submit", "first", "--profile", "trial")


@way('take takes = "locks" out of the profile, and commit nothing')
def workspace_profile_edited(stand):
    stand.plane.workspace.tags["tfhub_blocks.takes"] = "locks"
    edit(stand, "pipelines/profiles/strict.toml", 'takes = "locks"\n', "")
    data = stand.plane.workspace.versions("data")[0]["name"]
    words = ("--set", f"source=azureml:words:{data}", "--set", "owner=us")
    return ("submit", "judged", "--profile", "strict", *words)


@way("let a schedule with the profile for trials submit to it")
def workspace_schedule(stand):
    stand.plane.workspace.tags["tfhub_blocks.takes"] = "locks"
    data = stand.plane.workspace.versions("data")[0]["name"]
    stand.write(
        "pipelines/schedules/night.toml",
        'format_version = 1\npipeline = "judged"\nprofile = "trial"\ntime_zone = "UTC"\n'
        f'cron = "0 3 * * 1"\n[inputs]\nsource = "azureml:words:{data}"\nowner = "us"\n',
    )
    return ("schedule", "apply")


@way("use a cluster that another owner made under the same name")
def owner_cluster(stand):
    stand.plane.workspace.get("computes/cpu-cluster")["tags"]["owner"] = "them"


@way("publish other data under a name that another owner has")
def owner_data(stand):
    for properties in stand.versions("data"):
        properties["tags"]["owner"] = "them"
    stand.write("src/word", "other")
    return ("publish", "make", "--data", "words=src", "--profile", "strict")

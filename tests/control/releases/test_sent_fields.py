"""No field that azure-ai-ml can set on a node or a job is sent unless the lock contains it.

The fields are those of the installed SDK. A newer SDK with another field fails the golden:
UPDATE_GOLDENS=1 renews it, after somebody has read what the field does.
"""

import importlib
import inspect
import json

import pytest
from azure.ai.ml._restclient.arm_ml_service import models
from azure.ai.ml.entities import (
    AmlTokenConfiguration,
    CommandComponent,
    CommandJobLimits,
    JobResourceConfiguration,
    JobService,
    JupyterLabJobService,
    ManagedIdentityConfiguration,
    PipelineJobSettings,
    QueueSettings,
    SshJobService,
    TensorBoardJobService,
    UserIdentityConfiguration,
    VsCodeJobService,
)
from azure.ai.ml.entities._job import distribution
from azure.ai.ml.entities._job.pipeline._io.base import InputOutputBase
from azure.ai.ml.exceptions import MlException
from marshmallow.exceptions import MarshmallowError
from release_project import STRICT, lock_file, write_release_project

from tfhub_blocks.control.jobs import submission
from tfhub_blocks.control.project import assets
from tfhub_blocks.control.project.profiles import read_profile
from tfhub_blocks.control.releases import resolution
from tfhub_blocks.control.releases.job_forms import JOB_FIELDS, built_form
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.releases import read_lock

# What the SDK raises for a value that it does not send.
SDK_REFUSES = (
    AttributeError,
    KeyError,
    MarshmallowError,
    MlException,
    OSError,
    TypeError,
    ValueError,
)
SET = ("--set", "source=src", "--set", "owner=us")
# Parameters of constructors that are not fields.
_NO_FIELD = {"self", "kwargs", "args"}
SERVICES = (JobService, SshJobService, JupyterLabJobService, VsCodeJobService)
SERVICES = (*SERVICES, TensorBoardJobService)
IDENTITIES = (ManagedIdentityConfiguration, UserIdentityConfiguration, AmlTokenConfiguration)
DISTRIBUTIONS = (
    distribution.MpiDistribution,
    distribution.PyTorchDistribution,
    distribution.TensorFlowDistribution,
    distribution.RayDistribution,
)
# A value that the SDK accepts, for fields that take no text. Others get a text, a number or a map.
VALUES = {
    "code": "src",
    "compute": "other-cluster",
    "tags": {"a": "b"},
    "properties": {"a": "b"},
    "environment_variables": {"A": "b"},
    "identity": UserIdentityConfiguration(),
    "services": {"a": JobService(type="ssh")},
    "resources": JobResourceConfiguration(docker_args="--privileged"),
    "limits": CommandJobLimits(timeout=7),
    "queue_settings": QueueSettings(job_tier="spot"),
    "distribution": distribution.MpiDistribution(process_count_per_instance=2),
    "settings": PipelineJobSettings(default_compute="other-cluster"),
    "mode": "download",
    "job_tier": "premium",
    "priority": "low",
    "locations": ["westeurope"],
    "include_dashboard": True,
    "continue_on_step_failure": True,
    "force_rerun": True,
}
TRIED = ("other", 7, True, {"a": "b"}, ["other"])


def parameters(kind):
    """The parameters of a class's constructors, its own and those that it inherits."""
    found = set()
    for it in kind.__mro__:
        if it.__module__.startswith("azure.") and "__init__" in vars(it):
            found |= set(inspect.signature(it.__init__).parameters)
    return found - _NO_FIELD


def settable(thing):
    """The names of all that can be set on an object of the SDK."""
    kind = type(thing)
    setters = {n for n, it in inspect.getmembers(kind) if isinstance(it, property) and it.fset}
    if isinstance(thing, InputOutputBase):  # any other attribute of it is not of the SDK
        return sorted(setters)
    return sorted(
        name for name in parameters(kind) | setters | set(vars(thing)) if not name.startswith("_")
    )


def rest_fields(model):
    """The fields of a generated REST model, with those that it inherits."""
    found = set()
    for it in model.__mro__:
        if it.__module__.startswith("azure.ai.ml._restclient"):
            found |= {n for n in vars(it).get("__annotations__", {}) if not n.startswith("_")}
    return sorted(found)


class Subject:
    """A job of a release before it is sent, to set something on; ``refusal`` is what is told."""

    def __init__(self, project, monkeypatch):
        self.lock = read_lock(project.folder / lock_file())
        self.profile = read_profile("strict")
        self.request = submission.SubmissionRequest.of_lock(self.lock)
        self.prepare_job, self.monkeypatch = submission.prepare_job, monkeypatch
        self.form = built_form(self.fresh(), "test")

    def fresh(self):
        return self.prepare_job(self.request.pipeline, self.request.settings, self.profile)[0]

    def refusal(self, change):
        """What `submit` tells of a pipeline that does this to its job; empty if it does nothing.

        There is no connection: what is refused is refused before Azure is asked.
        """

        def changed(*words):
            made = self.prepare_job(*words)
            change(made[0])
            return made

        kept = self.components()
        self.monkeypatch.setattr(submission, "prepare_job", changed)
        try:
            submission.prepare(None, self.request, self.profile)
        except BlocksError as error:
            return str(error)
        except AttributeError as error:
            if "'NoneType' object has no attribute 'client'" not in str(error):
                raise
            # The connection is asked: all that is checked on this machine let the job pass.
        finally:
            self.restore(kept)
        return ""

    def components(self):
        """The components of the project, which all jobs share, as they are."""
        package = importlib.import_module("tfhub_blocks.components")
        found = [it for it in vars(package).values() if isinstance(it, CommandComponent)]
        return [(it, dict(vars(it))) for it in found]

    def restore(self, kept):
        for component, attributes in kept:
            vars(component).clear()
            vars(component).update(attributes)


@pytest.fixture
def subject(project, monkeypatch):
    project.write("pipelines/profiles/strict.toml", STRICT)
    write_release_project(project)
    assert project.main("lock", "judged", *SET, "--name", "first").status == 0
    digests = {}
    compute = assets.component_code_digest

    def digest(component):
        """The digest of a component's code, which is the same for each field but its code."""
        key = (component.name, str(component.code))
        if key not in digests:
            digests[key] = compute(component)
        return digests[key]

    monkeypatch.setattr(assets, "component_code_digest", digest)
    monkeypatch.setattr(resolution, "component_code_digest", digest)
    return Subject(project, monkeypatch)


def node_of(job):
    return job.jobs["first"]


def targets():
    """Each object of the SDK on which a pipeline can set something, by its name here."""
    found = {
        "node": lambda job: node_of(job),
        "node.inputs.source": lambda job: node_of(job).inputs["source"],
        "node.outputs.made": lambda job: node_of(job).outputs["made"],
        "job": lambda job: job,
        "job.settings": lambda job: job.settings,
        "job.inputs.source": lambda job: job.inputs["source"],
        "job.inputs.count": lambda job: job.inputs["count"],
        "job.outputs.made": lambda job: job.outputs["made"],
    }

    def put(holder, name, make):
        def get(job):
            thing = make()
            setattr(holder(job), name, thing)
            return thing

        return get

    found["node.resources"] = put(node_of, "resources", JobResourceConfiguration)
    found["node.limits"] = put(node_of, "limits", CommandJobLimits)
    found["node.queue_settings"] = put(node_of, "queue_settings", QueueSettings)
    for kind in DISTRIBUTIONS:
        found[f"node.distribution {kind.__name__}"] = put(node_of, "distribution", kind)
    for kind in IDENTITIES:
        found[f"node.identity {kind.__name__}"] = put(node_of, "identity", kind)
        found[f"job.identity {kind.__name__}"] = put(lambda job: job, "identity", kind)
    for kind in SERVICES:

        def service(job, kind=kind):
            thing = kind()
            node_of(job).services = {"a": thing}
            return thing

        found[f"node.services {kind.__name__}"] = service
    return found


def candidates(name):
    return ([VALUES[name]] if name in VALUES else []) + list(TRIED)


def outcome(subject, target, name):
    """What becomes of a job on which a pipeline sets a field to the first value that the SDK sends.

    A field that the SDK does not send is "not sent". A form that differs from that of the lock is
    refused by ``check_resolution``.
    """
    told = "not settable"
    for value in candidates(name):

        def change(job, value=value):
            setattr(target(job), name, value)

        kept = subject.components()
        try:
            job = subject.fresh()
            change(job)
            form = built_form(job, "test")
        except BlocksError:
            return "refused"
        except SDK_REFUSES:
            continue
        finally:
            subject.restore(kept)
        if form != subject.form or subject.refusal(change):
            return "refused"
        bare = subject.fresh()
        target(bare)
        told = "not sent" if sent(job) == sent(bare) else "passes"
    return told


def sent(job):
    """All that the SDK would send of a job, but the components, which have digests."""
    record = job._to_rest_object().as_dict()["properties"]
    nodes = {
        name: {key: value for key, value in node.items() if key != "componentId"}
        for name, node in record["jobs"].items()
    }
    return json.dumps({**record, "jobs": nodes}, sort_keys=True, default=str)


@pytest.mark.slow
@pytest.mark.parametrize("place", list(targets()))
def test_each_field_that_the_sdk_can_set_is_refused(place, subject):
    assert subject.refusal(lambda _: None) == ""
    target = targets()[place]
    passed = []
    for name in settable(target(subject.fresh())):
        told = outcome(subject, target, name)
        if told == "passes":
            passed.append(name)
    assert passed == []


def test_fields_are_those_that_were_read(subject, golden):
    """A newer SDK may have others: read what each does, then renew the golden."""
    lines = []
    for place, target in targets().items():
        lines += [f"{place}.{name}" for name in settable(target(subject.fresh()))]
    sent = {f"job rest {name}" for name in rest_fields(models.PipelineJob)}
    sent |= {f"node rest {name}" for name in rest_fields(models.CommandJob)}
    lines += sorted(sent)
    golden("sdk_fields", f"{len(lines)} fields\n" + "\n".join(lines) + "\n")


def test_each_field_of_the_rest_model_is_known():
    job = {_camel(name) for name in rest_fields(models.PipelineJob)}
    assert job <= JOB_FIELDS | {"_source"}


def _camel(name):
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)

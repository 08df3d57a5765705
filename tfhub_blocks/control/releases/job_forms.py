"""The canonical form of a job: every field that is sent, as one flat table for each node.

A release lock contains these tables, so that no field of a job can change without the lock.
"""

# decision 62

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tfhub_blocks.control.project.tags import OPEN_TAG, PROFILE_TAG, TAG
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.locked_expectations import VARIABLE as EXPECTED_VARIABLE
from tfhub_blocks.records.formats.withdrawals import VARIABLE as WITHDRAWN_VARIABLE

# Every field of a job and of a node that the REST model or the SDK has, in the SDK's spelling.
JOB_FIELDS = frozenset(
    (
        "componentId",
        "computeId",
        "description",
        "displayName",
        "experimentName",
        "identity",
        "inputs",
        "isArchived",
        "jobType",
        "jobs",
        "notificationSetting",
        "outputs",
        "properties",
        "services",
        "settings",
        "sourceJobId",
        "status",
        "tags",
    )
)
NODE_FIELDS = frozenset(
    (
        "_source",
        "comment",
        "componentId",
        "computeId",
        "display_name",
        "distribution",
        "environment_variables",
        "identity",
        "inputs",
        "limits",
        "name",
        "outputs",
        "properties",
        "queue_settings",
        "resources",
        "services",
        "tags",
        "type",
    )
)
# Fields that the SDK keeps in a node but does not send. A pipeline that sets one is refused too.
UNSENT_FIELDS = ("description", "environment", "experiment_name", "kwargs", "parent_job_name")
# The values of fields that every job has; a lock contains the field only if the value differs.
_USUAL: Mapping[str, tuple[Any, ...]] = {
    "_source": ("MLDESIGNER", "YAML.COMPONENT"),
    "inputs.*.jobInputType": ("literal",),
    "inputs.*.job_input_type": ("literal",),
    "isArchived": (False,),
    "jobType": ("Pipeline",),
    "limits.job_limits_type": ("Command",),
    "outputs.*.type": ("literal",),
    "settings._source": ("DSL",),
    "type": ("command",),
}

# Fields that a lock does not contain because another table of the lock pins the same fact.
PINNED_ELSEWHERE = {
    "job": {
        "inputs.*.uri": "[data] and [encoder] pin the version",
        "inputs.*.value": "[inputs] pins the value",
        "jobs": "[steps] pins each node",
    },
    "node": {
        "componentId": "[components] and [steps] pin the component",
        "inputs.*.value": "[steps] pins the parameters and the source of the data",
        "name": "the name of the table in [steps]",
    },
}
# Fields that may differ between a lock and the job that replays it.
MAY_DIFFER = {
    "job": {
        "settings.force_rerun": "--no-reuse computes the same outputs again",
        "tags.owner": "the job gets the owner of the lock",
        "tags.cost_centre": "the payer may change; the lock's cost centre takes precedence",
        f"tags.{PROFILE_TAG}": "the name of the profile, whose fields the lock pins",
        f"tags.{TAG}version": "the version of the client; the code of each step is pinned",
        f"tags.{TAG}pipeline": "the lock pins the pipeline; older versions set no such tag",
        f"tags.{TAG}lock": "the name of the lock itself",
        f"tags.{TAG}lock_digest": "the digest of the lock itself",
        f"tags.{TAG}commit": "the commit in the lock itself",
        f"tags.{OPEN_TAG}": "the open input in the lock itself",
    },
    "node": {
        f"environment_variables.{EXPECTED_VARIABLE}": "the promise, computed from the lock itself",
        f"environment_variables.{WITHDRAWN_VARIABLE}": "a withdrawal after the lock only refuses",
    },
}

Form = Mapping[str, Any]


@dataclass(frozen=True)
class JobForm:
    """The canonical form of a job: its own fields, and those of each node by the node's name."""

    job: Form
    nodes: Mapping[str, Form]


def built_form(job: Any, where: str) -> JobForm:
    """Return the form of a job as the pipeline builds it, before a profile sets anything.

    Raises:
        BlocksError: The job has a field that this version of tfhub-blocks does not know.
    """
    return _form(job, where, {"job": {}, "node": {}})


def sent_form(job: Any, where: str) -> JobForm:
    """Return the form of a job that is ready to be sent, without the fields that may differ.

    Raises:
        BlocksError: The job has a field that this version of tfhub-blocks does not know.
    """
    return _form(job, where, MAY_DIFFER)


def changes(before: Form, after: Form) -> dict[str, Any]:
    """Return the fields that differ, with the later value; an empty text if the field is gone."""
    return {
        name: after.get(name, "")
        for name in sorted({*before, *after})
        if not _is_same(before.get(name, ""), after.get(name, ""))
    }


def _form(job: Any, where: str, free: Mapping[str, Mapping[str, str]]) -> JobForm:
    record = job._to_rest_object().as_dict()["properties"]
    _check_known(record, JOB_FIELDS, where, "the job")
    nodes = {}
    for name, node in (record.get("jobs") or {}).items():
        if node.get("type") == "pipeline":
            raise BlocksError(
                where,
                name,
                f"step {name} is a pipeline itself, whose steps a release lock cannot pin",
                "a pipeline of steps",
                f"Call the steps of {name} in the pipeline directly",
            )
        _check_known(node, NODE_FIELDS, where, f"step {name}")
        unsent = {key: getattr(job.jobs[name], key, None) for key in UNSENT_FIELDS}
        nodes[name] = _table("node", {**node, **unsent}, free["node"])
    return JobForm(_table("job", record, free["job"]), nodes)


def _check_known(record: Mapping[str, Any], known: frozenset[str], where: str, what: str) -> None:
    for name in record:
        if name not in known:
            raise BlocksError(
                where,
                f"{what} > {name}",
                f"field {name!r} of {what} is unknown to this version of tfhub-blocks",
                "fields that a release lock can pin",
                f"Remove {name} from the pipeline, or update tfhub-blocks",
            )


def _table(kind: str, record: Mapping[str, Any], free: Mapping[str, str]) -> dict[str, Any]:
    left_out = {*PINNED_ELSEWHERE[kind], *free}
    rest = {name: value for name, value in record.items() if name not in left_out}
    return {
        name: value
        for name, value in sorted(_flat(rest))
        if not left_out & {name, _starred(name)} and value not in _USUAL.get(_starred(name), ())
    }


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each scalar of nested tables under its dotted name; empty values are left out."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list | tuple):
        if value:
            texts = [it if isinstance(it, str | int) else _text(it) for it in value]
            yield prefix, texts
    elif isinstance(value, bool | int | float | str):
        if value != "":
            yield prefix, value
    elif hasattr(value, "as_dict"):
        yield from _flat(value.as_dict(), prefix)
    elif value is not None:
        yield prefix, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, Mapping | list):
        return json.dumps(value, sort_keys=True, default=str)
    return str(value)


def _starred(name: str) -> str:
    """Return the name of a field of a port, such as ``inputs.source.uri``, as ``inputs.*.uri``."""
    kind, _, rest = name.partition(".")
    _port, _, key = rest.partition(".")
    return f"{kind}.*.{key}" if kind in ("inputs", "outputs") and key else name


def _is_same(one: Any, other: Any) -> bool:
    # In Python True == 1, but Azure receives different texts.
    return type(one) is type(other) and one == other

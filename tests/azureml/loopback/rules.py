"""What the OpenAPI leaves open: ids that must exist, blobs, components, the nodes of a pipeline."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import isodate

from loopback.resources import TRIGGER_TIME, Refusal, Workspace

DATA_TYPES = {"uri_folder", "uri_file", "mltable", "mlflow_model", "custom_model", "triton_model"}
_MODEL_TYPES = {"mlflow_model", "custom_model", "triton_model"}
_LITERAL_TYPES = {"string": str, "integer": int, "number": float, "boolean": bool}
_RESERVED = {"path", "ld_library_path", "user", "logname", "home", "pwd", "shell"}
_ASSET_ID = re.compile(r"(?:azureml:)?(?:/subscriptions/.*/workspaces/|//registries/)", re.I)
_PLACEHOLDER = re.compile(r"\$\{\{(inputs|outputs)\.(\w+)\}\}")
_BINDING = re.compile(
    r"^\$\{\{parent\.(?:inputs\.(\w+)|jobs\.(\w+)\.outputs\.(\w+)|outputs\.(\w+))\}\}$"
)


def check(workspace: Workspace, short_id: str, body: dict[str, Any]) -> None:
    """Refuse what Azure refuses.

    Raises:
        Refusal: With every problem at once.
    """
    rule = _RULES.get(short_id.split("/")[0])
    problems = list(_unknown_ids(workspace, short_id, body))
    if rule is not None:
        problems += rule(workspace, short_id, body["properties"])
    if problems:
        raise Refusal(400, "UserError", "; ".join(f"{short_id}: {p}" for p in problems))


def _unknown_ids(workspace: Workspace, short_id: str, body: Any) -> Iterator[str]:
    """Ids anywhere in a body that are of this kind of service, and of nothing that exists."""
    for place, text in _strings(body):
        if not _ASSET_ID.match(text) or text.endswith("/computes/serverless"):
            continue  # the SDK makes an id of `serverless` as well, and Azure takes it
        if workspace.find_by_id(text) is None:
            yield f"{place}: there is no {text.removeprefix('azureml:')}"


def _strings(node: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, str):
        yield place.lstrip("."), node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from _strings(value, f"{place}.{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _strings(value, f"{place}.{index}")


def _environment(workspace: Workspace, short_id: str, it: Mapping[str, Any]) -> Iterator[str]:
    build = it.get("build")
    if bool(build) == bool(it.get("image")):
        yield "an environment has an image or a build context, and not both"
    if build:
        if not build["contextUri"].endswith("/"):
            yield f"build.contextUri: {build['contextUri']} does not end in a slash"
        yield from _blobs(workspace, "build.contextUri", build["contextUri"])
        file = f"{build['contextUri'].rstrip('/')}/{build.get('dockerfilePath') or 'Dockerfile'}"
        yield from _blobs(workspace, "build.dockerfilePath", file)


def _blobs(workspace: Workspace, place: str, uri: str, kind: str = "") -> Iterator[str]:
    names = workspace.storage.names(uri)
    found = workspace.storage.locate(uri)
    if found is None:
        yield f"{place}: {uri} is in no datastore of this workspace"
    elif not names:
        yield f"{place}: there is no blob at {uri}"
    elif kind and (kind == "uri_file") != (names == [found[1]]):
        yield f"{place}: {uri} is no {kind}"


def _data(workspace: Workspace, short_id: str, it: Mapping[str, Any]) -> Iterator[str]:
    yield from _blobs(workspace, "dataUri", it["dataUri"], it["dataType"])


def _model(workspace: Workspace, short_id: str, it: Mapping[str, Any]) -> Iterator[str]:
    yield from _blobs(workspace, "modelUri", it["modelUri"])


def _code(workspace: Workspace, short_id: str, it: Mapping[str, Any]) -> Iterator[str]:
    yield from _blobs(workspace, "codeUri", it["codeUri"])
    found = (it.get("properties") or {}).get("hash_sha256", "")
    if not re.fullmatch(r"[0-9a-f]{64}", found):
        yield f"properties.hash_sha256: {found!r} is no SHA-256"


def _component(workspace: Workspace, short_id: str, it: Mapping[str, Any]) -> Iterator[str]:
    spec = it.get("componentSpec") or {}
    _, name, _, version = short_id.split("/")
    # Inner pipelines and commands that the SDK builds have no version.
    for key in ("name", "type") if it.get("isAnonymous") else ("name", "version", "type"):
        if not spec.get(key):
            yield f"componentSpec.{key}: it is missing"
    if not it.get("isAnonymous") and (spec.get("name"), str(spec.get("version"))) != (
        name,
        version,
    ):
        yield f"componentSpec: it is {spec.get('name')}:{spec.get('version')}"
    inputs, outputs = spec.get("inputs") or {}, spec.get("outputs") or {}
    for port, declared in inputs.items():
        yield from _input_port(f"inputs.{port}", port, declared)
    for port, declared in outputs.items():
        if declared.get("type") not in DATA_TYPES:
            yield f"outputs.{port}: there is no type {declared.get('type')!r}"
    if spec.get("type") == "command":
        yield from _command(spec, {"inputs": inputs, "outputs": outputs})


def _input_port(place: str, port: str, declared: Mapping[str, Any]) -> Iterator[str]:
    kind = declared.get("type")
    if not re.fullmatch(r"[A-Za-z_]\w*", port) or port.lower() in _RESERVED:
        yield f"{place}: {port!r} cannot be the name of a port"
    if kind not in DATA_TYPES | _LITERAL_TYPES.keys():
        yield f"{place}: there is no type {kind!r}"
    elif declared.get("default") is not None:
        yield from _literal(f"{place}.default", declared, declared["default"])


def _command(spec: Mapping[str, Any], ports: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for key in ("command", "environment"):
        if not spec.get(key):
            yield f"componentSpec.{key}: it is missing"
    for key in ("code", "environment"):
        if spec.get(key) and not _ASSET_ID.match(str(spec[key])):
            yield f"componentSpec.{key}: {spec[key]!r} is no id of a workspace or registry"
    text = spec.get("command", "")
    always = re.sub(r"\$\[\[.*?\]\]", "", text)
    for kind, port in _PLACEHOLDER.findall(text):
        if port not in ports[kind]:
            yield f"componentSpec.command: {kind}.{port} is not declared"
    for kind, port in _PLACEHOLDER.findall(always):
        if kind == "inputs" and ports[kind].get(port, {}).get("optional"):
            yield f"componentSpec.command: the optional {port} stands outside of $[[ ]]"


def _literal(place: str, declared: Mapping[str, Any], value: Any) -> Iterator[str]:
    """What keeps a value from being of a declared type, range and choice."""
    kind, text = declared["type"], str(value)
    try:
        if kind == "boolean" and text.lower() not in ("true", "false"):
            raise ValueError
        typed = _LITERAL_TYPES[kind](text)
    except (KeyError, ValueError):
        yield f"{place}: {text!r} is no {kind}"
        return
    if declared.get("enum") and text not in [str(choice) for choice in declared["enum"]]:
        yield f"{place}: {text!r} is none of {declared['enum']}"
    if kind in ("integer", "number"):
        if declared.get("min") is not None and typed < float(declared["min"]):
            yield f"{place}: {text} is below {declared['min']}"
        if declared.get("max") is not None and typed > float(declared["max"]):
            yield f"{place}: {text} is above {declared['max']}"
    if kind == "string" and not text:
        yield f"{place}: it is empty"


def _job(workspace: Workspace, short_id: str, it: Mapping[str, Any]) -> Iterator[str]:
    if it["jobType"] == "Pipeline":
        yield from _Pipeline(workspace, it).problems()


class _Pipeline:
    """The nodes of one pipeline job against the components that they name."""

    def __init__(self, workspace: Workspace, job: Mapping[str, Any]) -> None:
        self.workspace = workspace
        self.nodes = job.get("jobs") or {}
        self.inputs = job.get("inputs") or {}
        self.outputs = job.get("outputs") or {}
        self.settings = job.get("settings") or {}
        self.compute = job.get("computeId") or self.settings.get("default_compute")

    def problems(self) -> Iterator[str]:
        """Everything that is wrong."""
        if not self.nodes:
            yield "jobs: there are no nodes"
        for name, given in self.inputs.items():
            if given["jobInputType"] in DATA_TYPES:
                yield from self._data_input(f"inputs.{name}", given)
        for name, node in self.nodes.items():
            yield from (f"jobs.{name}.{problem}" for problem in self._node(name, node))
        bound = {b[4] for n in self.nodes.values() for b in self._bindings(n, "outputs") if b[4]}
        yield from (f"outputs.{o}: no node makes it" for o in self.outputs if o not in bound)
        yield from self._circles()

    def _spec(self, name: str) -> Mapping[str, Any]:
        """The component of a node; empty if there is none."""
        found = self.workspace.find_by_id(self.nodes.get(name, {}).get("componentId") or "")
        spec: Mapping[str, Any] = found["properties"]["componentSpec"] if found else {}
        return spec

    def _bindings(self, node: Mapping[str, Any], side: str) -> Iterator[re.Match[str]]:
        for given in (node.get(side) or {}).values():
            text = given.get("value", given.get("uri")) if isinstance(given, dict) else given
            if match := _BINDING.match(str(text)):
                yield match

    def _node(self, name: str, node: Mapping[str, Any]) -> Iterator[str]:
        spec = self._spec(name)
        if not spec:
            yield "componentId: it names no component"
            return
        if node.get("type") != spec["type"]:
            yield f"type: it is {node.get('type')!r}, and the component's is {spec['type']!r}"
        compute = node.get("computeId") or node.get("compute") or self.compute
        if compute is None:
            yield "computeId: there is none, and no default"
        elif not (compute.endswith("/computes/serverless") or self.workspace.find_by_id(compute)):
            yield f"computeId: there is no {compute}"
        yield from _limits(node.get("limits") or {})
        yield from _instances(node, (self.workspace.find_by_id(compute or "") or {}))
        declared, given = spec.get("inputs") or {}, node.get("inputs") or {}
        for port in given.keys() - declared.keys():
            yield f"inputs.{port}: the component has no such input"
        for port, wanted in declared.items():
            if port in given:
                yield from self._input(f"inputs.{port}", wanted, given[port])
            elif not wanted.get("optional") and wanted.get("default") is None:
                yield f"inputs.{port}: it is missing"
        for port, value in (node.get("outputs") or {}).items():
            yield from self._output(f"outputs.{port}", (spec.get("outputs") or {}).get(port), value)

    def _input(self, place: str, wanted: Mapping[str, Any], given: Any) -> Iterator[str]:
        kind = given.get("job_input_type", given.get("jobInputType"))
        if kind in DATA_TYPES:
            if not _fits(kind, wanted["type"]):
                yield f"{place}: a {kind} is given for a {wanted['type']}"
            if not _BINDING.match(str(given.get("uri"))):
                yield from self._data_input(place, given)
                return
        text = str(given.get("value", given.get("uri")))
        match = _BINDING.match(text)
        if match is None and "${{" in text:
            yield f"{place}: {text!r} is no binding"
        elif match is None:
            yield from _literal(place, wanted, text)
        elif match[1]:
            yield from self._parent_input(place, wanted, match[1])
        elif match[2]:
            made = (self._spec(match[2]).get("outputs") or {}).get(match[3])
            if made is None:
                yield f"{place}: no node {match[2]!r} makes {match[3]!r}"
            elif not _fits(made["type"], wanted["type"]):
                yield f"{place}: a {made['type']} is bound to a {wanted['type']}"
        else:
            yield f"{place}: an output of the pipeline cannot be read"

    def _parent_input(self, place: str, wanted: Mapping[str, Any], name: str) -> Iterator[str]:
        given = self.inputs.get(name)
        if given is None:
            # The SDK leaves out optional inputs of the pipeline that got nothing.
            if not wanted.get("optional"):
                yield f"{place}: the pipeline has no input {name!r}"
        elif given["jobInputType"] == "literal":
            if given["value"] != TRIGGER_TIME or wanted["type"] != "string":
                yield from _literal(place, wanted, given["value"])
        elif not _fits(given["jobInputType"], wanted["type"]):
            yield f"{place}: a {given['jobInputType']} is bound to a {wanted['type']}"

    def _output(self, place: str, made: Mapping[str, Any] | None, value: Any) -> Iterator[str]:
        if made is None:
            yield f"{place}: the component has no such output"
            return
        text = str(value.get("value") if isinstance(value, dict) else value)
        match = _BINDING.match(text)
        if match is None or not match[4]:
            if "${{" in text:
                yield f"{place}: {text!r} is no binding"
        elif match[4] not in self.outputs:
            yield f"{place}: the pipeline has no output {match[4]!r}"
        elif self.outputs[match[4]]["jobOutputType"] != made["type"]:
            wanted = self.outputs[match[4]]["jobOutputType"]
            yield f"{place}: a {made['type']} is bound to a {wanted}"

    def _data_input(self, place: str, given: Mapping[str, Any]) -> Iterator[str]:
        asset = self.workspace.find_by_id(given["uri"].removeprefix("azureml:"))
        kind = given.get("jobInputType", given.get("job_input_type"))
        if asset is None and not given["uri"].startswith("/subscriptions/"):
            yield from _blobs(self.workspace, place, given["uri"])
        elif asset and "dataType" in asset["properties"]:
            found = asset["properties"]["dataType"]
            if not _fits(found, kind):
                yield f"{place}: the asset is a {found}, not a {kind}"

    def _circles(self) -> Iterator[str]:
        waiting = {
            name: {b[2] for b in self._bindings(node, "inputs") if b[2]} & self.nodes.keys()
            for name, node in self.nodes.items()
        }
        while ready := [name for name, needs in waiting.items() if not needs & waiting.keys()]:
            for name in ready:
                del waiting[name]
        if waiting:
            yield f"jobs: {', '.join(waiting)} wait for each other"


def _fits(given: str, wanted: str) -> bool:
    """Azure hands a folder to whoever wants a model, and a model to whoever wants a folder."""
    folders = _MODEL_TYPES | {"uri_folder"}
    return given == wanted or (given in folders and wanted in folders)


def _instances(node: Mapping[str, Any], compute: Mapping[str, Any]) -> Iterator[str]:
    """What keeps a node from running on as many machines as it wants."""
    count = (node.get("resources") or {}).get("instance_count", 1)
    distribution = node.get("distribution") or {}
    if count < 1:
        yield f"resources.instance_count: {count} is below 1"
    if count > 1 and not distribution:
        yield f"distribution: there is none, and instance_count is {count}"
    if distribution.get("distribution_type") == "TensorFlow":
        tasks = distribution.get("worker_count", count) + distribution["parameter_server_count"]
        if tasks != count:
            yield f"distribution: it has {tasks} tasks, and instance_count is {count}"
    settings = (compute.get("properties", {}).get("properties") or {}).get("scaleSettings") or {}
    if count > settings.get("maxNodeCount", count):
        yield f"resources.instance_count: {count} is above the {settings['maxNodeCount']} nodes"


def _limits(limits: Mapping[str, Any]) -> Iterator[str]:
    timeout = limits.get("timeout")
    try:
        if timeout is not None and isodate.parse_duration(timeout).total_seconds() <= 0:
            yield f"limits.timeout: {timeout} is no time"
    except (isodate.ISO8601Error, TypeError):
        yield f"limits.timeout: {timeout!r} is no ISO 8601 duration"


def _schedule(workspace: Workspace, short_id: str, it: Mapping[str, Any]) -> Iterator[str]:
    action, trigger = it["action"], it["trigger"]
    if action["actionType"] == "CreateJob":
        yield from _job(workspace, short_id, action["jobDefinition"])
    if trigger["triggerType"] == "Cron":
        fields = trigger["expression"].split()
        if len(fields) != 5 or not all(re.fullmatch(r"[\d*/,-]+", field) for field in fields):
            yield f"trigger.expression: {trigger['expression']!r} has not five fields of numbers"
        elif fields[2] != "*" or fields[3] != "*":
            yield "trigger.expression: Azure ignores days of the month and months; use *"
    elif trigger["interval"] < 1:
        yield f"trigger.interval: {trigger['interval']} is below 1"


def _compute(workspace: Workspace, short_id: str, it: Mapping[str, Any]) -> Iterator[str]:
    if it["computeType"] != "AmlCompute":
        return
    wanted = it.get("properties") or {}
    problem = workspace.refused_sizes.get(str(wanted.get("vmSize", "")).lower())
    if problem:
        raise Refusal(400, "BadRequest", problem)
    scale = wanted.get("scaleSettings") or {}
    if scale and scale.get("minNodeCount", 0) > scale["maxNodeCount"]:
        yield "scaleSettings: minNodeCount is above maxNodeCount"


def _endpoint(workspace: Workspace, short_id: str, it: Mapping[str, Any]) -> Iterator[str]:
    """An endpoint or, below it, a deployment."""
    endpoint, _, deployment = short_id.partition("/deployments/")
    name = deployment or endpoint.split("/")[1]
    if not re.fullmatch(r"[a-zA-Z](?:[a-zA-Z0-9]|-(?=[a-zA-Z0-9])){2,31}", name):
        yield f"{name!r} is no name: 3 to 32 letters, digits and single hyphens"
    if deployment and workspace.find(endpoint) is None:
        yield f"there is no {endpoint}"
    elif deployment:
        rule = _online_deployment if endpoint.startswith("online") else _batch_deployment
        yield from rule(workspace, short_id, it)
    else:
        yield from _traffic(workspace, endpoint, it)


def _traffic(workspace: Workspace, endpoint: str, it: Mapping[str, Any]) -> Iterator[str]:
    traffic = it.get("traffic") or {}
    if traffic and sum(traffic.values()) not in (0, 100):
        yield f"traffic: {traffic} is not 100 percent together"
    mirror = {name: share for name, share in (it.get("mirrorTraffic") or {}).items() if share}
    if len(mirror) > 1 or sum(mirror.values()) > 50 or any(traffic.get(name) for name in mirror):
        yield f"mirrorTraffic: {mirror} is not one deployment without traffic, and 50 % at most"
    default = (it.get("defaults") or {}).get("deploymentName")
    for name in {*traffic, *mirror, *([default] if default else [])}:
        found = workspace.find(f"{endpoint}/deployments/{name}")
        if found is None or found["properties"].get("provisioningState") == "Failed":
            yield f"there is no deployment {name} that could take anything"


def _online_deployment(workspace: Workspace, short_id: str, it: Mapping[str, Any]) -> Iterator[str]:
    size = str(it.get("instanceType") or "")
    if problem := workspace.refused_sizes.get(size.lower()):
        raise Refusal(400, "BadRequest", problem)
    for key in ("model", "environmentId", "instanceType", "codeConfiguration"):
        if not it.get(key):
            yield f"{key}: it is missing"
    known = workspace.find(short_id)
    if known and known["properties"]["instanceType"] != size:
        yield f"instanceType: it is {known['properties']['instanceType']}, and never changes"
    code = it.get("codeConfiguration") or {}
    if found := workspace.find_by_id(code.get("codeId") or ""):
        script = f"{found['properties']['codeUri'].rstrip('/')}/{code['scoringScript']}"
        yield from _blobs(workspace, "codeConfiguration.scoringScript", script)
    settings = it.get("requestSettings") or {}
    if settings.get("maxConcurrentRequestsPerInstance", 1) < 1:
        yield "requestSettings.maxConcurrentRequestsPerInstance: it is below 1"
    timeout = settings.get("requestTimeout")
    if timeout and not 0 < isodate.parse_duration(timeout).total_seconds() <= 180:
        yield f"requestSettings.requestTimeout: {timeout} is not within three minutes"
    for probe in ("livenessProbe", "readinessProbe"):
        for key, value in (it.get(probe) or {}).items():
            seconds = value if isinstance(value, int) else isodate.parse_duration(value)
            if not (seconds if isinstance(seconds, int) else seconds.total_seconds()) >= 1:
                yield f"{probe}.{key}: {value} is below 1"


def _batch_deployment(workspace: Workspace, short_id: str, it: Mapping[str, Any]) -> Iterator[str]:
    configuration = it.get("deploymentConfiguration") or {}
    if configuration.get("deploymentConfigurationType") != "PipelineComponent":
        yield "deploymentConfiguration: no pipeline component is deployed"
        return
    found = workspace.find_by_id((configuration.get("componentId") or {}).get("assetId") or "")
    if found is None or found["properties"]["componentSpec"]["type"] != "pipeline":
        yield "deploymentConfiguration.componentId: it names no pipeline component"
    compute = (configuration.get("settings") or {}).get("default_compute")
    name = str(compute).removeprefix("azureml:").rpartition("/")[2]
    if name != "serverless" and workspace.find(f"computes/{name}") is None:
        yield f"deploymentConfiguration.settings.default_compute: there is no {compute}"


_RULES = {
    "batchEndpoints": _endpoint,
    "onlineEndpoints": _endpoint,
    "codes": _code,
    "components": _component,
    "computes": _compute,
    "data": _data,
    "environments": _environment,
    "jobs": _job,
    "models": _model,
    "schedules": _schedule,
}

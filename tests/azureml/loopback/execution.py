"""Jobs that really run: the local engine, on nothing but what was uploaded."""

import re
import threading
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import isodate

from loopback.cluster import ClusterEngine, StepOnNode
from loopback.resources import FINAL, Workspace
from loopback.rules import DATA_TYPES
from loopback.runs import output_of_run
from loopback.storage import HOST
from tfhub_blocks.control.project.profiles import Profile, Role
from tfhub_blocks.control.project.run_records import NOT_STARTED, RUNNING, RunRecord, StepRecord
from tfhub_blocks.control.project.step_graph import Graph, Node, OutputOf, ordered_nodes

_NODE_INPUT = re.compile(r"^\$\{\{parent\.(?:inputs\.(\w+)|jobs\.(\w+)\.outputs\.(\w+))\}\}$")
_OUTPUT = re.compile(r"^\$\{\{parent\.outputs\.(\w+)\}\}$")
_MODELS = {"mlflow_model", "custom_model", "triton_model"}
_STEP_LIMIT_S = 120
# What a step is called whose node was lost, until it has another.
QUEUED = "Queued"


@dataclass(frozen=True)
class _UploadedCode:
    """What a ``Node`` takes its code from, in the place of azure-ai-ml's component."""

    folder: Path

    def _get_origin_code_in_str(self) -> str:
        return str(self.folder)

    def _get_base_path_for_code(self) -> str:
        return str(self.folder)

    def _generate_additional_includes_obj(self) -> Any:
        return SimpleNamespace(with_includes=False)


@dataclass
class Executor:
    """Runs each new job of a workspace in a thread, as ``Workspace.on_job``.

    Jobs of one executor share a store, so a step whose code, inputs and parameters are those of
    an earlier one is reused, across jobs. ``variables`` are those of a step's environment, by its
    run.
    """

    workspace: Workspace
    folder: Path
    variables: Callable[[str], Mapping[str, str]]
    threads: list[threading.Thread] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    # Where the outputs of steps are in storage, by their paths here: a reused step shares them.
    stored: dict[str, str] = field(default_factory=dict)
    # The run that made each, by the same paths.
    makers: dict[str, str] = field(default_factory=dict)
    _jobs: dict[str, "_JobRun"] = field(default_factory=dict)

    def __call__(self, name: str) -> None:
        thread = threading.Thread(target=self._run, args=(name,), daemon=True)
        self.threads.append(thread)
        thread.start()

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until all jobs have ended, on a busy machine as long as the test may take."""
        for thread in self.threads:
            thread.join(timeout_s)

    def cancel(self) -> None:
        """Cancel what still runs, and wait for its end."""
        for job in self.workspace.versions("jobs"):
            if job["properties"]["status"] not in FINAL:
                job["properties"]["status"] = "CancelRequested"
        # A job that hangs must not keep the next test from running.
        self.wait(120)

    def node(self, job: str, step: str) -> StepOnNode:
        """The node of a step, to be lost; of several the first, with which all are lost.

        Raises:
            KeyError: The step was not started, or is reused.
        """
        return self._jobs[job].nodes[step]

    def _run(self, name: str) -> None:
        job = self.workspace.get(f"jobs/{name}")["properties"]
        try:
            job["status"] = "Preparing"
            self._jobs[name] = _JobRun(self, name, job)
            self._jobs[name].run()
        except Exception:  # of ours: a step's own failure is a status
            self.faults.append(traceback.format_exc())
            job["status"] = "Failed"


class _JobRun:
    """One job on its way from its body to its outputs in storage."""

    def __init__(self, executor: Executor, name: str, job: dict[str, Any]) -> None:
        self.executor, self.name, self.job = executor, name, job
        self.workspace, self.storage = executor.workspace, executor.workspace.storage
        self.given = executor.folder / "given" / name
        self.runs = {node: f"{uuid.uuid5(uuid.NAMESPACE_URL, name + node)}" for node in job["jobs"]}
        self.statuses: dict[str, str] = {}
        # Signed addresses by run and name.
        self.log_files: dict[str, dict[str, str]] = {}
        self.nodes: dict[str, StepOnNode] = {}
        self.output_types: dict[str, Mapping[str, str]] = {}

    def run(self) -> None:
        graph = self._graph()
        roles = {node.role: Role("loopback", _STEP_LIMIT_S) for node in graph.nodes.values()}
        profile = Profile("Azure ML on loopback", "local", roles, name="loopback")
        engine = ClusterEngine(
            self.executor.folder / "engine",
            profile,
            on_change=self._show,
            variables=self._variables,
            nodes=self.nodes,
        )
        for node in graph.nodes.values():
            self.output_types[node.name] = node.output_types
            self._show_step(node.name, StepRecord(node.component))
        self.job["status"] = "Running"
        record = engine.run(graph, {})
        for name, source in graph.outputs.items():
            if name in record.outputs:
                kind = graph.nodes[source.node].output_types[source.port]
                self._keep(name, kind, Path(record.outputs[name]))
        self.job["status"] = record.status

    def _variables(self, node: str) -> Mapping[str, str]:
        own = self.job["jobs"][node].get("environment_variables") or {}
        return {**self.executor.variables(self.runs[node]), **own}

    def _graph(self) -> Graph:
        nodes, outputs = {}, {}
        for name, entry in self.job["jobs"].items():
            nodes[name] = self._node(name, entry)
            for port, value in (entry.get("outputs") or {}).items():
                if match := _OUTPUT.match(str(value.get("value", ""))):
                    outputs[match[1]] = OutputOf(name, port)
        title = re.sub(r"\W", "_", self.job.get("experimentName") or "Default")
        return Graph(title, ordered_nodes(nodes), outputs)

    def _node(self, name: str, entry: Mapping[str, Any]) -> Node:
        component = self.workspace.find_by_id(entry["componentId"])
        assert component is not None
        spec = component["properties"]["componentSpec"]
        ports = spec.get("inputs") or {}
        code = self.given / name / "code"
        code.mkdir(parents=True)
        if spec.get("code"):
            found = self.workspace.find_by_id(spec["code"].removeprefix("azureml:"))
            assert found is not None
            self.storage.download(found["properties"]["codeUri"], code)
        inputs = {port: p["default"] for port, p in ports.items() if p.get("default") is not None}
        for port, value in (entry.get("inputs") or {}).items():
            found = self._value(f"{name}.{port}", value)
            inputs |= {port: found} if found is not None else {}
        timeout = (entry.get("limits") or {}).get("timeout")
        return Node(
            name=name,
            component=spec["name"],
            version=str(spec["version"]),
            role=(spec.get("tags") or {}).get("role", "cpu"),
            environment=spec["environment"],
            command=spec["command"],
            deterministic=spec.get("is_deterministic") is not False,
            timeout_s=int(isodate.parse_duration(timeout).total_seconds()) if timeout else None,
            input_types={port: p["type"] for port, p in ports.items()},
            output_types={port: p["type"] for port, p in (spec.get("outputs") or {}).items()},
            inputs=inputs,
            entity=_UploadedCode(code),
            shares_work=bool(entry.get("distribution")),
            instance_count=(entry.get("resources") or {}).get("instance_count"),
        )

    def _value(self, place: str, given: Mapping[str, Any]) -> Any:
        """What an input gets: an OutputOf, the path of data, a literal, or None for nothing."""
        text = given.get("value", given.get("uri"))
        match = _NODE_INPUT.match(str(text))
        if match and match[2]:
            return OutputOf(match[2], match[3])
        if match:
            parent = (self.job.get("inputs") or {}).get(match[1])
            return None if parent is None else self._value(f"pipeline.{match[1]}", parent)
        kind = given.get("jobInputType", given.get("job_input_type"))
        return self._download(place, text) if kind in DATA_TYPES else text

    def _download(self, place: str, uri: str) -> Path:
        target = self.given / "inputs" / place
        if asset := self.workspace.find_by_id(uri.removeprefix("azureml:")):
            properties = asset["properties"]
            uri = properties.get("dataUri") or properties["modelUri"]
        if not target.exists():
            self.storage.download(uri, target)
        return target

    def _show(self, record: RunRecord) -> None:
        """Let clients see how far the job is; the engine calls it several times a second."""
        if record.status == RUNNING and self.job["status"] in ("CancelRequested", "Canceled"):
            raise KeyboardInterrupt  # by which people cancel a local run
        for node, step in record.steps.items():
            if node in self.nodes and self.nodes[node].is_lost:
                step = replace(step, status=QUEUED)
            if step.status != self.statuses.get(node, NOT_STARTED):
                self.statuses[node] = step.status
                self._log(
                    self.name,
                    "logs/azureml/executionlogs.txt",
                    "".join(f"{n}: {s}\n" for n, s in self.statuses.items()),
                )
            for name, path in self._logs(node, step).items():
                if logged := path.read_text(errors="replace") if path.exists() else "":
                    self._log(self.runs[node], f"user_logs/{name}.txt", logged)
            self._show_step(node, step)

    def _logs(self, node: str, step: StepRecord) -> dict[str, Path]:
        """The logs of a step here, by their names there: of several processes one each."""
        workers = self.nodes[node].nodes if node in self.nodes else []
        if len(workers) < 2:
            return {"std_log": Path(step.log)} if step.log else {}
        return {f"std_log_process_{index}": one.log for index, one in enumerate(workers)}

    def _show_step(self, node: str, step: StepRecord) -> None:
        run, now = self.runs[node], datetime.now(UTC).isoformat()
        makers = [self.executor.makers.setdefault(path, run) for path in step.outputs.values()]
        reused = {"azureml.isreused": "true", "azureml.reusedrunid": "".join(makers[:1])}
        self.workspace.step_runs[run] = {
            "runId": run,
            "parentRunId": self.name,
            "rootRunId": self.name,
            "displayName": node,
            "status": step.status,
            "runType": "azureml.StepRun",
            "startTimeUtc": now,
            "createdUtc": now,
            "properties": reused if step.reused else {},
            "tags": {},
            "outputs": {
                port: output_of_run(self._store(path), self.output_types[node][port])
                for port, path in step.outputs.items()
            },
            "error": {"error": {"message": step.error}} if step.error else None,
            "logFiles": self.log_files.get(run, {}),
        }

    def _store(self, path: str) -> str:
        """Where a step's output is in storage."""
        if path not in self.executor.stored:
            step, port = Path(path).parts[-2:]
            uri = f"azureml://datastores/workspaceblobstore/paths/azureml/{step}/{port}"
            self.storage.upload(Path(path), uri)
            self.executor.stored[path] = uri
        return self.executor.stored[path]

    def _log(self, run: str, name: str, text: str) -> None:
        path = self.given / "log.txt"
        path.write_text(text)
        blob = f"ExperimentRun/dcid.{run}/{name}"
        self.storage.upload(path, f"azureml://datastores/workspaceartifactstore/{blob}")
        address = f"https://{HOST}/{self.storage.container}/{blob}"
        signed = f"{address}?{self.storage.sas(self.storage.container, write=False)}"
        self.log_files.setdefault(run, {})[name] = signed

    def _keep(self, name: str, kind: str, path: Path) -> None:
        """Store an output, and register it if the job gives it a name."""
        uri = f"azureml://datastores/workspaceblobstore/paths/azureml/{self.name}/{name}"
        self.storage.upload(path, uri)
        output = self.job["outputs"][name]
        output["uri"] = uri
        if not output.get("assetName"):
            return
        if kind in _MODELS:
            collection = "models"
            properties = {"modelUri": uri, "modelType": kind, "jobName": self.name}
        else:
            collection, properties = "data", {"dataUri": uri, "dataType": kind}
        known = self.workspace.versions(collection, output["assetName"])
        version = output.get("assetVersion") or str(len(known) + 1)
        self.workspace.store(
            f"{collection}/{output['assetName']}/versions/{version}", {"properties": properties}
        )

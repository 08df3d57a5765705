"""The conformance suite: tfhub-blocks reads of a pipeline what the unmodified SDK sends."""

import hashlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from azure.ai.ml import Input
from azure.ai.ml.entities import AmlCompute, Data, Environment
from conformance_cases import CASES, REFUSED, Case, page
from loopback.contract import ROOT
from toy_project import forget_project

from tfhub_blocks.control.project.code_files import snapshot_files
from tfhub_blocks.control.project.profiles import load_profile
from tfhub_blocks.control.project.run_requests import prepare_job
from tfhub_blocks.control.project.step_graph import Graph, OutputOf
from tfhub_blocks.control.repository.catalog import load_pipeline

PAGE = ROOT / "docs/conformance.md"
_BINDING = re.compile(r"\$\{\{parent\.(?:inputs\.([\w.]+)|jobs\.(\w+)\.outputs\.(\w+))\}\}$")
_OUTPUT = re.compile(r"\$\{\{parent\.outputs\.(\w+)\}\}$")
DATA = "DATA"


@pytest.fixture(scope="module")
def workspace(control_plane: Any) -> Iterator[tuple[Any, Any]]:
    """One workspace for all cases, with compute, an environment and data."""
    with pytest.MonkeyPatch.context() as patch:
        control_plane.reset()
        for name, value in control_plane.environment().items():
            patch.setenv(name, value)
        client = control_plane.client()
        cluster = AmlCompute(name="cpu-cluster", size="Standard_DS3_v2", max_instances=2)
        client.compute.begin_create_or_update(cluster).result()
        client.environments.create_or_update(
            Environment(name="toy", version="1", image="example.org/toy:1")
        )
        folder = control_plane.temporary / "words"
        folder.mkdir(exist_ok=True)
        (folder / "word").write_text("hello")
        data = Data(name="words", version="1", path=str(folder), type="uri_folder")
        client.data.create_or_update(data)
        yield control_plane, client


@pytest.fixture
def folder(request: Any, tmp_path: Path, monkeypatch: Any) -> Iterator[Path]:
    """The project of a case, as the working folder."""
    for name, text in request.param.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    forget(tmp_path)
    yield tmp_path
    sys.path[:] = path
    forget(tmp_path)


def forget(folder: Path) -> None:
    """Forget the modules of a project."""
    forget_project()
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(f"{folder}/"):
            del sys.modules[name]


def files_sha(files: Mapping[str, Path]) -> dict[str, str]:
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def read_locally(graph: Graph) -> dict[str, Any]:
    """What a local run would use of each step, and the outputs."""
    steps = {}
    for node in graph.nodes.values():
        inputs = {}
        for port, value in node.inputs.items():
            if isinstance(value, OutputOf):
                inputs[port] = f"{value.node}.{value.port}"
            else:
                inputs[port] = DATA if isinstance(value, Path) else node.text(port, value)
        with snapshot_files(node.entity) as files:
            code = files_sha(files)
        steps[node.name] = {
            "component": node.component,
            "command": node.command.split(),
            "inputs": inputs,
            "variables": dict(node.environment_variables),
            "code": code,
        }
    outputs = {name: f"{it.node}.{it.port}" for name, it in graph.outputs.items()}
    return {"steps": steps, "outputs": outputs}


class Sent:
    """A job as the workspace got it."""

    def __init__(self, plane: Any, job: Mapping[str, Any], folder: Path) -> None:
        self.workspace, self.folder = plane.workspace, folder
        self.steps: dict[str, Any] = {}
        given = {
            name: DATA if "uri" in value else str(value["value"])
            for name, value in (job.get("inputs") or {}).items()
        }
        self.outputs = self._read("", job["jobs"], given)

    def _spec(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        return self.workspace.find_by_id(node["componentId"])["properties"]["componentSpec"]

    def _read(self, prefix: str, nodes: Mapping[str, Any], given: Mapping[str, str]) -> dict:
        """Read the steps of a pipeline and return its outputs."""
        inner: dict[str, dict[str, str]] = {}
        outputs: dict[str, str] = {}

        def source(node: str, port: str) -> str:
            return inner[node][port] if node in inner else f"{prefix}{node}.{port}"

        for name, node in nodes.items():
            spec = self._spec(node)
            inputs = {
                port: str(it["default"])
                for port, it in (spec.get("inputs") or {}).items()
                if it.get("default") is not None
            }
            for port, value in (node.get("inputs") or {}).items():
                match = _BINDING.match(str(value.get("value", value.get("uri"))))
                if match is None:
                    inputs[port] = DATA if "uri" in value else str(value["value"])
                elif match[1] is None:
                    inputs[port] = source(match[2], match[3])
                elif match[1] in given:
                    inputs[port] = given[match[1]]
            if spec["type"] == "pipeline":
                inner[name] = self._read(f"{prefix}{name}.", spec["jobs"], inputs)
            else:
                self.steps[prefix + name] = {
                    "component": spec["name"],
                    "command": spec["command"].split(),
                    "inputs": inputs,
                    "variables": dict(node.get("environment_variables") or {}),
                    "code": self._code(spec.get("code")),
                }
            for port, value in (node.get("outputs") or {}).items():
                text = value if isinstance(value, str) else value.get("value", "")
                if match := _OUTPUT.match(str(text)):
                    outputs[match[1]] = source(name, port)
        return outputs

    def _code(self, identifier: str | None) -> dict[str, str]:
        if identifier is None:
            return {}
        found = self.workspace.find_by_id(identifier)
        target = self.folder / hashlib.sha256(identifier.encode()).hexdigest()[:12]
        self.workspace.storage.download(found["properties"]["codeUri"], target)
        paths = (path for path in target.rglob("*") if path.is_file())
        return files_sha({path.relative_to(target).as_posix(): path for path in paths})


def typed(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.isdigit() else text


@pytest.mark.parametrize(
    ("folder", "case"), [(it, it) for it in CASES], indirect=["folder"], ids=lambda it: it.name
)
def test_local_graph_is_what_the_sdk_sends(
    workspace: Any, folder: Path, case: Case, tmp_path_factory: Any
) -> None:
    plane, client = workspace
    _, graph, _ = prepare_job("mine", case.settings, load_profile("local"))
    ours = read_locally(graph)
    given = {name: typed(text) for name, _, text in (it.partition("=") for it in case.settings)}
    given = {
        name: Input(type="uri_folder", path="azureml:words:1") if value == "data" else value
        for name, value in given.items()
    }
    job = load_pipeline("mine")(**given)
    job.settings.default_compute = "cpu-cluster"
    sent = client.jobs.create_or_update(job, experiment_name="conformance")
    body = plane.workspace.get(f"jobs/{sent.name}")["properties"]
    theirs = Sent(plane, body, tmp_path_factory.mktemp("sent"))
    assert ours["steps"] == theirs.steps
    assert ours["outputs"] == theirs.outputs


@pytest.mark.parametrize(
    ("folder", "case"), [(it, it) for it in REFUSED], indirect=["folder"], ids=lambda it: it.name
)
def test_pipeline_is_refused_with_a_line_for_each_mistake(
    folder: Path, case: Case, capfd: Any
) -> None:
    from tfhub_blocks.cli import main

    (folder / "data").mkdir(exist_ok=True)
    words = [word for setting in case.settings for word in ("--set", setting)]
    status = main(["run", "mine", *words])
    err = capfd.readouterr().err
    assert status == 2, err
    for part in case.refused:
        assert part in err, err
    lines = err.splitlines()
    assert all(line.startswith("error: [") for line in lines), err
    located = [part for part in case.refused if ".py:" in part]
    assert len(lines) == max(1, len(located)), err
    assert not (folder / ".runs").exists()


def test_page_lists_the_cases() -> None:
    if os.environ.get("UPDATE_GOLDENS"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page()

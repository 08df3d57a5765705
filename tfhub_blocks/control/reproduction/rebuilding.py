"""The steps of a plan as a graph that the local engine runs, in a folder of its own."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from tfhub_blocks.control.project.step_graph import Graph, Node, OutputOf
from tfhub_blocks.control.reproduction.recorded_code import StepCode
from tfhub_blocks.control.reproduction.reproduction_plan import ReproductionPlan, Work


@dataclass(frozen=True)
class RecordedNode(Node):
    """A step whose code lies in a folder, as it was when it ran."""

    code: Path = Path()

    def write_code(self, folder: Path) -> None:
        """Copy the code snapshot into a folder that is not there yet."""
        shutil.copytree(self.code, folder, ignore=shutil.ignore_patterns("__pycache__"))


def plan_graph(plan: ReproductionPlan, name: str) -> Graph:
    """The graph of a plan from which nothing is missing."""
    nodes = {it.name: _node(it, it.code) for it in plan.works.values() if it.code}
    return Graph(name, nodes, {plan.model.port: plan.model})


def _node(work: Work, code: StepCode) -> Node:
    inputs = {**work.inputs, **work.texts}
    return RecordedNode(
        name=work.name,
        component=work.step,
        version="",
        role=code.role,
        environment=code.environment,
        command=_command(work.step, inputs, code.output_types),
        deterministic=True,
        timeout_s=None,
        # A text goes into the command line as the first run had it.
        input_types={port: _type(value) for port, value in inputs.items()},
        output_types=code.output_types,
        inputs=inputs,
        entity=None,
        code=code.folder,
    )


def _type(value: OutputOf | Path | str) -> str:
    return "string" if isinstance(value, str) else "uri_folder"


def _command(step: str, inputs: dict[str, OutputOf | Path | str], outputs: dict[str, str]) -> str:
    """The command that a component has, of those inputs that it was given."""
    given, made = (
        " ".join(f"{port}='${{{{{kind}.{port}}}}}'" for port in ports)
        for kind, ports in (("inputs", inputs), ("outputs", outputs))
    )
    told = f"--inputs {given} " if given else ""
    return f"mldesigner execute --source component.py --name {step} {told}--outputs {made}"

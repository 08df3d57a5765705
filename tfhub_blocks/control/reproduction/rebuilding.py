"""The steps of a plan as a graph, which the local engine runs in a folder of its own."""

# decision 36

from dataclasses import dataclass
from pathlib import Path

from tfhub_blocks.control.project.step_graph import Graph, Node, OutputOf
from tfhub_blocks.control.reproduction.recorded_code import StepCode
from tfhub_blocks.control.reproduction.reproduction_plan import ReproductionPlan, Work
from tfhub_blocks.records.environment.code_snapshots import copy_code


@dataclass(frozen=True)
class RecordedNode(Node):
    """A step with the code of its first run, in a folder."""

    code: Path = Path()

    def write_code(self, folder: Path) -> None:
        """Copy the code snapshot into a folder that does not exist yet."""
        copy_code(self.code, folder)


def plan_graph(plan: ReproductionPlan, name: str) -> Graph:
    """Return the graph of a plan with no missing parts."""
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
        # Each text goes into the command line exactly as in the first run.
        input_types={port: _type(value) for port, value in inputs.items()},
        output_types=code.output_types,
        inputs=inputs,
        entity=None,
        code=code.folder,
    )


def _type(value: OutputOf | Path | str) -> str:
    return "string" if isinstance(value, str) else "uri_folder"


def _command(step: str, inputs: dict[str, OutputOf | Path | str], outputs: dict[str, str]) -> str:
    """Return the command of a component, with the inputs that the first run passed."""
    given, made = (
        " ".join(f"{port}='${{{{{kind}.{port}}}}}'" for port in ports)
        for kind, ports in (("inputs", inputs), ("outputs", outputs))
    )
    inputs_part = f"--inputs {given} " if given else ""
    return f"mldesigner execute --source component.py --name {step} {inputs_part}--outputs {made}"

"""The nodes that steps run on: the variables that are set there, and their loss."""

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tfhub_blocks.control.local.local_engine import LocalEngine
from tfhub_blocks.control.local.step_maker import StepMaker
from tfhub_blocks.control.local.step_process import StepProcess
from tfhub_blocks.control.project.run_records import RunRecord
from tfhub_blocks.control.project.step_graph import Node

# How long a step whose node was lost waits for another.
QUEUE_S = 0.5


@dataclass
class ClusterEngine(LocalEngine):
    """The local engine, with a node for each step, as a cluster has.

    ``variables`` are those of a step, by its name; ``nodes`` hold the steps that were started.
    """

    variables: Callable[[str], Mapping[str, str]] = lambda _: {}
    nodes: dict[str, "StepOnNode"] = field(default_factory=dict)

    def _maker(self, record: RunRecord) -> StepMaker:
        plain = super()._maker(record)
        return _StepMaker(
            plain.run, plain.store, plain.profile, plain.variables, plain.reuse, engine=self
        )


@dataclass
class _StepMaker(StepMaker):
    engine: ClusterEngine = field(kw_only=True)

    def _workers(self, node: Node, *others: Any) -> list[StepProcess]:
        nodes: list[StepOnNode] = []
        for plain in super()._workers(node, *others):
            self._processes.remove(plain)
            variables = {**plain.variables, **self.engine.variables(node.name)}
            made = StepOnNode(
                plain.command, plain.code, plain.log, variables, plain.timeout_s, plain.on_progress
            )
            made.nodes = nodes
            nodes.append(made)
        self._processes += nodes
        self.engine.nodes[node.name] = nodes[0]
        return list(nodes)


@dataclass
class StepOnNode(StepProcess):
    """A step's process, and the next one after the node of a low-priority cluster was lost.

    It begins again by itself, with the same command and the same folders for its outputs.
    ``nodes`` are those that share the step, this one among them.
    """

    is_lost: bool = False
    nodes: list["StepOnNode"] = field(default_factory=list, repr=False, compare=False)

    def run(self) -> int:
        """Run to the end, as often as it takes; the last exit status."""
        while True:
            status = super().run()
            if not self.is_lost or self.stopped:
                return status
            self.error = ""
            self.warnings.clear()
            time.sleep(QUEUE_S)
            self.is_lost = False

    def preempt(self, grace_s: float) -> None:
        """Lose the node: the process is told to end, and ended after the grace.

        A job that runs on several nodes loses all with one of them.

        Raises:
            RuntimeError: It does not run.
        """
        if self._process is None or self.has_ended():
            raise RuntimeError(f"there is nothing to pre-empt: {self.command}")
        for node in self.nodes:
            node.is_lost = True
            node._signal(signal.SIGTERM)
        limit = time.monotonic() + grace_s
        while not all(n.has_ended() for n in self.nodes) and time.monotonic() < limit:
            time.sleep(0.02)
        for node in self.nodes:
            node.end()

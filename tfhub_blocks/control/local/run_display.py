"""The terminal display of a run: a live table, then the outputs and the next commands."""

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tfhub_blocks.control.project.run_records import (
    COMPLETED,
    FAILED,
    INTERRUPTED,
    NOT_STARTED,
    RUNNING,
    RunRecord,
    StepRecord,
)
from tfhub_blocks.control.project.step_graph import Graph
from tfhub_blocks.records.base.foreign_text import beneath, printable

_STYLES = {COMPLETED: "green", FAILED: "bold red", RUNNING: "cyan", NOT_STARTED: "dim"}
_LOG_LINES = 12
_TRACEBACK = "Traceback (most recent call last):"
_PLAIN_PROGRESS_S = 10.0


@contextmanager
def live_table(stream: TextIO) -> Iterator[Callable[[RunRecord], None]]:
    """Yield a function to call when a run changes: on a terminal a table, otherwise lines."""
    if not stream.isatty():
        yield _PlainLines(stream)
        return
    # The table moves the cursor, so it is drawn beneath what escapes other output.
    with Live(console=Console(file=beneath(stream)), refresh_per_second=5) as live:
        yield lambda record: live.update(_table(record))


class _PlainLines:
    """A log of a run: a line for each change of a step, and progress now and then."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._printed: dict[str, tuple[str, float]] = {}

    def __call__(self, record: RunRecord) -> None:
        for name, step in record.steps.items():
            status, when = self._printed.get(name, (NOT_STARTED, 0.0))
            quiet_s = time.monotonic() - when
            if step.status == status and not (
                step.status == RUNNING and step.progress and quiet_s > _PLAIN_PROGRESS_S
            ):
                continue
            self._printed[name] = (step.status, time.monotonic())
            print(f"{name:<14} {_detail(step)}", file=self._stream, flush=True)


def _table(record: RunRecord) -> Table:
    table = Table(title=f"{record.run}  {record.seconds:.0f} s", title_justify="left")
    for column in ("Step", "Component", "Status", "Seconds", "Progress"):
        table.add_column(column, justify="right" if column == "Seconds" else "left")
    for name, step in record.steps.items():
        seconds = f"{step.seconds:.1f}" if step.seconds else ""
        status = f"{step.status} (reused)" if step.reused else step.status
        progress = step.progress if step.status == RUNNING else ""
        cells = (name, step.component, status, seconds, progress)
        table.add_row(
            *(Text(printable(cell)) for cell in cells), style=_STYLES.get(step.status, "")
        )
    return table


def _detail(step: StepRecord) -> str:
    if step.status == RUNNING:
        return f"{RUNNING}  {printable(step.progress)}".rstrip()
    return f"{step.status}  {step.seconds:.1f} s{' (reused)' if step.reused else ''}"


def print_outcome(record: RunRecord, stream: TextIO) -> None:
    """Print the end of a run: failures with their logs, or outputs and the next commands."""

    def say(text: str = "") -> None:
        print(text, file=stream)

    reused = sum(step.reused for step in record.steps.values())
    say(
        f"\n{record.run}: {record.status} in {record.seconds:.1f} s, "
        f"{len(record.steps)} steps, {reused} reused"
    )
    # Warnings about data travel with the data, so several steps report the same one.
    warned: dict[str, list[str]] = {}
    for name, step in record.steps.items():
        for warning in step.warnings:
            warned.setdefault(warning, []).append(name)
    for warning, names in warned.items():
        say(f"warning: {', '.join(names)}: {printable(warning)}")
    for name, step in record.steps.items():
        if step.error:
            say(f"\nerror: step {name} ({step.component}): {printable(step.error)}")
            if step.log:
                say("\n".join(f"  | {line}" for line in _tail(Path(step.log))))
                say(f"  log: {_short(step.log)}")
    if record.metrics:
        say("\nMetrics")
        for metric, value in record.metrics.items():
            say(f"  {metric:<28} {value if isinstance(value, int) else f'{value:.4f}'}")
    if record.outputs:
        say("\nOutputs")
        for name, path in record.outputs.items():
            say(f"  {name:<14} {_short(path)}")
    if record.status == COMPLETED:
        say("\nNext commands")
        for line in _next_commands(record):
            say(f"  {line}")


def print_run(record: RunRecord, stream: TextIO) -> None:
    """Print the state of a local run, and the next command if its process was killed."""
    print(f"{record.run}: {record.status}", file=stream)
    for name, step in record.steps.items():
        print(f"  {name:<14} {step.component:<18} {_detail(step)}", file=stream)
    for name, step in record.steps.items():
        if step.error:
            print(f"error: step {name} ({step.component}): {step.error}", file=stream)
        elif step.status == INTERRUPTED:
            print(f"  log: {_short(step.log) if step.log else name}", file=stream)
    if record.status == INTERRUPTED:
        print(
            "  The process of the run was killed. The same `tfhub-blocks run` again reuses the"
            " finished steps.",
            file=stream,
        )


def print_job(record: RunRecord, stream: TextIO) -> None:
    """Print the state of a job on Azure ML, its failures, and the next command."""
    print(f"{record.run}: {record.status}", file=stream)
    for name, step in record.steps.items():
        print(f"  {name:<14} {step.component:<18} {_detail(step)}", file=stream)
    for name, step in record.steps.items():
        if step.error:
            print(f"error: step {name} ({step.component}): {printable(step.error)}", file=stream)
            print(f"  log: tfhub-blocks logs {record.run} {name}", file=stream)
    if record.tracking_uri:
        print(f"  {record.tracking_uri}", file=stream)
    if record.status == COMPLETED:
        print(f"  tfhub-blocks download {record.run}", file=stream)


def _tail(log: Path) -> list[str]:
    """Return the last lines of a log, without mldesigner's own lines and without tracebacks."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    kept = [line for line in lines if line and "[execute][INFO] - " not in line]
    return list(map(printable, _without_tracebacks(kept)))[-_LOG_LINES:]


def _without_tracebacks(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a log, and of each traceback only the line that names the error."""
    inside = False
    for line in lines:
        if line.startswith(_TRACEBACK):
            inside = True
        elif inside and line.startswith((" ", "During handling", "The above exception")):
            continue
        else:
            inside = False
            yield line


def _next_commands(record: RunRecord) -> Iterator[str]:
    for path in map(Path, record.outputs.values()):
        if (path / "report.html").is_file():
            yield f"open {shlex.quote(_short(path / 'report.html'))}"
    program = Path(sys.executable).with_name("mlflow")
    store = shlex.quote(record.tracking_uri)
    yield f"{shlex.quote(_short(program))} ui --backend-store-uri {store}"
    for path in map(Path, record.outputs.values()):
        if (path / "MLmodel").is_file():
            yield shlex.quote(_short(sys.executable))
            yield "  >>> import mlflow"
            yield f"  >>> model = mlflow.pyfunc.load_model({json.dumps(_short(path))})"
            yield "  >>> model.predict(model.input_example)"


def _short(path: str | Path) -> str:
    """Return a path relative to the working folder if it is inside that folder."""
    path = Path(path)
    return printable(_relative(path))


def _relative(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def print_graph(graph: Graph, stream: TextIO) -> None:
    """Print the steps of a pipeline, each with its inputs and their sources."""
    for node in graph.nodes.values():
        print(f"  {node.name} ({node.component} {node.version}, {node.role})", file=stream)
        for maker, port, user in graph.edges():
            if user == node.name:
                print(f"    <- {maker}.{port}", file=stream)
    for name, source in graph.outputs.items():
        print(f"  => {name}: {source.node}.{source.port}", file=stream)


def mermaid(graph: Graph) -> str:
    """Return the pipeline as a Mermaid flow chart."""
    lines = ["flowchart TD"]
    lines += [f'  {node.name}["{node.name}<br/>{node.component}"]' for node in graph.nodes.values()]
    lines += [f"  {maker} -- {port} --> {user}" for maker, port, user in graph.edges()]
    return "\n".join(lines) + "\n"

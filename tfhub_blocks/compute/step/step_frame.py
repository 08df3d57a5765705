"""The frame around every step: parameters checked, outputs complete or absent, lineage written."""

import errno
import os
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tfhub_blocks.compute.step.environment_check import accelerator_facts, check_environment
from tfhub_blocks.compute.step.lock_check import check_expected
from tfhub_blocks.records.base.digests import file_sha256, files_sha256, tree_digest
from tfhub_blocks.records.base.errors import ERROR_PREFIX, BlocksError
from tfhub_blocks.records.base.folders import Format, begin_folder, finish_folder, work_folder
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, Material, Provenance, output_material
from tfhub_blocks.records.base.worker_group import (
    MANY,
    TAG,
    VARIABLE,
    Worker,
    gather,
    worker_of_this_process,
)
from tfhub_blocks.records.environment.installed_packages import environment_digest
from tfhub_blocks.records.environment.machine_facts import machine_facts
from tfhub_blocks.records.formats.locked_expectations import code_digest

PRIMITIVES = {"string", "integer", "number", "boolean"}


@dataclass
class StepRun:
    """One run of a step: what it was given, and the output folders that it fills.

    Where several workers share the step, each has a run of its own, told apart by ``worker``; all
    were given the same. The first begins the outputs and finishes them, from the parts that all put
    into ``work``; the others end when their share is done.
    """

    name: str
    arguments: Mapping[str, Any]
    provenance: Provenance
    environment: Mapping[str, Any] = field(default_factory=dict)
    worker: Worker = field(default_factory=Worker)
    facts: dict[str, Any] = field(default_factory=dict)
    _outputs: list[tuple[Path, str, Format]] = field(default_factory=list)

    def path(self, port: str) -> Path:
        """Where an input is or an output goes."""
        return Path(self.arguments[port])

    def begin_output(self, port: str, folder_format: Format) -> Path:
        """The empty folder to write an output into; it becomes the output when the step ends.

        Raises:
            BlocksError: Something else is there already, or this is not the first worker.
        """
        if not self.worker.is_first:
            raise BlocksError(
                self.name,
                port,
                f"{self.worker} begins an output",
                "worker 0 alone to do so",
                "mend the component: let the others put parts into run.work",
            )
        self._outputs.append((self.path(port), port, folder_format))
        return begin_folder(self.path(port), self.provenance)

    def work(self, port: str, checked: Collection[str] = ()) -> Path:
        """The folder for finished parts of an output, which all workers share.

        It outlives this process: an attempt at the very same work (step, parameters, inputs, code
        and environment; whatever the number of workers) finds there what an earlier one finished.
        What is in it counts as finished, so each part is one file that needs no other, written
        whole or renamed into place. The folder goes when the output is complete: a worker that has
        done its share looks into it no more.

        Args:
            port: The output.
            checked: Inputs that may have no digest, because each part says of which content it is,
                and is held against it.

        Raises:
            BlocksError: An input has no digest, so parts made from other content would be taken.
        """
        for material in self.provenance.materials:
            if material.digest is None and material.name not in checked:
                raise BlocksError(
                    self.name,
                    material.name,
                    "it has no lineage, so nothing tells whether kept work is of this content",
                    "the output of a step, or a file",
                    "let a step such as snapshot_data make it",
                )
        return work_folder(self.path(port), self.provenance)

    def finish(self) -> None:
        """Make each output begun complete."""
        facts = self.facts | {
            "environment": {**self.environment, **accelerator_facts()},
            "machine": machine_facts(),
        }
        finished = replace(self.provenance, finished=_now(), facts=facts)
        for folder, port, folder_format in self._outputs:
            finish_folder(folder, port, folder_format, finished)


@contextmanager
def step(component: Callable[..., Any], arguments: Mapping[str, Any]) -> Iterator[StepRun]:
    """The frame for the body of a component.

    It is used as ``with step(extract_features, locals()) as run:``. On the way in, the environment
    is checked against the lock that the step is pinned to, parameters against what their ports
    declare and inputs against existence, all of it against the release lock that is replayed, if
    there is one, and the first of several workers sees that all were given the same; on the way
    out, outputs become complete. A BlocksError or a full disk ends the process with status 1 and
    one line, any other error with its traceback, and leaving the body early is an error whatever
    the status; no output is left that looks finished.

    Args:
        component: The function that ``command_component`` decorated.
        arguments: Its arguments by name; primitives are taken as parameters, paths as inputs.
    """
    function = component.__wrapped__  # type: ignore[attr-defined]
    name = function.__name__
    started = time.monotonic()
    try:
        worker = _worker(name, component)
        run = _begin(name, function, arguments, worker)
        yield run
        run.finish()
    except BlocksError as error:
        _fail(str(error))
    except SystemExit as early:
        if early.code:
            raise
        _fail(
            f"[{name} > exit] it ended before its outputs were complete; expected its body to run "
            "to the end; return or raise instead of sys.exit"
        )
    except Exception as error:
        if not _is_full_disk(error):
            raise
        traceback.print_exc()
        _fail(
            f"[{name} > output] there is no space left on the disk; expected room for the "
            "outputs; free some space and run again: what is complete is kept"
        )
    print(f"{name}: done in {time.monotonic() - started:.1f} s", flush=True)


def _worker(name: str, component: Any) -> Worker:
    worker = worker_of_this_process(name)
    tags = component._entity_args.get("tags") or {}
    ports = component.__wrapped__.__annotations__.values()
    if worker.count > 1 and (tags.get(TAG) != MANY or not any(map(_is_output_folder, ports))):
        raise BlocksError(
            name,
            VARIABLE,
            f"this is {worker}, and the step does not share its work",
            f'one worker, or a component with the tag "{TAG}": "{MANY}" and an output folder',
            "run it with instance_count 1",
        )
    return worker


def _is_output_folder(declared: Any) -> bool:
    return type(declared).__name__ == "Output" and declared.type != "uri_file"


def _begin(
    name: str, function: Callable[..., Any], arguments: Mapping[str, Any], worker: Worker
) -> StepRun:
    environment = check_environment(name)
    code_files = files_sha256(Path(function.__code__.co_filename).parent)
    ports = function.__annotations__
    given = {port: arguments[port] for port in ports if port in arguments}
    materials, parameters, paths = [], {}, {}
    for port, value in given.items():
        declared = ports[port]
        if type(declared).__name__ == "Output":
            continue
        if declared.type in PRIMITIVES:
            check_parameter(name, port, declared, value)
            parameters[port] = value
        elif value is not None:
            paths[port] = Path(value)
            is_model = declared.type == "mlflow_model"
            materials.append(_material(name, port, paths[port], is_model))
    pinned = environment.get("environment") or ""
    lock = check_expected(name, code_files, pinned, parameters, paths)
    provenance = Provenance(
        step=name,
        parameters=parameters,
        materials=tuple(materials),
        code_digest=code_digest(code_files),
        environment_digest=environment_digest(),
        started=_now(),
        finished="",
    )
    if worker.count > 1:
        # Any folder that all share will do.
        port = next(port for port in given if _is_output_folder(ports[port]))
        gather(Path(given[port]), worker, provenance.work, name)
    facts = {"release_lock": lock} if lock else {}
    return StepRun(name, given, provenance, environment, worker=worker, facts=facts)


def check_parameter(step_name: str, port: str, declared: Any, value: Any) -> None:
    """Check a parameter against the enum, minimum and maximum that its port declares.

    Azure ML and mldesigner draw these in the designer and hold none of them at run time.

    Raises:
        BlocksError: The value is outside.
    """
    if value is None:
        return
    if declared.enum and value not in declared.enum:
        expected = "one of " + ", ".join(map(str, declared.enum))
    elif declared.min is not None and not value >= declared.min:  # a NaN is refused, too
        expected = f"at least {declared.min}"
    elif declared.max is not None and not value <= declared.max:
        expected = f"at most {declared.max}"
    else:
        return
    raise BlocksError(step_name, port, f"it is {value!r}", expected, f"set {port} to such a value")


def _material(step_name: str, port: str, path: Path, is_model: bool) -> Material:
    """What is given at a port, with its digest if it has a lineage, is a file, or is a model.

    Of other folders, such as data that is scored, reading every byte would cost too much.
    """
    if not path.exists():
        raise BlocksError(
            step_name,
            port,
            f"there is nothing at {str(path)!r}",
            "a file or folder",
            "check the path, and that it can be read from where the step runs",
        )
    if path.is_file():
        return Material(port, tree_digest({path.name: file_sha256(path)}))
    if (path / STATEMENT_NAME).is_file():
        return output_material(port, path)
    if is_model and path.is_dir():
        return Material(port, tree_digest(files_sha256(path)))
    return Material(port)


def _is_full_disk(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error, which TensorFlow, MLflow and SQLite tell as text."""
    while error is not None:
        told = str(error)
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return True
        if os.strerror(errno.ENOSPC) in told or "disk is full" in told:
            return True
        error = error.__cause__ or error.__context__
    return False


def _now() -> str:
    # With the Z that in-toto wants for UTC.
    return f"{datetime.now(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def _fail(message: str) -> None:
    sys.stdout.flush()
    print(f"{ERROR_PREFIX}{message}", file=sys.stderr, flush=True)
    raise SystemExit(1)

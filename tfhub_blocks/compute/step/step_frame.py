"""The frame around every step: checked parameters, complete or absent outputs, and lineage."""

# decisions 6, 17, 65 and 70

import os
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from tfhub_blocks.compute.step.environment_check import accelerator_facts, check_environment
from tfhub_blocks.compute.step.lock_check import check_expected, locked_inputs, open_inputs
from tfhub_blocks.compute.step.open_inputs import resolve
from tfhub_blocks.records.base.digests import (
    CACHE_FOLDERS,
    file_sha256,
    sources_sha256,
    tree_digest,
)
from tfhub_blocks.records.base.errors import BlocksError, unforeseen
from tfhub_blocks.records.base.folders import (
    Folder,
    Format,
    begin_folder,
    finish_folder,
    work_folder,
)
from tfhub_blocks.records.base.lineage import (
    ALLOWED_FACT,
    STATEMENT_NAME,
    TRUSTED_FACT,
    Material,
    Provenance,
    output_material,
    read_lineage,
)
from tfhub_blocks.records.base.redaction import has_secret
from tfhub_blocks.records.base.step_messages import guarded_output, send_message
from tfhub_blocks.records.base.system_errors import system_error
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
from tfhub_blocks.records.formats.champion_comparison import CHAMPION_PORT
from tfhub_blocks.records.formats.data_versions import CHILD_FACT, DataVersion
from tfhub_blocks.records.formats.locked_expectations import LOCKED_FACT, code_digest
from tfhub_blocks.records.formats.withdrawals import VARIABLE as WITHDRAWN_VARIABLE

T = TypeVar("T")

PRIMITIVES = {"string", "integer", "number", "boolean"}


@dataclass
class StepRun:
    """One run of a step: its arguments, and the output folders that it fills.

    Example::

        with step(count_items, locals()) as run:
            data = open_snapshot(run.path("snapshot"), "count_items")
            folder = run.begin_output("counts", FORMAT)

    If several workers share the step, each worker has its own run with its own ``worker``, and all
    runs have equal arguments. The first worker begins and finishes the outputs, from the parts that
    all workers write into ``work``. The other workers end when their share is done.

    ``open`` contains the inputs that a release lock leaves open; see ``first_passing``.
    """

    name: str
    arguments: Mapping[str, Any]
    provenance: Provenance
    environment: Mapping[str, Any] = field(default_factory=dict)
    worker: Worker = field(default_factory=Worker)
    facts: dict[str, Any] = field(default_factory=dict)
    open: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    _outputs: list[tuple[Path, str, Format]] = field(default_factory=list)
    _partial: dict[str, Path] = field(default_factory=dict)

    def path(self, port: str) -> Path:
        """Return the path of an input or an output."""
        return Path(self.arguments[port])

    def first_passing(self, port: str, build: Callable[[Path], T]) -> T:
        """Build the outputs from an input, and return the result of the build.

        If a release lock leaves the input open, the newest published version is built first. A
        version that raises a BlocksError is skipped, and the next older one is built. The chosen
        version becomes the child lock in the lineage of the outputs. ``build`` receives the path of
        the input, and calls ``begin_output``.

        Example::

            manifest = run.first_passing("source", lambda path: take(path, run))

        Raises:
            BlocksError: No version passes; or the build failed, if the input is not open.
        """
        wanted = self.open.get(port)
        if wanted is None:
            return build(self.path(port))
        begun, others = list(self._outputs), self.provenance.materials

        def attempt(path: Path, version: DataVersion) -> T:
            self._outputs[:] = begun
            found = Material(port, version.digest)
            materials = tuple(found if it.name == port else it for it in others)
            self.provenance = replace(self.provenance, materials=materials)
            made = build(path)
            self._refuse_withdrawn()
            return made

        result, child = resolve(
            self.name, str(self.facts.get("release_lock")), wanted, self.path(port), attempt
        )
        self.facts[CHILD_FACT] = child.as_fact()
        print(f"data {child.name}:{child.version}, by rule {child.rule}", flush=True)
        return result

    def begin_output(self, port: str, folder_format: Format) -> Path:
        """Create the empty folder of an output, and return its path.

        The folder becomes the output when the step ends.

        Raises:
            BlocksError: The output's path already contains something else, or this is not the
                first worker.
        """
        if not self.worker.is_first:
            raise BlocksError(
                self.name,
                port,
                f"{self.worker} called begin_output",
                "a call from worker 0 only",
                "In component.py, let the other workers write their parts into run.work",
            )
        self._outputs.append((self.path(port), port, folder_format))
        self._partial[port] = begin_folder(self.path(port), self.provenance)
        return self._partial[port]

    def work(self, port: str, checked: Collection[str] = ()) -> Path:
        """Return the folder for finished parts of an output, which all workers share.

        The folder outlives this process. A later attempt at the same work (equal step, parameters,
        inputs, code and environment, with any number of workers) finds the parts that an earlier
        attempt finished. Every file in the folder counts as finished. So each part is one file that
        needs no other file, and is written completely or renamed into place. The folder is deleted
        when the output is complete, so a worker must not read it after finishing its share.

        Args:
            port: The output.
            checked: Inputs that may have no digest, because each part states the digest of its
                content, and the step compares them.

        Raises:
            BlocksError: An input has no digest, so parts of other content could be used by mistake.
        """
        for material in self.provenance.materials:
            if material.digest is None and material.name not in checked:
                raise BlocksError(
                    self.name,
                    material.name,
                    "the input has no lineage, so finished parts cannot be matched to its content",
                    "the output of a step, or a file",
                    "Pass the output of a step, such as snapshot_data",
                )
        return work_folder(self.path(port), self.provenance)

    def warn(self, *texts: str) -> None:
        """Report warnings to the engine, which records and prints them."""
        for text in texts:
            send_message("warning", text)

    def finish(self) -> None:
        """Complete every output that the run began.

        Raises:
            BlocksError: The release lock leaves an input open, and the body did not resolve it.
        """
        if self.open and CHILD_FACT not in self.facts:
            port = next(iter(self.open))
            raise BlocksError(
                self.name,
                port,
                f"the release lock leaves {port} open, and the step did not choose a version",
                "a body that calls run.first_passing",
                f"Build the outputs in run.first_passing({port!r}, ...), or lock without --open",
            )
        self._refuse_withdrawn()
        facts = self.facts | {
            "environment": {**self.environment, **accelerator_facts()},
            "machine": machine_facts().as_record(),
        }
        finished = replace(self.provenance, finished=_now(), facts=facts)
        for folder, port, folder_format in self._outputs:
            finish_folder(folder, port, folder_format, finished)

    def _refuse_withdrawn(self) -> None:
        """Refuse outputs that contain something withdrawn, such as an item or an encoder."""
        for port, folder in self._partial.items():
            _refuse_withdrawn(self.name, port, folder)


@contextmanager
def step(component: Callable[..., Any], arguments: Mapping[str, Any]) -> Iterator[StepRun]:
    """Run the body of a component as a step.

    Example::

        with step(extract_features, locals()) as run:
            folder = run.begin_output("features", FORMAT)

    Before the body, the frame checks:

    - the environment is as the lock in the code snapshot states;
    - parameters are within the limits of their ports, and inputs exist;
    - all of these are as the release lock states, if the step replays one;
    - all workers have equal arguments, if several share the step.

    After the body, the outputs become complete. A BlocksError or an error of the system, such as a
    full disk, ends the process with status 1 and one line. So does any other error, whose
    traceback is printed into the log. A body that exits early is an error, whatever the status.
    After an error, no output looks finished. What the body prints is escaped, and cannot imitate a
    message of the step (decision 69).

    Args:
        component: The function that ``command_component`` decorated.
        arguments: The function's arguments by name: primitives are parameters, paths are inputs.
    """
    function = component.__wrapped__  # type: ignore[attr-defined]
    name = function.__name__
    started = time.monotonic()
    try:
        with guarded_output():
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
            str(
                BlocksError(
                    name,
                    "exit",
                    "the step ended before its outputs were complete",
                    "a body that runs to its end",
                    "Return or raise an exception instead of calling sys.exit",
                )
            )
        )
    except Exception as error:
        with guarded_output():
            traceback.print_exc()
        told = system_error(error, name, "output") or unforeseen(name, error, "the step's log")
        _fail(str(told))
    print(f"{name}: done in {time.monotonic() - started:.1f} s", flush=True)


def _worker(name: str, component: Any) -> Worker:
    worker = worker_of_this_process(name)
    tags = component._entity_args.get("tags") or {}
    ports = component.__wrapped__.__annotations__.values()
    if worker.count > 1 and (tags.get(TAG) != MANY or not any(map(_is_output_folder, ports))):
        raise BlocksError(
            name,
            VARIABLE,
            f"the process is {worker}, but the step cannot share its work",
            f'one worker, or a component with the tag "{TAG}": "{MANY}" and an output folder',
            "Set instance_count to 1 for this step",
        )
    return worker


def _is_output_folder(declared: Any) -> bool:
    return type(declared).__name__ == "Output" and declared.type != "uri_file"


def _begin(
    name: str, function: Callable[..., Any], arguments: Mapping[str, Any], worker: Worker
) -> StepRun:
    environment = check_environment(name)
    # Where Python writes caches, it has written them before this line. The local engine writes and
    # finds none; on Azure ML, the code is a fresh copy of a snapshot without caches.
    code = Path(function.__code__.co_filename).parent
    code_files = sources_sha256(code, omit=CACHE_FOLDERS)
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
            if port != CHAMPION_PORT:  # the step only compares with a champion
                _refuse_withdrawn(name, port, paths[port])
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
        # Any folder that all workers share is enough.
        port = next(port for port in given if _is_output_folder(ports[port]))
        gather(Path(given[port]), worker, provenance.work, name)
    facts: dict[str, Any] = {"release_lock": lock} if lock else {}
    if inputs := dict(locked_inputs()):
        facts[LOCKED_FACT] = inputs  # a source has no other digest in the lineage
    facts |= stated_facts(paths[port] for port in paths if port != CHAMPION_PORT)
    return StepRun(name, given, provenance, environment, worker, facts, open_inputs())


def stated_facts(inputs: Iterable[Path]) -> dict[str, Any]:
    """Return what a person allowed for the inputs of a step, which its outputs state as well.

    These are operations that a pin allows by name, and trust in the code of a third-party model.
    """
    operations, is_trusted = set[str](), False
    for path in inputs:
        if (path / STATEMENT_NAME).is_file():
            facts = read_lineage(path).provenance.facts
            operations |= set(map(str, facts.get(ALLOWED_FACT) or ()))
            is_trusted = is_trusted or facts.get(TRUSTED_FACT) is True
    return {
        **({ALLOWED_FACT: sorted(operations)} if operations else {}),
        **({TRUSTED_FACT: True} if is_trusted else {}),
    }


def _refuse_withdrawn(step_name: str, port: str, folder: Path) -> None:
    """Refuse an input or an output that depends on something withdrawn.

    Raises:
        BlocksError: A withdrawal that the engine passed to the step applies to the folder.
    """
    text = os.environ.get(WITHDRAWN_VARIABLE)
    if not text:
        return
    from tfhub_blocks.records.formats.withdrawn import Withdrawn, refuse_withdrawn

    try:
        withdrawn = Withdrawn.parse(text)
    except ValueError as error:
        raise BlocksError(
            step_name,
            WITHDRAWN_VARIABLE,
            f"the value cannot be read ({error})",
            "the value that the engine wrote",
            "Submit the job again",
        ) from error
    refuse_withdrawn(step_name, port, withdrawn.in_folder(folder))


def check_parameter(step_name: str, port: str, declared: Any, value: Any) -> None:
    """Check a parameter against the enum, minimum and maximum that its port declares.

    Azure ML and mldesigner show these limits in the designer, but do not check them at run time.

    Raises:
        BlocksError: The value is outside the limits.
    """
    if value is None:
        return
    if isinstance(value, str) and has_secret(value):
        raise BlocksError(
            step_name,
            port,
            "the value contains a credential, which lineage and logs would keep",
            "a value without a password, a key or a signature",
            "Pass the credential in an environment variable or a Key Vault, or pass the data as an"
            " asset",
        )
    if declared.enum and value not in declared.enum:
        expected = "one of " + ", ".join(map(str, declared.enum))
        remedy = f"Set {port} to one of these"
    elif declared.min is not None and not value >= declared.min:  # also refuses a NaN
        expected, remedy = f"at least {declared.min}", f"Set {port} to {declared.min} or more"
    elif declared.max is not None and not value <= declared.max:
        expected, remedy = f"at most {declared.max}", f"Set {port} to {declared.max} or less"
    else:
        return
    raise BlocksError(step_name, port, f"{value!r} is not allowed", expected, remedy)


def _material(step_name: str, port: str, path: Path, is_model: bool) -> Material:
    """Describe the input of a port, with a digest if it has a lineage, is a file, or is a model.

    Other folders, such as data to score, get no digest: reading every byte would cost too much.
    """
    if not path.exists():
        raise BlocksError(
            step_name,
            port,
            f"{str(path)!r} does not exist",
            "a file or folder",
            f"Pass a path for {port} that exists on the machine where the step runs",
        )
    if path.is_file():
        return Material(port, tree_digest({path.name: file_sha256(path)}))
    if (path / STATEMENT_NAME).is_file():
        Folder(path, read_lineage(path)).check_names()
        return output_material(port, path)
    if is_model and path.is_dir():
        return Material(port, tree_digest(sources_sha256(path)))
    return Material(port)


def _now() -> str:
    # in-toto requires the Z for UTC.
    return f"{datetime.now(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def _fail(message: str) -> None:
    send_message("error", message)
    raise SystemExit(1)

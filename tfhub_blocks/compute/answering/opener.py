"""The opener of each folder that answers: a tfhub-blocks model, an encoder, or an MLflow pyfunc."""

# decisions 68 and 121

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfhub_blocks.compute.answering.answerers import Answerer, batch_sizes
from tfhub_blocks.compute.answering.compiled_signature import open_compiled
from tfhub_blocks.compute.inference.engine_interface import UnfitError
from tfhub_blocks.records.base.digests import sources_sha256, tree_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import Format, open_folder
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, read_lineage
from tfhub_blocks.records.formats import models
from tfhub_blocks.records.formats.foreign_code import check_trusted
from tfhub_blocks.records.formats.runtimes import OWN, RUNTIME_NAME, Runtime, read_runtime
from tfhub_blocks.records.pins import pins

if TYPE_CHECKING:
    from tfhub_blocks.compute.answering.pyfuncs import PyfuncAnswerer
    from tfhub_blocks.compute.encoders.encoder import Encoder
    from tfhub_blocks.compute.models.served_model import ServedModel


@dataclass(frozen=True)
class AnsweringFolder:
    """A folder that answers, of one of three formats; its files are not yet checked.

    ``where`` is the command or step, for messages.
    """

    path: Path
    format: Format
    where: str

    @property
    def is_pyfunc(self) -> bool:
        """True if the folder is an MLflow pyfunc, which no engine can convert."""
        return self.format == models.PYFUNC

    def digest(self) -> str:
        """Check every file that has a lineage, and return the digest of all files.

        Raises:
            BlocksError: A file was changed.
        """
        if (self.path / STATEMENT_NAME).is_file():
            return open_folder(self.path, self.format, self.where).check().digest
        return tree_digest(sources_sha256(self.path))

    def runtime(self) -> Runtime | None:
        """Return the runtime in the folder, or None; the file is checked against the lineage.

        Raises:
            BlocksError: The file was changed or added, or is not a valid runtime.
        """
        if (self.path / STATEMENT_NAME).is_file():
            opened = open_folder(self.path, self.format, self.where)
            if RUNTIME_NAME in opened.lineage.files:
                opened.file(RUNTIME_NAME)
        return read_runtime(self.path)

    def load(self) -> "ServedModel | Encoder":
        """Load a model or an encoder in two halves; every byte is checked before loading.

        Raises:
            BlocksError: A file was changed, or the model cannot be loaded on this machine.
        """
        from tfhub_blocks.compute.encoders.encoder import load_encoder
        from tfhub_blocks.compute.models.served_model import load_served

        if self.format == pins.FORMAT:
            return load_encoder(self.path, self.where)
        return load_served(self.path, self.where)

    def pyfunc(self, runtime: Runtime) -> "PyfuncAnswerer":
        """Load an MLflow pyfunc from a private copy, whose files are checked before it is loaded.

        Raises:
            BlocksError: A file was changed, or MLflow cannot load the model.
        """
        from tfhub_blocks.compute.answering.pyfuncs import PyfuncAnswerer

        return PyfuncAnswerer(self.path, runtime, self.where)


def find_answering(
    model: Path | None,
    encoder: Path | None,
    where: str,
    trust_code: bool = False,
) -> AnsweringFolder:
    """Return the model or the encoder, whichever is passed, with its format.

    Args:
        model: A folder of any of the three formats.
        encoder: The folder of an encoder.
        where: The command or step, for messages.
        trust_code: True if a person trusts the code of an MLflow pyfunc.

    Raises:
        BlocksError: Neither or both are passed, the folder has another format, or the folder is a
            pyfunc that is not trusted, or a model of tfhub-blocks without its statement.
    """
    path = model or encoder
    if path is None or (model and encoder):
        raise BlocksError(
            where,
            "model",
            f"{'neither model nor encoder is' if path is None else 'both model and encoder are'} "
            "set",
            "one of them",
            "Pass either model or encoder",
        )
    if encoder:
        return AnsweringFolder(path, pins.FORMAT, where)
    kind = read_lineage(path).format if (path / STATEMENT_NAME).is_file() else ""
    for known in (models.MODEL, pins.FORMAT):
        if kind == str(known):
            open_folder(path, known, where)  # names what was added, before TensorFlow is set up
            return AnsweringFolder(path, known, where)
    if (path / "MLmodel").is_file() and kind in ("", str(models.PYFUNC)):
        check_trusted(path, trust_code, where, _trust_remedy(where))
        return AnsweringFolder(path, models.PYFUNC, where)
    raise BlocksError(
        where,
        str(path),
        f"the folder contains {kind}" if kind else "the folder contains no model",
        "a model, an encoder, or the folder of an MLflow model",
        "Pass a folder that train_head, fine_tune, check_latency, import_encoder or MLflow wrote",
    )


def _trust_remedy(where: str) -> str:
    how = {"serve": "pass --trust-code", "load_model": "pass trust_code=True"}
    return f"Review this code, then {how.get(where, 'set trust_code to true')}"


def open_answerer(
    model: Path | None = None,
    encoder: Path | None = None,
    *,
    where: str,
    runtime: Runtime | None = None,
    trust_code: bool = False,
    sets_threads: bool = False,
) -> Answerer:
    """Open the answerer of a model or of an encoder; every byte is checked before loading.

    A model with the engine OpenVINO is opened without TensorFlow, if OpenVINO can convert its
    SavedModel. Then this function does not import TensorFlow.

    The answers of an encoder are its output, such as the scores of a pretrained classifier. Its
    labels are the numbers of the columns.

    Args:
        model: The folder of a tfhub-blocks model, an MLflow pyfunc, or an encoder.
        encoder: The folder of an encoder.
        where: The command or step, for messages.
        runtime: The runtime. None selects the runtime of the folder's ``runtime.toml``, or without
            this file the model's own program.
        trust_code: True if a person trusts the code of an MLflow pyfunc.
        sets_threads: True in a process that only answers: TensorFlow's threads are then set as the
            runtime states. TensorFlow must not have computed anything before.

    Raises:
        BlocksError: The arguments are not exactly one such folder, a file was changed, or the
            runtime cannot run the model on this machine.
    """
    folder = find_answering(model, encoder, where, trust_code)
    runtime = runtime or folder.runtime() or Runtime()
    reason = "it needs TensorFlow, which is not installed"
    if runtime.engine == "openvino" and folder.format == models.MODEL:
        try:
            return open_compiled(folder.path, runtime, where)
        except UnfitError as error:
            reason = str(error)  # TensorFlow may convert the graph nevertheless
    if find_spec("tensorflow") is None:
        raise _unfit(where, runtime, reason)
    from tfhub_blocks.compute.answering.graph_answerers import (
        EngineAnswerer,
        OwnAnswerer,
        apply_threads,
    )

    if sets_threads:
        apply_threads(runtime)
    if folder.is_pyfunc:
        if runtime.engine != OWN:
            raise _unfit(where, runtime, "no engine can convert a third-party pyfunc")
        folder.digest()
        return folder.pyfunc(runtime)
    source = folder.load()
    if runtime.engine == OWN:
        return OwnAnswerer(source.labels, source.input, source.prepare, _own(source), runtime)
    computations = [source.computation(n, where) for n in batch_sizes(runtime.largest_batch)]
    try:
        return EngineAnswerer(source.labels, computations, runtime)
    except UnfitError as error:
        raise _unfit(where, runtime, str(error)) from error


def load_model(path: Path, trust_code: bool = False) -> Answerer:
    """Load a model so that it answers, with the runtime that it was registered with.

    Every byte is checked before anything is loaded. The result takes contents, a list of bytes or
    texts, and returns probabilities, float32 [n, classes], in the order of ``labels``::

        model = load_model(Path(".runs/runs/latest/outputs/model"))
        model([Path("cat.jpg").read_bytes()])

    Raises:
        BlocksError: The folder holds no model, was changed, or its runtime cannot run here; or it
            is a third-party pyfunc, and ``trust_code`` is False.
    """
    return open_answerer(path, where="load_model", trust_code=trust_code)


def _own(source: "ServedModel | Encoder") -> Callable[[Any], Any]:
    """Return the graph of a model or an encoder as it was saved, for prepared items."""
    from tfhub_blocks.compute.models.served_model import ServedModel
    from tfhub_blocks.compute.tf.tensorflow_setup import traced

    if isinstance(source, ServedModel):
        return source.answered
    graph: Callable[[Any], Any] = traced(source.features, input_signature=[source.input.spec(None)])
    return graph


def _unfit(where: str, runtime: Runtime, reason: str) -> BlocksError:
    return BlocksError(
        where,
        f"runtime {runtime.name}",
        f"this machine cannot run the model with this runtime ({reason})",
        "a runtime that fits the machine",
        "Run check_latency on this kind of machine, and serve the model that it writes",
    )

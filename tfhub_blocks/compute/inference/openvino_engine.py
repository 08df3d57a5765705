"""OpenVINO: Intel's inference runtime, on a CPU."""

# decision 121

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tfhub_blocks.compute.inference.engine_interface import Engine, Forward, Precision, UnfitError
from tfhub_blocks.compute.inference.signature_graph import (
    openvino_package,
    read_signature,
    reason_of,
)
from tfhub_blocks.records.base.cores import core_count

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


@dataclass(frozen=True)
class OpenVinoEngine(Engine):
    """The frozen graph, compiled for this CPU: by default one stream per core, with one thread.

    Streams share the threads. A single stream with all threads computes one batch soonest.
    """

    name: ClassVar[str] = "openvino"

    threads: int | None = None
    streams: int | None = None

    def divided(self, threads: int, streams: int) -> Engine:
        """Return an engine with this number of threads and streams."""
        return OpenVinoEngine(threads, streams)

    @property
    def kind(self) -> str:
        """The kind, always on a CPU: GPUs are not used."""
        return "openvino/cpu"

    @property
    def version(self) -> str:
        """The version of the package ``openvino``."""
        try:
            return version("openvino")
        except PackageNotFoundError as error:
            raise UnfitError(
                "openvino is not installed: run `pip install openvino`, or add openvino to the "
                "environment's requirements.in and run `tfhub-blocks env lock`"
            ) from error

    def compiled(self, forward: Any, precision: Precision) -> Forward:
        """Return the function as compiled by OpenVINO, which does not accept strings."""
        from tfhub_blocks.compute.tf.tensorflow_setup import frozen, is_freezable

        assert self.version  # noqa: S101 - raises if openvino is not installed
        if precision not in PRECISIONS:
            raise UnfitError(f"OpenVINO does not compute {precision} on a CPU")
        if forward.structured_input_signature[0][0].dtype.name == "string":
            raise UnfitError("OpenVINO does not accept strings, which this encoder takes")
        if not is_freezable(forward):
            raise UnfitError("the encoder's variables or tables cannot become constants")
        core = openvino_package().Core()
        graph = frozen(forward).graph.as_graph_def()
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "graph.pb"
                path.write_bytes(graph.SerializeToString())
                model = core.read_model(str(path))
        except RuntimeError as error:
            raise UnfitError(f"OpenVINO cannot run the graph ({reason_of(error)})") from error
        return self._run(model, precision)

    def compiled_signature(
        self,
        saved_model: Path,
        signature: str,
        output: str,
        batch_sizes: Sequence[int],
        precision: Precision,
    ) -> list[Forward]:
        """Return the function of a SavedModel's signature for each batch size, without TensorFlow.

        Args:
            saved_model: The folder of the SavedModel.
            signature: The name of the signature, which takes one tensor.
            output: The name of the output in the signature.
            batch_sizes: The numbers of items in a batch.
            precision: The number type of products.

        Raises:
            UnfitError: OpenVINO cannot convert the graph, or compute this precision on this CPU.
        """
        assert self.version  # noqa: S101 - raises if openvino is not installed
        if precision not in PRECISIONS:
            raise UnfitError(f"OpenVINO does not compute {precision} on a CPU")
        graph = read_signature(saved_model, signature, output)
        sides = list(graph.inputs[0].get_partial_shape())[1:]
        forwards = []
        for size in batch_sizes:
            try:
                graph.reshape([size, *sides])
            except RuntimeError as error:
                raise UnfitError(f"OpenVINO cannot run the graph ({reason_of(error)})") from error
            forwards.append(self._run(graph, precision))
        return forwards

    def _run(self, graph: Any, precision: Precision) -> Forward:
        """Return a function that runs a graph of OpenVINO.

        Raises:
            UnfitError: OpenVINO cannot compile the graph, or compute this precision on this CPU.
        """
        options = {
            "NUM_STREAMS": self.streams or core_count(),
            "INFERENCE_NUM_THREADS": self.threads or core_count(),
            "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
            # Without pinning, threads can move away from cores that other processes use.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            model = openvino_package().Core().compile_model(graph, "CPU", options)
        except RuntimeError as error:
            raise UnfitError(f"OpenVINO cannot run the graph ({reason_of(error)})") from error
        if model.get_property("INFERENCE_PRECISION_HINT").to_string() != PRECISIONS[precision]:
            raise UnfitError(f"this CPU does not compute {precision}")
        # Requests are reused by all threads: the first call of a request takes several times as
        # long as later calls.
        idle: list[Any] = []

        def run(inputs: Any) -> np.ndarray:
            try:
                request = idle.pop()
            except IndexError:
                request = model.create_infer_request()
            try:
                given = request.infer([np.asarray(inputs)], share_inputs=True)
            finally:
                idle.append(request)
            vectors: np.ndarray = given[0]
            return vectors

        return run

"""OpenVINO: Intel's inference runtime, on a CPU."""

import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tfhub_blocks.compute.inference.engine_interface import Engine, Forward, Precision, UnfitError

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


@dataclass(frozen=True)
class OpenVinoEngine(Engine):
    """The frozen graph, compiled for this CPU: one stream a core, each with one thread.

    Streams share the threads. One with all of them answers one batch soonest.
    """

    name: ClassVar[str] = "openvino"

    threads: int | None = None
    streams: int | None = None

    def divided(self, threads: int, streams: int) -> Engine:
        """With so many streams."""
        return OpenVinoEngine(threads, streams)

    @property
    def kind(self) -> str:
        """OpenVINO's GPUs are not used."""
        return "openvino/cpu"

    @property
    def version(self) -> str:
        """That of the package."""
        try:
            return version("openvino")
        except PackageNotFoundError as error:
            raise UnfitError(
                "it is not installed: pip install openvino, or add it to the environment's "
                "requirements.in and run `tfhub-blocks env lock`"
            ) from error

    def compiled(self, forward: Any, precision: Precision) -> Forward:
        """The function as OpenVINO reads TensorFlow's graphs, which takes no strings."""
        from tfhub_blocks.compute.tf.tensorflow_setup import core_count, frozen, is_freezable

        assert self.version  # noqa: S101 - it raises where there is none
        if precision not in PRECISIONS:
            raise UnfitError(f"OpenVINO does not compute {precision} on a CPU")
        if forward.structured_input_signature[0][0].dtype.name == "string":
            raise UnfitError("OpenVINO takes no strings, and this encoder does")
        if not is_freezable(forward):
            raise UnfitError("its variables or tables cannot become constants")
        # What it reports use with, to an address on the internet; without it, it reports nothing.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino

        core = openvino.Core()
        options = {
            "NUM_STREAMS": self.streams or core_count(),
            "INFERENCE_NUM_THREADS": self.threads or core_count(),
            "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
            # Cores that others work on, too, are given up more easily.
            "ENABLE_CPU_PINNING": False,
        }
        graph = frozen(forward).graph.as_graph_def()
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "graph.pb"
                path.write_bytes(graph.SerializeToString())
                model = core.compile_model(core.read_model(str(path)), "CPU", options)
        except RuntimeError as error:
            raise UnfitError(f"OpenVINO cannot run its graph ({_reason(error)})") from error
        if model.get_property("INFERENCE_PRECISION_HINT").to_string() != PRECISIONS[precision]:
            raise UnfitError(f"this CPU does not compute {precision}")
        # As many as compute at once, whoever asks: a request's first call takes several times as
        # long as its later ones.
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


def _reason(error: RuntimeError) -> str:
    """The first line of OpenVINO's message that says something."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return (said or lines or ["no reason given"])[0][:200]

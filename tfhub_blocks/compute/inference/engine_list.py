"""The engines by name, the reference first. To add an engine, add a file and a line below."""

from tfhub_blocks.compute.inference.engine_interface import Engine
from tfhub_blocks.compute.inference.openvino_engine import OpenVinoEngine
from tfhub_blocks.compute.inference.tensorflow_engine import TensorFlowEngine

ENGINES: dict[str, Engine] = {
    each.name: each
    for each in (
        TensorFlowEngine(),
        OpenVinoEngine(),
    )
}
REFERENCE = "tensorflow"

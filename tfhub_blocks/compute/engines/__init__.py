"""The engines, by name, the reference first. Another one is another file here and a line below."""

from tfhub_blocks.compute.engines.engine import Engine
from tfhub_blocks.compute.engines.openvino import OpenVinoEngine
from tfhub_blocks.compute.engines.tensorflow import TensorFlowEngine

ENGINES: dict[str, Engine] = {
    each.name: each
    for each in (
        TensorFlowEngine(),
        OpenVinoEngine(),
    )
}
REFERENCE = "tensorflow"

"""TensorFlow: the reference, on a CPU or a GPU."""

from typing import Any, ClassVar

import numpy as np

from tfhub_blocks.compute.inference.engine_interface import Engine, Forward, Precision, UnfitError

# By device and precision: the graph rewriter that casts what gains by it and leaves the rest.
REWRITERS = {
    ("cpu", "bfloat16"): "auto_mixed_precision_onednn_bfloat16",
    ("gpu", "float16"): "auto_mixed_precision",
}


class TensorFlowEngine(Engine):
    """The graph with its variables as constants, where they can be.

    Then batch normalization is folded into convolutions and weights are packed once.
    """

    name: ClassVar[str] = "tensorflow"

    @property
    def kind(self) -> str:
        """With the device that TensorFlow puts operations on by itself."""
        from tfhub_blocks.compute.tf.tensorflow_setup import has_gpu

        return f"tensorflow/{'gpu' if has_gpu() else 'cpu'}"

    @property
    def version(self) -> str:
        """TensorFlow's."""
        from tfhub_blocks.compute.tf.tensorflow_setup import tf

        return str(tf.__version__)

    def compiled(self, forward: Any, precision: Precision) -> Forward:
        """The frozen function; in another precision than float32, rewritten."""
        from tfhub_blocks.compute.tf.tensorflow_setup import frozen, is_freezable, rewritten, tf

        fixed = is_freezable(forward)
        function = frozen(forward) if fixed else forward
        if precision != "float32":
            device = self.kind.partition("/")[2]
            rewriter = REWRITERS.get((device, precision))
            if rewriter is None:
                raise UnfitError(f"TensorFlow does not compute {precision} on a {device.upper()}")
            if not fixed:
                raise UnfitError("its variables or tables cannot become constants")
            function = rewritten(function, rewriter)

        def run(inputs: Any) -> np.ndarray:
            vectors: np.ndarray = tf.nest.flatten(function(inputs))[0].numpy()
            return vectors

        return run

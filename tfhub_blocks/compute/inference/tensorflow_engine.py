"""TensorFlow: the reference, on a CPU or a GPU."""

from typing import Any, ClassVar

import numpy as np

from tfhub_blocks.compute.inference.engine_interface import Engine, Forward, Precision, UnfitError

# By device and precision: the graph rewriter that casts operations where this is faster.
REWRITERS = {
    ("cpu", "bfloat16"): "auto_mixed_precision_onednn_bfloat16",
    ("gpu", "float16"): "auto_mixed_precision",
}


class TensorFlowEngine(Engine):
    """The graph with its variables as constants, if possible.

    Then TensorFlow folds batch normalization into convolutions, and packs weights once.
    """

    name: ClassVar[str] = "tensorflow"

    @property
    def kind(self) -> str:
        """The kind, with the device on which TensorFlow places operations."""
        from tfhub_blocks.compute.tf.tensorflow_setup import has_gpu

        return f"tensorflow/{'gpu' if has_gpu() else 'cpu'}"

    @property
    def version(self) -> str:
        """The version of TensorFlow."""
        from tfhub_blocks.compute.tf.tensorflow_setup import tf

        return str(tf.__version__)

    def compiled(self, forward: Any, precision: Precision) -> Forward:
        """Return the frozen function, rewritten if the precision is not float32."""
        from tfhub_blocks.compute.tf.tensorflow_setup import frozen, is_freezable, rewritten, tf

        fixed = is_freezable(forward)
        function = frozen(forward) if fixed else forward
        if precision != "float32":
            device = self.kind.partition("/")[2]
            rewriter = REWRITERS.get((device, precision))
            if rewriter is None:
                raise UnfitError(f"TensorFlow does not compute {precision} on a {device.upper()}")
            if not fixed:
                raise UnfitError("the encoder's variables or tables cannot become constants")
            function = rewritten(function, rewriter)

        def run(inputs: Any) -> np.ndarray:
            given = tf.nest.map_structure(tf.convert_to_tensor, inputs)
            vectors: np.ndarray = tf.nest.flatten(function(given))[0].numpy()
            return vectors

        return run

"""SavedModels in memory, by the four classes of object that loading gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.pins import SAVED_MODEL_NAME, LoadedClass

TF1_HUB_NAME = "tfhub_module.pb"
# Inside an encoder's folder: a SavedModel that gives what the encoder takes.
PREPROCESSOR_FOLDER = "preprocessor"
# The first is TensorFlow's, the second the TF1 Hub format's.
SIGNATURES = ("serving_default", "default")


@dataclass(frozen=True)
class SavedObject:
    """A SavedModel in memory: its class, and how one calls it for inference.

    ``modules`` must be kept by whoever saves what ``call`` computes; the first has the encoder's
    variables. ``specs`` are the inputs that ``call`` declares, each a single tensor; ``told`` says
    all inputs, for a message.
    """

    loaded_class: LoadedClass
    modules: tuple[Any, ...]
    specs: tuple[Any, ...]
    call: Callable[[Any], Any]
    told: str

    @property
    def variables(self) -> list[Any]:
        """The encoder's variables."""
        return list(getattr(self.modules[0], "variables", ()))

    @property
    def trainable_variables(self) -> list[Any]:
        """Those that may be trained: none but of a reusable SavedModel or a Keras export."""
        return list(getattr(self.modules[0], "trainable_variables", ()))


def load_object(saved_model: Path, where: str) -> SavedObject:
    """A SavedModel, and before it the one in its folder ``preprocessor``, if there is one.

    Raises:
        BlocksError: TensorFlow cannot load it, or it has nothing that one could call.
    """
    encoder = _load(saved_model, where)
    if not (saved_model / PREPROCESSOR_FOLDER / SAVED_MODEL_NAME).is_file():
        return encoder
    first = _load(saved_model / PREPROCESSOR_FOLDER, where)
    return replace(
        first,
        loaded_class=encoder.loaded_class,
        modules=encoder.modules + first.modules,
        call=lambda x: encoder.call(first.call(x)),
    )


def unfit(where: str, seen: str) -> BlocksError:
    """The error for a SavedModel that cannot serve as an encoder."""
    return BlocksError(
        where,
        "signature",
        f"this SavedModel cannot serve as an encoder: it has {seen}",
        "images float32[None, height, width, 3], strings [None] or waveforms float32[None, samples]"
        " in, one float vector an item out",
        "tell what it does not say (docs/modalities.md), or wrap it in a tf.Module whose __call__ "
        "does that (preprocessing, pooling), and save that",
    )


def first_line(error: Exception) -> str:
    """The kind of a foreign error and the first line of its message, short enough to quote."""
    return f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]


def _load(saved_model: Path, where: str) -> SavedObject:
    is_tf1 = (saved_model / TF1_HUB_NAME).is_file()
    try:
        # That format's graph for inference has no tags; all others are tagged.
        module = tf.saved_model.load(str(saved_model), *([[]] if is_tf1 else []))
    except Exception as error:  # Protobuf, Python or TensorFlow fails, by what is damaged.
        raise BlocksError(
            where,
            str(saved_model),
            f"TensorFlow {tf.__version__} cannot load it ({first_line(error)})",
            "a whole SavedModel",
            "get it again",
        ) from error
    if not is_tf1 and callable(module) and hasattr(module.__call__, "concrete_functions"):
        return _reusable(module)
    name = next((name for name in SIGNATURES if name in module.signatures), None)
    if name is None:
        raise unfit(where, f"signatures {sorted(module.signatures)} and no __call__")
    kind: LoadedClass = "keras_export" if hasattr(module, "serve") else "signature"
    return _with_signature(module, module.signatures[name], "tf1_hub" if is_tf1 else kind)


def _reusable(module: Any) -> SavedObject:
    """https://www.tensorflow.org/hub/reusable_saved_models."""
    arguments = [c.structured_input_signature for c in module.__call__.concrete_functions]
    specs = tuple(
        positional[0]
        for positional, named in arguments
        # Exactly one tensor: the rest are switches, such as training.
        if len(_tensors((positional, named))) == 1 and isinstance(positional[0], tf.TensorSpec)
    )
    specification = module.__call__.function_spec.fullargspec
    has_switch = "training" in specification.args + specification.kwonlyargs
    switches = {"training": False} if has_switch else {}

    def call(x: Any) -> Any:
        return module(x, **switches)

    return SavedObject("reusable", (module,), specs, call, _told(arguments))


def _with_signature(module: Any, signature: Any, kind: LoadedClass) -> SavedObject:
    named = signature.structured_input_signature[1]
    specs = tuple(named.values()) if len(named) == 1 else ()

    def call(x: Any) -> Any:
        return signature(**(x if isinstance(x, Mapping) else dict.fromkeys(named, x)))

    return SavedObject(kind, (module,), specs, call, _told([signature.structured_input_signature]))


def _tensors(structure: Any) -> list[Any]:
    leaves = tf.nest.flatten(structure)
    return [leaf for leaf in leaves if isinstance(leaf, tf.TensorSpec) and leaf.dtype != tf.bool]


def told_tensor(tensor: Any) -> str:
    """Dtype and shape of a tensor or its spec, such as ``float32[None, 3]``."""
    sides = tensor.shape.as_list() if tensor.shape.rank is not None else "[...]"
    return f"{tensor.dtype.name}{sides}"


def _told(arguments: list[Any]) -> str:
    tensors = {tuple(map(told_tensor, _tensors(a))) for a in arguments}
    return "inputs " + " or ".join(", ".join(told) for told in sorted(tensors))

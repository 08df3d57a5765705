"""SavedModels in memory, in the four classes of object that loading returns."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tfhub_blocks.compute.tf.model_check import check_saved_model
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.pins import SAVED_MODEL_NAME, LoadedClass

TF1_HUB_NAME = "tfhub_module.pb"
# Inside an encoder's folder: a SavedModel whose output is the input of the encoder.
PREPROCESSOR_FOLDER = "preprocessor"
# The first is the name in TensorFlow, the second in the TF1 Hub format.
SIGNATURES = ("serving_default", "default")


@dataclass(frozen=True)
class SavedObject:
    """A SavedModel in memory: its class, and a function that calls it for inference.

    Code that saves the result of ``call`` must keep ``modules``; the first has the encoder's
    variables. ``specs`` are the declared inputs of ``call``, each a single tensor. ``told``
    describes all inputs, for messages.
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
        """The trainable variables; only a reusable SavedModel or a Keras export has any."""
        return list(getattr(self.modules[0], "trainable_variables", ()))


def load_checked(
    saved_model: Path, where: str, allowed: Collection[str] = (), tags: Any = None
) -> Any:
    """Return the object of a SavedModel whose operations were checked. All loading is done here.

    Args:
        saved_model: The folder of the SavedModel.
        where: The command or step, for messages.
        allowed: Operations that the pin allows in addition to those that compute.
        tags: The tags of the graph, if the SavedModel has several.

    Raises:
        BlocksError: An operation is not allowed, or TensorFlow cannot load the SavedModel.
    """
    check_saved_model(saved_model, where, allowed)
    try:
        with without_pattern(saved_model) as place:
            return tf.saved_model.load(str(place), tags)
    except Exception as error:  # Protobuf, Python or TensorFlow fails, depending on the damage.
        raise BlocksError(
            where,
            str(saved_model),
            f"TensorFlow {tf.__version__} cannot load this SavedModel ({first_line(error)})",
            "",
            "Download the encoder again, because the copy may be incomplete",
        ) from error


def load_object(saved_model: Path, where: str, allowed: Collection[str] = ()) -> SavedObject:
    """Load a SavedModel, preceded by the SavedModel in its folder ``preprocessor``, if any.

    Raises:
        BlocksError: An operation is not allowed, TensorFlow cannot load a SavedModel, or it has no
            function to call.
    """
    encoder = _load(saved_model, where, allowed)
    if not (saved_model / PREPROCESSOR_FOLDER / SAVED_MODEL_NAME).is_file():
        return encoder
    first = _load(saved_model / PREPROCESSOR_FOLDER, where, allowed)
    return replace(
        first,
        loaded_class=encoder.loaded_class,
        modules=encoder.modules + first.modules,
        call=lambda x: encoder.call(first.call(x)),
    )


def unfit(where: str, seen: str) -> BlocksError:
    """Return the error for a SavedModel that cannot serve as an encoder."""
    return BlocksError(
        where,
        "signature",
        f"this SavedModel cannot serve as an encoder: it has {seen}",
        "an input of images float32[None, height, width, 3], strings [None] or waveforms "
        "float32[None, samples], and an output of one float vector per item",
        "Pass the facts that the SavedModel does not contain (input facts or option --facts), or "
        "import a tf.Module whose __call__ adds the missing preprocessing or pooling",
    )


def first_line(error: Exception) -> str:
    """Return the class of an error and the first line of its message, at most 200 characters."""
    return f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]


@contextmanager
def without_pattern(saved_model: Path) -> Iterator[Path]:
    """Yield a path of a SavedModel in which TensorFlow sees no pattern, such as ``[v2]``."""
    if "[" not in str(saved_model):
        yield saved_model
        return
    with TemporaryDirectory(prefix="tfhub-blocks-") as folder:
        link = Path(folder) / "saved_model"
        link.symlink_to(saved_model.absolute())
        yield link


def _load(saved_model: Path, where: str, allowed: Collection[str]) -> SavedObject:
    is_tf1 = (saved_model / TF1_HUB_NAME).is_file()
    # The graph for inference has no tags in the TF1 Hub format, and has tags in all others.
    module = load_checked(saved_model, where, allowed, [] if is_tf1 else None)
    if not is_tf1 and callable(module) and hasattr(module.__call__, "concrete_functions"):
        return _reusable(module)
    name = next((name for name in SIGNATURES if name in module.signatures), None)
    if name is None:
        raise unfit(where, f"signatures {sorted(module.signatures)} and no __call__")
    kind: LoadedClass = "keras_export" if hasattr(module, "serve") else "signature"
    return _with_signature(module, module.signatures[name], "tf1_hub" if is_tf1 else kind)


def _reusable(module: Any) -> SavedObject:
    """Return an object of class reusable: https://www.tensorflow.org/hub/reusable_saved_models."""
    arguments = [c.structured_input_signature for c in module.__call__.concrete_functions]
    specs = tuple(
        positional[0]
        for positional, named in arguments
        # Exactly one tensor: other arguments are switches, such as training.
        if len(_tensors((positional, named))) == 1 and isinstance(positional[0], tf.TensorSpec)
    )
    specification = module.__call__.function_spec.fullargspec
    has_switch = "training" in specification.args + specification.kwonlyargs
    switches = {"training": False} if has_switch else {}

    def call(x: Any) -> Any:
        return module(x, **switches)

    return SavedObject("reusable", (module,), specs, call, _described(arguments))


def _with_signature(module: Any, signature: Any, kind: LoadedClass) -> SavedObject:
    named = signature.structured_input_signature[1]
    specs = tuple(named.values()) if len(named) == 1 else ()

    def call(x: Any) -> Any:
        return signature(**(x if isinstance(x, Mapping) else dict.fromkeys(named, x)))

    inputs = _described([signature.structured_input_signature])
    return SavedObject(kind, (module,), specs, call, inputs)


def _tensors(structure: Any) -> list[Any]:
    leaves = tf.nest.flatten(structure)
    return [leaf for leaf in leaves if isinstance(leaf, tf.TensorSpec) and leaf.dtype != tf.bool]


def told_tensor(tensor: Any) -> str:
    """Return the dtype and shape of a tensor or its spec, such as ``float32[None, 3]``."""
    sides = tensor.shape.as_list() if tensor.shape.rank is not None else "[...]"
    return f"{tensor.dtype.name}{sides}"


def _described(arguments: list[Any]) -> str:
    tensors = {tuple(map(told_tensor, _tensors(a))) for a in arguments}
    return "inputs " + " or ".join(", ".join(names) for names in sorted(tensors))

"""SavedModels in memory, in the four classes of object that loading returns."""

# decision 95

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tfhub_blocks.compute.tf.model_check import check_saved_model, read_saved_model
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.pins.pins import PREPROCESSOR_FOLDER, SAVED_MODEL_NAME, LoadedClass

TF1_HUB_NAME = "tfhub_module.pb"
# The first is the name in TensorFlow, the others in the TF1 Hub format.
SIGNATURES = ("serving_default", "default", "image_feature_vector")
# Arguments that turn training off, by their names in lower case, with their values for inference.
SWITCHES: Mapping[str, Any] = {
    **dict.fromkeys(("training", "is_training", "train", "is_train", "trainable"), False),
    **dict.fromkeys(("training_mode", "train_mode", "training_phase", "phase_train"), False),
    **dict.fromkeys(("learning_phase", "keras_learning_phase", "use_dropout"), False),
    **dict.fromkeys(("update_stats", "use_batch_stats", "use_batch_statistics"), False),
    **dict.fromkeys(("deterministic", "inference", "is_inference", "eval_mode", "is_eval"), True),
    **dict.fromkeys(("keep_prob", "dropout_keep_prob", "keep_probability"), 1.0),
    **dict.fromkeys(("dropout_rate", "drop_rate", "dropout_prob"), 0.0),
}
RATES = ("sample_rate", "sampling_rate", "sample_rate_hz")
# Names of tokens, as different publishers write them.
TOKENS = (
    ("input_word_ids", "input_ids", "token_ids", "tokens"),
    ("input_mask", "attention_mask", "padding_mask", "mask"),
    ("input_type_ids", "token_type_ids", "segment_ids"),
)


@dataclass(frozen=True)
class SavedObject:
    """A SavedModel in memory: its class, and a function that calls it for inference.

    Code that saves the result of ``call`` must keep ``modules``; the first has the encoder's
    variables. ``specs`` are the declared inputs of ``call``, each a single tensor. ``told``
    describes all inputs, for messages. ``signature`` is the name of the signature that the user
    chose. ``switches`` are the arguments that turn training off, with their values, and ``others``
    are the names of all signatures. ``takes_rate`` is True if ``call`` passes on a sample rate.
    """

    loaded_class: LoadedClass
    modules: tuple[Any, ...]
    specs: tuple[Any, ...]
    call: Callable[[Any], Any]
    told: str
    signature: str | None = None
    switches: Mapping[str, Any] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    takes_rate: bool = False

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


def load_object(
    saved_model: Path,
    where: str,
    allowed: Collection[str] = (),
    signature: str | None = None,
    rate_hz: int | None = None,
) -> SavedObject:
    """Load a SavedModel, preceded by the SavedModel in its folder ``preprocessor``, if any.

    Args:
        saved_model: The folder of the SavedModel.
        where: The command or step, for messages.
        allowed: Operations that the pin allows in addition to those that compute.
        signature: The name of the signature to call; None for the usual one.
        rate_hz: The sample rate, for a SavedModel that takes it with the samples.

    Raises:
        BlocksError: An operation is not allowed, TensorFlow cannot load a SavedModel, it has no
            function to call, or it was saved for training only.
    """
    encoder = _load(saved_model, where, allowed, signature, rate_hz)
    if not (saved_model / PREPROCESSOR_FOLDER / SAVED_MODEL_NAME).is_file():
        return encoder
    first = _load(saved_model / PREPROCESSOR_FOLDER, where, allowed, None, None)
    return replace(
        first,
        loaded_class=encoder.loaded_class,
        modules=encoder.modules + first.modules,
        call=lambda x: encoder.call(first.call(x)),
        signature=encoder.signature,
        switches=encoder.switches,
        others=encoder.others,
    )


_REMEDY = (
    "Pass the facts that the SavedModel does not contain (input facts or option --facts), or "
    "import a tf.Module whose __call__ adds the missing preprocessing or pooling"
)


def unfit(where: str, seen: str, remedy: str = _REMEDY) -> BlocksError:
    """Return the error for a SavedModel that cannot serve as an encoder."""
    return BlocksError(
        where,
        "signature",
        f"this SavedModel cannot serve as an encoder: it has {seen}",
        "an input of images [None, height, width, 3], strings [None] or waveforms "
        "[None, samples], and an output of one float vector per item",
        remedy,
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


def _load(
    saved_model: Path,
    where: str,
    allowed: Collection[str],
    chosen: str | None,
    rate_hz: int | None,
) -> SavedObject:
    is_tf1 = (saved_model / TF1_HUB_NAME).is_file()
    # The graph for inference has no tags in the TF1 Hub format, and has tags in all others.
    module = load_checked(saved_model, where, allowed, [] if is_tf1 else _tags(saved_model, where))
    names = tuple(sorted(name for name in module.signatures if not name.startswith("__")))
    if chosen is not None and chosen not in names:
        raise BlocksError(
            where,
            "signature",
            f"this SavedModel has no signature {chosen!r}",
            f"one of {', '.join(names)}" if names else "no fact signature",
            nearest(chosen, names) or "Set the fact signature to one of these, or leave it out",
        )
    has_call = callable(module) and hasattr(module.__call__, "concrete_functions")
    if chosen is None and not is_tf1 and has_call:
        return replace(_reusable(module, where, rate_hz), others=names)
    name = chosen or next((name for name in SIGNATURES if name in names), None)
    if name is None and len(names) == 1:
        name = names[0]
    if name is None:
        if names:
            raise BlocksError(
                where,
                "signature",
                f"this SavedModel has the signatures {', '.join(names)}, and none has a usual name",
                "the fact signature",
                "Pass the fact signature=NAME with one of these names",
            )
        raise unfit(where, "no signature and no __call__")
    kind: LoadedClass = "keras_export" if hasattr(module, "serve") else "signature"
    found = _with_signature(module, module.signatures[name], "tf1_hub" if is_tf1 else kind, rate_hz)
    return replace(found, signature=chosen, others=names)


def _tags(saved_model: Path, where: str) -> list[str] | None:
    """Return the tags of the graph for inference if the SavedModel has several graphs."""
    saved = read_saved_model(saved_model / SAVED_MODEL_NAME, where)
    all_tags = [sorted(each.meta_info_def.tags) for each in saved.meta_graphs]
    if len(all_tags) < 2:
        return None
    return next((tags for tags in all_tags if "train" not in tags), all_tags[0])


def _reusable(module: Any, where: str, rate_hz: int | None) -> SavedObject:
    """Return an object of class reusable: https://www.tensorflow.org/hub/reusable_saved_models."""
    arguments = [c.structured_input_signature for c in module.__call__.concrete_functions]
    specification = module.__call__.function_spec.fullargspec
    positions = [name for name in specification.args if name != "self"]
    names = positions[1:] + specification.kwonlyargs
    constants: dict[str, Any] = {}
    for name in names:
        seen = [_argument(each, positions, name) for each in arguments]
        if name.lower() in SWITCHES:
            constants |= _switched(name, seen, where)
        elif name.lower() in RATES and rate_hz is not None:
            constants[name] = _rate(next(filter(tf.is_tensor, seen), None), rate_hz)
    passed = {name for name in names if name in constants or name.lower() in RATES}
    specs = tuple(
        positional[0]
        for positional, named in arguments
        if positional
        and isinstance(positional[0], tf.TensorSpec)
        # Exactly one tensor: other arguments are switches, such as training, or the rate.
        and len(_tensors(_without(passed, positions, positional, named))) == 1
    )

    def call(x: Any) -> Any:
        return module(x, **constants)

    return SavedObject(
        "reusable",
        (module,),
        specs,
        call,
        _described(arguments),
        switches={name: value for name, value in constants.items() if name.lower() in SWITCHES},
        takes_rate=any(name.lower() in RATES for name in names),
    )


def _argument(signature: Any, positions: list[str], name: str) -> Any:
    """Return the value or the spec of an argument in the signature of a trace."""
    positional, named = signature
    if name in named:
        return named[name]
    position = positions.index(name) if name in positions else len(positional)
    return positional[position] if position < len(positional) else None


def _without(
    passed: set[str], positions: list[str], positional: Any, named: Mapping[str, Any]
) -> tuple[Any, Any]:
    rest = [
        value
        for position, value in enumerate(positional)
        if position >= len(positions) or positions[position] not in passed
    ]
    return rest, {name: value for name, value in named.items() if name not in passed}


def _switched(name: str, seen: list[Any], where: str) -> dict[str, Any]:
    """Return the argument that turns training off, or nothing if the default does so.

    Raises:
        BlocksError: The SavedModel was saved for training only.
    """
    wanted = SWITCHES[name.lower()]
    for value in seen:
        if isinstance(value, tf.TensorSpec):
            return {name: tf.constant(wanted, value.dtype)}
        if value is not None and value == wanted:
            return {name: value}
    if any(value is None for value in seen):
        return {}
    raise BlocksError(
        where,
        name,
        f"this SavedModel was saved with {name}={seen[0]} only, so it computes as in training",
        f"a function for {name}={wanted}",
        f"Save the model again so that it was also called with {name}={wanted}, or choose another "
        "SavedModel",
    )


def _rate(spec: Any, rate_hz: int) -> Any:
    return rate_hz if spec is None else tf.fill(spec.shape.as_list(), tf.cast(rate_hz, spec.dtype))


def _with_signature(
    module: Any, signature: Any, kind: LoadedClass, rate_hz: int | None
) -> SavedObject:
    named = dict(signature.structured_input_signature[1])
    constants: dict[str, Any] = {}
    for name, spec in list(named.items()):
        is_single = spec.shape.rank is None or spec.shape.num_elements() == 1
        if name.lower() in SWITCHES and is_single:
            constants[name] = tf.cast(SWITCHES[name.lower()], spec.dtype)
        elif name.lower() in RATES and is_single and len(named) > 1:
            constants[name] = _rate(spec, rate_hz or 0)
    free = {name: spec for name, spec in named.items() if name not in constants}
    specs = tuple(free.values()) if len(free) == 1 else ()

    def call(x: Any) -> Any:
        given = _tokens(x, free) if isinstance(x, Mapping) else dict.fromkeys(free, x)
        return signature(**given, **constants)

    inputs = _described([signature.structured_input_signature])
    return SavedObject(
        kind,
        (module,),
        specs,
        call,
        inputs,
        switches={name: SWITCHES[name.lower()] for name in constants if name.lower() in SWITCHES},
        takes_rate=any(name.lower() in RATES for name in constants),
    )


def _tokens(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tokens of a preprocessor by the names and dtypes that an encoder takes."""
    passed = {}
    for name, spec in wanted.items():
        group = next((names for names in TOKENS if name in names), (name,))
        found = next((other for other in (name, *group) if other in given), None)
        if found is not None:
            passed[name] = tf.cast(given[found], spec.dtype)
    return passed


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

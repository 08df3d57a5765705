"""Encoders: pretrained SavedModels, told apart by how they were saved, checked, and called."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfhub_blocks.compute.loading import pinned_saved_model
from tfhub_blocks.compute.preprocessing import ADAPTERS, Preprocessing, preprocessing_of
from tfhub_blocks.compute.runtime import convert_variables_to_constants_v2, tf
from tfhub_blocks.records.errors import BlocksError
from tfhub_blocks.records.folders import open_folder
from tfhub_blocks.records.pins import (
    FORMAT,
    PIN_NAME,
    EncoderInput,
    EncoderOutput,
    LoadedClass,
    Pin,
    PinnedFile,
    Training,
    files_digest,
    read_pin,
)

TF1_HUB_NAME = "tfhub_module.pb"
# Where TF Hub's common signatures put one vector for each item.
OUTPUT_KEYS = ("default", "pooled_output")
# A graph with constants in it must stay below protobuf's 2 GiB.
MAX_FROZEN_BYTES = 1.5 * 2**30


@dataclass(frozen=True)
class _Loaded:
    """A SavedModel in memory: its object, and how one calls it for inference."""

    loaded_class: LoadedClass
    module: Any
    specs: tuple[Any, ...]
    call: Callable[[tf.Tensor], Any]


@dataclass(frozen=True)
class Encoder:
    """A verified encoder, loaded for inference."""

    pin: Pin
    module: Any
    preprocessing: Preprocessing
    _call: Callable[[tf.Tensor], Any]

    @property
    def digest(self) -> str:
        """The digest of the SavedModel's files."""
        return self.pin.digest

    def example(self) -> bytes:
        """An item that it can encode."""
        return self.preprocessing.example()

    def preprocess(self, contents: tf.Tensor) -> tf.Tensor:
        """What ``features`` takes, for items' contents, string [n]."""
        return self.preprocessing(contents)

    def features(self, preprocessed: tf.Tensor) -> tf.Tensor:
        """Features, float32 [n, dimension], with ``training=False``.

        It may be traced into a function that is saved; what keeps ``module`` saves the variables.
        """
        return _vectors(self._call(preprocessed), self.pin.output)

    def frozen(self, batch_size: int) -> Callable[[tf.Tensor], tf.Tensor]:
        """Preprocessing and features of exactly ``batch_size`` contents, as fast as may be.

        Where they can, variables become constants, so that TensorFlow folds batch normalization
        into convolutions and packs weights once. Features differ from ``features`` by rounding.
        """
        strings = tf.TensorSpec([batch_size], tf.string)
        preprocess = tf.function(self.preprocess).get_concrete_function(strings)
        # Apart from the forward function, or optimizers fold its last product into the encoder.
        inputs = tf.TensorSpec.from_tensor(preprocess.outputs[0])
        forward = tf.function(self.features).get_concrete_function(inputs)
        size_bytes = sum(v.dtype.size * v.shape.num_elements() for v in forward.variables)
        has_tables = len(forward.captured_inputs) > len(forward.variables)
        if size_bytes > MAX_FROZEN_BYTES or has_tables:  # A vocabulary cannot become a constant.
            return lambda contents: forward(preprocess(contents))
        constant = convert_variables_to_constants_v2(forward)
        return lambda contents: constant(preprocess(contents))[0]


def inspect_encoder(
    saved_model: Path,
    handle: str,
    name: str,
    free_size_px: tuple[int, int] | None,
    files: Mapping[str, PinnedFile],
) -> Pin:
    """The pin of an encoder, with no decisions taken.

    Args:
        saved_model: The SavedModel's folder.
        handle: Where it came from.
        name: What to call it.
        free_size_px: Height and width of the images to give it, where it leaves them free.
        files: The SavedModel's files, as they were hashed.

    Raises:
        BlocksError: TensorFlow cannot load it, or it gives no vector for each image or string.
    """
    loaded = _load(saved_model, name)
    encoder_input = _recognised(loaded, name, free_size_px)
    preprocessing = preprocessing_of(encoder_input)
    inputs = preprocessing(tf.constant([preprocessing.example()]))
    try:
        given = loaded.call(inputs)
    except Exception as error:
        raise BlocksError(
            name,
            str(saved_model),
            f"it fails on one item ({first_line(error)})",
            "features of one item",
            "check with its publisher how it is called",
        ) from error
    module = loaded.module
    return Pin(
        name=name,
        handle=handle,
        digest=files_digest(files),
        loaded_class=loaded.loaded_class,
        input=encoder_input,
        output=_recognised_output(given, name),
        training=Training(
            len(getattr(module, "variables", ())), len(getattr(module, "trainable_variables", ()))
        ),
        files=files,
    )


def load_encoder(folder: Path, where: str) -> Encoder:
    """An encoder as ``import_encoder`` made it, every byte verified before it is loaded.

    Raises:
        BlocksError: It is no finished encoder, its bytes are not where its pin decides that they
            are, a file differs, or TensorFlow cannot load it.
    """
    pin = read_pin(open_folder(folder, FORMAT, where).file(PIN_NAME))
    loaded = _load(pinned_saved_model(pin, folder, where), where)
    return Encoder(pin, loaded.module, preprocessing_of(pin.input), loaded.call)


def check_facts(pin: Pin, inspected: Pin, where: str) -> None:
    """Hold what a pin says of an encoder against what was seen when it was loaded.

    Raises:
        BlocksError: They disagree in what can be seen: not in name, handle, range or decisions.
    """
    for key, stated, seen in [
        ("loaded_class", pin.loaded_class, inspected.loaded_class),
        ("input.modality", pin.input.modality, inspected.input.modality),
        ("input.size_px", pin.input.size_px, inspected.input.size_px),
        ("output.dimension", pin.output.dimension, inspected.output.dimension),
        ("output.key", pin.output.key, inspected.output.key),
        ("training", pin.training, inspected.training),
    ]:
        if stated != seen:
            raise BlocksError(
                where,
                f"{PIN_NAME}: {key}",
                f"the pin says {stated}",
                f"{seen}, as the encoder that was loaded has it",
                "correct the pin, or get the encoder that it was made for",
            )


def _load(saved_model: Path, where: str) -> _Loaded:
    """A SavedModel in memory, by one of the classes of object that ``load`` gives."""
    if (saved_model / TF1_HUB_NAME).is_file():
        raise BlocksError(
            where,
            str(saved_model),
            f"this is a module in the TF1 Hub format ({TF1_HUB_NAME} is there)",
            "a TF2 SavedModel",
            "take the module's TF2 version, or call its signature in a tf.Module and save that",
        )
    try:
        module = tf.saved_model.load(str(saved_model))
    except Exception as error:  # Protobuf, Python or TensorFlow fails, by what is damaged.
        raise BlocksError(
            where,
            str(saved_model),
            f"TensorFlow {tf.__version__} cannot load it ({first_line(error)})",
            "a whole SavedModel whose operations are all in TensorFlow",
            "get it again; one that needs more operations (tensorflow_text) cannot be used",
        ) from error
    if callable(module) and hasattr(module.__call__, "concrete_functions"):
        return _reusable(module)
    signatures = module.signatures
    if "serving_default" not in signatures:
        raise _unfit(where, f"signatures {sorted(signatures)} and no __call__")
    kind: LoadedClass = "keras_export" if hasattr(module, "serve") else "signature"
    return _with_signature(module, signatures["serving_default"], kind)


def _reusable(module: Any) -> _Loaded:
    """https://www.tensorflow.org/hub/reusable_saved_models."""
    arguments = [c.structured_input_signature for c in module.__call__.concrete_functions]
    specs = tuple(
        positional[0]
        for positional, named in arguments
        # Exactly one tensor: the rest are switches, such as training.
        if len(_tensors((positional, named))) == 1 and isinstance(positional[0], tf.TensorSpec)
    )
    specification = module.__call__.function_spec.fullargspec
    if "training" in specification.args + specification.kwonlyargs:
        return _Loaded("reusable", module, specs, lambda x: module(x, training=False))
    return _Loaded("reusable", module, specs, module)


def _with_signature(module: Any, signature: Any, kind: LoadedClass) -> _Loaded:
    named = signature.structured_input_signature[1]
    if len(named) != 1:
        return _Loaded(kind, module, (), signature)
    ((name, spec),) = named.items()
    return _Loaded(kind, module, (spec,), lambda x: signature(**{name: x}))


def _tensors(structure: Any) -> list[Any]:
    leaves = tf.nest.flatten(structure)
    return [leaf for leaf in leaves if isinstance(leaf, tf.TensorSpec) and leaf.dtype != tf.bool]


def _recognised(loaded: _Loaded, where: str, free_size_px: tuple[int, int] | None) -> EncoderInput:
    for spec in loaded.specs:
        for adapter in ADAPTERS.values():
            if (found := adapter.recognise(spec, free_size_px)) is not None:
                return found
    raise _unfit(where, _told_inputs(loaded))


def _told_inputs(loaded: _Loaded) -> str:
    if loaded.loaded_class == "reusable":
        seen = [c.structured_input_signature for c in loaded.module.__call__.concrete_functions]
    else:
        seen = [loaded.module.signatures["serving_default"].structured_input_signature]
    tensors = {tuple(f"{t.dtype.name}{t.shape.as_list()}" for t in _tensors(s)) for s in seen}
    return "inputs " + " or ".join(", ".join(told) for told in sorted(tensors))


def _recognised_output(given: Any, where: str) -> EncoderOutput:
    """The output that holds one vector for each item."""
    if not isinstance(given, Mapping):
        key, vectors = None, given
    else:
        keys = [key for key in OUTPUT_KEYS if key in given] or list(given)[: len(given) == 1]
        if not keys:
            raise _unfit(where, f"outputs {sorted(given)}")
        key, vectors = keys[0], given[keys[0]]
    if not (tf.is_tensor(vectors) and vectors.shape.rank == 2 and vectors.dtype.is_floating):
        told = f"{vectors.dtype.name}{vectors.shape.as_list()}" if tf.is_tensor(vectors) else "none"
        raise _unfit(where, f"an output {told} for one item")
    return EncoderOutput(int(vectors.shape[1]), key)


def _vectors(given: Any, output: EncoderOutput) -> tf.Tensor:
    vectors = given if output.key is None else given[output.key]
    return tf.ensure_shape(tf.cast(vectors, tf.float32), [None, output.dimension])


def _unfit(where: str, seen: str) -> BlocksError:
    return BlocksError(
        where,
        "signature",
        f"this SavedModel cannot serve as an encoder: it has {seen}",
        "images float32[None, height, width, 3] or strings [None] in, one float vector an item out",
        "wrap it in a tf.Module whose __call__ does that (preprocessing, pooling), and save that",
    )


def first_line(error: Exception) -> str:
    """The kind of a foreign error and the first line of its message, short enough to quote."""
    return f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]

"""Inspection: from a SavedModel to a pin that states its input, output and needs."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from tfhub_blocks.compute.encoders.encoder import Encoder, output_of, read_input, vectors_of
from tfhub_blocks.compute.encoders.golden import TOLERANCE, golden_outputs
from tfhub_blocks.compute.encoders.licences import find_licence
from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.compute.modalities.modality import Modality
from tfhub_blocks.compute.tf.flat_graph import trainable_order
from tfhub_blocks.compute.tf.model_check import check_saved_model
from tfhub_blocks.compute.tf.operations import read_operations
from tfhub_blocks.compute.tf.saved_model_loading import (
    SavedObject,
    first_line,
    load_object,
    told_tensor,
    unfit,
)
from tfhub_blocks.compute.tf.tensorflow_setup import tf, traced
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.pins.pins import (
    SAVED_MODEL_NAME,
    EncoderOutput,
    Golden,
    Pin,
    PinnedFile,
    Pooling,
    Training,
    files_digest,
)

# The outputs of TF Hub's common signatures that are meant for transfer learning.
OUTPUT_KEYS = ("default", "pooled_output", "embedding", "embeddings")
# The facts of any encoder, in addition to the keys of its modality's input.
OUTPUT_FACTS = ("output", "pooling", "licence", "allow_op")


def inspect_encoder(
    saved_model: Path,
    handle: str,
    name: str,
    told: Mapping[str, Any],
    files: Mapping[str, PinnedFile],
) -> Pin:
    """Load an encoder, and return its pin, with every decision open.

    Args:
        saved_model: The folder of the SavedModel.
        handle: The source of the SavedModel.
        name: The name of the encoder.
        told: Facts that the SavedModel does not contain, from ``encoder_facts.parse_facts``.
        files: The files of the SavedModel with their hashes.

    Raises:
        BlocksError: TensorFlow cannot load the SavedModel, the SavedModel returns no vector for
            each item of any modality, or the facts do not fit.
    """
    allowed = _allowed(told)
    for path in sorted(saved_model.rglob(SAVED_MODEL_NAME)):
        check_saved_model(path.parent, name, allowed)
    operations = replace(read_operations(saved_model, name), allowed=allowed or None)
    loaded = load_object(saved_model, name, allowed)
    modality, spec, record = _recognised(loaded, told, name)
    key, training = _traced(loaded, spec, told.get("output"), name)
    output = EncoderOutput(1, key, _pooling(told, modality, name))
    pin = Pin(
        name=name,
        handle=handle,
        digest=files_digest(files),
        loaded_class=loaded.loaded_class,
        modality=modality.name,
        licence=str(told.get("licence", find_licence(saved_model))),
        input=record,
        output=output,
        training=training,
        operations=operations,
        golden=Golden((), TOLERANCE, tf.__version__),
        files=files,
    )
    return _tried(pin, loaded, saved_model)


def _allowed(told: Mapping[str, Any]) -> tuple[str, ...]:
    given = told.get("allow_op", ())
    return tuple(map(str, given if isinstance(given, list | tuple) else (given,)))


def _recognised(
    loaded: SavedObject, told: Mapping[str, Any], where: str
) -> tuple[type[Modality], Any, dict[str, Any]]:
    """Return the modality of an encoder, the spec of its input, and the pin's table ``input``."""
    for spec in loaded.specs:
        for modality in MODALITIES.values():
            found = modality.recognise(spec)
            if found is not None:
                return modality, spec, _input(modality, *found, told, where)
    raise unfit(where, loaded.told)


def _input(
    modality: type[Modality],
    stated: Mapping[str, Any],
    usual: Mapping[str, Any],
    told: Mapping[str, Any],
    where: str,
) -> dict[str, Any]:
    own = {field.name: field.default for field in fields(modality)}
    for key, value in told.items():
        known = [*own, *OUTPUT_FACTS]
        if key not in known:
            problem, expected = f"{key} is no fact of {modality.name}", f"one of {', '.join(known)}"
            remedy = nearest(key, known) or f"Leave {key} out of the facts"
            raise BlocksError(where, key, problem, expected, remedy)
        if key in stated and value != stated[key]:
            expected = f"{stated[key]}, as the SavedModel states"
            remedy = f"Leave {key} out of the facts"
            raise BlocksError(where, key, f"the fact {key} is {value}", expected, remedy)
    given = {**usual, **{key: told[key] for key in own if key in told}, **stated}
    for key, default in own.items():
        if key not in given and default is MISSING:
            raise BlocksError(
                where,
                key,
                f"this SavedModel takes {modality.name}, but does not state its {key}",
                f"the fact {key}",
                f"Pass the fact {key}=VALUE, with the value from the publisher's page",
            )
        # Pins of earlier versions lack newer facts, and stay equal.
        if key not in modality.implied:
            given.setdefault(key, default)
    read_input(modality.name, given, where)
    return given


def _pooling(told: Mapping[str, Any], modality: type[Modality], where: str) -> Pooling:
    pooling: Pooling = told.get("pooling", modality.usual_pooling)
    if pooling not in get_args(Pooling):
        expected = f"one of {', '.join(get_args(Pooling))}"
        remedy = nearest(str(pooling), get_args(Pooling)) or "Set the fact pooling to one of these"
        raise BlocksError(where, "pooling", f"{pooling!r} is no pooling", expected, remedy)
    return pooling


def _traced(
    loaded: SavedObject, spec: Any, told_key: Any, where: str
) -> tuple[str | None, Training]:
    """Trace the encoder: find its feature output, its ordered trainable variables, and its cuts."""
    given = traced(loaded.call).get_concrete_function(spec).structured_outputs
    key = _output_key(given, None if told_key is None else str(told_key), where)
    trainable = loaded.trainable_variables
    if not trainable:
        return key, Training(len(loaded.variables))
    one = traced(lambda x: output_of(loaded.call(x), key)).get_concrete_function(spec)
    ordered, cuts = trainable_order(one, trainable)
    names = tuple(variable.name.removesuffix(":0") for variable in ordered)
    return key, Training(len(loaded.variables), names, tuple(cuts))


def _output_key(given: Any, told: str | None, where: str) -> str | None:
    if isinstance(given, Mapping):
        outputs = dict(given)
    elif isinstance(given, list | tuple):
        outputs = {str(position): each for position, each in enumerate(given)}
    else:
        outputs = {}
    vectors = {k: v for k, v in outputs.items() if tf.is_tensor(v) or isinstance(v, tf.TensorSpec)}
    if told is not None and told not in vectors:
        expected, remedy = "no fact output, because the SavedModel has one output", "Leave it out"
        if vectors:
            expected = f"one of {', '.join(map(str, vectors))}"
            remedy = nearest(told, vectors) or "Set the fact output to one of these"
        problem = f"this SavedModel has no output {told!r}"
        raise BlocksError(where, "output", problem, expected, remedy)
    if told is not None or not outputs:
        return told
    key = next((key for key in OUTPUT_KEYS if key in vectors), None)
    if key is None and len(vectors) != 1:
        shapes = ", ".join(f"{k} {told_tensor(v)}" for k, v in sorted(vectors.items()))
        raise BlocksError(
            where,
            "output",
            f"this SavedModel has several outputs ({shapes}), and none has a usual name",
            "the fact output",
            "Pass the fact output=NAME with one of these names",
        )
    return key or next(iter(vectors))


def _tried(pin: Pin, loaded: SavedObject, saved_model: Path) -> Pin:
    """Run the encoder on a few items, and add dimension and golden outputs to the pin."""
    encoder_input = read_input(pin.modality, pin.input, pin.name)
    try:
        inputs = tf.convert_to_tensor(encoder_input.prepare(encoder_input.samples()[:1]))
        vectors = vectors_of(loaded, encoder_input, pin.output, inputs)
        if vectors.shape.rank == 2:
            pin = replace(pin, output=replace(pin.output, dimension=int(vectors.shape[1])))
            given = Encoder(pin, encoder_input, loaded).encode(encoder_input.samples())
    except Exception as error:
        raise BlocksError(
            pin.name,
            str(saved_model),
            f"the encoder fails on sample items of {pin.modality} ({first_line(error)})",
            "features for every item",
            "Look up on the publisher's page how the encoder is called",
        ) from error
    if vectors.shape.rank != 2:
        raise unfit(
            pin.name,
            f"output {told_tensor(vectors)} for one item, with pooling {pin.output.pooling}",
        )
    if not np.isfinite(given).all():
        raise unfit(pin.name, "features that are NaN or infinite for sample items")
    return replace(pin, golden=golden_outputs(given))

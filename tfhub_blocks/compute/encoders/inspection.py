"""Inspection: from a SavedModel to a pin that states its input, output and needs."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from tfhub_blocks.compute.encoders import item_check
from tfhub_blocks.compute.encoders.encoder import Encoder, output_of, vectors_of
from tfhub_blocks.compute.encoders.golden import TOLERANCE, golden_outputs
from tfhub_blocks.compute.encoders.input_facts import (
    MissingFact,
    SeenInput,
    check_missing,
    input_facts,
)
from tfhub_blocks.compute.encoders.input_graph import EncoderGraph
from tfhub_blocks.compute.encoders.item_check import HALF_TOLERANCE, item_fault
from tfhub_blocks.compute.encoders.licences import find_licence
from tfhub_blocks.compute.encoders.publisher_families import Family, find_family
from tfhub_blocks.compute.encoders.refused_forms import (
    failure_remedy,
    reason_line,
    refusal_remedy,
)
from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.compute.modalities.encoder_inputs import read_input
from tfhub_blocks.compute.modalities.modality import Modality
from tfhub_blocks.compute.modalities.sounds import Sounds
from tfhub_blocks.compute.modalities.texts import FILE_OPERATIONS
from tfhub_blocks.compute.tf.flat_graph import trainable_order
from tfhub_blocks.compute.tf.graph_causes import dependence_causes
from tfhub_blocks.compute.tf.model_check import check_saved_model
from tfhub_blocks.compute.tf.operations import read_operations
from tfhub_blocks.compute.tf.saved_model_loading import (
    SIGNATURES,
    SavedObject,
    load_object,
    told_tensor,
    unfit,
)
from tfhub_blocks.compute.tf.tensorflow_setup import tf, traced
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.pins.pins import (
    SAVED_MODEL_NAME,
    Calling,
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
OUTPUT_FACTS = ("output", "pooling", "licence", "allow_op", "signature")
_SAMPLES = "sample items"


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
            each item of any modality, an item's features depend on other items, or the facts do
            not fit.
    """
    allowed = _allowed(told)
    for path in sorted(saved_model.rglob(SAVED_MODEL_NAME)):
        check_saved_model(path.parent, name, allowed)
    operations = replace(read_operations(saved_model, name), allowed=allowed or None)
    known = find_family(handle, ())
    rate_hz = told.get("rate_hz", known.facts.get("rate_hz") if known else None)
    signature = str(told["signature"]) if "signature" in told else None
    loaded = load_object(saved_model, name, allowed, signature, rate_hz)
    family = find_family(handle, [variable.name for variable in loaded.variables])
    seen = _recognised(loaded, operations.used, name)
    facts, missing = input_facts(seen, told, family, OUTPUT_FACTS, name)
    if not missing:
        encoder_input = read_input(seen.modality.name, facts.record, name)
    key = None
    if not (missing and loaded.takes_rate):
        key, open_output = _output_key(seen.outputs, told.get("output"), family, name)
        missing += open_output
    check_missing(missing, name)
    output = EncoderOutput(1, key, _pooling(told, seen.modality, name))
    pin = Pin(
        name=name,
        handle=handle,
        digest=files_digest(files),
        loaded_class=loaded.loaded_class,
        modality=seen.modality.name,
        licence=str(told.get("licence", find_licence(saved_model))),
        input=facts.record,
        output=output,
        training=_training(loaded, seen.spec, encoder_input, key),
        operations=operations,
        golden=Golden((), TOLERANCE, tf.__version__),
        files=files,
        calling=_calling(loaded),
        assumptions=facts.assumptions,
    )
    tensors = tf.nest.pack_sequence_as(seen.outputs, list(seen.function.outputs))
    return _tried(pin, loaded, saved_model, EncoderGraph(seen.function, output_of(tensors, key)))


def _allowed(told: Mapping[str, Any]) -> tuple[str, ...]:
    given = told.get("allow_op", ())
    return tuple(map(str, given if isinstance(given, list | tuple) else (given,)))


def _calling(loaded: SavedObject) -> Calling | None:
    """Return the way in which an encoder is called, or None for the way of early versions."""
    switches = {
        name: value.numpy().item() if tf.is_tensor(value) else value
        for name, value in loaded.switches.items()
        if name != "training"
    }
    if loaded.signature is None and not switches:
        return None
    return Calling(loaded.signature, switches or None)


def _recognised(loaded: SavedObject, used: Collection[str], where: str) -> SeenInput:
    """Return the modality of an encoder with its input and outputs."""
    for spec in loaded.specs:
        function = None
        operations: Collection[str] = ()
        if spec.dtype == tf.string and FILE_OPERATIONS.intersection(used):
            function = traced(loaded.call).get_concrete_function(spec)
            operations = EncoderGraph(function, None).operations
        for modality in MODALITIES.values():
            found = modality.recognise(spec, operations)
            if found is not None:
                function = function or traced(loaded.call).get_concrete_function(spec)
                return SeenInput(modality, spec, *found, function)
        if operations:
            raise unfit(where, f"a string input {_files_text(operations)}")
    raise unfit(where, loaded.told, refusal_remedy(loaded))


def _files_text(operations: Collection[str]) -> str:
    if any(name.startswith("Parse") for name in operations):
        return "of serialized tf.Example records"
    return "of encoded sounds or records" if "DecodeWav" in operations else "of encoded records"


def _pooling(told: Mapping[str, Any], modality: type[Modality], where: str) -> Pooling:
    pooling: Pooling = told.get("pooling", modality.usual_pooling)
    if pooling not in get_args(Pooling):
        expected = f"one of {', '.join(get_args(Pooling))}"
        remedy = nearest(str(pooling), get_args(Pooling)) or "Set the fact pooling to one of these"
        raise BlocksError(where, "pooling", f"{pooling!r} is no pooling", expected, remedy)
    return pooling


def _training(loaded: SavedObject, spec: Any, encoder_input: Modality, key: str | None) -> Training:
    """Return the ordered trainable variables and the cuts; none if a call takes a fixed batch."""
    trainable = loaded.trainable_variables
    is_fixed = spec.shape.rank == 0 or spec.shape[0] is not None
    if not trainable or (is_fixed and not isinstance(encoder_input, Sounds)):
        return Training(len(loaded.variables))
    one = traced(lambda x: output_of(loaded.call(x), key)).get_concrete_function(spec)
    ordered, cuts = trainable_order(one, trainable)
    names = tuple(variable.name.removesuffix(":0") for variable in ordered)
    return Training(len(loaded.variables), names, tuple(cuts))


def _output_key(
    given: Any, told: Any, family: Family | None, where: str
) -> tuple[str | None, list[MissingFact]]:
    """Return the name of the feature output, and the fact output if it has to be passed."""
    told = None if told is None else str(told)
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
        return told, []
    usual = [*OUTPUT_KEYS, family.facts.get("output") if family else None]
    key = next((key for key in usual if key in vectors), None)
    if key is None and len(vectors) != 1:
        shapes = ", ".join(f"{k} {told_tensor(v)}" for k, v in sorted(vectors.items()))
        problem = f"this SavedModel has several outputs ({shapes}), and none has a usual name"
        return None, [MissingFact("output", problem, "output=NAME with one of these names")]
    return key or next(iter(vectors)), []


def _tried(pin: Pin, loaded: SavedObject, saved_model: Path, graph: EncoderGraph) -> Pin:
    """Run the encoder on a few items, and add dimension, golden outputs and notes to the pin."""
    encoder_input = read_input(pin.modality, pin.input, pin.name)
    samples = encoder_input.samples()
    rows = 0
    try:
        inputs = tf.convert_to_tensor(encoder_input.prepare(samples[:1]))
        vectors = vectors_of(loaded, encoder_input, pin.output, inputs)
        if vectors.shape.rank == 2:
            pin = replace(pin, output=replace(pin.output, dimension=int(vectors.shape[1])))
            given = Encoder(pin, encoder_input, loaded).encode(samples)
            rows = len(given)
    except Exception as error:
        raise BlocksError(
            pin.name,
            str(saved_model),
            f"the encoder fails on {_SAMPLES} of {pin.modality} ({reason_line(error)})",
            "features for every item",
            failure_remedy(pin, loaded),
        ) from error
    if vectors.shape.rank != 2:
        raise unfit(
            pin.name,
            f"output {told_tensor(vectors)} for one item, with pooling {pin.output.pooling}",
        )
    if rows == len(samples) and not np.isfinite(given).all():
        raise unfit(pin.name, f"features that are NaN or infinite for {_SAMPLES}")
    _check_items(pin, encoder_input, loaded, graph)
    note = graph.classes(given, pin.output.key)
    return replace(pin, golden=golden_outputs(given), notes=(note,) if note else None)


def _check_items(
    pin: Pin, encoder_input: Modality, loaded: SavedObject, graph: EncoderGraph
) -> None:
    """Check that each sample has the same features in any company, order and call."""
    encode = Encoder(pin, encoder_input, loaded).encode
    halves = any(each.dtype in (tf.float16, tf.bfloat16) for each in loaded.variables)
    is_half = halves or encoder_input.describe().get("dtype") in ("float16", "bfloat16")
    tolerance = HALF_TOLERANCE if is_half else item_check.TOLERANCE
    try:
        fault = item_fault(encode, encoder_input.samples(), encoder_input.edges(), tolerance)
    except Exception as error:
        fault = f"the encoder fails on some batches of {_SAMPLES} ({reason_line(error)})"
    if fault is None:
        return
    causes = dependence_causes(graph.definition)
    seen_in = f"; the graph has {', '.join(causes[:3])}" if causes else ""
    called = pin.calling.signature if pin.calling else None
    # The usual signature is the function that was called.
    others = [name for name in loaded.others if name not in (called, *SIGNATURES)]
    ways = [f"pass the fact signature=NAME for inference ({', '.join(others)})"] if others else []
    ways.append(
        "save the model again for inference (training=False), with one row for each item, or "
        "choose another encoder"
    )
    remedy = ", or ".join(ways)
    raise BlocksError(
        pin.name,
        "features",
        f"{fault}{seen_in}",
        "features that depend on one item only",
        remedy[0].upper() + remedy[1:],
    )

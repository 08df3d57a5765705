"""Where an encoder can be cut for partial fine-tuning, what each cut costs, and which one is meant.

The part of the encoder below a cut stays as it is published, so it need run only once an item; the
part above is trained.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

from tfhub_blocks.compute.cutting.graph_halves import (
    lower_function,
    part_function,
    trainable_upper_function,
    upper_function,
)
from tfhub_blocks.compute.encoders.encoder import Encoder
from tfhub_blocks.compute.tf.flat_graph import CutTensor, FlatGraph, copied, flat_graph
from tfhub_blocks.compute.tf.flops import flops_of
from tfhub_blocks.compute.tf.tensorflow_setup import tf, traced
from tfhub_blocks.records.base.errors import BlocksError, nearest

NEAR_SHARE = 0.05
ALL = "all"
_TRAIN_A_HEAD = "train a head on its features (train_head)"


@dataclass(frozen=True)
class Cut:
    """A place to cut an encoder.

    ``below`` trainable variables stay as they are and those named in ``above`` are trained;
    ``shape`` is that of one item's activation at the cut, and ``share_below`` the share of the
    forward pass's floating-point operations that is spent below, or None if it cannot be told.
    """

    below: int
    tensor: str
    shape: tuple[int, ...]
    above: tuple[str, ...]
    parameters_above: int
    share_below: float | None

    def activation_bytes(self, dtype: str) -> int:
        """Bytes of one item's activation as ``float16`` or ``float32``."""
        return prod(self.shape) * {"float16": 2, "float32": 4}[dtype]


@dataclass(frozen=True, eq=False)
class CutEncoder:
    """An encoder as a flat graph, and its cuts from the lowest to the topmost.

    A *block* is what lies between neighbouring cuts: cutting at ``cuts[-n]`` trains n of them.
    """

    encoder: Encoder
    flat: FlatGraph
    spec: Any
    cuts: tuple[Cut, ...]

    def copied(self, device: str) -> "CutEncoder":
        """This one with copies of its variables on a device."""
        return replace(self, flat=copied(self.flat, device))

    def lower(self, cut: Cut) -> Any:
        """From preprocessed items, [n, ...], to activations, float32 [n, *cut.shape]."""
        return lower_function(self.flat, cut.tensor, self.spec)

    def upper(self, cut: Cut) -> Any:
        """From activations, float32 [n, *cut.shape], to features, float32 [n, dimension]."""
        return upper_function(self.flat, cut.tensor, tf.TensorSpec([None, *cut.shape], tf.float32))

    def trainable_upper(self, cut: Cut) -> Any:
        """As ``upper``, to rounding, and fast to train."""
        spec = tf.TensorSpec([None, *cut.shape], tf.float32)
        return trainable_upper_function(self.flat, cut.tensor, spec)

    def variables_above(self, cut: Cut) -> tuple[Any, ...]:
        """The variables that training above a cut changes, in the order of the graph."""
        return self.flat.trainable[cut.below :]

    def blocks_above(self, cut: Cut) -> tuple[int, ...]:
        """For each variable above a cut, how many blocks lie above that variable's own."""
        starts = [each.below for each in self.cuts]
        indices = range(cut.below, len(self.flat.trainable))
        return tuple(sum(start > index for start in starts) for index in indices)

    @property
    def whole(self) -> Cut | None:
        """The cut at the input, above which all is trained; None if what goes in is no numbers."""
        if self.spec.dtype != tf.float32 or None in self.spec.shape[1:].as_list():
            return None
        parameters = sum(variable.shape.num_elements() for variable in self.flat.trainable)
        shape = tuple(self.spec.shape[1:].as_list())
        return Cut(0, self.flat.input, shape, self.names, parameters, 0.0)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of all trainable variables, in the order of the graph."""
        return tuple(variable.name.removesuffix(":0") for variable in self.flat.trainable)


def cut_encoder(encoder: Encoder, where: str) -> CutEncoder:
    """An encoder with all its cuts, or with none if nothing separates its graph.

    Not each place that separates the graph is worth a line: a cut stands before a variable of two
    or more dimensions, so that no kernel is parted from its bias or normalisation; of several
    places between the same variables, the one with the smallest activation counts, and of those
    the topmost; and none is left where another of half its activation or less is within a
    twentieth of the forward pass.

    Raises:
        BlocksError: Nothing of it can be trained.
    """
    if not encoder.loaded.trainable_variables:
        raise BlocksError(
            where,
            encoder.pin.name,
            f"it was saved as {encoder.pin.loaded_class!r}, without trainable variables",
            "an encoder with trainable variables",
            f"{_TRAIN_A_HEAD}, or take another encoder",
        )
    sample = encoder.input.decode(encoder.input.samples()[0])
    inputs = encoder.preprocess(tf.constant([sample]))
    spec = tf.TensorSpec([None, *inputs.shape[1:]], inputs.dtype)
    whole = traced(encoder.features).get_concrete_function(spec)
    flat = flat_graph(whole, encoder.loaded.trainable_variables)
    return CutEncoder(encoder, flat, spec, _cuts(flat, spec))


def check_cuts(cut: CutEncoder, where: str) -> None:
    """Check that an encoder can be trained in part.

    Raises:
        BlocksError: It cannot, and whether it can be as a whole.
    """
    if cut.cuts:
        return
    whole = "trainable=all, which trains all of it at about three forward passes an item and epoch"
    raise BlocksError(
        where,
        cut.encoder.pin.name,
        "it cannot be trained in part: no single tensor of one size an item separates its graph "
        "between two trainable variables",
        "an encoder with a place to cut",
        f"{_TRAIN_A_HEAD}, " + (f"or set {whole}" if cut.whole else "or take another encoder"),
    )


def _cuts(flat: FlatGraph, spec: Any) -> tuple[Cut, ...]:
    one = part_function(
        flat, flat.input, flat.output, tf.TensorSpec([1, *spec.shape[1:]], spec.dtype)
    )
    # The graph of one item has a shape for each tensor; of many items, which are rows.
    many = part_function(flat, flat.input, flat.output, spec).graph
    spent = {name: flops_of(one.graph.get_operation_by_name(name)) for name in flat.between[1:]}
    known = [flops for flops in spent.values() if flops is not None]
    total = sum(known) if len(known) == len(spent) else None
    positions = {name: position for position, name in enumerate(flat.between)}
    best: dict[int, tuple[Any, Cut]] = {}
    for place in flat.places:
        shape = _shape_of_one(one.graph, many, place)
        if shape is None or flat.trainable[place.below].shape.rank < 2:
            continue
        position = positions[place.tensor.partition(":")[0]]
        below = sum(spent[name] or 0 for name in flat.between[1 : position + 1])
        above = flat.trainable[place.below :]
        cut = Cut(
            below=place.below,
            tensor=place.tensor,
            shape=shape,
            above=tuple(variable.name.removesuffix(":0") for variable in above),
            parameters_above=sum(variable.shape.num_elements() for variable in above),
            share_below=below / total if total else None,
        )
        order = (prod(shape), -position)
        if place.below not in best or order < best[place.below][0]:
            best[place.below] = (order, cut)
    found = [best[below][1] for below in sorted(best)]
    return tuple(cut for cut in found if not any(_outdoes(other, cut) for other in found))


def _outdoes(one: Cut, other: Cut) -> bool:
    """Whether a cut trains nearly the same as another and keeps half as much, or less."""
    if one.share_below is None or other.share_below is None:
        return False
    is_near = abs(one.share_below - other.share_below) < NEAR_SHARE
    return is_near and 2 * prod(one.shape) <= prod(other.shape)


def _shape_of_one(one: Any, many: Any, place: CutTensor) -> tuple[int, ...] | None:
    """One item's activation, if the tensor has float32 rows of one size, a row an item."""
    name = place.tensor if ":" in place.tensor else f"{place.tensor}:0"
    if name.partition(":")[0] not in {operation.name for operation in one.get_operations()}:
        return None
    single, rows = one.get_tensor_by_name(name), many.get_tensor_by_name(name)
    if single.dtype != tf.float32 or not single.shape.is_fully_defined() or not single.shape.rank:
        return None
    is_row_an_item = single.shape[0] == 1 and rows.shape.rank and rows.shape[0] is None
    return tuple(single.shape.as_list()[1:]) if is_row_an_item else None


def chosen_cut(cut: CutEncoder, trainable: str, where: str) -> Cut:
    """The cut that a parameter ``trainable`` means.

    Args:
        cut: The encoder.
        trainable: A number of blocks from the top, such as ``3``; the most of the forward pass
            that may lie above, such as ``0.33`` or ``33%``; what the name of the lowest trained
            variable begins with; or ``all``.
        where: Who asks, for messages.

    Raises:
        BlocksError: It would mean nothing, or everything without saying so, or matches no
            variable; or the encoder cannot be cut there.
    """
    word = trainable.strip()
    if word == ALL:
        return _whole(cut, where)
    check_cuts(cut, where)
    number = _number(word)
    if number is None:
        return _by_prefix(cut, word, where)
    if "." in word or word.endswith("%"):
        return _by_share(cut, number, where)
    if not 1 <= number <= len(cut.cuts):
        blocks = len(cut.cuts)
        problem = f"it is {word} blocks"
        if number > blocks:
            problem += ", which would train all of the encoder (trainable=all)"
        raise _wrong(where, problem, f"1 to {blocks} blocks from the top, one always stays")
    return cut.cuts[-int(number)]


def _whole(cut: CutEncoder, where: str) -> Cut:
    if cut.whole is None:
        problem = "it is all of an encoder whose input is no float32 tensor of one size an item"
        raise _wrong(where, problem, "a part of it, or an encoder with such an input")
    return cut.whole


def _number(word: str) -> float | None:
    try:
        return float(word.removesuffix("%")) / (100 if word.endswith("%") else 1)
    except ValueError:
        return None


def _by_share(cut: CutEncoder, share: float, where: str) -> Cut:
    if any(each.share_below is None for each in cut.cuts):
        problem = "the shapes of this encoder's graph do not tell how much each part computes"
        raise _wrong(where, problem, "a number of blocks or a name")
    shares: Mapping[float, Cut] = {1 - (each.share_below or 0): each for each in cut.cuts}
    fitting = [above for above in shares if above <= share]
    if not fitting or share >= 1:
        told = "none" if share < 1 else "all"
        expected = f"{min(shares):.3f} to less than 1, as shares of the forward pass above a cut"
        raise _wrong(where, f"it is {share:g}, which would train {told} of the encoder", expected)
    return shares[max(fitting)]


def _by_prefix(cut: CutEncoder, prefix: str, where: str) -> Cut:
    index = next((i for i, name in enumerate(cut.names) if prefix and name.startswith(prefix)), -1)
    if index < 0:
        # What is near a prefix is a name cut to its length.
        starts = {name[: max(len(prefix), 1)] for name in cut.names} | set(cut.names)
        hint = nearest(prefix, starts)
        problem = f"no trainable variable has a name that begins with {prefix!r}"
        raise _wrong(where, problem + (f": {hint}" if hint else ""), "the beginning of a name")
    below = [each for each in cut.cuts if each.below <= index]
    if not below:
        problem = f"there is no cut below {cut.names[index]!r}, so this would train all variables"
        raise _wrong(where, problem, f"a variable from {cut.cuts[0].above[0]!r} on")
    return below[-1]


def _wrong(where: str, problem: str, expected: str) -> BlocksError:
    remedy = "look at `tfhub-blocks encoder cuts ENCODER` and correct it"
    return BlocksError(where, "trainable", problem, expected, remedy)

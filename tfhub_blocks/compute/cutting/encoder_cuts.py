"""The cuts of an encoder for partial fine-tuning, and the cut that a parameter selects.

The part of the encoder below a cut stays as published, so it needs to run only once for each item.
The part above is trained.
"""

# decision 21

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
_TRAIN_A_HEAD = "Train a head on its features with the step train_head"


@dataclass(frozen=True)
class Cut:
    """A cut of an encoder.

    ``below`` trainable variables do not change, and the variables named in ``above`` are trained.
    ``shape`` is the shape of one item's activation at the cut. ``share_below`` is the share of the
    forward pass's floating-point operations below the cut, or None if it is unknown.
    """

    below: int
    tensor: str
    shape: tuple[int, ...]
    above: tuple[str, ...]
    parameters_above: int
    share_below: float | None

    def activation_bytes(self, dtype: str) -> int:
        """Return the bytes of one item's activation as ``float16`` or ``float32``."""
        return prod(self.shape) * {"float16": 2, "float32": 4}[dtype]


@dataclass(frozen=True, eq=False)
class CutEncoder:
    """An encoder as a flat graph, and its cuts from the lowest to the topmost.

    A *block* is the part between neighbouring cuts: the cut ``cuts[-n]`` trains n blocks.
    """

    encoder: Encoder
    flat: FlatGraph
    spec: Any
    cuts: tuple[Cut, ...]

    def copied(self, device: str) -> "CutEncoder":
        """Return a copy of this cut encoder whose variables are on a device."""
        return replace(self, flat=copied(self.flat, device))

    def lower(self, cut: Cut) -> Any:
        """Return a function from preprocessed items, [n, ...], to activations.

        Activations are float32 [n, *cut.shape].
        """
        return lower_function(self.flat, cut.tensor, self.spec)

    def upper(self, cut: Cut) -> Any:
        """Return a function from activations, float32 [n, *cut.shape], to features.

        Features are float32 [n, dimension].
        """
        return upper_function(self.flat, cut.tensor, tf.TensorSpec([None, *cut.shape], tf.float32))

    def trainable_upper(self, cut: Cut) -> Any:
        """Return a function equal to ``upper`` up to rounding, which is fast to train."""
        spec = tf.TensorSpec([None, *cut.shape], tf.float32)
        return trainable_upper_function(self.flat, cut.tensor, spec)

    def variables_above(self, cut: Cut) -> tuple[Any, ...]:
        """Return the variables that training above a cut changes, in the order of the graph."""
        return self.flat.trainable[cut.below :]

    def blocks_above(self, cut: Cut) -> tuple[int, ...]:
        """Return, for each variable above a cut, the number of blocks above its own block."""
        starts = [each.below for each in self.cuts]
        indices = range(cut.below, len(self.flat.trainable))
        return tuple(sum(start > index for start in starts) for index in indices)

    @property
    def whole(self) -> Cut | None:
        """The cut at the input, which trains everything; None if the input is not float32."""
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
    """Return an encoder with all its cuts, or without cuts if no tensor separates its graph.

    A cut is always before a variable of two or more dimensions, so no kernel is separated from its
    bias or normalisation. Several tensors can separate the same variables: the cut is at the
    smallest, and of equal ones at the topmost. A cut is left out if another cut within a twentieth
    of the forward pass has half its activation or less.

    Raises:
        BlocksError: The encoder has no trainable variables.
    """
    if not encoder.loaded.trainable_variables:
        raise BlocksError(
            where,
            encoder.pin.name,
            f"the encoder was saved as {encoder.pin.loaded_class!r}, without trainable variables",
            "",
            f"{_TRAIN_A_HEAD}, or choose an encoder with trainable variables",
        )
    spec = encoder.input.spec(None)
    whole = traced(encoder.features).get_concrete_function(spec)
    flat = flat_graph(whole, encoder.loaded.trainable_variables)
    return CutEncoder(encoder, flat, spec, _cuts(flat, spec))


def check_cuts(cut: CutEncoder, where: str) -> None:
    """Check that an encoder can be partially trained.

    Raises:
        BlocksError: The encoder has no cut. The remedy states if all of it can be trained.
    """
    if cut.cuts:
        return
    whole = (
        "or set trainable=all, which trains the complete encoder at the cost of about three "
        "forward passes per item and epoch"
    )
    raise BlocksError(
        where,
        cut.encoder.pin.name,
        "the encoder cannot be partially trained: no single tensor of fixed size per item "
        "separates its graph between two trainable variables",
        "",
        f"{_TRAIN_A_HEAD}, " + (whole if cut.whole else "or choose another encoder"),
    )


def _cuts(flat: FlatGraph, spec: Any) -> tuple[Cut, ...]:
    one = part_function(
        flat, flat.input, flat.output, tf.TensorSpec([1, *spec.shape[1:]], spec.dtype)
    )
    # The graph of one item gives the shape of each tensor; that of many items shows which tensors
    # have a row for each item.
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
    """Return True if a cut trains about as much as another and stores at most half as much."""
    if one.share_below is None or other.share_below is None:
        return False
    is_near = abs(one.share_below - other.share_below) < NEAR_SHARE
    return is_near and 2 * prod(one.shape) <= prod(other.shape)


def _shape_of_one(one: Any, many: Any, place: CutTensor) -> tuple[int, ...] | None:
    """Return the shape of one item's activation, if the tensor has one float32 row per item."""
    name = place.tensor if ":" in place.tensor else f"{place.tensor}:0"
    if name.partition(":")[0] not in {operation.name for operation in one.get_operations()}:
        return None
    single, rows = one.get_tensor_by_name(name), many.get_tensor_by_name(name)
    if single.dtype != tf.float32 or not single.shape.is_fully_defined() or not single.shape.rank:
        return None
    is_row_an_item = single.shape[0] == 1 and rows.shape.rank and rows.shape[0] is None
    return tuple(single.shape.as_list()[1:]) if is_row_an_item else None


def chosen_cut(cut: CutEncoder, trainable: str, where: str) -> Cut:
    """Return the cut that a parameter ``trainable`` selects.

    Args:
        cut: The encoder.
        trainable: A number of blocks from the top, such as ``3``; the maximum share of the forward
            pass above the cut, such as ``0.33`` or ``33%``; the beginning of the name of the
            lowest trained variable; or ``all``.
        where: The calling step, for messages.

    Raises:
        BlocksError: The value would train nothing, or everything without being ``all``, or matches
            no variable, or the encoder has no such cut.
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
        problem = f"{word} is no possible number of blocks"
        if number > blocks:
            problem = f"{word} blocks would be all of the encoder, which is trainable=all"
        expected = f"1 to {blocks} blocks from the top, because one block is never trained"
        raise _wrong(where, problem, expected)
    return cut.cuts[-int(number)]


def _whole(cut: CutEncoder, where: str) -> Cut:
    if cut.whole is None:
        problem = "'all' needs an encoder whose input is a float32 tensor of fixed size per item"
        raise _wrong(where, problem, "a part of the encoder, or an encoder with such an input")
    return cut.whole


def _number(word: str) -> float | None:
    try:
        return float(word.removesuffix("%")) / (100 if word.endswith("%") else 1)
    except ValueError:
        return None


def _by_share(cut: CutEncoder, share: float, where: str) -> Cut:
    if any(each.share_below is None for each in cut.cuts):
        problem = "the shares of this encoder are unknown, because shapes in its graph are"
        raise _wrong(where, problem, "a number of blocks, or the beginning of a variable's name")
    shares: Mapping[float, Cut] = {1 - (each.share_below or 0): each for each in cut.cuts}
    fitting = [above for above in shares if above <= share]
    if not fitting or share >= 1:
        trained = "no part" if share < 1 else "all"
        expected = f"a share of the forward pass from {min(shares):.3f} to less than 1"
        raise _wrong(where, f"{share:g} would train {trained} of the encoder", expected)
    return shares[max(fitting)]


def _by_prefix(cut: CutEncoder, prefix: str, where: str) -> Cut:
    index = next((i for i, name in enumerate(cut.names) if prefix and name.startswith(prefix)), -1)
    if index < 0:
        # Compare the prefix with names that are cut to its length.
        starts = {name[: max(len(prefix), 1)] for name in cut.names} | set(cut.names)
        hint = nearest(prefix, starts)
        problem = f"no trainable variable has a name that begins with {prefix!r}"
        raise _wrong(where, problem + (f". {hint}" if hint else ""), "")
    below = [each for each in cut.cuts if each.below <= index]
    if not below:
        problem = f"{cut.names[index]!r} is below the lowest cut, so all variables would be trained"
        raise _wrong(where, problem, f"a variable from {cut.cuts[0].above[0]!r} on")
    return below[-1]


def _wrong(where: str, problem: str, expected: str) -> BlocksError:
    remedy = "Set trainable to a line of `tfhub-blocks encoder cuts ENCODER`"
    return BlocksError(where, "trainable", problem, expected, remedy)

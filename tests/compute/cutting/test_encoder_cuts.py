"""An encoder in two halves that give what the whole gives, and the choice of where to cut it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tfhub_blocks.compute.cutting.cut_costs import TrainingBudget, deepest_within
from tfhub_blocks.compute.cutting.encoder_cuts import CutEncoder, chosen_cut, cut_encoder
from tfhub_blocks.compute.encoders.encoder import Encoder, load_encoder, load_pinned
from tfhub_blocks.compute.tf.flops import flops_of
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.base.errors import BlocksError

SAMPLE_ENCODER = Path(".samples/encoder")


@pytest.fixture(scope="module")
def encoder(keras_encoder: Path) -> Encoder:
    return load_encoder(keras_encoder, "test")


@pytest.fixture(scope="module")
def cut(encoder: Encoder) -> CutEncoder:
    return cut_encoder(encoder, "test")


def images(size_px: int, count: int = 5) -> tf.Tensor:
    pixels = np.random.default_rng(1).random((count, size_px, size_px, 3), dtype=np.float32)
    return tf.constant(pixels)


def hold_halves_to_whole(
    cut: CutEncoder, position: int, items: tf.Tensor, tolerance: float
) -> None:
    place = cut.cuts[position]
    lower, upper = cut.lower(place), cut.upper(place)
    above = cut.variables_above(place)

    def gradients(forward, given):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(forward(given) ** 2)
        return tape.gradient(loss, above)

    activations = lower(items)
    assert activations.shape == (len(items), *place.shape)
    whole = tf.function(cut.encoder.features)
    np.testing.assert_allclose(upper(activations), whole(items), rtol=0, atol=1e-6)
    ordinary = tf.function(gradients)(whole, items)
    for ours, theirs in zip(tf.function(gradients)(upper, activations), ordinary, strict=True):
        assert np.linalg.norm(ours - theirs) <= tolerance * np.linalg.norm(theirs)


def test_a_cut_stands_before_a_kernel_and_none_inside_a_residual_block(cut: CutEncoder) -> None:
    lowest = [each.above[0] for each in cut.cuts]

    assert lowest == ["deep/depthwise_kernel", "last/kernel"]
    assert [each.shape for each in cut.cuts] == [(12, 12, 8), (12, 12, 8)]
    above = 2 * 6 * 6 * 12 * 9 * 8  # of the last convolution; all, with norms and ReLUs, below
    assert cut.cuts[-1].share_below == pytest.approx(1 - above / 203_400, abs=0.01)
    assert cut.cuts[-1].parameters_above == 9 * 8 * 12 + 2 * 12
    assert cut.cuts[-1].activation_bytes("float16") == 12 * 12 * 8 * 2
    assert cut.blocks_above(cut.cuts[0]) == (1,) * 6 + (0,) * 3


@pytest.mark.parametrize("position", [0, 1])
def test_halves_give_what_the_whole_gives_and_its_gradients(cut: CutEncoder, position: int) -> None:
    hold_halves_to_whole(cut, position, images(24), 1e-6)


def test_halves_follow_the_variables_of_the_encoder(cut: CutEncoder) -> None:
    """Not copies of them: what is trained is what is saved."""
    top = cut.cuts[-1]
    upper, given = cut.upper(top), cut.lower(top)(images(24))
    kernel = cut.variables_above(top)[0]
    before, kept = upper(given).numpy(), kernel.numpy()
    kernel.assign(kept * 2)
    try:
        after = upper(given).numpy()
        whole = cut.encoder.features(images(24)).numpy()
        np.testing.assert_allclose(after, whole, rtol=0, atol=1e-6)
        assert not np.allclose(before, after)
    finally:
        kernel.assign(kept)


@pytest.mark.parametrize(
    ("trainable", "below"),
    [("1", 9), ("2", 3), ("last", 9), ("deep/depthwise", 3), ("wide", 3), ("33%", 9)],
)
def test_the_cut_is_chosen_by_blocks_name_or_share(
    cut: CutEncoder, trainable: str, below: int
) -> None:
    chosen = chosen_cut(cut, trainable, "test")

    assert chosen.below == below
    assert len(cut.variables_above(chosen)) == 12 - below


@pytest.mark.parametrize(
    ("trainable", "problem"),
    [
        ("0", "0 is no possible number of blocks. Expected 1 to 2 blocks from the top"),
        ("3", "3 blocks would be all of the encoder, which is trainable=all. Expected 1 to 2"),
        ("1.0", "1 would train all of the encoder"),
        ("0.01", "0.01 would train no part of the encoder. Expected a share of the forward pass f"),
        ("first", "'first/kernel' is below the lowest cut, so all variables would be trained"),
        ("lats", "no trainable variable has a name that begins with 'lats'. Did you mean 'last'?"),
        ("", "no trainable variable has a name that begins with ''"),
    ],
)
def test_a_choice_that_means_all_or_nothing_is_refused(
    cut: CutEncoder, trainable: str, problem: str
) -> None:
    with pytest.raises(BlocksError) as caught:
        chosen_cut(cut, trainable, "test")

    assert str(caught.value).startswith(f"[test > trainable] {problem}")


@pytest.mark.parametrize(
    ("budget", "below"),
    [
        # One of 1,000 items in 10 epochs: 1 s forward, of which 37 % lie below the lower cut.
        (TrainingBudget(seconds=20_000), 3),
        (TrainingBudget(seconds=15_000), 9),
        (TrainingBudget(disk_bytes=1000 * 12 * 12 * 8 * 2), 3),
        (TrainingBudget(seconds=1e9, disk_bytes=1e9), 3),
    ],
)
def test_a_budget_takes_the_deepest_cut_within_it(
    cut: CutEncoder, budget: TrainingBudget, below: int
) -> None:
    assert deepest_within(cut.cuts, budget, 1000, 10, "float16", 1.0, "test").below == below


def test_a_budget_that_nothing_fits_is_told_with_the_least_that_does(cut: CutEncoder) -> None:
    given = (1000, 10, "float16", 1.0, "test")
    with pytest.raises(
        BlocksError, match=r"even the topmost needs about 9,8\d\d s and 2.3 MB. Raise most_s"
    ):
        deepest_within(cut.cuts, TrainingBudget(seconds=5_000), *given)
    with pytest.raises(BlocksError, match="trainable is 'auto', which needs a budget"):
        deepest_within(cut.cuts, TrainingBudget(), *given)


def test_an_encoder_without_trainable_variables_is_refused(encoder: Encoder) -> None:
    frozen = replace(encoder, loaded=replace(encoder.loaded, modules=(object(),)))
    with pytest.raises(BlocksError, match=r"saved as 'reusable', without trainable variables\."):
        cut_encoder(frozen, "test")


def test_an_encoder_without_a_cut_is_trained_as_a_whole_or_not_at_all(encoder: Encoder) -> None:
    def twice(x: tf.Tensor) -> tf.Tensor:
        return encoder.loaded.call(x) + encoder.loaded.call(x[:, ::-1])

    folded = cut_encoder(replace(encoder, loaded=replace(encoder.loaded, call=twice)), "test")
    with pytest.raises(BlocksError) as caught:
        chosen_cut(folded, "1", "test")
    assert str(caught.value) == (
        "[test > saved_model] the encoder cannot be partially trained: no single tensor of fixed "
        "size per item separates its graph between two trainable variables. Train a head on its "
        "features with the step train_head, or set trainable=all, which trains the complete "
        "encoder at the cost of about three forward passes per item and epoch."
    )
    whole = chosen_cut(folded, "all", "test")
    assert (whole.below, len(whole.above), whole.shape) == (0, 12, (24, 24, 3))
    items = images(24)
    np.testing.assert_array_equal(folded.lower(whole)(items), items)
    np.testing.assert_allclose(folded.upper(whole)(items), twice(items), atol=1e-6)


def test_all_of_an_encoder_that_takes_texts_is_refused(cut: CutEncoder) -> None:
    of_texts = replace(cut, spec=tf.TensorSpec([None], tf.string))
    with pytest.raises(
        BlocksError, match=r"needs an encoder whose input is a float32 tensor of fixed"
    ):
        chosen_cut(of_texts, "all", "test")


def test_operations_are_counted_by_their_definition() -> None:
    shapes = {
        "MatMul": ([2, 3], [3, 5], 2 * 2 * 3 * 5),
        "Einsum": ([2, 3, 4], [4, 5], 2 * 2 * 3 * 4 * 5),
        "Conv2D": ([1, 8, 8, 3], [3, 3, 3, 7], 2 * 8 * 8 * 7 * 27),
        "DepthwiseConv2dNative": ([1, 8, 8, 3], [3, 3, 3, 1], 2 * 8 * 8 * 3 * 9),
        "AddV2": ([2, 3], [2, 3], 6),
    }
    calls = {
        "MatMul": tf.matmul,
        "Einsum": lambda x, y: tf.einsum("abc,cd->abd", x, y),
        "Conv2D": lambda x, y: tf.nn.conv2d(x, y, 1, "SAME"),
        "DepthwiseConv2dNative": lambda x, y: tf.nn.depthwise_conv2d(x, y, [1] * 4, "SAME"),
        "AddV2": lambda x, y: x + y,
    }
    for kind, (left, right, flops) in shapes.items():
        specs = tf.TensorSpec(left), tf.TensorSpec(right)
        graph = tf.function(calls[kind]).get_concrete_function(*specs).graph
        counted = [flops_of(o) for o in graph.get_operations() if o.type == kind]
        assert counted == [flops], kind


@pytest.mark.skipif(
    not SAMPLE_ENCODER.exists(), reason="The sample encoder is missing. Run `make samples`"
)
def test_halves_of_the_sample_encoder_are_exact() -> None:
    sample = cut_encoder(load_pinned(SAMPLE_ENCODER, "test"), "test")
    place = chosen_cut(sample, "0.34", "test")

    assert place.above[0] == "blocks/12/expand/kernel"
    # Narrow places alone, not the six times wider ones inside its blocks.
    assert all("expand" in each.above[0] for each in sample.cuts[:-1])
    # The same but for units whose input is zero or six to rounding, as fusions round it.
    hold_halves_to_whole(sample, sample.cuts.index(place), images(224, 3), 1e-3)

"""Engines: what they give, and which of them is taken."""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from virtual_time import VirtualTime

from tfhub_blocks.compute.encoders.encoder import load_encoder
from tfhub_blocks.compute.inference import engine_selection, openvino_engine
from tfhub_blocks.compute.inference.computations import Computation
from tfhub_blocks.compute.inference.engine_interface import Engine, Forward, UnfitError
from tfhub_blocks.compute.inference.engine_list import ENGINES
from tfhub_blocks.compute.inference.engine_selection import ParitySample, select_engine, take_sample
from tfhub_blocks.compute.inference.parity import measure_parity
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.base.errors import BlocksError


@pytest.fixture(scope="module")
def computation(imported_encoder: Path) -> Computation:
    return load_encoder(imported_encoder, "test").computation(8, "test")


@pytest.fixture(scope="module")
def sample(computation: Computation, jpeg) -> ParitySample:
    return take_sample(computation, [(f"item{seed}", jpeg(seed)) for seed in range(20)])


class FakeEngine(Engine):
    """Gives what the reference gives times a factor, after a pause; all else takes no time."""

    name: ClassVar[str] = "fake"
    kind = "fake/cpu"
    version = "1"

    def __init__(self, clock: VirtualTime, factor: float, pause_s: float) -> None:
        self.clock, self.factor, self.pause_s = clock, factor, pause_s

    def compiled(self, forward: Any, precision: str) -> Forward:
        def run(inputs: Any) -> np.ndarray:
            self.clock.sleep(self.pause_s)
            return forward(inputs).numpy() * np.float32(self.factor)

        return run


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts engines, of a factor and a pause each, in the place of those that there are."""
    clock = VirtualTime.in_module(engine_selection, monkeypatch)

    def put(**engines: tuple[float, float]) -> None:
        made = {name: FakeEngine(clock, *each) for name, each in engines.items()}
        monkeypatch.setattr(engine_selection, "ENGINES", made)

    return put


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_gives_what_the_served_model_gives(
    name: str, computation: Computation, sample: ParitySample
) -> None:
    selected = select_engine(name, "float32", 1e-5, sample)

    assert selected.engine is ENGINES[name]
    assert selected.vectors == pytest.approx(sample.reference, abs=1e-5)
    assert selected.parity.items == 20


@pytest.mark.parametrize("name", ENGINES)
def test_bfloat16_differs_by_more_than_float32_and_stays_near(
    name: str, computation: Computation, sample: ParitySample
) -> None:
    try:
        ENGINES[name].compiled(computation.forward, "bfloat16")
    except UnfitError as reason:
        pytest.skip(f"{reason}. Run this test on a CPU with AVX-512 BF16 or AMX (`lscpu`)")

    selected = select_engine(name, "bfloat16", 0.1, sample)
    assert 1e-4 < selected.parity.largest < 0.1

    with pytest.raises(BlocksError, match=r"features of item item\d+ in bfloat16 differ by"):
        select_engine(name, "bfloat16", 1e-4, sample)


@pytest.mark.parametrize(
    ("factor", "pause_s", "taken"),
    [
        (1.0, 0.1, "other"),
        (1.0, 0.19, "tensorflow"),
        (1.0, 0.3, "tensorflow"),
        (1.01, 0.1, "tensorflow"),
    ],
    ids=["right and fast", "right and hardly faster", "right and slow", "fast and wrong"],
)
def test_auto_takes_the_fastest_of_those_that_are_right(
    factor: float, pause_s: float, taken: str, engines, sample: ParitySample
) -> None:
    engines(tensorflow=(1.0, 0.2), other=(factor, pause_s))

    selected = select_engine("auto", "float32", 1e-4, sample)

    assert selected.engine is engine_selection.ENGINES[taken]
    assert selected.candidates["other"]["parity"]["largest"] == pytest.approx(factor - 1, abs=1e-6)


@pytest.mark.parametrize(
    ("pause_s", "rounds"),
    [(0.12, 1), (0.15, 2), (0.19, 3), (2.0, 1)],
    ids=["clear", "less clear", "unclear", "slow"],
)
def test_engines_are_timed_until_one_is_clearly_faster(
    pause_s: float, rounds: int, engines, sample: ParitySample, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines(tensorflow=(1.0, 0.2), other=(1.0, pause_s))
    timed, asked = engine_selection._timed, []
    monkeypatch.setattr(
        engine_selection, "_timed", lambda *given: asked.append(given[0]) or timed(*given)
    )
    select_engine("auto", "float32", 1e-4, sample)
    assert len(asked) == 2 * rounds


def test_an_engine_that_differs_is_refused_with_the_worst_item(
    engines, sample: ParitySample
) -> None:
    engines(tensorflow=(1.0, 0.1), other=(1.25, 0.1))

    with pytest.raises(BlocksError) as caught:
        select_engine("other", "float32", 1e-4, sample)

    assert "engine other] features of item item" in str(caught.value)
    assert (
        "in float32 differ by 0.25 from the features of the model as served. Expected a difference "
        "of at most 0.0001"
    ) in str(caught.value)


def test_an_engine_that_is_not_installed_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, computation: Computation, sample: ParitySample
) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(openvino_engine, "version", version)

    with pytest.raises(BlocksError, match="openvino is not installed: run `pip install openvino`"):
        select_engine("openvino", "float32", 1e-4, sample)
    assert select_engine("auto", "float32", 1e-4, sample).engine.name == "tensorflow"


def test_an_encoder_of_strings_is_left_to_tensorflow() -> None:
    forward = tf.function(
        lambda text: tf.zeros([8, 3]) + tf.cast(tf.size(text), tf.float32)
    ).get_concrete_function(tf.TensorSpec([8], tf.string))
    with pytest.raises(UnfitError, match="does not accept strings"):
        ENGINES["openvino"].compiled(forward, "float32")


def test_parity_is_relative_to_the_length_of_an_items_vector() -> None:
    reference = np.array([[3, 4], [300, 400], [0, 0]], np.float32)
    given = np.array([[3, 4.05], [300, 410], [0, 0]], np.float32)

    parity = measure_parity(["a", "b", "c"], given, reference)

    assert (parity.worst_item, parity.largest) == ("b", pytest.approx(0.02))
    assert parity.median == pytest.approx(0.01, rel=1e-4)
    assert measure_parity(["a"], given[:1] * np.nan, reference[:1]).largest == np.inf

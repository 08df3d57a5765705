"""An encoder cut in two, and the activations of a snapshot at the cut."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tfhub_blocks.compute.cutting.encoder_cuts import Cut, CutEncoder, cut_encoder
from tfhub_blocks.compute.encoders.encoder import load_encoder
from tfhub_blocks.compute.heads.linear_head import Head
from tfhub_blocks.compute.inference.shared_work import InferenceOptions, Share
from tfhub_blocks.compute.tuning.caching import Cache, Examples, LowerPart
from tfhub_blocks.compute.tuning.classifier import Classifier
from tfhub_blocks.records.formats.snapshots import Snapshot, open_snapshot


@pytest.fixture(scope="package")
def loaded(keras_encoder: Path) -> CutEncoder:
    return cut_encoder(load_encoder(keras_encoder, "test"), "test")


@pytest.fixture
def tunable(loaded: CutEncoder) -> Iterator[CutEncoder]:
    """The small Keras encoder, with its published weights, whatever a test before trained."""
    published = [variable.numpy() for variable in loaded.flat.variables]
    yield loaded
    for variable, value in zip(loaded.flat.variables, published, strict=True):
        variable.assign(value)


@pytest.fixture(scope="package")
def cut(loaded: CutEncoder) -> Cut:
    """Above it: the last convolution and its normalization."""
    return loaded.cuts[-1]


@pytest.fixture(scope="session")
def snapshot(coloured_snapshot: Path) -> Snapshot:
    return open_snapshot(coloured_snapshot, "test")


@pytest.fixture(scope="package")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cached") / "activations"


CacheOf = Callable[..., Cache]


@pytest.fixture(scope="package")
def cache_of() -> CacheOf:
    """``cache_of(snapshot, encoder, cut, folder, **options)`` gives a cache of the only worker."""

    def build(
        snapshot: Snapshot, encoder: CutEncoder, cut: Cut, folder: Path, **options: object
    ) -> Cache:
        lower = LowerPart(encoder, cut)
        return Cache(snapshot, lower, InferenceOptions(**options), Share(folder), "test")

    return build


@pytest.fixture(scope="package")
def data(
    snapshot: Snapshot, loaded: CutEncoder, cut: Cut, cached: Path, cache_of: CacheOf
) -> Examples:
    return cache_of(snapshot, loaded, cut, cached).examples(0, None, lambda *_: None)


@pytest.fixture
def classifier_of() -> Callable[[CutEncoder, Cut], Classifier]:
    """A classifier above a cut, with a small random head."""

    def build(tunable: CutEncoder, cut: Cut) -> Classifier:
        weights = np.random.default_rng(0).normal(0, 0.1, (12, 3)).astype(np.float32)
        head = Head(weights, np.zeros(3, np.float32), ("blue", "green", "red"), 1.0)
        penalties = tunable.encoder.loaded.modules[0].regularization_losses
        upper, variables = tunable.trainable_upper(cut), tunable.variables_above(cut)
        return Classifier(upper, variables, head, np.float32(1), penalties)

    return build

import io
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image

from tfhub_blocks.compute.evaluation import evaluation_figures


def confusion(classes):
    return np.random.default_rng(classes).integers(0, 9, (classes, classes)) + 90 * np.eye(
        classes, dtype=int
    )


def draw(name, classes, label="a class with a long name, no. {}"):
    labels = [label.format(index) for index in range(classes)]
    if name == "confusion_matrix":
        return evaluation_figures.confusion_matrix_png(confusion(classes), labels)
    if name == "reliability":
        edges, means = np.linspace(0, 1, 16), np.linspace(0.03, 0.97, 15)
        return evaluation_figures.reliability_png(edges, [0, *range(14)], means, means**2, 0.12)
    recall = np.linspace(1, 0, 30)
    precisions = [1 - recall ** (index + 1) for index in range(classes)]
    average_precisions = np.linspace(0.9, 0.2, classes)
    return evaluation_figures.precision_recall_png(
        labels, precisions, [recall] * classes, average_precisions
    )


NAMES = ["confusion_matrix", "reliability", "precision_recall"]


@pytest.mark.parametrize("classes", [2, 10, 50])
@pytest.mark.parametrize("name", NAMES)
def test_figure_is_a_png_without_metadata_and_always_the_same(name, classes):
    png = draw(name, classes)
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        assert set(image.info) <= {"dpi"}
        assert max(image.size) < 2600
    assert draw(name, classes) == png


@pytest.mark.parametrize("name", NAMES)
def test_figure_ignores_and_keeps_the_settings_of_its_surroundings(name):
    usual = draw(name, 3)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "text.usetex": True}):
        assert draw(name, 3) == usual
        assert matplotlib.rcParams["font.size"] == 30


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "label", ["$\\frac{{ {}", "日本語 {}", "two\nlines {}", "_hidden {}", "", "{}"]
)
def test_any_label_can_be_drawn(name, label):
    assert draw(name, 3, label).startswith(b"\x89PNG")


def test_large_matrix_shows_the_classes_with_the_most_mistakes():
    counts = 10 * np.eye(60, dtype=int)
    for index in range(50):
        counts[index, (index + 1) % 50] = 5
    grown = counts.copy()
    grown[59, 59] = 11  # a class without mistakes is left out, so it changes nothing
    labels = [str(index) for index in range(60)]
    assert evaluation_figures.confusion_matrix_png(
        grown, labels
    ) == evaluation_figures.confusion_matrix_png(counts, labels)


def test_class_without_items_is_a_white_row():
    counts = np.array([[4, 1], [0, 0]])
    assert evaluation_figures.confusion_matrix_png(counts, ["there", "not there"]).startswith(
        b"\x89PNG"
    )


def test_pyplot_is_not_imported():
    code = (
        "import sys, tfhub_blocks.compute.evaluation.evaluation_figures; "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

import numpy as np

from tfhub_blocks.compute.evaluation.evaluation_run import finite_answers


def test_items_without_a_finite_answer_are_mistakes():
    probabilities = np.float32([[0.9, 0.1, 0], [np.nan, 1, 0], [0, np.inf, 0], [0.2, 0.2, 0.6]])
    found = finite_answers(tuple("abcd"), np.array([0, 1, 2, 2]), probabilities, ["x", "y", "z"])
    assert found.unanswered == ("b", "c")
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-6)
    assert (found.probabilities.argmax(axis=1) == found.targets).tolist() == [1, 0, 0, 1]
    assert found.probabilities[[1, 2], [1, 2]].tolist() == [0, 0]

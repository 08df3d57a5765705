"""Code in MLflow models that tfhub-blocks did not build: named without loading, and asked for."""

import pickle
from pathlib import Path

import pytest

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.foreign_code import check_trusted, code_of, is_own

FLAVORS = """
flavors:
  python_function:
    loader_module: mlflow.pyfunc.model
    python_model: python_model.pkl
    code: code
  sklearn:
    pickled_model: model.pkl
"""


class Bomb:
    """An object whose pickle writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (self.path,))


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    model = tmp_path / "model"
    (model / "code").mkdir(parents=True)
    (model / "MLmodel").write_text(FLAVORS)
    (model / "python_model.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    (model / "weights.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "ran"), protocol=4))
    (model / "layers.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (model / "code" / "helper.py").write_text("")
    return model


def test_each_kind_of_code_is_named_and_nothing_runs(foreign: Path) -> None:
    assert list(code_of(foreign)) == [
        "loader module 'mlflow.pyfunc.model'",
        "Python model 'python_model.pkl'",
        "code folder 'code'",
        "flavor 'sklearn'",
        "'code/helper.py' (Python)",
        "'layers.h5' (Keras file, which may contain Lambda layers)",
        "'python_model.pkl' (pickle)",
        "'weights.bin' (pickle)",
    ]
    assert not (foreign.parent / "ran").exists()


def test_code_is_refused_until_a_person_trusts_it(foreign: Path) -> None:
    with pytest.raises(BlocksError, match="loading it runs code: loader module") as caught:
        check_trusted(foreign, False, "serve", "Review this code, then pass --trust-code")
    assert str(caught.value).endswith("pass --trust-code.")

    check_trusted(foreign, True, "serve", "")


@pytest.mark.parametrize("mark", ["encoder.toml", "metadata"])
def test_own_model_without_statement_is_refused_even_if_trusted(foreign: Path, mark: str) -> None:
    if mark == "metadata":
        (foreign / "MLmodel").write_text(FLAVORS + "metadata: {encoder_digest: e}\n")
    else:
        (foreign / mark).write_text("")

    with pytest.raises(BlocksError, match="built this model, but its statement is missing"):
        check_trusted(foreign, True, "serve", "")


@pytest.mark.parametrize("text", ["", "[]", "a: b: c", "flavors: 1", "[" * 5000])
def test_damaged_record_names_no_code(text: str, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(text)

    assert list(code_of(tmp_path)) == []
    assert not is_own(tmp_path)

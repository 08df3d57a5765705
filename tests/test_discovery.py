"""Steps can be discovered: by inspect, help, editors and the command line."""

import inspect
import pydoc
import typing

import pytest

from tfhub_blocks import components, pipelines
from tfhub_blocks.cli import main


@pytest.mark.parametrize("name", components.names())
def test_step_shows_its_own_ports(name):
    step = getattr(components, name)
    shown = inspect.signature(step).parameters
    assert set(shown) == set(step.inputs)
    hints, text = typing.get_type_hints(step), pydoc.render_doc(step)
    for port, it in step.inputs.items():
        assert port in hints
        assert str(it.description) in text
        if it.default is not None:
            assert shown[port].default == it.default
        required = it.default is None and not it.optional
        assert (shown[port].default is inspect.Parameter.empty) is required
    for port in step.outputs:
        assert f"{port} (" in text
    assert "outputs" in dir(step)


def test_packages_list_their_names():
    assert dir(components) == components.names()
    assert dir(pipelines) == pipelines.names()
    assert "transfer_learning" in pipelines.names()
    assert callable(pipelines.transfer_learning)
    for package, what in ((components, "step"), (pipelines, "pipeline")):
        with pytest.raises(AttributeError, match=f"no {what} is named 'nothing'"):
            package.nothing  # noqa: B018


def test_show_prints_the_ports_of_a_step(capsys):
    assert main(["show", "snapshot_data"]) == 0
    out = capsys.readouterr().out
    assert "  split_salt               string, default 'splits-1': " in out
    assert "Outputs\n  snapshot                 uri_folder: " in out


def test_help_of_run_prints_the_inputs_of_the_pipeline(capsys):
    for words, inputs in ((["run", "--help"], False), (["run", "transfer_learning", "-h"], True)):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 0
        out = capsys.readouterr().out
        assert "--no-reuse" in out
        assert ("min_accuracy             number, optional" in out) is inputs


def test_unknown_name_is_refused_with_the_nearest(capsys):
    assert main(["show", "evalute"]) == 2
    assert "Did you mean 'evaluate'?" in capsys.readouterr().err


def test_rule_is_explained_from_the_installed_page(capsys):
    assert main(["check", "--explain", "compute-gpu"]) == 0
    assert "Why: a GPU costs several times as much" in capsys.readouterr().out
    assert main(["check", "--explain", "all"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    for name in names:
        assert main(["check", "--explain", name]) == 0
        assert "Fix: " in capsys.readouterr().out, name
    assert main(["check", "--explain", "compute-gpus"]) == 2
    assert "Did you mean 'compute-gpu'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "install"),
    [
        ("tensorflow.keras", "pip install tfhub-blocks;"),
        ("resvg_py", 'pip install "tfhub-blocks[samples]"'),
    ],
)
def test_missing_package_is_one_line(module, install, monkeypatch, capsys):
    def fail(*_: object) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr("tfhub_blocks.commands.pipelines._list", fail)
    assert main(["list"]) == 2
    err = capsys.readouterr().err
    assert install in err
    assert err.count("\n") == 1

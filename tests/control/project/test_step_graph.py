import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tfhub_blocks.control.project.step_graph import (
    Node,
    OutputOf,
    quoted_text,
    unquoted_text,
)
from tfhub_blocks.records.base.errors import BlocksError

COMMAND = (
    "run --inputs source='${{inputs.source}}' flag='${{inputs.flag}}' "
    "$[[maybe='${{inputs.maybe}}']] $[[both='${{inputs.maybe}} ${{inputs.flag}}']] "
    "--outputs made='${{outputs.made}}'"
)
PORTS = "source: Input(type='uri_folder'), m: Input(type='number', optional=True)"


def node(name="n", command=COMMAND, **inputs):
    return Node(
        name=name,
        component="make",
        version="1",
        role="cpu",
        environment="x",
        command=command,
        deterministic=True,
        timeout_s=None,
        input_types={"source": "uri_folder", "flag": "boolean", "maybe": "number"},
        output_types={"made": "uri_folder"},
        inputs=inputs,
        entity=None,
    )


def test_optional_parts_of_a_command_stay_only_with_all_their_inputs():
    outputs = {"made": Path("/out")}
    without = node().command_line({"source": Path("/in"), "flag": 1}, outputs)
    assert without == "run --inputs source='/in' flag='True'   --outputs made='/out'"
    given = {"source": Path("/in"), "flag": False, "maybe": 0.5}
    assert node().command_line(given, outputs) == (
        "run --inputs source='/in' flag='False' maybe='0.5' both='0.5 False' --outputs made='/out'"
    )


@pytest.mark.parametrize(
    ("value", "text"), [(1, "True"), (0, "False"), (True, "True"), ("False", "False")]
)
def test_boolean_is_a_word_in_a_command(value, text):
    assert node().text("flag", value) == text


def test_number_is_no_boolean():
    assert node().text("maybe", 1) == "1"


def test_needs_are_the_makers_of_the_inputs():
    assert node(source=OutputOf("a", "made"), maybe=1).needs == {"a"}


@pytest.fixture
def graph(project):
    """The graph of a pipeline with this body, given ``source`` and more."""
    from tfhub_blocks.control.project.profiles import load_profile
    from tfhub_blocks.control.project.run_requests import prepare_job

    def read(body, *settings, ports="source: Input(type='uri_folder')"):
        lines = "\n    ".join(body.splitlines())
        project.write(
            "pipelines/drawn.py",
            "from azure.ai.ml import Input, dsl\nfrom tfhub_blocks.components import join, make\n"
            f"@dsl.pipeline(name='drawn')\ndef drawn({ports}):\n    {lines}\n",
        )
        return prepare_job("drawn", ["source=src", *settings], load_profile("local"))[1]

    return read


def test_steps_come_after_what_they_need(graph):
    found = graph(
        "b = make(source=source)\na = make(source=b.outputs.made)\n"
        "j = join(left=a.outputs.made, right=b.outputs.made)\nreturn {'x': j.outputs.joined}"
    )
    assert list(found.nodes) == ["b", "a", "j"]
    assert list(found.edges()) == [("b", "made", "a"), ("a", "made", "j"), ("b", "made", "j")]
    assert found.outputs == {"x": OutputOf("j", "joined")}


def test_inputs_are_bindings_given_values_literals_and_defaults(graph, project):
    found = graph(
        "a = make(source=source, text='b', count=n)\nb = make(source=a.outputs.made, maybe=m)",
        "m=0.25",
        ports=f"{PORTS}, n: int = 4",
    )
    a, b = found.nodes.values()
    assert a.inputs["source"] == project.folder / "src"
    assert b.inputs["source"] == OutputOf("a", "made")
    texts = {port: a.text(port, value) for port, value in a.inputs.items() if port != "source"}
    assert texts == {"text": "b", "count": "4", "flag": "False"}
    assert b.inputs["maybe"] == 0.25


def test_optional_input_that_is_not_given_is_not_there(graph):
    body = "a = make(source=source, maybe=m)"
    assert "maybe" not in graph(body, ports=PORTS).nodes["a"].inputs


def test_circle_is_refused(graph):
    body = (
        "a = make(source=source)\nb = make(source=a.outputs.made)\n"
        "a.inputs.source = b.outputs.made\nc = make(source=source)"
    )
    with pytest.raises(BlocksError) as refusal:
        graph(body)
    assert str(refusal.value) == (
        "[pipeline > a, b] these steps depend on each other, or on a step that does not exist. "
        "Expected a graph without cycles. Change their inputs in the pipeline."
    )


def test_unbound_input_is_refused(graph):
    with pytest.raises(BlocksError) as refusal:
        graph("a = make(text='a')")
    assert str(refusal.value) == (
        "[pipelines/drawn.py:5 > a.source] input source of step a has no value. Expected a value "
        "of type uri_folder. Pass source=... where the pipeline calls make."
    )


@pytest.mark.parametrize("value", ["a\0b", "\udc80"])
def test_literal_that_no_command_can_contain_is_refused(value, graph):
    with pytest.raises(BlocksError, match=r"a\.text] .* contains a character that the command"):
        graph(f"a = make(source=source, text={value!r})")


def test_literal_with_a_credential_is_refused(graph):
    with pytest.raises(BlocksError, match="contains a credential") as refusal:
        graph("a = make(source=source, text='https://me:HIDDEN@host/x')")
    assert "HIDDEN" not in str(refusal.value)


TYPED = [
    "it's", "''", "'", 'a "b"', "$HOME `id` $(id)", "\\", "a\\'b\\", "100 %", "-rf", "--set", "a=b",
    "läufe 日本", "a\nb\r\n", "${{inputs.other}}", "$[[ x ]]", "$$''{{", "a;b|c&d", "*?[x]", "!!",
    "~", "'$'\\n''", "{a,b}", " x ", "\t", "#x",
]  # fmt: skip


@pytest.fixture
def shown_arguments(tmp_path):
    """``shown_arguments(command)`` runs a command in which mldesigner prints its arguments."""
    program = tmp_path / "mldesigner"
    program.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    program.chmod(0o755)

    def run(command):
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        return json.loads(subprocess.check_output(command, env=environment, cwd=tmp_path))

    return run


@pytest.mark.parametrize("value", TYPED)
def test_text_reaches_a_step_as_it_was_typed(value, shown_arguments):
    text = "mldesigner execute --inputs text='${{inputs.text}}' other='${{inputs.other}}'"
    made = replace(node(), command=text, input_types={"text": "string", "other": "string"})
    wanted = ["execute", "--inputs", f"text={value}", "other=x"]
    assert shown_arguments(made.arguments({"text": value, "other": "x"}, {})) == wanted
    # As Azure ML does it: the service puts the value of the job into the command of bash.
    sent = {"text": quoted_text(value), "other": "x"}
    assert shown_arguments(["/bin/bash", "-c", made.command_line(sent, {})]) == wanted
    assert unquoted_text(sent["text"]) == value


def test_snapshot_is_the_component_and_the_modules_it_imports(graph, tmp_path):
    found = graph("a = make(source=source)\nb = join(left=source, right=source)")
    for name in ("a", "b"):
        found.nodes[name].write_code(tmp_path / name)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("[ab]/**/*.py")}
    assert "a/component.py" in written
    assert "a/tfhub_blocks/compute/step/step_frame.py" in written
    assert "a/tfhub_blocks/cli.py" not in written
    assert "b/tfhub_blocks/records/base/step_messages.py" in written
    assert not [name for name in written if name.startswith("b/tfhub_blocks/compute")]


def test_output_under_two_names_is_read_under_both(graph, project):
    found = graph("a = make(source=source)\nreturn {'x': a.outputs.made, 'y': a.outputs.made}")
    assert dict(found.outputs) == {"y": OutputOf("a", "made"), "x": OutputOf("a", "made")}


def test_pipeline_without_a_step_is_refused(graph):
    with pytest.raises(BlocksError, match="pipeline drawn creates no step"):
        graph("pass")


def test_pipelines_own_data_is_found_from_the_working_folder(graph, project):
    found = graph("a = make(source=Input(type='uri_folder', path='src'))")
    assert found.nodes["a"].inputs["source"] == project.folder / "src"


def test_file_may_define_a_pipeline_of_another_name(project):
    body = (
        "from azure.ai.ml import Input, dsl\nfrom tfhub_blocks.components import make\n"
        "@dsl.pipeline()\ndef {}(source: Input(type='uri_folder')):\n    make(source=source)\n"
    )
    project.write("pipelines/file_of_its_own.py", body.format("training"))
    project.write("pipelines/packed/__init__.py", body.format("packed"))
    project.write("pipelines/helpers/__init__.py", "WORDS = 1\n")
    listed = project.main("list").out
    assert "\n  training " in listed
    assert "\n  packed " in listed
    assert "file_of_its_own" not in listed
    assert "helpers" not in listed
    assert project.main("show", "training").status == 0
    assert project.main("show", "packed").status == 0

import pytest
from toy_project import MAKE

WRONG = {
    "unknown_pipeline": ["run", "toi"],
    "unlike_any_pipeline": ["run", "zzz"],
    "unknown_setting": ["run", "toy", "--set", "source=src", "--set", "cuont=3"],
    "setting_without_value": ["run", "toy", "--set", "source"],
    "missing_input": ["run", "toy"],
    "setting_twice": ["run", "toy", "--set", "count=3", "--set", "count=4"],
    "input_not_there": ["run", "toy", "--set", "source=nowhere"],
    "input_is_a_file": ["run", "toy", "--set", "source=src/word"],
    "no_such_home": ["run", "toy", "--set", "source=~nobody-of-that-name/x"],
    "surrogate_in_value": ["run", "toy", "--set", "source=src", "--set", "text=\udc80"],
    "secret_in_value": ["run", "toy", "--set", "source=src", "--set", "text=https://u:p@h/x"],
    "not_in_enum": ["run", "toy", "--set", "source=src", "--set", "text=c"],
    "no_integer": ["run", "toy", "--set", "source=src", "--set", "count=many"],
    "fraction_for_integer": ["run", "toy", "--set", "source=src", "--set", "count=1.5"],
    "below_minimum": ["run", "toy", "--set", "source=src", "--set", "count=0"],
    "above_maximum": ["run", "toy", "--set", "source=src", "--set", "rate=1.01"],
    "not_a_number": ["run", "toy", "--set", "source=src", "--set", "maybe=nan"],
    "no_boolean": ["run", "toy", "--set", "source=src", "--set", "flag=perhaps"],
    "unknown_profile": ["run", "toy", "--profile", "lokal"],
    "profile_key": ["run", "toy", "--profile", "key"],
    "profile_role_key": ["run", "toy", "--profile", "role_key"],
    "profile_type": ["run", "toy", "--profile", "type"],
    "profile_no_toml": ["run", "toy", "--profile", "broken"],
    "profile_parallel": ["run", "toy", "--profile", "parallel"],
    "profile_lacks_role": ["run", "toy", "--set", "source=src", "--profile", "roleless"],
    "pattern_in_runs_dir": ["run", "toy", "--set", "source=src", "--runs-dir", "a [v2]"],
    "control_character_in_runs_dir": ["run", "toy", "--set", "source=src", "--runs-dir", "a\x1b"],
    "runs_dir_is_a_file": ["run", "toy", "--set", "source=src", "--runs-dir", "src/word"],
    "show_unknown": ["show", "toi"],
    "no_dsl_function": ["show", "empty"],
}
PROFILE = """format_version = 1
description = "x"
engine = "local"
{parallel}
[roles.{role}]
compute = "local"
{timeout} = {seconds}
"""


@pytest.fixture
def profiles(project):
    values = {"parallel": "", "role": "cpu", "timeout": "timeout_s", "seconds": "60"}
    changes = {
        "key": {"parallel": "max_paralel_steps = 2"},
        "role_key": {"timeout": "time_out_s"},
        "type": {"seconds": '"1h"'},
        "parallel": {"parallel": "max_parallel_steps = 0"},
        "roleless": {"role": "gpu"},
        "broken": {"parallel": "= 3"},
    }
    for name, change in changes.items():
        project.write(f"pipelines/profiles/{name}.toml", PROFILE.format(**(values | change)))
    project.write("pipelines/empty.py", '"""Nothing."""\n')


@pytest.mark.parametrize("name", WRONG)
def test_wrong_request_is_told_in_one_line(name, project, profiles, golden):
    outcome = project.main(*WRONG[name])
    assert outcome.status == 2
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1
    golden(f"error_{name}", project.normal(outcome.err))


def test_wrong_request_leaves_no_run(project):
    project.main("run", "toy", "--set", "source=src", "--set", "count=0")
    assert not (project.folder / ".runs").exists()


def test_list(project, golden):
    project.write("pipelines/broken.py", "def (")
    outcome = project.main("list")
    assert outcome.status == 0
    ours = ("Pipelines", "Steps", "  toy", "  broken", "  make", "  join")
    lines = [line for line in outcome.out.splitlines() if line.startswith(ours)]
    golden("list", "\n".join(lines) + "\n")


def test_list_names_what_is_installed_too(project):
    lines = project.main("list").out.splitlines()
    assert any(line.startswith("  transfer_learning ") for line in lines)
    assert any(line.startswith("  train_head ") for line in lines)


def test_show(project, golden):
    outcome = project.main("show", "toy")
    assert outcome.status == 0
    golden("show", outcome.out)


def test_show_mermaid(project, golden):
    outcome = project.main("show", "toy", "--mermaid")
    assert outcome.status == 0
    golden("show_mermaid", outcome.out)


def test_show_needs_no_values(project):
    project.write(
        "pipelines/typed.py",
        "from azure.ai.ml import Input, dsl\nfrom tfhub_blocks.components import make\n"
        "@dsl.pipeline(name='typed')\n"
        "def typed(source: Input(type='uri_folder'), text: Input(type='string', enum=['b']),\n"
        "    count: Input(type='integer', min=2), rate: Input(type='number'),\n"
        "    flag: Input(type='boolean'), maybe: float = 0.5):\n"
        "    make(source=source, text=text, count=count, flag=flag, maybe=rate)\n",
    )
    outcome = project.main("show", "typed")
    assert outcome.status == 0, outcome.err
    assert "count                    integer, required" in outcome.out


def test_own_pipeline_and_step_hide_the_installed_ones(project):
    project.write(
        "components/train_head/component.py",
        (project.folder / "components/join/component.py")
        .read_text()
        .replace("def join", "def train_head")
        .replace("join: joins two files", "train_head: ours"),
    )
    project.write(
        "pipelines/transfer_learning.py",
        '"""transfer_learning: ours."""\nfrom azure.ai.ml import Input, dsl\n'
        "from tfhub_blocks.components import train_head\n"
        "@dsl.pipeline(name='x')\ndef transfer_learning(source: Input(type='uri_folder')):\n"
        "    train_head(left=source, right=source)\n",
    )
    listed = project.main("list").out
    assert "transfer_learning    ours." in listed
    assert "train_head           ours" in listed
    assert "train_head (train_head 1.0.0, cpu)" in project.main("show", "transfer_learning").out


def test_profile_gives_inputs_unless_they_are_set(project, monkeypatch):
    project.limit()
    with (project.folder / "pipelines/profiles/limited.toml").open("a") as file:
        file.write('[inputs]\ncount = "$COUNT"\nrate = "0.25"\nother = "x"\n')
    monkeypatch.setenv("COUNT", "7")
    given = project.run("--profile", "limited", "--set", "rate=0.5").record["inputs"]
    assert given == {"source": str(project.folder / "src"), "count": "7", "rate": "0.5"}


def test_input_whose_variable_is_not_set_keeps_its_default(project, monkeypatch):
    project.limit()
    with (project.folder / "pipelines/profiles/limited.toml").open("a") as file:
        file.write('[inputs]\ncount = "$COUNT"\n')
    monkeypatch.delenv("COUNT", raising=False)
    assert "count" not in project.run("--profile", "limited").record["inputs"]


def test_user_without_a_name_is_no_traceback(project, monkeypatch):
    project.limit()
    with (project.folder / "pipelines/profiles/limited.toml").open("a") as file:
        file.write('[inputs]\ntext = "$USER"\n')
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 987654)
    outcome = project.run("--profile", "limited")
    assert outcome.status == 0
    assert "text" not in outcome.record["inputs"]


def test_operating_step_is_found_in_its_own_folder(project):
    project.write("components/operations/retire/component.py", MAKE.replace("make", "retire"))
    assert "  retire " in project.main("list").out
    shown = project.main("show", "retire")
    assert (shown.status, shown.err) == (0, "")
    assert "  source                   uri_folder, required: What it reads" in shown.out

"""A project in which every rule is content, to spoil one thing at a time."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from toy_pins import toy_pin
from toy_project import forget_project

from tfhub_blocks.control.environments.environment_bakes import bake
from tfhub_blocks.control.project.profiles import read_profile
from tfhub_blocks.control.rules.checked_repository import Repository, Uncompiled
from tfhub_blocks.control.rules.rule_checks import CheckReport, Rules, check, load_rules
from tfhub_blocks.control.rules.subject import Subject
from tfhub_blocks.records.base.digests import files_sha256, tree_digest
from tfhub_blocks.records.environment.installed_packages import definition_version
from tfhub_blocks.records.pins.pins import Decisions

TODAY = date(2027, 1, 1)
DECIDED = Decisions(loading="mounted", fine_tuning="allowed", inference="batch")


def component(name: str, ports: str, role: str, more: str = "", body: str = "pass") -> str:
    """The text of a component.py."""
    lines = "".join(f"    {port.strip()},\n" for port in ports.strip().splitlines())
    return (
        f'"""{name}: a toy."""\n\nimport subprocess\n\n'
        "from mldesigner import Input, Output, command_component\n\n\n"
        "@command_component(\n"
        '    version="1.0.0",\n'
        '    environment="azureml:toy-env:VERSION",\n'
        f'    tags={{"role": "{role}"}},\n{more})\n'
        f'def {name}(\n{lines}):\n    """A toy."""\n    {body}\n'
    )


FILES = {
    "components/environments/toy/Dockerfile": "FROM example.org/toy-cuda12.4:1.0\n",
    "components/environments/toy/requirements.in": "alpha\n",
    "components/environments/toy/environment.yaml": "name: toy-env\nowner: us\npurpose: A toy.\n",
    "components/environments/toy/requirements.lock": (
        f"alpha==1.0 --hash=sha256:{'0' * 64}\n"
        f"nvidia-cuda-runtime-cu12==12.9 --hash=sha256:{'1' * 64}\n"
        f"nvidia-cudnn-cu12==9.2 --hash=sha256:{'2' * 64}\n"
    ),
    "components/import_encoder/component.py": component(
        "import_encoder",
        """
        encoder: Output(type="custom_model", description="It")
        source: Input(type="custom_model", optional=True, description="Its folder") = None
        pin: Input(type="uri_file", optional=True, description="Its pin") = None
        handle: Input(type="string", optional=True, description="Its address") = None
        unpinned: Input(type="string", enum=["accept", "refuse"], description="Or not") = "refuse"
        """,
        "cpu",
    ),
    "components/words/component.py": component(
        "words",
        """
        source: Input(type="uri_folder", description="What it reads")
        made: Output(type="uri_folder", description="What it writes")
        text: Input(type="string", enum=["a", "b"], description="A letter") = "a"
        count: Input(type="integer", min=1, max=9, description="How many") = 1
        """,
        "cpu",
    ),
    "components/fine_tune/component.py": component(
        "fine_tune",
        """
        data: Input(type="uri_folder", description="Words")
        encoder: Input(type="custom_model", description="An encoder")
        model: Output(type="mlflow_model", description="A model")
        """,
        "gpu",
        body="run.work('model')",
    ),
    "components/register_model/component.py": component(
        "register_model",
        """
        model: Input(type="mlflow_model", description="A model")
        registration: Output(type="uri_file", description="What was registered")
        model_name: Input(type="string", description="Under which name") = "toys"
        """,
        "cpu",
        more="    is_deterministic=False,\n",
    ),
    "pipelines/toy.py": '''"""toy: a pipeline."""

from azure.ai.ml import Input, dsl

from tfhub_blocks.components import fine_tune, import_encoder, register_model, words


@dsl.pipeline(name="toy")
def toy(source: Input(type="uri_folder"), encoder: Input(type="custom_model")):
    imported = import_encoder(source=encoder)
    letters = words(source=source)
    tuned = fine_tune(data=letters.outputs.made, encoder=imported.outputs.encoder)
    registration = register_model(model=tuned.outputs.model)
    return {"model": tuned.outputs.model, "registration": registration.outputs.registration}
''',
    "pipelines/profiles/strict.toml": """format_version = 1
description = "Strict"
engine = "azureml"

[job]
owner = "us"
cost_centre = "42"

[roles.cpu]
compute = "cpus"
timeout_s = 60

[roles.gpu]
compute = "gpus"
timeout_s = 60

[clusters.cpus]
size = "Standard_D4ds_v5"
max_nodes = 2

[clusters.gpus]
size = "Standard_NC4as_T4_v3"
max_nodes = 1

[budget]
currency = "USD"
run = 1.0
""",
    "encoders/lite0/saved_model/saved_model.pb": "lite0",
}

# A second pipeline, for what two must not share.
OTHER = '''"""other: another pipeline."""

from azure.ai.ml import Input, dsl

from tfhub_blocks.components import words


@dsl.pipeline(name="other")
def other(source: Input(type="uri_folder")):
    more = words(source=source, count=2)
    return {"made": more.outputs.made}
'''


@dataclass(frozen=True)
class Spoiled:
    """What is changed in the project: texts replaced, files added, settings, decisions.

    ``edits`` are (file, old, new); an empty old puts the new at the end.
    """

    edits: tuple[tuple[str, str, str], ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    decisions: Decisions = DECIDED
    profile: str = "strict"
    bakes: str = ""


def edited(files: dict[str, str], edits: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """Files with some of their texts replaced."""
    files = dict(files)
    for name, old, new in edits:
        assert old in files[name], (name, old)
        files[name] = files[name].replace(old, new) if old else files[name] + new
    return files


def build(project: Any, change: Spoiled) -> dict[str, str]:
    """Write the project; give the settings under which its pipeline is complete."""
    forget_project()
    files = edited(FILES | dict(change.files), change.edits)
    environment = "components/environments/toy"
    for name, text in files.items():
        if name.startswith("components/environments/"):
            project.write(name, text)
    version = definition_version(Path(environment))
    for name, text in files.items():
        if not name.startswith("components/environments/"):
            project.write(name, text.replace("VERSION", version))
    folder = Path("encoders/lite0")
    decisions = change.decisions
    toy_pin("lite0", "https://example.org/lite0/1", folder / "saved_model", decisions).write(
        folder / "encoder.toml"
    )
    if change.bakes:
        bake(folder, "toy", change.bakes)
    settings = {
        "source": "azureml:words:0123456789ab",
        "encoder": f"azureml:lite0:{tree_digest(files_sha256(folder))[:12]}",
    }
    return settings | dict(change.settings)


def subject(project: Any, change: Spoiled = Spoiled()) -> Subject | Uncompiled:
    """The pipeline of the project, compiled."""
    settings = build(project, change)
    repository = Repository(read_profile(change.profile), TODAY)
    words = [f"{name}={value}" for name, value in settings.items() if value]
    return shallow(repository.subject, "toy", words)


def shallow(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives, called from nowhere.

    mldesigner looks at the whole stack for each component, and pytest's is deep: 2 s against 0.2.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *arguments).result()


def report(found: Subject | Uncompiled, rules: Rules | None = None) -> CheckReport:
    """What those rules find in it, or all but one that compiles the installed pipelines as well."""
    profile = found.profile if isinstance(found, Subject) else read_profile("strict")
    quick = tuple(it for it in load_rules().known if it.id != "team-assets")
    return shallow(check, profile, [found], rules or Rules(quick))

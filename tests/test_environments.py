import ast
import re
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tfhub_blocks.records.environment.code_snapshots import step_modules
from tfhub_blocks.records.environment.installed_packages import definition_version

ROOT = Path(__file__).parents[1]
COMPONENTS = sorted(
    path
    for pattern in ("*/component.py", "operations/*/component.py")
    for path in (ROOT / "components").glob(pattern)
)


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.parent.name)
def test_step_is_pinned_to_the_environment_that_is_defined(path):
    found = re.findall(r'environment="azureml:tfhub-blocks-(\w+):(\w+)"', path.read_text())
    assert len(found) == 1, (
        f'{path} names no environment="azureml:tfhub-blocks-<cpu|gpu>:<version>"'
    )
    [(name, version)] = found
    expected = definition_version(ROOT / "components" / "environments" / name)
    assert version == expected, (
        f"{path.relative_to(ROOT)} is pinned to another environment than is defined: write "
        f'environment="azureml:tfhub-blocks-{name}:{expected}"'
    )


def test_there_are_steps_to_check():
    assert COMPONENTS


@cache
def imported(path):
    """The packages that a file imports, in functions as well, but for Python's own."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    return {name.partition(".")[0] for name in found} - sys.stdlib_module_names


def needs(program):
    """The packages of others that a program and all of ours behind it import."""
    paths = {program, *step_modules(program, ROOT / "tfhub_blocks").values()}
    return set().union(*map(imported, paths)) - {"tfhub_blocks"}


def locked(name):
    """The names in an environment's lock."""
    text = (ROOT / "components/environments" / name / "requirements.lock").read_text()
    return set(re.findall(r"^([\w.-]+)==", text, re.M))


# Imported only where it is asked for, which then says that it is not there; and by engines, which
# compute on no role of a step in the environment "cpu".
LEFT_OUT = {
    "serving": {"kagglehub"},
    # Imported only where TensorFlow, MLflow or a sound answers; tests/compute/serving checks that.
    "serving-openvino": {"kagglehub"}
    | {"tensorflow", "tensorflow_text", "google", "mlflow", "pandas", "pyarrow", "scipy"}
    | {"soundfile", "soxr", "threadpoolctl"},
    "gpu": {"kagglehub"},
    "cpu": {"kagglehub", "openvino"},
    "operations": set(),
}
SCORING = ROOT / "tfhub_blocks/compute/serving/azure_entry.py"
PROGRAMS = [("serving", SCORING), ("serving-openvino", SCORING)]
PROGRAMS += [(re.search(r"tfhub-blocks-(\w+):", it.read_text())[1], it) for it in COMPONENTS]


@pytest.fixture(scope="module")
def distributions():
    """What brings a package that is installed here, by the names that a lock has."""
    return {
        package: {name.lower().replace("_", "-") for name in names}
        for package, names in packages_distributions().items()
    }


@pytest.mark.parametrize(
    ("name", "program"), PROGRAMS, ids=[f"{name}-{it.parent.name}" for name, it in PROGRAMS]
)
def test_environment_holds_what_its_program_imports(name, program, distributions):
    needed, there = needs(program) - LEFT_OUT[name], locked(name)
    assert needed
    lacking = [
        package
        for package in sorted(needed)
        if there.isdisjoint(distributions.get(package, {package.replace("_", "-")}))
    ]
    assert lacking == [], f"components/environments/{name}/requirements.in brings none of these"


def test_serving_holds_each_engine_that_a_runtime_may_name():
    assert {"openvino", "tensorflow"} <= needs(SCORING) & locked("serving")

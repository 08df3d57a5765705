import pytest

from tfhub_blocks.records.environment.environment_references import environment_reference

SOURCE = '''"""é: a step."""
from mldesigner import command_component
NOTE = "azureml:toy:0"

@command_component(display_name="é", environment={literal}, version="1")
def make(): ...
'''


@pytest.fixture
def component(tmp_path):
    def write(literal):
        (tmp_path / "component.py").write_text(SOURCE.replace("{literal}", literal))
        return tmp_path / "component.py"

    return write


@pytest.mark.parametrize(
    ("literal", "name", "version"),
    [
        ('"azureml:toy:1a"', "toy", "1a"),
        ("'toy:1a'", "toy", "1a"),
        ('"azureml:toy@latest"', "toy", "@latest"),
        ('"azureml:toy"', "toy", ""),
        (
            '"azureml://registries/azureml/environments/x/versions/3"',
            "//registries/azureml/environments/x",
            "3",
        ),
    ],
)
def test_reference_is_the_literal_of_the_decorator(literal, name, version, component):
    found = environment_reference(component(literal))
    assert (found.name, found.version) == (name, version)


def test_component_without_a_literal_names_none(component):
    assert environment_reference(component("NOTE")) is None


@pytest.mark.parametrize("literal", ['"azureml:toy:1"', "'toy:1'", '"azureml:toy@latest"'])
def test_rewrite_changes_that_literal_alone(literal, component):
    path = component(literal)
    environment_reference(path).rewrite("2b")
    assert path.read_text() == SOURCE.replace("{literal}", '"azureml:toy:2b"')

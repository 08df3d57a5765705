import re
from pathlib import Path

import pytest

from tfhub_blocks.records.environments import definition_version

ROOT = Path(__file__).parents[1]
COMPONENTS = sorted((ROOT / "components").glob("*/component.py"))


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

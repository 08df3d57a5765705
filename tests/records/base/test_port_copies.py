"""Inputs of a pipeline that repeat those of a step: everything is copied, and the step is kept."""

import pytest
from azure.ai.ml import Input, dsl

from tfhub_blocks import like
from tfhub_blocks.components import extract_features, snapshot_data
from tfhub_blocks.records.base.errors import BlocksError


@pytest.mark.parametrize("step", [extract_features, snapshot_data], ids=lambda step: step.name)
def test_copy_says_all_that_the_step_says(step):
    for name, port in step.inputs.items():
        copied = like(step, name)
        assert copied is not port
        assert copied._to_dict() == port._to_dict()


def test_changes_leave_the_step_alone():
    before = extract_features.inputs["engine"]._to_dict()
    copied = like(
        extract_features, "engine", description="Program.", default="openvino", optional=True
    )
    assert copied._to_dict() == before | {
        "description": "Program.",
        "default": "openvino",
        "optional": True,
    }
    copied.enum.append("mine")
    assert extract_features.inputs["engine"]._to_dict() == before


def test_no_default_requires_a_value():
    assert "default" not in like(extract_features, "engine", default=None)._to_dict()


def test_pipeline_takes_the_defaults_of_its_steps():
    @dsl.pipeline(name="p")
    def repeating(
        source: like(snapshot_data, "source"),
        fraction: like(snapshot_data, "test_fraction"),
        salt: like(snapshot_data, "split_salt", default="mine"),
        pixels: like(snapshot_data, "max_pixels") = 1000,
    ):
        taken = snapshot_data(
            source=source, test_fraction=fraction, split_salt=salt, max_pixels=pixels
        )
        return {"snapshot": taken.outputs.snapshot}

    inputs = repeating(source=Input(type="uri_folder", path="azureml:a:1"))._to_dict()["inputs"]
    assert inputs.pop("source")["path"] == "azureml:a:1"
    assert inputs == {"fraction": 0.15, "salt": "mine", "pixels": 1000}
    assert snapshot_data.inputs["max_pixels"].default == 50_000_000


@pytest.mark.parametrize(
    ("port", "remedy"), [("engin", "Did you mean 'engine'"), ("zzz", "show extract_features")]
)
def test_unknown_input_is_refused(port, remedy):
    with pytest.raises(BlocksError, match=f"no input '{port}'.*{remedy}"):
        like(extract_features, port)

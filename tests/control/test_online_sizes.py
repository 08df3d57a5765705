"""Sizes of online endpoints: those of the shipped profiles, and those that are refused."""

from dataclasses import replace

import pytest

from tfhub_blocks.control.deployments.candidates import DeploymentCandidate
from tfhub_blocks.control.deployments.endpoint_requests import choose_size
from tfhub_blocks.control.project.profiles import profile_files, read_profile
from tfhub_blocks.control.workspace.online_sizes import ONLINE_SIZES, is_online_size
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.runtimes import Runtime, Speeds

SIZES = {
    (name, cluster.size)
    for name in profile_files()
    for cluster in read_profile(name).clusters.values()
}


RUNTIME = Runtime("openvino", 1, 1, 2.0, 4, "x", Speeds(60.0, 1.0, 1.0))


@pytest.mark.parametrize("size", ["Standard_D4ds_v5", "Standard_E4ds_v5", "Standard_X"])
def test_other_sizes_are_refused(size):
    candidate = DeploymentCandidate(
        "animals:1", "animals", "0" * 64, RUNTIME, size, "azureml:x:1", None
    )
    with pytest.raises(
        BlocksError, match=f"measured on {size}, which managed online endpoints do not"
    ):
        choose_size(candidate, None)
    assert choose_size(replace(candidate, size="Standard_DS3_v2"), None) == "Standard_DS3_v2"


@pytest.mark.parametrize(("profile", "size"), sorted(SIZES))
def test_shipped_profiles_name_sizes_on_which_a_measured_model_can_be_deployed(profile, size):
    assert is_online_size(size)


def test_table_of_sizes_is_azures():
    assert len(ONLINE_SIZES) == 85
    assert not any(is_online_size(f"Standard_{it}4ds_v5") for it in "DE")
    assert is_online_size("STANDARD_DS3_V2")

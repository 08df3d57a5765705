"""A refused request names the role that permits it."""

import pytest
from azure.core.exceptions import HttpResponseError

from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.records.base.errors import BlocksError


@pytest.mark.parametrize(
    ("code", "role"),
    [
        ("AuthorizationPermissionMismatch", "Storage Blob Data Contributor"),
        ("AuthorizationFailed", "AzureML Data Scientist"),
    ],
)
def test_refused_request_names_the_role_of_the_service(code, role):
    with pytest.raises(BlocksError) as caught, told("upload", "src"):
        raise HttpResponseError(f"({code}) This request is not authorized")
    assert f"the role {role}" in caught.value.expected
    assert f'--role "{role}"' in caught.value.remedy

"""No secret stays in a text, and no ordinary text changes."""

import json

import pytest

from tfhub_blocks.records.base.redaction import (
    environment_secrets,
    has_secret,
    redacted,
    secret_paths,
    without_secrets,
)

SECRETS = [
    "https://user:HIDDEN@host/x",
    "https://HIDDEN@host/x",
    "https://user:p/HIDDEN@host/x",
    "https://user@x:HIDDEN@host/",
    "postgresql+psycopg://u:HIDDEN@h:5432/db",
    "https://host/x/1?token=HIDDEN",
    "https://host/x?a=HIDDEN",
    "https://host/x?version=3&code=HIDDEN",
    "https://host/x?HIDDENHIDDEN",
    "https://host/x#access_token=HIDDEN",
    "https://acc.blob.core.windows.net/c/b?sv=2024&sig=HIDDEN%3D",
    "wasbs://c@acc.blob.core.windows.net/b?sig=HIDDEN",
    "https://s3.host/b?X-Amz-Signature=HIDDEN",
    "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=HIDDEN==;EndpointSuffix=x",
    "Endpoint=sb://x;SharedAccessKey=HIDDEN",
    "Server=x;Password=HIDDEN;",
    "Authorization: Bearer HIDDEN.x",
    "Authorization: Basic SElEREVOOkhJRERFTgHIDDEN==",
    "client_secret=HIDDEN",
    "eyJhbGciOiJI.HIDDEN.x",
    "ghp_HIDDENHIDDENHIDDENHIDDEN",
    "-----BEGIN RSA PRIVATE KEY-----\nHIDDEN\n-----END RSA PRIVATE KEY-----",
]
PLAIN = [
    "https://tfhub.dev/google/x/1?tf-hub-format=compressed",
    "https://host:8080/path@v1",
    "https://management.azure.com/x?api-version=2024-01-01",
    "azureml://subscriptions/1/resourcegroups/a@b",
    "wasbs://container@account.blob.core.windows.net/path",
    "sqlite:////a/b.db?uri=true",
    "me@example.org",
    "kagglehub:google/x/tensorFlow2/y/1",
    "the basic assumption of everything",
    "a=b, c=d",
    "models:/x/1",
    "https://ml.azure.com/runs/x?wsid=/subscriptions/1/workspaces/w&tid=2",
]


@pytest.mark.parametrize("text", SECRETS)
def test_secret_is_removed(text):
    assert "HIDDEN" not in redacted(text)
    assert has_secret(text)
    assert not has_secret(redacted(text))


@pytest.mark.parametrize("text", PLAIN)
def test_ordinary_text_stays(text):
    assert redacted(text) == text


def test_records_stay_records():
    record = {"a": ['x "token=HIDDEN" \\'], "b": 1, "c": {"password=HIDDEN": None}}
    cleaned = without_secrets(record)
    assert "HIDDEN" not in json.dumps(cleaned)
    assert cleaned["b"] == 1


def test_place_of_a_secret_is_named():
    record = {"inputs": {"handle": "https://a:b@c"}, "list": ["x", {"y": "sig=abc"}]}
    assert list(secret_paths(record)) == ["inputs.handle", "list[1].y"]


def test_values_of_secret_variables_are_removed():
    variables = {
        "KAGGLE_KEY": "abcdefgh",
        "MY_TOKEN": "abcdefghij",
        "A_KEY": "1",
        "PATH": "/binbinbin",
    }
    secrets = environment_secrets(variables)
    assert secrets == ["abcdefghij", "abcdefgh"]
    assert redacted("abcdefghij abcdefgh /binbinbin", secrets) == "*** *** /binbinbin"

import time
from types import SimpleNamespace

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Data
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from loopback import server
from loopback.identity import make_token
from loopback.requests import Fault


@pytest.fixture
def put_data(ml_client, quick_retries, tmp_path):
    """Registers a small data asset; the PUT of the asset is the last of its requests."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("hello")
    data = Data(name="d", version="1", path=str(tmp_path / "data"), type="uri_folder")

    def put():
        return ml_client.data.create_or_update(data)

    return put


def statuses(azure, method="PUT"):
    requests = azure.recorder.requests
    return [r.status for r in requests if r.method == method and not r.is_storage]


def test_requests_are_recorded_in_order(put_data, azure):
    put_data()
    first, *_, last = azure.recorder.requests
    assert (first.index, first.method, first.status) == (0, "GET", 200)
    assert (last.method, last.api_version, last.status) == ("PUT", "2023-04-01-preview", 201)
    assert last.path.endswith("/data/d/versions/1")
    assert last.body_bytes > 100


@pytest.mark.parametrize("fault", [Fault.THROTTLED, Fault.BROKEN, Fault.LOST_REQUEST])
def test_sdk_repeats_what_had_no_effect(put_data, azure, fault):
    azure.recorder.inject(fault, at=5)
    put_data()
    assert statuses(azure)[-1] == 201
    assert len(statuses(azure)) == 2
    assert len(azure.workspace.versions("data")) == 1


def test_sdk_repeats_what_had_an_effect_that_it_did_not_see(put_data, azure):
    azure.recorder.inject(Fault.LOST_ANSWER, at=5)
    put_data()
    assert statuses(azure) == [201, 200]
    assert len(azure.workspace.versions("data")) == 1


def test_slow_answer_is_an_answer(put_data, azure, monkeypatch):
    slept = []
    monkeypatch.setattr(server, "time", SimpleNamespace(time=time.time, sleep=slept.append))
    azure.recorder.inject(Fault.SLOW, at=5)
    put_data()
    assert slept == [1.0]
    assert statuses(azure) == [201]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.CONFLICT, HttpResponseError),
        (Fault.FORBIDDEN, HttpResponseError),
        (Fault.EXPIRED, ClientAuthenticationError),
    ],
)
def test_what_the_sdk_does_not_repeat_comes_through_and_had_no_effect(
    put_data, azure, fault, error
):
    azure.recorder.inject(fault, at=5)
    with pytest.raises(error):
        put_data()
    assert azure.workspace.versions("data") == []
    put_data()
    assert len(azure.workspace.versions("data")) == 1


@pytest.mark.parametrize("fault", [Fault.BROKEN, Fault.LOST_REQUEST, Fault.LOST_ANSWER])
@pytest.mark.parametrize("index", range(6))
def test_any_request_may_fail_and_the_asset_is_there_once(put_data, azure, fault, index):
    azure.recorder.inject(fault, at=index)
    try:
        put_data()
    except Exception:  # whatever the SDK makes of it: the command is repeated
        put_data()
    assert azure.recorder.faults == {}
    [asset] = azure.workspace.versions("data")
    [name] = azure.storage.names(asset["properties"]["dataUri"])
    assert name.endswith("/file")


def test_fault_befalls_one_request(azure, ml_client):
    azure.recorder.inject(Fault.BROKEN)
    ml_client.workspaces.get("loopback")
    assert [r.fault for r in azure.recorder.requests] == [Fault.BROKEN, None]


def test_sdk_renews_tokens_that_expire_in_the_middle(ml_client, azure, monkeypatch):
    ml_client.workspaces.get("loopback")
    now, later_s = time.time, azure.identity.lifetime_s + 1
    monkeypatch.setattr(time, "time", lambda: now() + later_s)
    ml_client.workspaces.get("loopback")
    assert [r.status for r in azure.recorder.requests] == [200, 200]
    assert len(set(azure.identity.given[-2:])) == 2


def test_token_that_nobody_renews_is_refused(azure, ml_client):
    token = AccessToken(make_token("https://management.azure.com", -1), int(time.time()) + 3600)
    stale = SimpleNamespace(get_token=lambda *_, **__: token)
    client = MLClient(stale, azure.workspace.subscription, "tests", "loopback")
    with pytest.raises(ClientAuthenticationError, match="expired"):
        client.workspaces.get("loopback")

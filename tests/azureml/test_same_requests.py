"""What the product sends in the SDK's place is what the SDK would send, field by field."""

import json
import re

import pytest
from azure.ai.ml.entities import BuildContext, Data, Environment, Model

# Where the content lies is ours to choose (decision 12); the tags are ours, too.
OWN = {"tfhub_blocks.digest", "owner", "encoder_digest"}


def sent(azure, kind):
    """The bodies of the requests that wrote assets of a kind, by name."""
    return {
        request.path.split("/")[-3]: json.loads(request.content)
        for request in azure.recorder.requests
        if request.method == "PUT" and f"/{kind}/" in request.path
    }


def fields(body, place=""):
    """Each field of a body with its value; of an address, its form."""
    if isinstance(body, dict):
        for key, value in body.items():
            if key not in OWN:
                yield from fields(value, f"{place}.{key}")
    elif isinstance(body, str) and "://" in body:
        slash = "/" if body.endswith("/") else ""
        # The SDK names a datastore by its id, we by its name: Azure takes both.
        scheme = re.match(r"(https://[^/]*|azureml:)", body)[1]
        yield place, f"{scheme}...{slash}"
    elif body is not None:
        yield place, body


@pytest.fixture
def encoder(project):
    from toy_pins import toy_pin

    folder = project.folder / "encoders/lite0"
    (folder / "saved_model").mkdir(parents=True)
    (folder / "saved_model/saved_model.pb").write_bytes(b"graph")
    handle = "https://tfhub.dev/someone/lite0/2"
    toy_pin("lite0", handle, folder / "saved_model").write(folder / "encoder.toml")
    return folder


@pytest.mark.parametrize("kind", ["environments", "data", "models"])
def test_bodies_are_those_of_the_sdk(kind, project, azure, encoder):
    assert project.publish("--encoder", "encoders/lite0").status == 0
    ours = sent(azure, kind)
    assert len(ours) == 1
    azure.reset_content()
    client, [(name, body)] = azure.client(), ours.items()
    properties = body["properties"]
    texts = {"name": name, "version": "1", "description": properties.get("description")}
    match kind:
        case "environments":
            build = BuildContext(path=str(project.folder / "components/environments/toy"))
            client.environments.create_or_update(Environment(**texts, build=build))
        case "data":
            data = Data(**texts, path=str(project.folder / "src"), type="uri_folder")
            client.data.create_or_update(data)
        case "models":
            client.models.create_or_update(Model(**texts, path=str(encoder), type="custom_model"))
    theirs = sent(azure, kind)[name]
    assert dict(fields(body)) == dict(fields(theirs))

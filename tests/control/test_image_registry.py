import pytest
from image_registry_server import serve_registry

from tfhub_blocks.control.environments import image_registry
from tfhub_blocks.control.environments.image_registry import LookupFailedError, image_digest
from tfhub_blocks.records.environment.environment_definitions import Image


@pytest.fixture
def registry():
    with serve_registry() as registry:
        yield registry


def test_digest_is_found_with_a_token_for_anybody(registry):
    expected = registry.put("azureml/base", "1.2")
    assert image_digest(Image(f"{registry.host}/azureml/base:1.2")) == expected
    assert registry.methods == ["HEAD", "GET", "HEAD"]


def test_digest_is_found_without_a_token_where_none_is_asked_for(registry):
    registry.asks_for_token = False
    expected = registry.put("base", "1")
    assert image_digest(Image(f"{registry.host}/base:1")) == expected
    assert registry.methods == ["HEAD"]


def test_digest_of_the_manifest_counts_where_none_is_stated(registry):
    registry.states_digest = False
    expected = registry.put("base", "1", b'{"a": 1}')
    assert image_digest(Image(f"{registry.host}/base:1")) == expected


def test_unknown_tag_is_told(registry):
    registry.put("base", "1")
    with pytest.raises(
        LookupFailedError, match=rf"^{registry.host} answered with status 404 Not Found$"
    ):
        image_digest(Image(f"{registry.host}/base:2"))


def test_nobody_there_is_told(registry):
    with pytest.raises(LookupFailedError, match=r"^127\.0\.0\.1:9 cannot be reached \(.*refused"):
        image_digest(Image("127.0.0.1:9/base:1"))


def test_token_is_not_fetched_over_plain_http(registry):
    registry.realm = "http://elsewhere.example/token"
    registry.put("base", "1")
    with pytest.raises(LookupFailedError, match="token address 'http://elsewhere"):
        image_digest(Image(f"{registry.host}/base:1"))


def test_what_is_no_digest_is_refused(registry):
    registry.digest = "sha256:123; rm -rf /"
    registry.put("base", "1")
    with pytest.raises(LookupFailedError, match="the registry returned the digest 'sha256:123"):
        image_digest(Image(f"{registry.host}/base:1"))


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("ubuntu:22.04", "https://registry-1.docker.io/v2/library/ubuntu/manifests/22.04"),
        ("a/b:1", "https://registry-1.docker.io/v2/a/b/manifests/1"),
        ("docker.io/a/b:1", "https://registry-1.docker.io/v2/a/b/manifests/1"),
        ("mcr.microsoft.com/a/b:1", "https://mcr.microsoft.com/v2/a/b/manifests/1"),
        ("localhost:5000/b:1", "http://localhost:5000/v2/b/manifests/1"),
    ],
)
def test_registry_is_found_by_dockers_rules(reference, url, monkeypatch):
    asked = []
    monkeypatch.setattr(image_registry, "_digest", lambda url, _: asked.append(url))
    image_digest(Image(reference))
    assert asked == [url]

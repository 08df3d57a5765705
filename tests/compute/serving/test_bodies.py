import base64
import json

import pytest

from tfhub_blocks.compute.serving.bodies import read_body
from tfhub_blocks.compute.serving.limits import ServingLimits
from tfhub_blocks.compute.serving.refusals import Refusal

LIMITS = ServingLimits(items=3, text_bytes=10)
A, B = b"\x89PNG one", b"\xff\xd8 two"
IN_BASE64 = [base64.b64encode(content).decode() for content in (A, B)]


def shapes(values):
    rows = [[value] for value in values]
    return [
        {"inputs": values},
        {"instances": values},
        {"instances": [{"b64": value} for value in values]},
        {"inputs": {"contents": values}},
        {"dataframe_split": {"columns": ["contents"], "data": rows}},
        {"dataframe_records": [{"contents": value} for value in values]},
        {"input_data": {"columns": ["contents"], "index": [0, 1], "data": rows}},
        {"input_data": values},
    ]


def read(given, kind="application/json", is_text=False):
    body = given if isinstance(given, bytes) else json.dumps(given).encode()
    return read_body(body, kind, "text" if is_text else "image", is_text, LIMITS)


@pytest.mark.parametrize("shape", range(len(shapes([]))))
def test_files_and_texts_come_in_each_shape_that_mlflow_and_azure_take(shape):
    assert read(shapes(IN_BASE64)[shape]) == [A, B]
    assert read(shapes(["one", "zwei 🙂"])[shape], is_text=True) == ["one", "zwei 🙂"]


def test_a_file_or_a_text_comes_as_it_is():
    assert read(A, "image/png") == [A]
    assert read(A, "application/octet-stream") == [A]
    assert read("hé".encode(), "text/plain; charset=utf-8", is_text=True) == ["hé"]


@pytest.mark.parametrize(
    ("body", "kind", "is_text", "status", "told"),
    [
        (b"", "application/json", False, 400, "the body is empty"),
        (A, "", False, 415, "image/jpeg, image/png"),
        (A, "image/x-icon", False, 415, "content type"),
        (b"a", "text/plain", False, 415, "content type"),
        (A, "image/png", True, 415, "text/plain, application/json"),
        (b"{", "application/json", False, 400, "not JSON"),
        (b'{"inputs": ["\xff"]}', "application/json", False, 400, "not UTF-8 at byte 13"),
        (b"\xff", "text/plain", True, 400, "not UTF-8 at byte 0"),
        (b"[" * 100_000, "application/json", False, 400, "too deeply"),
        (b'{"inputs": %s}' % (b"9" * 5000), "application/json", False, 400, "too long"),
        (b"[]", "application/json", False, 400, "one of the keys"),
        (b'"inputs"', "application/json", False, 400, "one of the keys"),
        (b'{"inputs": ["YQ=="], "instances": []}', "application/json", False, 400, "one of the"),
        (b'{"inputs": "YQ=="}', "application/json", False, 400, "list of items"),
        (b'{"inputs": []}', "application/json", False, 400, "no items"),
        (b'{"inputs": {}}', "application/json", False, 400, "one value"),
        (b'{"inputs": [["YQ==", "YQ=="]]}', "application/json", False, 400, "one value"),
        (b'{"inputs": [null]}', "application/json", False, 400, "base64"),
        (b'{"inputs": [1.5]}', "application/json", True, 400, "a text"),
        (b'{"inputs": ["Y"]}', "application/json", False, 400, "not valid base64"),
        ('{"inputs": ["ä"]}'.encode(), "application/json", False, 400, "not valid base64"),
        (b'{"inputs": ["\\ud83d"]}', "application/json", True, 400, "surrogate"),
        (b'{"inputs": ["a", "a", "a", "a"]}', "application/json", True, 413, "than 3 items"),
        (b"a" * 11, "text/plain", True, 413, "longer than 10 bytes"),
        (b'{"inputs": ["a", "bbbbbbbbbbb"]}', "application/json", True, 413, "than 10 bytes"),
    ],
)
def test_what_is_no_request_is_refused_in_a_sentence(body, kind, is_text, status, told):
    with pytest.raises(Refusal, match=told) as refused:
        read(body, kind, is_text)
    assert refused.value.status == status


def test_the_item_that_is_to_blame_is_named():
    with pytest.raises(Refusal) as refused:
        read({"inputs": [IN_BASE64[0], "?"]})
    assert refused.value.as_dict() == {"error": "the item is not valid base64", "item": 1}

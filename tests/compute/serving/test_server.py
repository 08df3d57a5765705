"""Models behind a real server."""

import base64
import http.client
import io
import json
import re
import signal
import socket
import time
from contextlib import suppress

import jsonschema
import mlflow
import numpy as np
import pandas as pd
import pytest
from fastapi.openapi.models import OpenAPI
from hostile_requests import hostile_requests
from PIL import Image
from serving_process import ROOT, ask, serving
from toy_project import PATIENCE_S, wait_for


def in_base64(contents):
    return [base64.b64encode(content).decode() for content in contents]


def test_two_hundred_items_are_answered_as_evaluate_computes_them(server, items, colours_model):
    asked = items[:200]
    scorer = mlflow.pyfunc.load_model(str(colours_model)).unwrap_python_model()
    expected = scorer.predict(None, pd.DataFrame({"contents": asked}))
    given = [server.score(content)[1]["predictions"][0] for content in asked[:50]]
    for start in range(50, 200, 25):
        status, answer = server.score({"inputs": in_base64(asked[start : start + 25])})
        assert status == 200
        given += answer["predictions"]
    assert [each["label"] for each in given] == expected["label"].tolist()
    rows = [[each["probabilities"] for each in given], expected["probabilities"].tolist()]
    np.testing.assert_allclose(*rows, atol=1e-5, rtol=0)
    assert [each["probability"] for each in given] == [max(row) for row in rows[0]]


def test_the_description_is_openapi_and_answers_keep_to_it(server, items):
    document = json.loads(server.ask("GET", "/openapi.json")[2])
    OpenAPI.model_validate(document)
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)

    def check(value, schema):
        jsonschema.validate(value, {**document, "$ref": f"#/components/schemas/{schema}"})

    request = {"dataframe_split": {"columns": ["x"], "data": [in_base64(items[:1])]}}
    check(request, "Items")
    check(server.score(request)[1], "Predictions")
    status, refused = server.score({"inputs": in_base64([items[0], b"GIF"])})
    assert str(status) in document["paths"]["/score"]["post"]["responses"]
    check(refused, "Refusal")
    check(json.loads(server.ask("GET", "/model")[2]), "Model")
    for path, methods in document["paths"].items():
        if "get" in methods:
            assert server.ask("GET", path)[0] == 200


def test_somebodys_model_of_texts_is_served_as_well(text_server):
    told = json.loads(text_server.ask("GET", "/model")[2])
    assert (told["name"], told["labels"]) == ("lengths", ["short", "long"])
    assert told["content_types"] == ["text/plain", "application/json"]
    status, answer = text_server.score("Grüße!".encode(), "text/plain; charset=utf-8")
    assert status == 200
    assert answer["predictions"][0]["label"] == "short"
    assert answer["predictions"][0]["probabilities"] == pytest.approx([0.7, 0.3])
    assert text_server.score({"inputs": ["a", "b" * 30]})[1]["predictions"][1]["label"] == "long"
    assert text_server.score(b"\xff", "text/plain")[0] == 400
    assert text_server.score(b"a" * 100_001, "text/plain")[0] == 413


def image(size, kind="PNG"):
    file = io.BytesIO()
    Image.new("RGB", size).save(file, kind)
    return file.getvalue()


def test_refusals_are_sentences(server, items, golden):
    png, good = items[0], in_base64(items[:1])[0]
    icon = b"\0\0\1\0\1\0"
    requests = {
        "truncated": (png[:-20], "image/png"),
        "no image": (b"hello", "image/jpeg"),
        "another format": (icon, "application/octet-stream"),
        "too many pixels": (image((8000, 4000)), "image/png"),
        "the second of two": ({"inputs": [good, "aGVsbG8="]}, ""),
        "too many items": ({"inputs": [good] * 33}, ""),
        "no item": ({"inputs": []}, ""),
        "another shape": ({"images": [good]}, ""),
        "another type": (b"<p>", "text/html"),
        "nothing": (b"", "image/png"),
        "too large": (b"\0" * (2**20 + 1), "image/png"),
        "too deep": (b"[" * 100_000, "application/json"),
    }
    lines = []
    for name, (body, kind) in requests.items():
        status, answer = server.score(body, kind)
        lines.append(f"{name}: {status} {json.dumps(answer)}")
    for method, path in (("GET", "/score"), ("GET", "/nothing"), ("POST", "/")):
        status, _, answer = server.ask(method, path)
        lines.append(f"{method} {path}: {status} {answer.decode()}")
    golden("refusals", "\n".join([*lines, ""]))


def test_a_thousand_hostile_requests_are_refused_and_nothing_breaks(server, items):
    statuses, connection = set(), server.connect()
    for method, path, body, kind in hostile_requests(1000):
        try:
            status, _, answer = ask(connection, method, path, body, kind)
        except http.client.HTTPException:  # what is no HTTP ends the connection
            connection.close()
            continue
        statuses.add(status)
        assert status < 500, (body[:100], kind, answer)
        assert b"Traceback" not in answer
        assert b'File "' not in answer
        assert "error" in json.loads(answer) or status == 200 or path == "/model"
    assert statuses <= {200, 400, 404, 405, 413, 415, 422}
    assert {400, 404, 405, 413, 415, 422} <= statuses
    assert server.events("fault") == []
    assert server.score(items[0])[0] == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"POST /score HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /score HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST /score HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nlong: " + b"a" * 100_000,
        b"POST /score HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nless",
        b"GET " + b"/a" * 50_000,
    ],
)
def test_what_is_no_http_ends_its_own_connection_alone(server, items, sent):
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as connection:
        answer = b""
        with suppress(ConnectionError):  # it need not hear all of that
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                answer += part
    assert b"Traceback" not in answer
    assert not answer or re.match(rb"HTTP/1.1 4\d\d ", answer)
    assert server.score(items[0])[0] == 200


def test_a_body_that_grows_too_large_is_refused_though_it_said_no_length(server):
    connection = server.connect()
    chunks = (b"\0" * 100_000 for _ in range(20))
    connection.request("POST", "/score", chunks, {"content-type": "image/png"}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_compressed_bodies_are_not_unpacked(server):
    connection = server.connect()
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    connection.request("POST", "/score", b"\x1f\x8b", headers)
    answer = connection.getresponse()
    assert (answer.status, json.load(answer)["error"]) == (
        415,
        "the body has a content encoding: send the body uncompressed",
    )
    connection.close()


def test_what_one_sends_is_in_no_log_and_each_request_is(server, items):
    secret = b"a-very-private-thing"
    time.sleep(1.1)  # the requests of other tests count for the lines of a second
    before = len(server.events("request"))
    server.score({"inputs": [secret.decode() + "?"]})
    server.score(b"\x89PNG" + secret, "image/png")
    server.ask("POST", f"/{secret.decode()}", secret, secret.decode())
    server.score(items[0])
    wait_for(lambda: len(server.events("request")) >= before + 3)
    requests = server.events("request")[before:]
    assert [(each["status"], each["items"]) for each in requests] == [(400, 0), (422, 1), (200, 1)]
    assert len({each["request"] for each in requests}) == 3
    written = "".join(server.lines)
    assert secret.decode() not in written
    assert base64.b64encode(secret).decode() not in written


def test_metrics_count_what_happened_and_prometheus_can_read_them(server, items):
    scored = server.metric('tfhub_blocks_requests_total{route="/score",status="200"}')
    computed = server.metric("tfhub_blocks_batch_items_sum")
    for _ in range(3):
        server.score({"inputs": in_base64(items[:4])})
    assert server.metric('tfhub_blocks_requests_total{route="/score",status="200"}') == scored + 3
    assert server.metric("tfhub_blocks_batch_items_sum") == computed + 12
    assert server.metric("tfhub_blocks_held_items") == 0
    _, headers, text = server.ask("GET", "/metrics")
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    sample = re.compile(r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+-]+')
    lines = text.decode().splitlines()
    assert all(line.startswith("# ") or sample.fullmatch(line) for line in lines)
    counts = [float(line.split()[-1]) for line in lines if "request_seconds_bucket" in line]
    assert counts == sorted(counts)
    assert counts[-1] == server.metric("tfhub_blocks_request_seconds_count")


def test_the_model_is_loaded_once_and_its_memory_stays(server, items):
    server.score(items[0])
    assert len(server.events("ready")) == 1
    first = server.metric("process_resident_memory_bytes")
    connection = server.connect()
    for content in (items * 9)[:2000]:
        assert ask(connection, "POST", "/score", content, "image/png")[0] == 200
    assert server.metric("process_resident_memory_bytes") < first + 30 * 2**20


def test_sigterm_lets_what_was_taken_be_answered_and_takes_nothing_more(colours_model, items):
    body = json.dumps({"inputs": in_base64(items[:32])}).encode()
    with serving(str(colours_model)) as server:
        connections = [server.connect() for _ in range(2)]
        for connection in connections:
            connection.request("POST", "/score", body, {"content-type": "application/json"})

        def taken():
            answered = 32 * len(server.events("request"))  # first, so that none counts twice
            return answered + server.metric("tfhub_blocks_held_items") >= 64

        wait_for(taken, poll_s=0.001)
        server.process.send_signal(signal.SIGTERM)
        answers = [connection.getresponse() for connection in connections]
        assert [answer.status for answer in answers] == [200, 200]
        assert [len(json.load(answer)["predictions"]) for answer in answers] == [32, 32]
        assert server.end(signal.SIGTERM) == 0
        assert server.events("stopped")
        with pytest.raises(ConnectionRefusedError):
            server.ask("GET", "/health/live")


def test_a_model_that_cannot_be_served_ends_the_process_in_one_line(tmp_path, golden):
    from serving_process import Server

    (tmp_path / "empty").mkdir()
    server = Server(str(tmp_path / "empty"))
    assert server.process.wait(120) == 2
    for thread in server._reading:
        thread.join()
    [told] = [line for line in server.lines if line.startswith("error: ")]
    golden("error_no_model", told.replace(str(tmp_path), "TMP").replace(str(ROOT), "ROOT"))

"""The OpenAPI description of a server, for the model that it serves."""

# decision 41

from collections.abc import Mapping
from typing import Any

from tfhub_blocks import __version__
from tfhub_blocks.compute.serving.bodies import JSON_TYPE, SHAPES, TEXT_TYPE

_ITEM = "A text, or a file's bytes in base64."
_ROWS = {"type": "array", "items": {"type": "array", "minItems": 1, "maxItems": 1}}
_TABLE = {"type": "object", "required": ["data"], "properties": {"data": _ROWS}}
_LIST = {"type": "array", "minItems": 1, "items": {"type": "string", "description": _ITEM}}
_RECORDS = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "object", "minProperties": 1, "maxProperties": 1},
}
_SHAPES = {
    "inputs": {},
    "instances": {},
    "dataframe_split": _TABLE,
    "dataframe_records": _RECORDS,
    "input_data": {},
}
REFUSALS = {
    400: "The body does not match its content type, or has none of the shapes",
    408: "The body arrived too slowly",
    413: "The body, a text or the number of items is too large",
    415: "The model does not accept this content type",
    422: "An item cannot be decoded, or is larger than allowed",
    431: "There are too many headers, or they are too large",
    429: "Too many requests are waiting",
    500: "The server failed; its log has the details",
    503: "The answer would be too late, or the server is starting or stopping",
}


def openapi_document(name: str, described: Mapping[str, Any]) -> dict[str, Any]:
    """Return an OpenAPI 3.1 document.

    Args:
        name: The name of the model.
        described: The result of ``Program.describe``.
    """
    score = {
        "summary": "Label one or more items",
        "description": f"At most {described['limits']['items']} items and "
        f"{described['limits']['body_bytes']} bytes. The answers are in the order of the items. If "
        "an item has no answer, the complete request is refused.",
        "operationId": "score",
        "requestBody": {
            "required": True,
            "content": {kind: _taken(kind) for kind in described["content_types"]},
        },
        "responses": {
            "200": _answer("A prediction for each item", "Predictions"),
            **{str(status): _refused(status) for status in REFUSALS},
        },
    }
    gets = {
        "/model": ("The inputs, labels and limits of the model", _json("Model"), True),
        "/health": ("Status 200 if the process answers", _json("Status"), False),
        "/health/live": ("Status 200 if the process answers", _json("Status"), False),
        "/health/ready": ("Status 200 if the server accepts requests", _json("Status"), True),
        "/metrics": ("Metrics in the text format of Prometheus", _text("text/plain"), False),
        "/openapi.json": ("This description", {JSON_TYPE: {"schema": {"type": "object"}}}, True),
        "/": ("A page to try the model on", _text("text/html"), False),
    }
    paths = {path: {"get": _got(path, *details)} for path, details in gets.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": name, "version": __version__},
        "paths": {"/score": {"post": score}, **paths},
        "components": {"schemas": _schemas(described["labels"])},
    }


def _got(path: str, summary: str, content: dict[str, Any], may_refuse: bool) -> dict[str, Any]:
    refused = {"503": _refused(503)} if may_refuse else {}
    return {
        "summary": summary,
        "operationId": path.strip("/").replace("/", "_").replace(".", "_") or "page",
        "responses": {"200": {"description": summary, "content": content}, **refused},
    }


def _taken(kind: str) -> dict[str, Any]:
    if kind == JSON_TYPE:
        return {"schema": {"$ref": "#/components/schemas/Items"}}
    return {"schema": {"type": "string"} if kind == TEXT_TYPE else {}}


def _answer(description: str, schema: str) -> dict[str, Any]:
    return {"description": description, "content": _json(schema)}


def _refused(status: int) -> dict[str, Any]:
    answer = _answer(REFUSALS[status], "Refusal")
    if status in (429, 503):
        header = {"description": "Seconds to wait", "schema": {"type": "integer"}}
        answer["headers"] = {"Retry-After": header}
    return answer


def _json(schema: str) -> dict[str, Any]:
    return {JSON_TYPE: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _text(kind: str) -> dict[str, Any]:
    return {kind: {"schema": {"type": "string"}}}


def _schemas(labels: list[str]) -> dict[str, Any]:
    numbers = {"type": "array", "items": {"type": "number"}}
    strings = {"type": "array", "items": {"type": "string"}}
    prediction = {
        "label": {"type": "string", **({"enum": labels} if labels else {})},
        "probability": {"type": "number"},
        "probabilities": {**numbers, "description": "In the order of the model's labels."},
    }
    either = {"anyOf": [_LIST, _RECORDS, _ROWS, _TABLE]}
    return {
        "Items": {
            "type": "object",
            "description": "The items under one of the keys.",
            "oneOf": [{"required": [key]} for key in SHAPES],
            "properties": {key: schema or either for key, schema in _SHAPES.items()},
        },
        "Predictions": _object(
            predictions={"type": "array", "items": _object(**prediction)},
        ),
        "Refusal": {
            "type": "object",
            "required": ["error"],
            "properties": {
                "error": {"type": "string", "description": "The reason, as a sentence."},
                "item": {"type": "integer", "minimum": 0, "description": "Index of the item."},
            },
        },
        "Model": _object(
            name={"type": "string"},
            modality={"type": "string"},
            content_types=strings,
            labels=strings,
            runtime={"type": "string"},
            limits={"type": "object", "additionalProperties": {"type": "number"}},
        ),
        "Status": _object(status={"enum": ["alive", "ready"]}),
    }


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}

"""The entry script of an online endpoint of Azure ML: ``init`` once, then ``run`` per request.

Azure ML's inference server passes the complete request if it can, so a file arrives unchanged and
a refusal keeps its status. Other servers pass only the text of the body, which is JSON.
"""

# decisions 41 and 48

import os
from pathlib import Path
from typing import Any

from tfhub_blocks.compute.serving.bodies import JSON_TYPE
from tfhub_blocks.compute.serving.limits import usual_limits
from tfhub_blocks.compute.serving.logs import log, log_fault
from tfhub_blocks.compute.serving.refusals import Refusal
from tfhub_blocks.compute.serving.scoring_program import Program, open_program
from tfhub_blocks.records.base.errors import BlocksError

MODEL_VARIABLE = "AZUREML_MODEL_DIR"
# Set by `deploy online --trust-code`.
TRUST_VARIABLE = "TFHUB_BLOCKS_TRUST_CODE"
_MARKS = ("MLmodel", "encoder.toml")
_program: Program | None = None

try:
    from azureml_inference_server_http.api.aml_request import rawhttp
    from azureml_inference_server_http.api.aml_response import AMLResponse
except ImportError:  # another server than Azure ML's
    AMLResponse = None

    def rawhttp(function: Any) -> Any:
        """Return the function itself."""
        return function


def init() -> None:
    """Load the model in ``AZUREML_MODEL_DIR``, or in a folder in that directory.

    Raises:
        BlocksError: The directory contains no model, or the model cannot run on this machine.
    """
    global _program
    folder = _model_folder(Path(os.environ.get(MODEL_VARIABLE, ".")))
    trust_code = os.environ.get(TRUST_VARIABLE) == "true"
    _program = open_program(folder, usual_limits(folder), "init", trust_code=trust_code)
    log("ready")


@rawhttp  # type: ignore[untyped-decorator]
def run(request: Any) -> Any:
    """Return the answer to a request: predictions, or the reason for their absence."""
    assert _program is not None  # noqa: S101 - init comes first
    is_whole = hasattr(request, "get_data")
    body = request.get_data() if is_whole else request
    kind = request.headers.get("content-type", JSON_TYPE) if is_whole else JSON_TYPE
    try:
        answers = _program.submit(body.encode() if isinstance(body, str) else body, kind)
        given = _program.predictions(answers)
    except Refusal as refusal:
        return _response(refusal.as_dict(), refusal.status, refusal.headers)
    except Exception as error:
        log_fault("fault", error)
        return _response({"error": "the server failed; its log has the details"}, 500, {})
    return given


def _response(body: dict[str, Any], status: int, headers: dict[str, str]) -> Any:
    if AMLResponse is None:
        return body
    return AMLResponse(body, status, headers, json_str=True)


def _model_folder(folder: Path) -> Path:
    """Return the model's folder: Azure ML mounts a registered model in a folder of its name."""
    found = [path for path in (folder, *sorted(folder.glob("*/"))) if _is_model(path)]
    if not found:
        raise BlocksError(
            "init",
            MODEL_VARIABLE,
            f"{folder} contains no model",
            "the folder of a model, or a directory with such a folder",
            "Deploy a model of step train_head, fine_tune or check_latency",
        )
    return found[0]


def _is_model(folder: Path) -> bool:
    return any((folder / mark).is_file() for mark in _MARKS)

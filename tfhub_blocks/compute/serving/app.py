"""The HTTP application: routes, statuses, and the metrics and the log of each request."""

# decisions 41 and 72

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from tfhub_blocks.compute.serving.connections import HEADER_BYTES, HEADER_COUNT, Guard
from tfhub_blocks.compute.serving.limits import ServingLimits
from tfhub_blocks.compute.serving.logs import log, log_fault
from tfhub_blocks.compute.serving.openapi import openapi_document
from tfhub_blocks.compute.serving.page import PAGE, POLICY
from tfhub_blocks.compute.serving.prometheus import MEDIA_TYPE, ServerMetrics
from tfhub_blocks.compute.serving.refusals import Refusal, too_many

if TYPE_CHECKING:
    from tfhub_blocks.compute.serving.scoring_program import Program

# The number of requests whose bodies are being received, in addition to waiting items.
READING = 32

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(eq=False)
class Service:
    """The state of the application: its program, from the end of loading until the server stops."""

    name: str
    limits: ServingLimits
    guard: Guard
    metrics: ServerMetrics = field(default_factory=ServerMetrics)
    program: "Program | None" = None
    stopping: bool = False
    requests: int = 0

    @property
    def ready(self) -> bool:
        """True if the server accepts requests."""
        return self.program is not None and not self.stopping

    def opened(self) -> "Program":
        """Return the program.

        Raises:
            Refusal: The model is not loaded yet, or the server is stopping.
        """
        if self.program is None:
            raise Refusal(503, "the model is still loading: send the request again later")
        if self.stopping:
            raise Refusal(503, "the server is stopping: send the request again later")
        return self.program


def application(service: Service) -> Starlette:
    """Return the application with all routes of a service."""

    async def score(request: Request) -> Response:
        program = service.opened()
        # Bodies take memory too, so the limits are checked before a body is read.
        if program.is_full or service.requests >= service.limits.waiting + READING:
            raise too_many()
        service.requests += 1
        try:
            request.state.reads = True
            body = await _body(request, service.limits)
            answers = program.submit(body, request.headers.get("content-type", ""))
            del body
            request.state.items = len(answers)
            await asyncio.gather(*map(asyncio.wrap_future, answers), return_exceptions=True)
        finally:
            service.requests -= 1
        return JSONResponse(program.predictions(answers))

    async def model(_: Request) -> Response:
        return JSONResponse({"name": service.name, **service.opened().describe()})

    async def openapi(_: Request) -> Response:
        program = service.opened()
        return JSONResponse(openapi_document(service.name, program.describe()))

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(_: Request) -> Response:
        service.opened()
        return JSONResponse({"status": "ready"})

    async def metrics(_: Request) -> Response:
        held = service.program.held if service.program else 0
        guard = service.guard
        text = service.metrics.text(service.ready, held, guard.count, guard.closed)
        return Response(text, media_type=MEDIA_TYPE)

    async def page(_: Request) -> Response:
        return HTMLResponse(PAGE, headers={"content-security-policy": POLICY})

    gets = {
        "/": page,
        "/model": model,
        "/openapi.json": openapi,
        "/metrics": metrics,
        "/health": live,
        "/health/live": live,
        "/health/ready": ready,
    }
    routes = [Route(path, _watched(service, path, handler)) for path, handler in gets.items()]
    routes.append(Route("/score", _watched(service, "/score", score), methods=["POST"]))
    app = Starlette(routes=routes, exception_handlers={HTTPException: _not_here(service)})
    app.router.redirect_slashes = False
    return app


def _watched(service: Service, path: str, handler: Handler) -> Handler:
    """Return a handler that counts and logs requests, and answers faults with a sentence."""

    async def watched(request: Request) -> Response:
        begun, name = time.monotonic(), secrets.token_hex(8)
        request.state.items, request.state.reads = 0, False
        try:
            _check_headers(request)
            response = await handler(request)
        except Refusal as refusal:
            response = JSONResponse(refusal.as_dict(), refusal.status, refusal.headers)
        except ClientDisconnect:
            response = JSONResponse({"error": "the connection was closed"}, 400)
        except Exception as error:
            log_fault("fault", error, request=name, path=path)
            sentence = f"the server failed; its log has the details of request {name}"
            response = JSONResponse({"error": sentence}, 500)
        seconds = time.monotonic() - begun
        service.metrics.add_request(path, response.status_code, seconds)
        if path == "/score":
            log(
                "request",
                request=name,
                status=response.status_code,
                items=request.state.items,
                ms=round(1000 * seconds, 2),
            )
        if "expect" in request.headers and not request.state.reads:
            # The client may or may not send the body now; what follows could be either.
            response.headers["connection"] = "close"
        response.headers["x-request-id"] = name
        response.headers["x-content-type-options"] = "nosniff"
        return response

    return watched


def _not_here(service: Service) -> Any:
    async def answer(_: Request, error: HTTPException) -> Response:
        service.metrics.add_request("other", error.status_code, 0.0)
        fault = "does not exist" if error.status_code == 404 else "does not accept this method"
        sentence = f"this path {fault}; GET /openapi.json lists all paths and methods"
        return JSONResponse({"error": sentence}, error.status_code, error.headers)

    return answer


def _check_headers(request: Request) -> None:
    """Check the number and the size of the headers.

    Raises:
        Refusal: The request has too many headers, or they are too large.
    """
    headers = request.headers.raw
    if len(headers) > HEADER_COUNT:
        raise Refusal(431, f"the request has more than {HEADER_COUNT} headers")
    size = len(request.scope["raw_path"]) + len(request.scope["query_string"])
    if size + sum(len(name) + len(value) for name, value in headers) > HEADER_BYTES:
        raise Refusal(431, f"the headers are larger than {HEADER_BYTES} bytes")


async def _body(request: Request, limits: ServingLimits) -> bytes:
    """Return the body of a request.

    Raises:
        Refusal: The body is too large, compressed, or too slow.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "the body has a content encoding: send the body uncompressed")
    too_large = Refusal(413, f"the body is larger than {limits.body_bytes} bytes")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limits.body_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body_bytes:
                    raise too_large
    except TimeoutError as error:
        raise Refusal(408, f"the body took more than {limits.body_timeout_s:g} s") from error
    return bytes(body)

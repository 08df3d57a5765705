"""The HTTP application: routes, statuses, and what is counted and logged of each request."""

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

from tfhub_blocks.compute.serving.limits import ServingLimits
from tfhub_blocks.compute.serving.logs import log, log_fault
from tfhub_blocks.compute.serving.openapi import openapi_document
from tfhub_blocks.compute.serving.page import PAGE, POLICY
from tfhub_blocks.compute.serving.prometheus import MEDIA_TYPE, ServerMetrics
from tfhub_blocks.compute.serving.refusals import Refusal, too_many

if TYPE_CHECKING:
    from tfhub_blocks.compute.serving.scoring_program import Program

# Requests whose bodies may be under way besides those that wait.
READING = 32

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(eq=False)
class Service:
    """What the application serves: the program once it is there, and until it stops."""

    name: str
    limits: ServingLimits
    metrics: ServerMetrics = field(default_factory=ServerMetrics)
    program: "Program | None" = None
    stopping: bool = False
    requests: int = 0

    @property
    def ready(self) -> bool:
        """Whether requests are taken."""
        return self.program is not None and not self.stopping

    def opened(self) -> "Program":
        """The program.

        Raises:
            Refusal: It is not there yet, or stops.
        """
        if self.program is None:
            raise Refusal(503, "the model is being loaded: send it again later")
        if self.stopping:
            raise Refusal(503, "the server is stopping: send it again")
        return self.program


def application(service: Service) -> Starlette:
    """The routes of a service."""

    async def score(request: Request) -> Response:
        program = service.opened()
        # Bodies are held, too, so there are bounds before they are read.
        if program.is_full or service.requests >= service.limits.waiting + READING:
            raise too_many()
        service.requests += 1
        try:
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
        text = service.metrics.text(service.ready, held)
        return Response(text, media_type=MEDIA_TYPE)

    async def page(_: Request) -> Response:
        return HTMLResponse(PAGE, headers={"content-security-policy": POLICY})

    gets = {
        "/": page,
        "/model": model,
        "/openapi.json": openapi,
        "/metrics": metrics,
        "/health/live": live,
        "/health/ready": ready,
    }
    routes = [Route(path, _watched(service, path, handler)) for path, handler in gets.items()]
    routes.append(Route("/score", _watched(service, "/score", score), methods=["POST"]))
    app = Starlette(routes=routes, exception_handlers={HTTPException: _not_here(service)})
    app.router.redirect_slashes = False
    return app


def _watched(service: Service, path: str, handler: Handler) -> Handler:
    """A handler that is counted and logged, and whose faults become sentences."""

    async def watched(request: Request) -> Response:
        begun, name = time.monotonic(), secrets.token_hex(8)
        request.state.items = 0
        try:
            response = await handler(request)
        except Refusal as refusal:
            response = JSONResponse(refusal.as_dict(), refusal.status, refusal.headers)
        except ClientDisconnect:
            response = JSONResponse({"error": "the connection was closed"}, 400)
        except Exception as error:
            log_fault("fault", error, request=name, path=path)
            told = f"the server failed; its log says more of request {name}"
            response = JSONResponse({"error": told}, 500)
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
        response.headers["x-request-id"] = name
        response.headers["x-content-type-options"] = "nosniff"
        return response

    return watched


def _not_here(service: Service) -> Any:
    async def answer(_: Request, error: HTTPException) -> Response:
        service.metrics.add_request("other", error.status_code, 0.0)
        what = "nothing" if error.status_code == 404 else "no such method"
        sentence = f"there is {what} here; GET /openapi.json says what there is"
        return JSONResponse({"error": sentence}, error.status_code, error.headers)

    return answer


async def _body(request: Request, limits: ServingLimits) -> bytes:
    """The body of a request.

    Raises:
        Refusal: It is too large, compressed, or too slow.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "a body is taken as it is, without a content encoding")
    too_large = Refusal(413, f"a body has {limits.body_bytes} bytes at most")
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

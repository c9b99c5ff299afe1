"""The service for clients of OpenAI's API: POST /v1/embeddings, GET /v1/models and GET /health.

The application is ``Gate`` around a few routes. The gate checks who asks, and makes an answer of whatever goes wrong.
"""

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ...log import log
from .http_errors import ApiError, answer_to, busy, unavailable
from .http_request import MAX_BODY_BYTES, parse_embeddings
from .http_vectors import HttpModel, vectors_body

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .http_security import Access

MAX_ACTIVE = 64
"""Requests for vectors at a time, so that their bodies and answers stay within half a gigabyte or so."""
BODY_S = 30.0
"""How long a body may take to arrive: on one machine, a client that needs longer has stopped."""
DRAIN_BYTES = 4 * MAX_BODY_BYTES
"""Bytes of a body that are read and dropped, so that a client that sends somewhat too much learns why it is refused."""


Models = Mapping[str, HttpModel | None]
"""Models by the names that clients use; None is one that still loads. May be filled later."""


def make_app(models: Models, access: "Access") -> Starlette:
    """Return the application.

    Args:
        models: what is served; looked at anew by every request. While it is empty, everything still loads.
        access: who may ask.
    """
    endpoints = _Endpoints(models)
    app = Starlette(
        routes=[
            Route("/v1/embeddings", endpoints.embeddings, methods=["POST"]),
            Route("/v1/models", endpoints.list_models, methods=["GET"]),
            Route("/v1/models/{name:path}", endpoints.show_model, methods=["GET"]),
            Route("/health", endpoints.health, methods=["GET"]),
        ],
        middleware=[Middleware(Gate, access=access)],
        exception_handlers={HTTPException: _no_such_endpoint},
    )
    app.router.redirect_slashes = False
    return app


class Gate:
    """Lets only those in who may, and answers where something fails, without a traceback."""

    def __init__(self, app: "ASGIApp", access: "Access") -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)  # no routes but HTTP's: refused there
            return
        started = False

        async def watched(message: "Message") -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            port = (scope.get("server") or (None, None))[1]
            self._access.check(scope["headers"], port, token_needed=scope["path"] != "/health")
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            return  # nobody is left to answer
        except Exception as error:  # noqa: BLE001 - whatever it is, its message may quote a text: nobody else may log it
            answer = answer_to(error)
            if answer.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                log("error", "A request over HTTP failed: %s", _kinds(error))
            if not started:
                await _json(answer.body, answer.status, answer.headers)(scope, receive, send)


class _Endpoints:
    def __init__(self, models: Models) -> None:
        self._models = models
        self._active = 0

    async def health(self, _request: Request) -> Response:
        ready = bool(self._models) and None not in self._models.values()
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return _json(b'{"status": "ready"}' if ready else b'{"status": "loading"}', status)

    async def list_models(self, _request: Request) -> Response:
        listed = [_described(name) for name, model in dict(self._models).items() if model is not None]
        return _json(json.dumps({"object": "list", "data": listed}).encode())

    async def show_model(self, request: Request) -> Response:
        name = request.path_params["name"]
        self._find(name)
        return _json(json.dumps(_described(name)).encode())

    async def embeddings(self, request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise ApiError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be sent as Content-Type: application/json."
            )
        if self._active >= MAX_ACTIVE:
            raise busy()
        self._active += 1
        try:
            asked = parse_embeddings(await _body(request))
            model = self._find(asked.model)
            if asked.dimensions not in (None, model.dimension):
                raise ApiError(
                    HTTPStatus.BAD_REQUEST,
                    f"This model's vectors have {model.dimension} numbers, and cannot be made longer or shorter.",
                    param="dimensions",
                )
            return _json(await vectors_body(request, asked, model))
        finally:
            self._active -= 1

    def _find(self, name: str) -> HttpModel:
        models = dict(self._models)
        if name in models or not models:
            model = models.get(name)
            if model is None:
                raise unavailable("The model is still loading. Ask again in a moment.", "model_loading")
            return model
        raise ApiError(
            HTTPStatus.NOT_FOUND,
            f"No such model is served here, but {' and '.join(sorted(models))}.",
            param="model",
            code="model_not_found",
        )


async def _body(request: Request) -> bytes:
    length = request.headers.get("content-length", "0")
    size = int(length) if length.isdecimal() else 0
    parts = []
    if size <= DRAIN_BYTES:
        size = 0
        try:
            async with asyncio.timeout(BODY_S):
                async for part in request.stream():
                    size += len(part)
                    if size <= MAX_BODY_BYTES:
                        parts.append(part)
                    elif size > DRAIN_BYTES:
                        break
        except TimeoutError:
            message = f"The body did not arrive within {BODY_S:g} s."
            raise ApiError(HTTPStatus.REQUEST_TIMEOUT, message, headers={"Connection": "close"}) from None
    if size > MAX_BODY_BYTES:
        raise ApiError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The body has more than {MAX_BODY_BYTES} bytes. Send the texts in parts.",
            headers={"Connection": "close"},
        )
    return b"".join(parts)


def _described(name: str) -> dict[str, object]:
    # OpenAI's clients expect a time of creation; nobody knows one.
    return {"id": name, "object": "model", "created": 0, "owned_by": "local"}


def _json(body: bytes, status: int = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response:
    fixed = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(body, status, {**fixed, **(headers or {})}, "application/json")


async def _no_such_endpoint(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.NOT_FOUND
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    answer = ApiError(
        status,
        "There are POST /v1/embeddings, GET /v1/models, GET /v1/models/NAME and GET /health.",
        code="unknown_endpoint",
    )
    return _json(answer.body, answer.status, headers)


def _kinds(error: BaseException | None) -> str:
    """Return the types of an error and its causes, without their messages, which may quote a text."""
    kinds: list[str] = []
    while error is not None and len(kinds) < 10:
        kinds.append(type(error).__name__)
        error = error.__cause__
    return " from ".join(kinds)

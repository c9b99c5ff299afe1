"""The service for clients of OpenAI's API: POST /v1/embeddings, GET /v1/models and GET /health.

The application is ``Gate`` around a few routes. The gate checks the client, and turns every failure into an answer.
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

from ...runtime.log import log
from .http_errors import ApiError, answer_to, busy, unavailable
from .http_request import MAX_BODY_BYTES, parse_embeddings
from .http_vectors import HttpModel, answer_parts, answer_size
from .off_loop import off_loop_if_large
from .room import Room, memory_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .http_connection import HttpConnection
    from .http_security import Access
    from .room import Held

MAX_ACTIVE = 64
"""Concurrent requests for vectors; limits their bodies and answers to about half a gigabyte."""
BODY_S = 30.0
"""How long a body may take to arrive: on the same machine, a client that needs longer has stopped."""
_FIXED_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_LONGEST_NUMBER = 20
"""Digits of a length that are parsed."""

Models = Mapping[str, HttpModel | None]
"""Models by the names that clients use; None for a model that is still loading. May be filled later."""


def make_app(models: Models, access: "Access", room: Room | None = None) -> Starlette:
    """Return the application.

    Args:
        models: the models to serve; every request looks them up again. While it is empty, everything is still loading.
        access: who may send requests.
        room: for the bytes of requests and answers; None for a separate one.
    """
    endpoints = _Endpoints(models, room or Room())
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
    """Lets in only authorised requests, and answers failures without a traceback."""

    def __init__(self, app: "ASGIApp", access: "Access") -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)  # the app has only HTTP routes and refuses others
            return
        started = False
        connection: HttpConnection | None = scope.get("state", {}).get("connection")

        async def watched(message: "Message") -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            port = (scope.get("server") or (None, None))[1]
            token_needed = scope["path"] != "/health"
            self._access.check(scope["headers"], port, token_needed=token_needed)
            if connection is not None and token_needed and self._access.token is not None:
                connection.show_token()
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            return  # there is no client left to answer
        except Exception as error:  # noqa: BLE001 - its message may quote a text, so nothing else may log it
            answer = answer_to(error)
            if answer.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                log("error", "A request over HTTP failed: %s", _kinds(error))
            if not started:
                # Nothing will read the rest of a body, so the connection cannot go on.
                last = {"Connection": "close"} if connection is not None and connection.is_sending else {}
                await _json(answer.body, answer.status, answer.headers | last)(scope, receive, send)


class _Endpoints:
    def __init__(self, models: Models, room: Room) -> None:
        self._models = models
        self._room = room
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
        return _Embeddings(self, request)

    async def embed(self, request: Request, send: "Send") -> None:
        """Answer with vectors. Their room is released once the client has taken them."""
        if self._active >= MAX_ACTIVE:
            raise busy()
        self._active += 1
        try:
            with self._room.hold() as held:
                body = await _body(request, held)
                asked = await off_loop_if_large(len(body), parse_embeddings, body)
                model = self._find(asked.model)
                if asked.dimensions not in (None, model.dimension):
                    raise ApiError(
                        HTTPStatus.BAD_REQUEST,
                        f"This model's vectors have {model.dimension} numbers; other lengths are not supported.",
                        param="dimensions",
                    )
                del body
                held.change(memory_of(asked.texts) + answer_size(asked, model))
                await _send_parts(send, await answer_parts(request, asked, model))
        finally:
            self._active -= 1

    def _find(self, name: str) -> HttpModel:
        models = dict(self._models)
        if name in models or not models:
            model = models.get(name)
            if model is None:
                raise unavailable("The model is still loading. Try again in a moment.", "model_loading")
            return model
        raise ApiError(
            HTTPStatus.NOT_FOUND,
            f"This service does not have that model; it has {' and '.join(sorted(models))}.",
            param="model",
            code="model_not_found",
        )


class _Embeddings(Response):
    """The answer with vectors; ``embed`` holds the room for it and sends it."""

    def __init__(self, endpoints: _Endpoints, request: Request) -> None:
        super().__init__()
        self._endpoints = endpoints
        self._request = request

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:  # noqa: ARG002
        await self._endpoints.embed(self._request, send)


async def _body(request: Request, held: "Held") -> bytearray:
    length = request.headers.get("content-length", "")
    size = int(length) if length.isdecimal() and len(length) < _LONGEST_NUMBER else 0
    if size > MAX_BODY_BYTES or len(length) >= _LONGEST_NUMBER:
        raise _too_long()
    held.change(size)
    body = bytearray()  # not a list of parts: joining them would need the memory twice
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                if len(body) + len(part) > MAX_BODY_BYTES:
                    raise _too_long()
                held.change(max(size, len(body) + len(part)))
                body += part
    except TimeoutError:
        raise ApiError(
            HTTPStatus.REQUEST_TIMEOUT,
            f"The body did not arrive within {BODY_S:g} s.",
            headers={"Connection": "close"},
        ) from None
    return body


def _too_long() -> ApiError:
    return ApiError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"The body has more than {MAX_BODY_BYTES} bytes. Send the texts in several requests.",
        headers={"Connection": "close"},
    )


async def _send_parts(send: "Send", parts: list[bytes]) -> None:
    """Send an answer piece by piece, so that it is not copied as a whole for a slow client."""
    headers = {**_FIXED_HEADERS, "Content-Type": "application/json", "Content-Length": str(sum(map(len, parts)))}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": int(HTTPStatus.OK), "headers": raw})
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _described(name: str) -> dict[str, object]:
    # OpenAI's clients expect a time of creation, which is unknown.
    return {"id": name, "object": "model", "created": 0, "owned_by": "local"}


def _json(body: bytes, status: int = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, {**_FIXED_HEADERS, **(headers or {})}, "application/json")


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

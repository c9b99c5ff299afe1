"""From texts to the answer's JSON, part by part."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request

from ...errors import LoaderError, ServiceProtocolError, ServiceTimeoutError
from ...runtime.log import log
from ..protocol import MAX_TEXTS
from .http_request import EmbeddingsRequest
from .off_loop import off_loop

if TYPE_CHECKING:
    from ...contract import TextKind

DEADLINE_S = 600.0
"""How long one request may take: as long as OpenAI's own clients wait."""

_BYTES_OF_A_NUMBER = 26
"""A float32 in JSON has at most 24 characters, such as -1.1754943508222875e-38, plus a comma and a space."""
_BYTES_OF_AN_ITEM = 80
"""The bytes around a vector."""


@dataclass(frozen=True)
class HttpModel:
    """A model as the HTTP side sees it.

    Attributes:
        name: its name in messages.
        dimension: length of a vector.
        embed: returns the vectors of 1 to 64 texts of a kind within a number of seconds, as little-endian float32;
            raises ServiceBusyError, ServiceTimeoutError, ServiceUnavailableError or ServiceRefusedError.
        count_tokens: returns how many tokens a text has, or raises LoaderError; None to skip counting. Called in
            another thread.
    """

    name: str
    dimension: int
    embed: "Callable[[list[str], TextKind, float], Awaitable[bytes]]"
    count_tokens: Callable[[str], int] | None = None


def answer_size(asked: EmbeddingsRequest, model: HttpModel) -> int:
    """Return the maximum size of the answer in bytes."""
    vector = 16 * (model.dimension + 2) // 3 if asked.base64 else _BYTES_OF_A_NUMBER * model.dimension
    return len(asked.texts) * (vector + _BYTES_OF_AN_ITEM)


async def answer_parts(request: Request, asked: EmbeddingsRequest, model: HttpModel) -> list[bytes]:
    """Return the JSON that answers POST /v1/embeddings, in pieces.

    Raises:
        ServiceError: from the model's ``embed``; or DEADLINE_S have passed, or it returned something else.
        ClientDisconnect: the client left meanwhile.
    """
    items: list[bytes] = []
    tokens: int | None = 0
    done = 0
    async for texts, vectors in _parts(request, asked, model):
        # In another thread, and part by part: the event loop has other clients.
        items.append(await off_loop(_items, done, vectors, model.dimension, asked.base64))
        done += len(texts)
        if tokens is not None:
            tokens = await off_loop(_count, model, texts, tokens)
    usage = f'"usage": {{"prompt_tokens": {tokens or 0}, "total_tokens": {tokens or 0}}}, "data": ['
    head = f'{{"object": "list", "model": {json.dumps(asked.model)}, {usage}'
    return [head.encode(), *items, b"]}"]


async def _parts(
    request: Request, asked: EmbeddingsRequest, model: HttpModel
) -> AsyncIterator[tuple[list[str], bytes]]:
    now = asyncio.get_running_loop().time
    end_s = now() + DEADLINE_S
    for start in range(0, len(asked.texts), MAX_TEXTS):
        if await request.is_disconnected():
            raise ClientDisconnect
        if now() >= end_s:
            raise ServiceTimeoutError(f"The vectors were not ready within {DEADLINE_S:g} s.")
        texts = list(asked.texts[start : start + MAX_TEXTS])
        vectors = await model.embed(texts, asked.kind, end_s - now())
        if len(vectors) != 4 * model.dimension * len(texts):
            raise ServiceProtocolError(f"{model.name} returned {len(vectors)} bytes for {len(texts)} vectors.")
        yield texts, vectors


def _items(start: int, vectors: bytes, dimension: int, base64: bool) -> bytes:
    """Return the objects of some vectors, with a comma before each except the very first."""
    found = (
        _item(start + index, vector[0], base64)
        for index, vector in enumerate(Struct(f"{4 * dimension}s").iter_unpack(vectors))
    )
    return (b"," if start else b"") + b",".join(found)


def _count(model: HttpModel, texts: list[str], before: int) -> int | None:
    """Return the number of tokens including those of these texts, or None if they cannot be counted.

    The vectors are ready by then and are not withheld because of a number that hardly anybody reads.
    """
    if model.count_tokens is None:
        return None
    try:
        return before + sum(map(model.count_tokens, texts))
    except LoaderError as error:
        log("info", "Tokens of a request over HTTP were not counted: %s", type(error).__name__)
        return None


def _item(index: int, vector: bytes, base64: bool) -> bytes:
    if base64:
        value = b'"' + b64encode(vector) + b'"'
    else:
        value = json.dumps(Struct(f"<{len(vector) // 4}f").unpack(vector), allow_nan=False).encode()
    return b'{"object": "embedding", "index": %d, "embedding": %s}' % (index, value)

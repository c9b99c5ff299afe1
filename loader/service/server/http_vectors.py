"""From texts to the answer's JSON, a part at a time."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request

from ...errors import ServiceProtocolError, ServiceTimeoutError
from ..protocol import MAX_TEXTS
from .http_request import EmbeddingsRequest

if TYPE_CHECKING:
    from ...engines.base import TextKind

DEADLINE_S = 600.0
"""How long one request may take: as long as OpenAI's own clients wait."""


@dataclass(frozen=True)
class HttpModel:
    """A model as the HTTP side sees it.

    Attributes:
        name: what messages call it.
        dimension: length of a vector.
        embed: returns the vectors of 1 to 64 texts of a kind within so many seconds, as little-endian float32; raises
            ServiceBusyError, ServiceTimeoutError, ServiceUnavailableError or ServiceRefusedError.
        count_tokens: returns how many tokens a text has, or None where nobody counts; called in another thread.
    """

    name: str
    dimension: int
    embed: "Callable[[list[str], TextKind, float], Awaitable[bytes]]"
    count_tokens: Callable[[str], int] | None = None


async def vectors_body(request: Request, asked: EmbeddingsRequest, model: HttpModel) -> bytes:
    """Return the JSON that answers POST /v1/embeddings.

    Raises:
        ServiceError: the model's, from its ``embed``; or DEADLINE_S are over, or it returned something else.
        ClientDisconnect: the client went away meanwhile.
    """
    items: list[bytes] = []
    tokens = 0
    async for texts, vectors in _parts(request, asked, model):
        # Written part by part, as whole answers would keep the service's other clients waiting.
        for vector in Struct(f"{4 * model.dimension}s").iter_unpack(vectors):
            items.append(_item(len(items), vector[0], asked.base64))
        if model.count_tokens is not None:
            tokens += await asyncio.to_thread(sum, map(model.count_tokens, texts))
    head = f'{{"object": "list", "model": {json.dumps(asked.model)}, '
    usage = f'"usage": {{"prompt_tokens": {tokens}, "total_tokens": {tokens}}}, "data": ['
    return b"".join((head.encode(), usage.encode(), b",".join(items), b"]}"))


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
            raise ServiceProtocolError(f"{len(vectors)} bytes are not {len(texts)} vectors of {model.name}.")
        yield texts, vectors


def _item(index: int, vector: bytes, base64: bool) -> bytes:
    if base64:
        value = b'"' + b64encode(vector) + b'"'
    else:
        value = json.dumps(Struct(f"<{len(vector) // 4}f").unpack(vector), allow_nan=False).encode()
    return b'{"object": "embedding", "index": %d, "embedding": %s}' % (index, value)

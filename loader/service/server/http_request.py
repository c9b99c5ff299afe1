"""Parsing the body of a request: pure functions over bytes, strict about types.

Unknown fields are ignored, because clients send some only for OpenAI (``user``); a null counts as a missing field.
"""

import json
from dataclasses import dataclass
from http import HTTPStatus

from ..protocol import MAX_TEXT_CHARACTERS
from .http_errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...contract import TextKind

MAX_BODY_BYTES = 8 * 2**20
"""As much as one frame of the service's own protocol."""
MAX_INPUTS = 2048
"""OpenAI's own limit."""
MAX_STRINGS = 10_000
"""Strings of a body, those of unknown fields included."""
MAX_OUTSIDE_BYTES = 64 * 1024
"""Bytes of a body outside its strings. Two megabytes of brackets or numbers would keep the parser busy for seconds, and
with it the whole process, because it does not release the interpreter's lock."""


@dataclass(frozen=True, slots=True)
class EmbeddingsRequest:
    """What POST /v1/embeddings asks for.

    Attributes:
        model: the name of the model, as the client wrote it.
        texts: 1 to MAX_INPUTS texts that are valid Unicode.
        kind: which prompt goes before them.
        base64: whether to return vectors as base64 of little-endian float32 instead of lists of numbers.
        dimensions: the length of a vector that the client expects, or None.
    """

    model: str
    texts: tuple[str, ...]
    kind: "TextKind"
    base64: bool
    dimensions: int | None


def parse_embeddings(body: bytes | bytearray) -> EmbeddingsRequest:
    """Return the request in the body of POST /v1/embeddings.

    Raises:
        ApiError: it is not JSON in UTF-8, or not a valid request.
    """
    fields = _object(body)
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise _refused("model", "model must be the name of a model; see GET /v1/models.")
    dimensions = fields.get("dimensions")
    if dimensions is not None and (isinstance(dimensions, bool) or not isinstance(dimensions, int)):
        raise _refused("dimensions", "dimensions must be an integer.")
    return EmbeddingsRequest(
        model=model,
        texts=_texts(fields.get("input")),
        kind="query" if _one_of(fields, "input_type", ("document", "query")) == "query" else "document",
        base64=_one_of(fields, "encoding_format", ("float", "base64")) == "base64",
        dimensions=dimensions,
    )


def _object(body: bytes | bytearray) -> "dict[str, Any]":
    _check_structure(body)
    try:
        found = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        # Not the parser's own message: it may quote the body.
        raise _refused(None, "The body is not JSON in UTF-8.") from None
    if not isinstance(found, dict):
        raise _refused(None, "The body must be a JSON object.")
    return found


def _check_structure(body: bytes | bytearray) -> None:
    """Reject a large body that consists of little text, without parsing it."""
    if len(body) <= MAX_OUTSIDE_BYTES:
        return
    bare = body.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in body else body
    if bare.count(b'"') <= 2 * MAX_STRINGS and sum(map(len, bare.split(b'"')[::2])) <= MAX_OUTSIDE_BYTES:
        return
    raise _refused(
        "input",
        f"The body has more than {MAX_STRINGS} strings, or more than {MAX_OUTSIDE_BYTES} bytes outside strings. "
        "Arrays of tokens are not supported: send the text.",
    )


def _texts(value: object) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        raise _refused("input", "input must be a string or a list of one or more strings.")
    if len(texts) > MAX_INPUTS:
        raise _refused("input", f"input has {len(texts)} texts; the limit is {MAX_INPUTS}. Send several requests.")
    for index, text in enumerate(texts):
        where = f"input[{index}]" if texts is value else "input"
        if isinstance(text, (int, list)):
            raise _refused("input", f"{where} is not a string. Arrays of tokens are not supported: send the text.")
        if not isinstance(text, str):
            raise _refused("input", f"{where} must be a string.")
        if len(text) > MAX_TEXT_CHARACTERS:
            raise _refused("input", f"{where} has {len(text)} characters; the limit is {MAX_TEXT_CHARACTERS}.")
        if not _is_unicode(text):
            raise _refused("input", f"{where} has a lone surrogate, which is not valid Unicode.")
    return tuple(texts)


def _is_unicode(text: str) -> bool:
    try:
        text.isascii() or text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _one_of(fields: "dict[str, Any]", name: str, allowed: tuple[str, str]) -> str:
    value = fields.get(name)
    if value is None:
        return allowed[0]
    if isinstance(value, str) and value in allowed:
        return value
    raise _refused(name, f"{name} must be {allowed[0]!r} or {allowed[1]!r}.")


def _refused(param: str | None, message: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, message, param=param)

"""The frames that client and service exchange, as pure functions over bytes.

Documented for other languages in docs/reference/service-protocol.md. A frame is a header of 16 bytes and a payload.
All numbers are little-endian and unsigned::

    offset  size  field
         0     4  magic    b"OELS"
         4     1  version  PROTOCOL_VERSION
         5     1  kind     one of the constants below
         6     2  detail   what the kind says: the kind of text, or the error's code
         8     4  count    number of texts or vectors; otherwise 0
        12     4  length   bytes of the payload, at most MAX_PAYLOAD_BYTES

A connection begins with HELLO, answered by WELCOME, perhaps after some WORKING; then any number of EMBED, one at a
time, each answered by VECTORS or ERROR, perhaps after some WORKING. STATUS and STOP need no HELLO. A side that receives
anything else closes the connection. Nothing is ever unpickled; a text is UTF-8, a vector is float32.
"""

from _struct import Struct

from ..errors import (
    ServiceBusyError,
    ServiceError,
    ServiceMismatchError,
    ServiceProtocolError,
    ServiceRefusedError,
    ServiceTimeoutError,
    ServiceUnavailableError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from ..contract import TextKind

MAGIC: "Final" = b"OELS"
PROTOCOL_VERSION: "Final" = 1

HELLO: "Final" = 1
"""Client: the identity that it wants, see ``loader.service.identity``."""
WELCOME: "Final" = 2
"""Service: its identity matches, and its model is ready; see ``Welcome``."""
EMBED: "Final" = 3
"""Client: texts and a deadline; ``detail`` is QUERY or DOCUMENT."""
VECTORS: "Final" = 4
"""Service: ``count`` vectors, each ``dimension`` float32."""
WORKING: "Final" = 5
"""Service: the heartbeat while it works on the last request; no payload. Sent every WORKING_EVERY_S."""
ERROR: "Final" = 6
"""Service: ``detail`` is one of the codes below, the payload is a sentence."""
STATUS: "Final" = 7
"""Client: asks for a REPORT; no payload."""
REPORT: "Final" = 8
"""Service: a JSON object."""
STOP: "Final" = 9
"""Client: asks the service to finish accepted requests and exit; no payload."""
STOPPING: "Final" = 10
"""Service: it is stopping; no payload. The connection is closed once it has."""

KINDS: "Final" = frozenset(range(HELLO, STOPPING + 1))

QUERY: "Final" = 0
DOCUMENT: "Final" = 1
TEXT_KINDS: "Final[tuple[TextKind, ...]]" = ("query", "document")
"""By ``detail`` of EMBED."""

BUSY: "Final" = 1
MISMATCH: "Final" = 2
PROTOCOL: "Final" = 3
DEADLINE: "Final" = 4
REFUSED: "Final" = 5
STOPPED: "Final" = 6

_ERRORS: "Final[dict[int, type[ServiceError]]]" = {
    BUSY: ServiceBusyError,
    MISMATCH: ServiceMismatchError,
    PROTOCOL: ServiceProtocolError,
    DEADLINE: ServiceTimeoutError,
    REFUSED: ServiceRefusedError,
    STOPPED: ServiceUnavailableError,
}

MAX_PAYLOAD_BYTES: "Final" = 8 * 2**20
MAX_TEXTS: "Final" = 64
"""Texts of one EMBED. Longer batches are sent in parts, so that one caller does not keep others waiting."""
MAX_TEXT_CHARACTERS: "Final" = 100_000
"""Characters of one text. Tokenizing a longer one would keep the service busy; the caller can do it alone."""
MAX_IDENTITY_BYTES: "Final" = 4096

WORKING_EVERY_S: "Final" = 0.5
"""The interval of heartbeats while a client waits."""

HEADER: "Final" = Struct("<4sBBHII")
_EMBED = Struct("<I")
_WELCOME = Struct("<II")
_LENGTH_BYTES = 4


class Header:
    """The header of one frame. Immutable by convention."""

    __slots__ = ("count", "detail", "kind", "length")

    def __init__(self, kind: int, detail: int, count: int, length: int) -> None:
        self.kind = kind
        self.detail = detail
        self.count = count
        self.length = length


class Welcome:
    """What a service reports about its model.

    Attributes:
        dimension: length of a vector.
        max_seq_length: longest sequence in tokens, or None.
        engine, device, precision: what computes, where, and in which precision.
    """

    __slots__ = ("device", "dimension", "engine", "max_seq_length", "precision")

    def __init__(self, dimension: int, max_seq_length: int | None, engine: str, device: str, precision: str) -> None:
        self.dimension = dimension
        self.max_seq_length = max_seq_length
        self.engine = engine
        self.device = device
        self.precision = precision


def pack(kind: int, payload: bytes = b"", *, detail: int = 0, count: int = 0) -> bytes:
    """Return a frame.

    Raises:
        ServiceRefusedError: the payload is too long.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ServiceRefusedError(f"{len(payload)} bytes do not fit into a frame of {MAX_PAYLOAD_BYTES}.")
    return HEADER.pack(MAGIC, PROTOCOL_VERSION, kind, detail, count, len(payload)) + payload


def unpack_header(data: bytes) -> Header:
    """Return the header in 16 bytes.

    Raises:
        ServiceProtocolError: they are not a header, or announce more than MAX_PAYLOAD_BYTES.
        ServiceMismatchError: the header has another protocol version.
    """
    if len(data) != HEADER.size or not data.startswith(MAGIC):
        raise ServiceProtocolError("The received bytes are not a frame header.")
    _, version, kind, detail, count, length = HEADER.unpack(data)
    if version != PROTOCOL_VERSION:
        raise ServiceMismatchError(f"The other side uses protocol version {version}, not {PROTOCOL_VERSION}.")
    if kind not in KINDS:
        raise ServiceProtocolError(f"Unknown frame kind {kind}.")
    if length > MAX_PAYLOAD_BYTES:
        raise ServiceProtocolError(f"A frame announces {length} bytes; the limit is {MAX_PAYLOAD_BYTES}.")
    return Header(kind, detail, count, length)


def pack_embed(texts: list[bytes], kind: "TextKind", deadline_s: float) -> bytes:
    """Return the frame that asks for vectors.

    Args:
        texts: 1 to MAX_TEXTS texts in UTF-8.
        kind: which prompt goes before them.
        deadline_s: seconds after which the caller stops waiting for the answer.

    Raises:
        ServiceRefusedError: they do not fit into a frame.
    """
    milliseconds = _EMBED.pack(max(0, min(int(deadline_s * 1000), 2**32 - 1)))
    lengths = b"".join([_EMBED.pack(len(text)) for text in texts])
    payload = b"".join([milliseconds, lengths, *texts])
    return pack(EMBED, payload, detail=QUERY if kind == "query" else DOCUMENT, count=len(texts))


def unpack_embed(header: Header, payload: bytes) -> "tuple[list[str], TextKind, float]":
    """Return texts, their kind and the deadline in seconds.

    Raises:
        ServiceProtocolError: the frame is inconsistent, or a text is not UTF-8.
        ServiceRefusedError: too many texts, or one that is too long.
    """
    count = header.count
    if not 1 <= count <= MAX_TEXTS:
        raise ServiceRefusedError(f"A request must have 1 to {MAX_TEXTS} texts, not {count}.")
    if header.detail >= len(TEXT_KINDS):
        raise ServiceProtocolError(f"Unknown text kind {header.detail}.")
    start = _LENGTH_BYTES * (1 + count)
    if len(payload) < start:
        raise ServiceProtocolError("A request is shorter than the lengths of its texts.")
    deadline_ms, *lengths = Struct(f"<{1 + count}I").unpack_from(payload)
    if start + sum(lengths) != len(payload):
        raise ServiceProtocolError("The lengths of a request's texts do not add up to its own.")
    texts = []
    for length in lengths:
        try:
            text = payload[start : start + length].decode("utf-8")
        except UnicodeDecodeError:
            # Not the decoder's own message: it would quote the text.
            raise ServiceProtocolError("A text is not valid UTF-8.") from None
        if len(text) > MAX_TEXT_CHARACTERS:
            raise ServiceRefusedError(f"A text has {len(text)} characters; the limit is {MAX_TEXT_CHARACTERS}.")
        texts.append(text)
        start += length
    return texts, TEXT_KINDS[header.detail], deadline_ms / 1000


def pack_welcome(welcome: Welcome) -> bytes:
    """Return the frame that answers HELLO."""
    words = "\n".join((welcome.engine, welcome.device, welcome.precision))
    return pack(WELCOME, _WELCOME.pack(welcome.dimension, welcome.max_seq_length or 0) + words.encode())


def unpack_welcome(payload: bytes) -> Welcome:
    """Return the service's welcome.

    Raises:
        ServiceProtocolError: it is invalid.
    """
    try:
        engine, device, precision = payload[_WELCOME.size :].decode("ascii").split("\n")
    except ValueError:  # also if the payload ends before the words
        raise ServiceProtocolError("The service's welcome is invalid.") from None
    dimension, longest = _WELCOME.unpack_from(payload)
    if not 0 < dimension <= MAX_PAYLOAD_BYTES // 4:
        raise ServiceProtocolError(f"The service reports an invalid vector length: {dimension}.")
    return Welcome(dimension, longest or None, engine, device, precision)


def pack_error(error: Exception) -> bytes:
    """Return the frame that reports an error. Its message must not quote a text."""
    code = next((code for code, kind in _ERRORS.items() if isinstance(error, kind)), REFUSED)
    return pack(ERROR, str(error).encode("utf-8", "replace")[:1000], detail=code)


def unpack_error(header: Header, payload: bytes) -> ServiceError:
    """Return the error that a service reports."""
    kind = _ERRORS.get(header.detail, ServiceRefusedError)
    return kind(f"The model service reports: {payload.decode('utf-8', 'replace')}")

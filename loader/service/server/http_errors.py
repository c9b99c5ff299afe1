"""The HTTP side's error answers: OpenAI's format, with our own messages.

No message quotes what a client sent, nor an exception's message: either may contain a text.
"""

import json
from http import HTTPStatus

from ...errors import (
    ArgumentTypeError,
    ArgumentValueError,
    ServiceBusyError,
    ServiceTimeoutError,
    ServiceUnavailableError,
)

RETRY_AFTER_S = 1
"""How long clients are told to wait if the service is busy or loading; OpenAI's own clients do."""


class ApiError(Exception):
    """A request that is answered with an error.

    Args:
        status: the HTTP status, 400 or above.
        message: a sentence for the user of the client.
        param: the invalid field of the request, or None.
        code: a code for programs, or None.
        headers: more headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = headers or {}

    @property
    def body(self) -> bytes:
        """The answer's JSON."""
        if self.status == HTTPStatus.TOO_MANY_REQUESTS:
            kind = "requests"
        else:
            kind = "invalid_request_error" if self.status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return json.dumps({"error": error}).encode()


def busy() -> ApiError:
    """Return the answer to a request beyond what the service accepts."""
    return ApiError(
        HTTPStatus.TOO_MANY_REQUESTS,
        "The service already holds as many requests as it accepts. Try again in a moment.",
        code="rate_limit_exceeded",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


def unavailable(message: str, code: str) -> ApiError:
    """Return the answer if the service cannot embed now but may soon."""
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, message, code=code, headers={"Retry-After": str(RETRY_AFTER_S)})


def answer_to(error: Exception) -> ApiError:
    """Return the answer for an exception."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ServiceBusyError):
        return busy()
    if isinstance(error, ServiceTimeoutError):
        return ApiError(
            HTTPStatus.GATEWAY_TIMEOUT, "The vectors were not ready in time. Send fewer texts at once.", code="timeout"
        )
    if isinstance(error, ServiceUnavailableError):
        return unavailable("The service is stopping. Start it again, or try again in a moment.", "unavailable")
    if isinstance(error, (ArgumentTypeError, ArgumentValueError)):
        return ApiError(HTTPStatus.BAD_REQUEST, "The model cannot embed one of these texts.", param="input")
    return ApiError(
        HTTPStatus.INTERNAL_SERVER_ERROR, "The service failed; its log names the error's type.", code="server_error"
    )

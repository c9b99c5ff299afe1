"""The HTTP side of the model service, for clients of OpenAI's API; needs the extra ``http``."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ...errors import ArgumentValueError, EngineMissingError, ServiceUnavailableError

try:
    from uvicorn import Config, Server
    from uvicorn.protocols.http.h11_impl import H11Protocol

    from .http_app import Models, make_app
    from .http_vectors import HttpModel
except ImportError as error:
    raise EngineMissingError(
        f"HTTP needs {error.name}, not installed here. Install it with: "
        "python -m pip install 'optimized-embedding-loader[http]'"
    ) from error

from .http_security import Access, read_or_make_token

if TYPE_CHECKING:
    from asyncio import Transport

__all__ = ["Access", "HttpModel", "Models", "make_app", "read_or_make_token", "run_http"]

MAX_CONNECTIONS = 256
"""Connections at a time, so that nobody uses up the file descriptors of the whole service."""
GRACE_S = 5
"""How long running requests may still take where the service ends."""
_MAX_PORT = 65535
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


async def run_http(
    models: Models,
    access: Access,
    *,
    host: str = "127.0.0.1",
    port: int,
    on_ready: Callable[[int], None] | None = None,
) -> None:
    """Serve until cancelled; then finish what runs, for at most GRACE_S.

    Args:
        models: what is served, see ``make_app``.
        access: who may ask.
        host: the address to listen at.
        port: the port to listen at; 0 for any that is free.
        on_ready: called once with the port, when clients can connect.

    Raises:
        ArgumentValueError: without a token, only this machine itself may be listened to.
        ServiceUnavailableError: the address and port cannot be listened at.
    """
    if access.token is None and host not in _LOOPBACK:
        raise ArgumentValueError(f"Without a token, host must be one of {', '.join(_LOOPBACK)}, not {host!a}.")
    with _listening(host, port) as listener:
        config = Config(
            make_app(models, access),
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            if on_ready is not None:
                on_ready(listener.getsockname()[1])
            await asyncio.shield(serving)
        finally:
            server.should_exit = True
            await serving


class _Server(Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs the loop."""
        yield


class _Protocol(H11Protocol):
    def connection_made(self, transport: "Transport") -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.access_log = False  # Config's own switch does not hold where the program sets up its logging later
        if len(self.connections) > MAX_CONNECTIONS:
            transport.close()


def _listening(host: str, port: int) -> socket.socket:
    try:
        if not 0 <= port <= _MAX_PORT:
            raise OverflowError("there is no such port")  # noqa: TRY301 - getaddrinfo would take it modulo 65536
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, number)
        try:
            if sys.platform != "win32":  # there it would let two services share a port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        raise ServiceUnavailableError(
            f"Cannot listen at {host}, port {port}: {getattr(error, 'strerror', None) or error}. Choose another port."
        ) from error
    return listener

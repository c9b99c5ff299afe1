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

    from .http_app import Models, make_app
    from .http_connection import HttpConnection
    from .http_vectors import HttpModel
except ImportError as error:
    raise EngineMissingError(
        f"HTTP needs {error.name}, which is not installed. Install it with: "
        "python -m pip install 'optimized-embedding-loader[http]'"
    ) from error

from .acceptor import Acceptor, Factory
from .credentials import tcp_peer
from .http_places import MAX_CONNECTIONS, Places
from .http_security import Access, read_or_make_token

if TYPE_CHECKING:
    from .room import Room

__all__ = ["Access", "HttpModel", "Models", "listening", "make_app", "read_or_make_token", "run_http"]

GRACE_S = 5
"""How long running requests may still take when the service stops."""
_MAX_PORT = 65535
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


async def run_http(
    models: Models,
    access: Access,
    *,
    host: str = "127.0.0.1",
    port: int,
    on_ready: Callable[[int], None] | None = None,
    room: "Room | None" = None,
    listener: socket.socket | None = None,
) -> None:
    """Serve until cancelled; then finish running requests, for at most GRACE_S.

    Args:
        models: the models to serve, see ``make_app``.
        access: who may send requests.
        host: the address to listen on.
        port: the port to listen on; 0 for any free port.
        on_ready: called once with the port, when clients can connect.
        room: for the bytes of requests and answers; None for a separate one.
        listener: a socket from ``listening``, instead of a new one for host and port.

    Raises:
        ArgumentValueError: without a token, only loopback addresses are allowed.
        ServiceUnavailableError: the service cannot listen on the address and port.
    """
    if access.token is None and host not in _LOOPBACK:
        raise ArgumentValueError(f"Without a token, host must be one of {', '.join(_LOOPBACK)}, not {host!a}.")
    with listener or listening(host, port) as listener:
        config = Config(
            make_app(models, access, room),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
        config.load()  # now, because once clients may connect, there may be no descriptor left for an import
        server = _Server(config)
        acceptor = _acceptor(listener, config, server)
        serving = asyncio.create_task(server.serve(sockets=[]))  # we accept the connections ourselves
        acceptor.start()
        try:
            if on_ready is not None:
                on_ready(listener.getsockname()[1])
            await asyncio.shield(serving)
        finally:
            acceptor.close()
            server.should_exit = True
            await serving


class _Server(Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the owner of the loop."""
        yield


def _acceptor(listener: socket.socket, config: Config, server: Server) -> Acceptor:
    places = Places()

    def admit(connection: socket.socket, short: bool) -> Factory | None:
        if not places.make_room(short=short):
            return None
        guest = HttpConnection(config, server.server_state, places, tcp_peer(connection))
        places.enter(guest)
        return lambda: guest

    return Acceptor(listener, admit)


def listening(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        ServiceUnavailableError: the port is taken or invalid.
    """
    try:
        if not 0 <= port <= _MAX_PORT:
            raise OverflowError("there is no such port")  # noqa: TRY301 - getaddrinfo would take it modulo 65536
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, number)
        try:
            if sys.platform != "win32":  # on Windows it would let two services share a port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(MAX_CONNECTIONS)
        except OSError:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        raise ServiceUnavailableError(
            f"Cannot listen on {host}, port {port}: {getattr(error, 'strerror', None) or error}. Choose another port."
        ) from error
    return listener

"""Starting a service's process and handing its claims over to it."""

import fcntl
import os
import sys
import threading
from _socket import socket as Socket  # noqa: N812 - see loader.service.connection

from ..errors import ServiceUnavailableError
from ..runtime.log import log
from .claims import BACKLOG, Claim, claim, sibling
from .folder import safe_folder, socket_path
from .locks import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from ..arguments import Settings
    from .identity import Identity
    from .options import ServiceOptions

_FIRST_FD: "Final" = 3
"""In the service: the descriptor of the first listener; its lock follows, then the next listener."""
_LOG_FLAGS: "Final" = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW
"""Appending: the previous service may still be finishing and writing to the same file."""


def adopt(identity: "Identity", index: int) -> Claim:
    """Return the claim that the parent process has handed over.

    Args:
        identity: the identity that it must have.
        index: which claim, from 0.

    Raises:
        ServiceUnavailableError: it was not handed over.
    """
    path = socket_path(safe_folder(create=False), identity.name)
    listener_fd, lock_fd = _handed_over(index)
    try:
        listener = Socket(fileno=listener_fd)
        if str(listener.getsockname()) != sibling(path, ".new"):
            raise ServiceUnavailableError(f"The inherited socket does not belong to {path}.")
        lock = Lock(sibling(path, ".lock"), lock_fd)
        if not lock.is_in_place():
            raise ServiceUnavailableError(f"The inherited lock does not belong to {path}.")
        os.set_inheritable(listener_fd, False)
        os.set_inheritable(lock_fd, False)
        # Again, so that the kernel reports our process to new clients, not the caller that created the socket.
        listener.listen(BACKLOG)
        return Claim(path, listener, lock)
    except OSError as error:
        if isinstance(error, ServiceUnavailableError):
            raise
        raise ServiceUnavailableError(f"No socket was inherited: {error.strerror}.") from None


def arguments_of(settings: "Settings", model: str, options: "ServiceOptions") -> list[str]:
    """Return the arguments of ``python -m loader serve`` for a service, with the model as in its identity."""
    arguments = [f"--model={model}", f"--engine={settings.engine}", f"--precision={settings.precision}"]
    arguments += [f"--device={settings.device}"] if settings.device else []
    arguments += [f"--threads={settings.threads}"] if settings.threads else []
    arguments += ["--offline"] if settings.allow_download is False else []
    arguments += [f"--idle-timeout={options.idle_timeout:g}"]
    arguments += [f"--max-memory={options.max_memory_mb:g}"] if options.max_memory_mb is not None else []
    return arguments


def start(identity: "Identity", arguments: list[str]) -> int | None:
    """Start a service unless another process is doing so. Returns at once: its process ID, or None if not started.

    Args:
        identity: the identity of the service.
        arguments: for ``python -m loader serve``.

    Raises:
        ServiceError: it cannot be started.
    """
    held = claim(identity)
    if held is None:
        return None
    pid = spawn([held], arguments).pid
    log("info", "Started a model service for %s, process %d", identity.model, pid)
    return pid


class Started:
    """A process that was started.

    Attributes:
        pid: its ID.
        exit_code: its exit code, negative for a signal; None until it ends.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.exit_code: int | None = None
        # Otherwise it would stay in the process table as long as this process runs.
        self._waiter = threading.Thread(target=self._wait, name="embedding-loader:service", daemon=True)
        try:
            self._waiter.start()
        except RuntimeError:
            pass  # the interpreter is exiting

    def has_ended(self, timeout_s: float) -> bool:
        """Wait for its end, at most ``timeout_s``; return whether it has ended."""
        if self._waiter.ident is not None:
            self._waiter.join(timeout_s)
        return self.exit_code is not None

    def _wait(self) -> None:
        try:
            self.exit_code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:
            pass


def spawn(claims: list[Claim], arguments: list[str]) -> Started:
    """Start the service's process with some claims, and close these here.

    Raises:
        ServiceUnavailableError: it cannot be started. The claims are released.
    """
    opened: list[int] = []
    try:
        pid = _spawn(claims, arguments, opened)
    except BaseException as error:
        for held in claims:
            held.release()
        if isinstance(error, (OSError, NotImplementedError)):
            raise ServiceUnavailableError(f"Could not start a service: {error}.") from None
        raise
    finally:
        for fd in opened:
            os.close(fd)
    for held in claims:
        held.close()
    return Started(pid)


def _spawn(claims: list[Claim], arguments: list[str], opened: list[int]) -> int:
    if not sys.executable:
        raise OSError("the path of the Python interpreter is unknown")

    def above(fd: int) -> int:
        # Above the child's numbers, so that none is overwritten before it is copied.
        opened.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _handed_over(len(claims))[0]))
        return opened[-1]

    opened.append(os.open(os.devnull, os.O_RDWR))
    null = above(opened[0])
    opened.append(os.open(log_path(claims[0].path), _LOG_FLAGS, 0o600))
    copies = [(null, 0), (null, 1), (above(opened[-1]), 2)]
    for index, held in enumerate(claims):
        listener_fd, lock_fd = _handed_over(index)
        copies += [(above(held.listener.fileno()), listener_fd), (above(held.lock.fd), lock_fd)]
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-P", "-m", "loader", "serve", "--adopt", *arguments],
        {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        file_actions=[(os.POSIX_SPAWN_DUP2, source, target) for source, target in copies],
        setsid=True,
    )


def log_path(path: str) -> str:
    """Return the log file of a service with this socket."""
    return sibling(path, ".log")


def last_words(path: str) -> str:
    """Return the last line in the log of a service with this socket, or an empty string."""
    try:
        with open(log_path(path), "rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - 2**16, 0))
            return file.read().decode("utf-8", "replace").rstrip().rpartition("\n")[2]
    except OSError:
        return ""


def _handed_over(index: int) -> tuple[int, int]:
    """Return the numbers of the listener's and the lock's descriptor in the service."""
    return _FIRST_FD + 2 * index, _FIRST_FD + 2 * index + 1

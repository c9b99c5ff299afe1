"""What ``python -m loader serve|status|stop|restart`` do about services that run: find them, ask them, end them."""

import json
import os
import signal
import sys
import time

from ..errors import ServiceError, ServiceTimeoutError, ServiceUnavailableError
from .connection import Connection
from .folder import safe_folder
from .starting import remove_leftover

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

ASK_S: "Final" = 2.0
"""Longest time to wait for a report."""
STOP_S: "Final" = 15.0
"""Longest time to wait for an end: a service finishes what it accepted within 10 s."""


class Running:
    """A socket of this user's, and what its service says.

    Attributes:
        path: of the socket.
        pid: the process that listens, as the kernel says, or None where it does not.
        report: what the service says of itself; empty where it says nothing.
        problem: why it does not answer, or None.
    """

    def __init__(self, path: str, pid: int | None, report: "dict[str, Any]", problem: ServiceError | None) -> None:
        self.path = path
        self.pid = pid
        self.report = report
        self.problem = problem

    @property
    def name(self) -> str:
        """The model's name as the service has it, or the socket's."""
        return str(self.report.get("model") or os.path.basename(self.path).removesuffix(".sock"))


def running() -> list[Running]:
    """Return the services of this user, those that do not answer as well. What killed ones left is removed.

    Raises:
        ServiceUnsafeError: the folder of the sockets is not safe.
    """
    try:
        folder = safe_folder(create=False)
        names = sorted(os.listdir(folder))
    except ServiceUnavailableError:
        return []
    found = [_look(os.path.join(folder, name)) for name in names if name.endswith(".sock")]
    return [service for service in found if service is not None]


def stop(service: Running, *, force: bool = False, timeout_s: float = STOP_S) -> None:
    """End a service and wait until it has ended.

    Args:
        service: one of ``running()``.
        force: kill it if it does not end by itself.
        timeout_s: longest time to wait.

    Raises:
        ServiceError: it goes on.
    """
    name = _inode(service.path)
    try:
        connection = Connection(service.path, ASK_S)
        try:
            connection.stop(time.monotonic() + timeout_s)
        finally:
            connection.close()
    except ServiceUnavailableError:
        pass  # it ended meanwhile
    except ServiceError:
        if not force:
            raise
        _kill(service.path)
    _wait_for_end(service.path, name, timeout_s)


def _look(path: str) -> Running | None:
    pid = None
    try:
        connection = Connection(path, ASK_S)
        try:
            pid = connection.peer_pid
            report = json.loads(connection.report(time.monotonic() + ASK_S))
        finally:
            connection.close()
    except ServiceUnavailableError as problem:
        if remove_leftover(path):
            return None
        return Running(path, pid, {}, problem)
    except ServiceError as problem:
        return Running(path, pid, {}, problem)
    except ValueError:
        return Running(path, pid, {}, ServiceUnavailableError("Its report cannot be read."))
    return Running(path, pid, report if isinstance(report, dict) else {}, None)


def _kill(path: str) -> None:
    """Kill the process that listens at a socket, and surely no other one.

    The kernel tells who listens. A descriptor then holds that process, and cannot come to mean another one. The socket
    is asked once more: if the same process still listens, the descriptor is its.
    """
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        raise ServiceTimeoutError(f"The service at {path} does not answer, and cannot be identified here to be killed.")
    pid = _listening(path)
    try:
        held = os.pidfd_open(pid)
    except OSError:
        return  # it has ended meanwhile
    try:
        if _listening(path) != pid:
            raise ServiceUnavailableError(f"The service at {path} is another one than a moment ago. Look again.")
        signal.pidfd_send_signal(held, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has ended meanwhile
    finally:
        os.close(held)


def _listening(path: str) -> int:
    connection = Connection(path, ASK_S)
    connection.close()
    if connection.peer_pid is None:
        raise ServiceUnavailableError(f"Nobody says which process listens at {path}.")
    return connection.peer_pid


def _wait_for_end(path: str, inode: int | None, timeout_s: float) -> None:
    """Return once the service has given up its name, and remove what it left; another one may have taken it since."""
    deadline_s = time.monotonic() + timeout_s
    while _inode(path) == inode and not remove_leftover(path):
        if time.monotonic() > deadline_s:
            raise ServiceTimeoutError(f"The service at {path} has not ended within {timeout_s:g} s.")
        time.sleep(0.02)


def _inode(path: str) -> int | None:
    try:
        return os.lstat(path).st_ino
    except OSError:
        return None

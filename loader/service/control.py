"""How ``python -m loader serve|status|stop|restart`` handle running services: find them, ask them, stop them."""

import json
import os
import signal
import sys
import time

from ..errors import ServiceError, ServiceTimeoutError, ServiceUnavailableError
from .claims import LEFT, remove_leftover
from .connection import Connection
from .folder import is_of_service, safe_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

ASK_S: "Final" = 2.0
"""Longest wait for a report."""
STOP_S: "Final" = 15.0
"""Longest wait for a service to stop: it finishes accepted requests within 10 s."""


class Running:
    """A socket of this user, and what its service reports.

    Attributes:
        path: the path of the socket.
        pid: the listening process according to the kernel, or None if unknown.
        report: the service's report about itself; empty if it does not answer.
        problem: why it does not answer, or None.
    """

    def __init__(self, path: str, pid: int | None, report: "dict[str, Any]", problem: ServiceError | None) -> None:
        self.path = path
        self.pid = pid
        self.report = report
        self.problem = problem

    @property
    def name(self) -> str:
        """The model's name as the service reports it, or the socket's name."""
        return str(self.report.get("model") or os.path.basename(self.path).removesuffix(".sock"))


def running() -> list[Running]:
    """Return this user's services, including those that do not answer. Remove what killed services left behind.

    Raises:
        ServiceUnsafeError: the folder of the sockets is not safe.
    """
    try:
        folder = safe_folder(create=False)
        names = sorted(os.listdir(folder))
    except ServiceUnavailableError:
        return []
    sockets = [name for name in names if is_of_service(name, ".sock")]
    left = {os.path.splitext(name)[0] for name in names if any(is_of_service(name, ending) for ending in LEFT)}
    for stem in sorted(left - {name.removesuffix(".sock") for name in sockets}):
        remove_leftover(os.path.join(folder, f"{stem}.sock"))  # left by a killed starter
    found = [_look(os.path.join(folder, name)) for name in sockets]
    return [service for service in found if service is not None]


def stop(service: Running, *, force: bool = False, timeout_s: float = STOP_S) -> None:
    """Stop a service and wait until it has ended.

    Args:
        service: one of ``running()``.
        force: kill it if it does not stop when asked.
        timeout_s: longest time to wait.

    Raises:
        ServiceError: it keeps running.
    """
    name = _which(service.path)
    try:
        connection = Connection(service.path, ASK_S)
        try:
            connection.stop(time.monotonic() + timeout_s)
        finally:
            connection.close()
    except ServiceUnavailableError:
        pass  # it has ended in the meantime
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
    """Kill the process that listens at a socket, and certainly no other.

    The kernel reports which process listens. A process descriptor then refers to that process and can never refer to
    another. If the same process still listens after that, the descriptor is the right one.
    """
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        raise ServiceTimeoutError(
            f"The service at {path} does not respond, and its process cannot be identified to kill it."
        )
    pid = _listening(path)
    try:
        held = os.pidfd_open(pid)
    except OSError:
        return  # it has ended meanwhile
    try:
        if _listening(path) != pid:
            raise ServiceUnavailableError(f"The service at {path} was replaced just now. Try again.")
        signal.pidfd_send_signal(held, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has ended meanwhile
    finally:
        os.close(held)


def _listening(path: str) -> int:
    connection = Connection(path, ASK_S)
    connection.close()
    if connection.peer_pid is None:
        raise ServiceUnavailableError(f"The system does not report which process listens at {path}.")
    return connection.peer_pid


def _wait_for_end(path: str, socket: "tuple[int, ...] | None", timeout_s: float) -> None:
    """Wait until the service has given up its name, then remove what it left; another may already use the name."""
    deadline_s = time.monotonic() + timeout_s
    while _which(path) == socket and not remove_leftover(path):
        if time.monotonic() > deadline_s:
            raise ServiceTimeoutError(f"The service at {path} did not stop within {timeout_s:g} s.")
        time.sleep(0.02)


def _which(path: str) -> "tuple[int, ...] | None":
    """Return what distinguishes a socket from a later one of the same name, which may get the same inode."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns

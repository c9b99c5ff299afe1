"""Temporary folders whose names identify their owner, so that each process removes only its own.

``.scratch-<place>-<process>-<begin>-<random>``: the place is a hash of this boot of this machine and of the process-ID
namespace, the begin is when that process started. A folder with this place's hash whose process is gone is one of our
leftovers: no other program uses such names. A folder from another machine that shares the disk, from another container
or from before a reboot proves nothing, and stays.
"""

import os
import re
import shutil
import sys

from .log import log
from .paths import make_folder, set_mode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

PREFIX: "Final" = ".scratch-"
_NAME = re.compile(r"\.scratch-([0-9a-f]{16})-([0-9]{1,10})-([0-9]{1,20})-[0-9a-f]{12}")
_STATE, _BEGIN = 0, 19
"""Fields of ``/proc/<process>/stat`` after the program's name, see proc_pid_stat(5)."""


class Scratch:
    """A new, empty folder that only this user can access, to be published under another name or removed.

    Attributes:
        path: where it is.
    """

    def __init__(self, parent: str) -> None:
        """Create it and any missing parents.

        Raises:
            OSError: it cannot be created.
        """
        make_folder(parent)
        self.path = new_name(parent)
        os.mkdir(self.path, 0o700)
        set_mode(self.path, 0o700)
        self._identity = _identity(self.path)

    def publish(self, path: str) -> None:
        """Rename it in one step. Raises OSError."""
        os.rename(self.path, path)

    def remove(self) -> None:
        """Remove it, unless it was published or another folder has taken its place."""
        if _identity(self.path) == self._identity:
            shutil.rmtree(self.path, ignore_errors=True)


def new_name(parent: str) -> str:
    """Return an unused path for a scratch folder of this process."""
    process = os.getpid()
    return os.path.join(parent, f"{PREFIX}{place() or '0' * 16}-{process}-{_begin(process) or 0}-{os.urandom(6).hex()}")


def sweep(parent: str) -> None:
    """Remove the scratch folders that this user's processes left behind when they were killed.

    Raises:
        OSError: the folder cannot be listed.
    """
    here = place()
    for name in os.listdir(parent):
        found, path = _NAME.fullmatch(name), os.path.join(parent, name)
        if not found or not belongs_to_user(path):
            continue
        where, process, begin = found.groups()
        if here is None or where != here:
            log("info", "Keeping %s: another machine, or this one before a reboot, may have created it", path)
        elif _begin(int(process)) not in {begin, "?"}:
            shutil.rmtree(path, ignore_errors=True)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


def belongs_to_user(path: str) -> bool:
    """Whether a file or folder exists and belongs to this user."""
    try:
        return not hasattr(os, "geteuid") or os.lstat(path).st_uid == os.geteuid()
    except OSError:
        return False


def place() -> str | None:
    """Return a hash of the environment in which process IDs are unique, or None if it cannot be determined."""
    import hashlib
    import platform

    words = ["optimized-embedding-loader", platform.node()]
    if sys.platform == "linux":
        try:
            if os.readlink("/proc/self") != str(os.getpid()):
                return None  # /proc numbers processes differently
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                words += [file.read(), os.readlink("/proc/self/ns/pid")]
            # Start times count from the boot as this time namespace sees it.
            words.append(os.readlink("/proc/self/ns/time") if os.path.lexists("/proc/self/ns/time") else "")
        except (OSError, ValueError):
            return None
    else:
        import uuid

        address = uuid.getnode()
        if address >> 40 & 1:
            return None  # made up, because the machine has no address
        words.append(str(address))
    return hashlib.sha256("\n".join(words).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _begin(process: int) -> str | None:
    """Return when a process started, independent of clock changes; None if it is gone, "?" if unknown."""
    if sys.platform != "linux":
        import psutil

        try:
            return str(int(psutil.Process(process).create_time() * 1000))
        except psutil.NoSuchProcess:
            return None
        except psutil.Error:
            return "?"
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        # A zombie counts as gone.
        return None if fields[_STATE] in {b"Z", b"X"} else fields[_BEGIN].decode()
    except (FileNotFoundError, ProcessLookupError):
        return "?" if _exists(process) else None


def _exists(process: int) -> bool:
    """Whether the process exists although /proc hides it."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True

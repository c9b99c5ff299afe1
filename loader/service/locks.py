"""Lock files: the kernel releases a lock however its process ends, but the file's name can be lost meanwhile."""

import fcntl
import os


class Lock:
    """A file locked by this process and by those that it hands the descriptor over to.

    Attributes:
        path: the path of the file.
        fd: the descriptor that holds the lock; -1 once it is closed.
    """

    __slots__ = ("fd", "path")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.fd = fd

    @classmethod
    def take(cls, path: str) -> "Lock | None":
        """Lock the file, creating it if necessary; return None if another process holds the lock.

        Raises:
            OSError: the file cannot be created or opened.
        """
        while True:
            lock = cls(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            try:
                fcntl.flock(lock.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if lock.is_in_place():
                    return lock
            except BlockingIOError:
                lock.close()
                return None
            except BaseException:
                lock.close()
                raise
            lock.close()  # its holder removed it while we waited: nobody else would see our lock

    def is_in_place(self) -> bool:
        """Whether the path still leads to this file."""
        return same_file(os.fstat(self.fd), self.path)

    def close(self) -> None:
        """Close it in this process; another process that was given the descriptor keeps the lock."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    __del__ = close

    def release(self) -> None:
        """Remove the file, unless its name leads to another file by now, and close it."""
        if self.fd < 0:
            return
        if self.is_in_place():
            # While it is still held: a process that has opened it meanwhile notices, see ``take``.
            remove_file(self.path)
        self.close()


def same_file(found: os.stat_result, path: str) -> bool:
    """Whether a path, without following links, leads to the file that was found."""
    try:
        there = os.lstat(path)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino)


def remove_file(path: str) -> None:
    """Remove a file if possible."""
    try:
        os.unlink(path)
    except OSError:
        pass

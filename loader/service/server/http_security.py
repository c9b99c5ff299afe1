"""Who may use the HTTP side: clients on this machine that know the token, but no page in a browser.

A browser runs strangers' pages on the user's machine, so listening only on 127.0.0.1 keeps nobody out:

* A page can reach us under its own name, if its DNS points to 127.0.0.1: so the Host header must be one of ours.
* A page can send us forms and fetches from elsewhere: browsers name it in Origin, which must be one of ours too. No
  CORS header is ever sent, and POST accepts only application/json, which no form can send.
* Another user of the machine can connect like its owner: so clients need a token, which is in a file of mode 0600.
"""

import errno
import hmac
import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from http import HTTPStatus

from ...errors import ArgumentValueError, ServiceUnavailableError, ServiceUnsafeError
from .http_errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
TOKEN_VARIABLE = "EMBEDDING_LOADER_HTTP_TOKEN"  # noqa: S105
"""Environment variable with the token; takes precedence over the file."""
TOKEN_FILE = "http-token"  # noqa: S105

_TOKEN = re.compile(r"[!-~]{1,512}")
"""What a header can hold, without spaces."""
_PORT = re.compile(r":\d{1,5}\Z")
_HTTP_PORT = 80
_ATTEMPTS = 3


@dataclass(frozen=True)
class Access:
    """Who may send requests.

    Attributes:
        token: the token for ``Authorization: Bearer``, or None to allow everybody on this machine.
        hosts: names under which clients reach us. A name without a port means the port that we listen on.

    Raises:
        ArgumentValueError: the token is empty, or does not fit into a header.
    """

    token: str | None = field(repr=False)
    hosts: tuple[str, ...] = LOCAL_HOSTS

    def __post_init__(self) -> None:
        if self.token is not None:
            _check_token(self.token, "The token")

    def check(self, headers: "Iterable[tuple[bytes, bytes]]", port: int | None, *, token_needed: bool = True) -> None:
        """Check a request.

        Args:
            headers: its headers, names in lower case.
            port: the port that it arrived at, or None if unknown.
            token_needed: whether it must have the token.

        Raises:
            ApiError: it is not allowed.
        """
        found: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            found.setdefault(name, []).append(value)
        allowed = self._allowed(port)
        hosts = found.get(b"host", [])
        if len(hosts) != 1 or hosts[0].lower() not in allowed:
            raise ApiError(
                HTTPStatus.MISDIRECTED_REQUEST,
                "The Host header does not name this service. Use 127.0.0.1 or localhost, with its port.",
                code="unknown_host",
            )
        origins = {b"http://" + name for name in allowed}
        if any(origin.lower() not in origins for origin in found.get(b"origin", [])):
            raise ApiError(
                HTTPStatus.FORBIDDEN, "Pages from other origins may not use this service.", code="foreign_origin"
            )
        if token_needed and not self._is_known(found.get(b"authorization", [])):
            raise ApiError(
                HTTPStatus.UNAUTHORIZED,
                "The token is missing or wrong. Send it as the API key: Authorization: Bearer TOKEN.",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _allowed(self, port: int | None) -> set[bytes]:
        allowed = set()
        for name in self.hosts:
            if _PORT.search(name):
                allowed.add(name)
            elif port is not None:
                allowed.add(f"{name}:{port}")
                if port == _HTTP_PORT:
                    allowed.add(name)  # clients omit the scheme's default port
        return {name.lower().encode() for name in allowed}

    def _is_known(self, values: list[bytes]) -> bool:
        if self.token is None:
            return True
        scheme, _, given = values[0].partition(b" ") if len(values) == 1 else (b"", b"", b"")
        return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), self.token.encode())


def read_or_make_token(folder: str) -> str:
    """Return the environment's token, else the one in the file ``http-token``, which is created if necessary.

    Args:
        folder: an existing folder that only the user can write to.

    Raises:
        ArgumentValueError: the environment's token does not fit into a header.
        ServiceUnsafeError: the file is not a regular file of this user with mode 0600, or has no token.
        ServiceUnavailableError: it can be neither read nor created.
    """
    configured = os.environ.get(TOKEN_VARIABLE)
    if configured:
        return _check_token(configured, f"${TOKEN_VARIABLE}")
    path = os.path.join(folder, TOKEN_FILE)
    for _ in range(_ATTEMPTS):
        try:
            return _read(path)
        except FileNotFoundError:
            _make(path)
    raise ServiceUnavailableError(f"{path} disappears as soon as it is created. Set {TOKEN_VARIABLE} instead.")


def _check_token(token: str, what: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise ArgumentValueError(f"{what} must be 1 to 512 printable ASCII characters without spaces.")
    return token


def _read(path: str) -> str:
    # Without O_NONBLOCK, opening a FIFO in its place would wait forever.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}:  # not about the file
            raise ServiceUnavailableError(f"Cannot open {path}: {error.strerror}. Try again.") from error
        raise ServiceUnsafeError(f"Cannot open {path}: {error.strerror}. It must be a file; delete it.") from error
    try:
        status = os.fstat(handle)
        own = not hasattr(os, "geteuid") or (status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077)
        if not stat.S_ISREG(status.st_mode) or not own:
            raise ServiceUnsafeError(
                f"{path} must be a regular file that you own, with mode 0600. Delete it to get a new one."
            )
        token = os.read(handle, 1024).decode("utf-8", "replace").strip()
    finally:
        os.close(handle)
    if not _TOKEN.fullmatch(token):
        raise ServiceUnsafeError(f"{path} has no valid token. Delete it to get a new one.")
    return token


def _make(path: str) -> None:
    """Write a token in one step, so that nobody reads half of it; if the file exists by now, it stays."""
    temporary = f"{path}.{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    try:
        with open(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(secrets.token_urlsafe(32).encode() + b"\n")
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            os.unlink(temporary)
    except OSError as error:
        raise ServiceUnavailableError(
            f"Cannot write {path}: {error.strerror}. Make its folder writable, or set {TOKEN_VARIABLE}."
        ) from error

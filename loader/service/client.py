"""The provider of the strategy SERVICE: asks the model service, and computes in this process if that fails.

A request goes through these steps, each with a deadline::

    connect ──▶ is it this user's? ──▶ hello ──▶ texts ──▶ vectors
       │               │                 │         │
       ╰───────────────┴────── reason ───┴─────────╯──▶ the model in this process, from now on

The connection of an earlier request may have been closed meanwhile, because idle services exit: then one more is tried.
In all other cases the caller gets its vector from this process, or, if the options forbid that, the reason as a
ServiceError. The model then stays in this process: it is faster than asking. Only if the model's files have changed
since the first answer, the caller gets an error: vectors of two models must not be mixed.

A service for the next caller is started once this caller has its first vectors: a process that imports and loads would
compete for processors and disk with the load that the caller waits for.
"""

import os
import sys
from _thread import allocate_lock
from time import monotonic, sleep, time

from ..errors import (
    EmbeddingError,
    ForkError,
    ServiceError,
    ServiceMismatchError,
    ServiceRefusedError,
    ServiceUnavailableError,
    ShutdownError,
)
from ..exit_gate import GATE
from ..forks import Living, after_fork_in_child
from ..provider import EmbeddingProvider
from ..runtime.log import log
from .connection import Connection
from .folder import safe_folder, socket_path
from .identity import identify
from .options import ServiceOptions
from .protocol import MAX_TEXT_CHARACTERS, MAX_TEXTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

    import numpy as np
    from numpy.typing import NDArray

    from ..arguments import Settings
    from ..contract import TextKind
    from ..load_thread import Load
    from .identity import Identity
    from .protocol import Welcome

ANSWER_S: "Final" = 60.0
"""Longest time for one request of at most MAX_TEXTS texts, even if the service keeps sending heartbeats."""
READY_S: "Final" = 0.5
"""Longest wait for a service that is still loading, if this process could load the model itself."""
LOOK_AGAIN_S: "Final" = 0.02
"""How often a waiting caller checks whether another process has created the socket, which takes that process
microseconds."""
STARTING_S: "Final" = 10.0
"""Longest silence of a service that was just started, for a caller that waits for it: Python and its imports may come
from a slow disk."""
_MAX_STARTS: "Final" = 3
"""How often a request starts a service that exits without a message before it gives up."""
_KEPT_CONNECTIONS: "Final" = 8
_REQUEST_BYTES: "Final" = 2**20


class ServiceProvider(EmbeddingProvider):
    """Gets its vectors from the model service, or computes them in this process if that is not possible.

    Attributes:
        fallback_reason: why this process computes, or None while the service does.
    """

    def __init__(self, settings: "Settings", identity: "Identity", local: "Callable[[], EmbeddingProvider]") -> None:
        self._settings = settings
        self._options = settings.service or ServiceOptions()
        self._identity = identity
        self._open_local = local
        self._local: EmbeddingProvider | None = None
        self._lock = allocate_lock()
        self._idle: list[Connection] = []
        self._welcome: Welcome | None = None
        self._owes_start = False
        self.fallback_reason: ServiceError | None = None
        self.model_name = settings.model_name
        self.precision = settings.precision
        _all_providers.add(self)

    @property
    def answered_by(self) -> str:
        """Where vectors are computed: ``"service"`` or ``"process"``."""
        return "process" if self._local is not None else "service"

    @property
    def engine(self) -> str:
        """The name of the engine that computes, in the service or in this process."""
        return self._local.engine if self._local is not None else self._welcomed.engine

    @property
    def device(self) -> str:
        """Where it computes: ``"cpu"``, ``"cuda:0"``, ``"mps:0"``, ..."""
        return self._local.device if self._local is not None else self._welcomed.device

    @property
    def dimension(self) -> int:  # type: ignore[override]
        """Length of a vector."""
        return self._local.dimension if self._local is not None else self._welcomed.dimension

    @property
    def max_seq_length(self) -> int | None:  # type: ignore[override]
        """Longest sequence in tokens, special tokens included, or None if unlimited."""
        return self._local.max_seq_length if self._local is not None else self._welcomed.max_seq_length

    def usable_here(self) -> bool:
        """Whether this process may use it: connections are renewed after a fork, but a local model may be lost."""
        return self._local is None or self._local.usable_here()

    def find_or_start(self) -> None:
        """Connect to the service; if there is none, do what the options say.

        Raises:
            ServiceError: there is no service that this process can use now.
        """
        self._keep(self._reconnected(monotonic() + (ANSWER_S if self._waits else READY_S)))

    def fall_back(self, reason: ServiceError) -> EmbeddingProvider:
        """Load the model into this process, and compute with it from now on.

        Raises:
            ServiceError: the reason itself, if this process must not compute.
            EmbeddingError: this process would compute with other files than the service did.
            LoaderError: the model cannot be loaded here either.
        """
        if not self._options.fallback:
            raise reason
        if self._welcome is not None and self._identity.content_changed():
            raise EmbeddingError(self._changed) from reason
        log("info", "%s is computed in this process: %s", self.model_name, reason)
        local = self._open_local()
        with self._lock:
            self.fallback_reason = reason
            self._local = local
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        return local

    @property
    def _changed(self) -> str:
        return f"The files of {self.model_name} have changed since it was loaded. Load it again, after unload()."

    @property
    def _waits(self) -> bool:
        """Whether to wait for a service that is still loading."""
        return self._options.start == "wait" or not self._options.fallback

    @property
    def _welcomed(self) -> "Welcome":
        assert self._welcome is not None  # noqa: S101 - a provider is published once it is connected or has fallen back
        return self._welcome

    def _embed(self, texts: list[str], kind: "TextKind", batch_size: int) -> "NDArray[np.float32]":
        with GATE.section():  # an import in progress while another thread forks would never end in the child
            import numpy as np
        flat = np.frombuffer(self._embed_bytes(texts, kind, batch_size), "<f4").astype(np.float32)
        return flat.reshape(len(texts), self.dimension)

    def _embed_bytes(self, texts: list[str], kind: "TextKind", batch_size: int) -> bytes:
        encoded = [text.encode() for text in texts]
        local = self._local
        if local is None:
            try:
                return b"".join([self._ask(part, kind) for part in _parts(texts, encoded)])
            except ServiceError as reason:
                local = self.fall_back(reason)
        if len(texts) > batch_size:
            self._start_for_the_next()  # otherwise other callers would wait for the whole batch
        vectors = local.embed_texts_bytes(texts, kind, batch_size)
        self._start_for_the_next()
        return vectors

    def _ask(self, texts: list[bytes], kind: "TextKind") -> bytes:
        deadline_s = monotonic() + ANSWER_S
        connection = self._kept()
        if connection is not None:
            try:
                return self._ask_through(connection, texts, kind, deadline_s)
            except ServiceUnavailableError:
                pass  # it has exited since: there may be another one
        return self._ask_through(self._reconnected(deadline_s), texts, kind, deadline_s)

    def _ask_through(self, connection: Connection, texts: list[bytes], kind: "TextKind", deadline_s: float) -> bytes:
        try:
            vectors = connection.embed(texts, kind, self.dimension, deadline_s)
        except BaseException:
            connection.close()
            raise
        self._keep(connection)
        return vectors

    def _reconnected(self, deadline_s: float) -> Connection:
        """Connect to a service that may have exited; if it has, make sure that there is another one."""
        try:
            return self._connected(deadline_s)
        except ServiceUnavailableError:
            if self._options.start is None or sys.platform == "win32":
                raise
            if self._options.start == "wait":
                return self._started(deadline_s)
            if self._options.fallback:
                self._owes_start = True
            else:
                self._start()
            raise

    def _start_for_the_next(self) -> None:
        """Start a service for other callers, if there was none for this one; see the module docstring."""
        if not self._owes_start:
            return
        with self._lock:
            owed, self._owes_start = self._owes_start, False
        if owed:
            try:
                self._start()
            except ServiceError as problem:
                log("info", "No model service was started for the next process: %s", problem)
                self.fallback_reason = problem
            except (ShutdownError, ForkError):
                pass  # the vectors are there

    def _start(self) -> bool:
        """Make sure that there is such a service; return whether this started a process, not another caller."""
        safe_folder(create=True)  # raises before the import on platforms without locks and such sockets
        if self._identity.changed():  # the process would find out, and exit
            raise ServiceMismatchError(self._changed)
        # A child forked meanwhile would keep the service's lock and socket as long as it lives.
        with GATE.section():
            from .starting import arguments_of, start

            arguments = arguments_of(self._settings, self._identity.model, self._options)
            return start(self._identity, arguments) is not None

    def _last_words(self) -> str:
        """Return the last line in the log of the last service that was started."""
        from .starting import last_words, log_path

        path = socket_path(safe_folder(create=False), self._identity.name)
        return f"The end of {log_path(path)}: {last_words(path)!a}"

    def _started(self, deadline_s: float) -> Connection:
        """Start a service and connect to it. If another process is starting or stopping it, try again."""
        starts = 0
        while True:
            starts += self._start()
            try:
                return self._connected(deadline_s)
            except ServiceUnavailableError as error:
                if monotonic() > deadline_s:
                    raise
                if starts >= _MAX_STARTS:  # a service that exits at once will do so again
                    raise ServiceUnavailableError(f"{error} Tried {starts} times. {self._last_words()}") from None
            GATE.checkpoint()
            sleep(LOOK_AGAIN_S)

    def _connected(self, deadline_s: float) -> Connection:
        path = socket_path(safe_folder(create=False), self._identity.name)
        connection = Connection(path, self._silence_s(path) if self._waits else self._options.silence)
        try:
            with GATE.on_close(connection.interrupt):
                self._welcome = connection.hello(self._identity.text, deadline_s)
        except BaseException:
            connection.close()
            raise
        connection.silence_s = self._options.silence
        return connection

    def _silence_s(self, path: str) -> float:
        """Return how long a service may be silent: one whose socket is new is still importing."""
        try:
            age_s = max(time() - os.stat(path).st_mtime, 0.0)
        except OSError:
            return self._options.silence  # connecting there will show why
        return max(self._options.silence, STARTING_S - age_s)

    def _kept(self) -> Connection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _keep(self, connection: Connection) -> None:
        with self._lock:
            if len(self._idle) < _KEPT_CONNECTIONS and self._local is None:
                self._idle.append(connection)
                return
        connection.close()

    def _after_fork_in_child(self) -> None:
        """Forget the parent's connections, and the lock that one of its other threads may have held."""
        self._lock = allocate_lock()
        self._idle = []


_all_providers = Living()


def _after_fork_in_child() -> None:
    for provider in _all_providers:
        provider._after_fork_in_child()


after_fork_in_child(_after_fork_in_child)


def _parts(texts: list[str], encoded: list[bytes]) -> "Iterator[list[bytes]]":
    """Yield the texts in requests of bounded size.

    Raises:
        ServiceRefusedError: a text is longer than a service accepts.
    """
    part: list[bytes] = []
    size = 0
    for text, data in zip(texts, encoded, strict=True):
        if len(text) > MAX_TEXT_CHARACTERS:
            raise ServiceRefusedError(f"A text has {len(text)} characters; the limit is {MAX_TEXT_CHARACTERS}.")
        if part and (len(part) == MAX_TEXTS or size + len(data) > _REQUEST_BYTES):
            yield part
            part, size = [], 0
        part.append(data)
        size += len(data)
    yield part


def attach(load: "Load") -> None:
    """Run the stage of the strategy SERVICE: publish a provider that is connected, or has fallen back."""
    settings = load.settings
    provider = ServiceProvider(settings, identify(settings), load.opener_for(settings.here()))
    try:
        provider.find_or_start()
    except ServiceError as reason:
        provider.fall_back(reason)
    load.publish(provider)
    log("info", "%r is ready after %.3f s, computed by the %s", provider, load.duration_s, provider.answered_by)

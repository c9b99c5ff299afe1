"""What makes a process a service: nothing of its caller's, a log, HTTP if asked for, and then ``serve``."""

import logging
import os
import resource
import time

from ...core import OptimizedEmbeddingLoader
from ...paths import CACHE_VARIABLE
from ..folder import RUNTIME_VARIABLE, safe_folder
from ..identity import PLACES
from ..starting import log_path
from .main import ServedModel, ServeOptions, serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Final

    from ...arguments import Settings
    from ...local import LocalProvider
    from ..identity import Identity
    from ..starting import Claim
    from .batcher import Batcher
    from .main import Extra

LOG_KEPT_S: "Final" = 7 * 24 * 3600.0
"""How long the log of a service stays that does not run."""


def serve_here(
    wanted: "list[tuple[Settings, str]]",
    identities: "list[Identity]",
    claims: "list[Claim]",
    options: "Namespace",
    arguments: list[str],
) -> str:
    """Serve some models until told to stop; return why it ended.

    Args:
        wanted: settings and precision of each model.
        identities: of each.
        claims: of each; they are released.
        options: of the command ``serve``.
        arguments: of the command ``serve`` that would start the same service.
    """
    if options.adopt:
        _close_what_is_not_ours(claims)
        _leave_folder()
        _remove_old_logs(safe_folder(create=False))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    models = [
        ServedModel(settings, precision, identity, held)
        for (settings, precision), identity, held in zip(wanted, identities, claims, strict=True)
    ]
    return serve(
        models,
        ServeOptions(
            idle_timeout=options.idle_timeout,
            max_memory_mb=options.max_memory,
            max_queued_texts=options.queue,
            arguments=tuple(arguments),
        ),
        extra=None if options.http is None else _http(models, options),
    )


def _http(models: list[ServedModel], options: "Namespace") -> "Extra":
    """Return what answers OpenAI's clients beside the sockets.

    Raises:
        EngineMissingError: the packages for it are not installed.
        ServiceError: there can be no token.
    """
    from .http import Access, HttpModel, read_or_make_token, run_http

    access = Access(None if options.http_open else read_or_make_token(safe_folder(create=True)))

    async def answer(ready: "dict[str, tuple[Batcher, LocalProvider]]") -> None:
        offered: dict[str, HttpModel | None] = {}
        for model in models:
            if model.identity.name in ready:
                batcher, provider = ready[model.identity.name]
                name = model.settings.model_name
                # The same model in another precision needs a name of its own.
                name = f"{name}:{model.precision}" if name in offered else name
                tokens = OptimizedEmbeddingLoader(model.settings.model_name, allow_download=False).count_tokens
                offered[name] = HttpModel(name, provider.dimension, batcher.embed, tokens)
        await run_http(offered, access, port=options.http, on_ready=_say_where)

    return answer


def _say_where(port: int) -> None:
    logging.getLogger("loader.service").info("OpenAI's clients are answered at http://127.0.0.1:%d/v1", port)


def _close_what_is_not_ours(claims: "list[Claim]") -> None:
    """Close whatever the starting process had inherited itself: a pipe that stays open has a reader wait for ever."""
    kept = sorted({fd for held in claims for fd in (held.listener.fileno(), held.lock_fd)})
    highest = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 65536)
    start = 3
    for fd in [*kept, highest]:
        os.closerange(start, fd)
        start = fd + 1


def _leave_folder() -> None:
    """Keep no folder in use that somebody may want to unmount; unless a setting means a place relative to it."""
    values = [os.environ.get(name, "") for name in (*PLACES, CACHE_VARIABLE, RUNTIME_VARIABLE) if name != "PYTHONPATH"]
    if all(not value or os.path.isabs(os.path.expanduser(value)) for value in values):
        os.chdir("/")


def _remove_old_logs(folder: str) -> None:
    """Remove what services of former versions, models and settings have written last."""
    for entry in os.scandir(folder):
        path = os.path.splitext(entry.path)[0]
        try:
            is_old = entry.stat(follow_symlinks=False).st_mtime < time.time() - LOG_KEPT_S
            if entry.path == log_path(path) and is_old and not os.path.lexists(f"{path}.sock"):
                os.unlink(entry.path)
        except OSError:
            pass  # another service was faster

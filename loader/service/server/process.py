"""What makes a process a service: nothing inherited from its caller, a log, HTTP if requested, then ``serve``."""

import faulthandler
import logging
import os
import resource
import time

from ...arguments import Settings
from ...exit_gate import GATE
from ...model_parts import ModelParts
from ...runtime.paths import CACHE_VARIABLE
from ..folder import RUNTIME_VARIABLE, is_of_service, safe_folder
from ..identity import PLACES
from .main import ServedModel, ServeOptions, serve
from .repeats import NoRepeats
from .room import Room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable
    from typing import Final

    from ...local_provider import LocalProvider
    from ..claims import Claim
    from ..identity import Identity
    from .batcher import Batcher
    from .main import Extra

LOG_KEPT_S: "Final" = 7 * 24 * 3600.0
"""How long the log of a service that is not running is kept."""


def serve_here(
    wanted: list[Settings],
    identities: "list[Identity]",
    claims: "list[Claim]",
    options: "Namespace",
    arguments: list[str],
) -> str:
    """Serve some models until told to stop; return why it ended.

    Args:
        wanted: the settings of each model.
        identities: the identity of each.
        claims: the claim of each; they are released.
        options: the options of ``serve``.
        arguments: the arguments of ``serve`` that would start the same service.
    """
    if options.adopt:
        _close_what_is_not_ours(claims)
        _leave_folder()
        _remove_old_logs(safe_folder(create=False))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    faulthandler.enable()  # a crash says in the log where it happened: functions and lines, and no values
    for handler in logging.getLogger().handlers:
        handler.addFilter(NoRepeats())
    models = [
        ServedModel(settings, identity, held)
        for settings, identity, held in zip(wanted, identities, claims, strict=True)
    ]
    room = Room()
    return serve(
        models,
        ServeOptions(
            idle_timeout=options.idle_timeout,
            max_memory_mb=options.max_memory,
            max_queued_texts=options.queue,
            arguments=tuple(arguments),
        ),
        extra=None if options.http is None else _http(models, options, room),
        room=room,
    )


def _http(models: list[ServedModel], options: "Namespace", room: Room) -> "Extra":
    """Return a function that answers OpenAI's clients beside the sockets.

    Raises:
        EngineMissingError: the packages for it are not installed.
        ServiceError: the token cannot be read or created, or the port is taken.
    """
    from .http import Access, HttpModel, listening, read_or_make_token, run_http

    access = Access(None if options.http_open else read_or_make_token(safe_folder(create=True)))
    listener = listening("127.0.0.1", options.http)  # before the models load, so that a taken port fails at once

    async def answer(ready: "dict[str, tuple[Batcher, LocalProvider]]") -> None:
        offered: dict[str, HttpModel | None] = {}
        for model in models:
            if model.identity.name in ready:
                batcher, provider = ready[model.identity.name]
                name = model.settings.model_name
                # The same model in another precision needs its own name.
                name = f"{name}:{model.settings.precision}" if name in offered else name
                tokens = token_counter(model.settings.model_name)
                offered[name] = HttpModel(name, provider.dimension, batcher.embed, tokens)
        await run_http(offered, access, port=options.http, on_ready=_say_where, room=room, listener=listener)

    return answer


def token_counter(model_name: str) -> "Callable[[str], int]":
    """Return a function that counts the tokens that a model reads of a text; counting the rest could take too long.

    It raises ModelError if they cannot be counted.
    """
    parts = ModelParts(Settings(model_name, allow_download=False))

    def count(text: str) -> int:
        with GATE.section():
            tokenizer = parts.tokenizer()
            return len(tokenizer.encode(text, tokenizer.max_seq_length))

    return count


def _say_where(port: int) -> None:
    logging.getLogger("loader.service").info("answering OpenAI's clients at http://127.0.0.1:%d/v1", port)


def _close_what_is_not_ours(claims: "list[Claim]") -> None:
    """Close what the starting process had inherited: a pipe that stays open would keep its reader waiting forever."""
    kept = sorted({fd for held in claims for fd in (held.listener.fileno(), held.lock.fd)})
    highest = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 65536)
    start = 3
    for fd in [*kept, highest]:
        os.closerange(start, fd)
        start = fd + 1


def _leave_folder() -> None:
    """Leave the working directory, so that it can be unmounted, unless a setting is relative to it."""
    values = [os.environ.get(name, "") for name in (*PLACES, CACHE_VARIABLE, RUNTIME_VARIABLE) if name != "PYTHONPATH"]
    if all(not value or os.path.isabs(os.path.expanduser(value)) for value in values):
        os.chdir("/")


def _remove_old_logs(folder: str) -> None:
    """Remove the logs of services of former versions, models and settings."""
    for entry in os.scandir(folder):
        path = os.path.splitext(entry.path)[0]
        try:
            is_old = entry.stat(follow_symlinks=False).st_mtime < time.time() - LOG_KEPT_S
            is_log = is_of_service(entry.name, ".log")
            if is_log and is_old and not os.path.lexists(f"{path}.sock"):
                os.unlink(entry.path)
        except OSError:
            pass  # another service removed it first

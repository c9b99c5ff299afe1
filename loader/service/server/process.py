"""What makes a process a service: no descriptors but its own, a log, one working folder, and then ``serve``."""

import logging
import os
import resource

from .main import ServedModel, ServeOptions, serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from ...arguments import Settings
    from ..identity import Identity
    from ..starting import Claim


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
    )


def _close_what_is_not_ours(claims: "list[Claim]") -> None:
    """Close whatever the starting process had inherited itself: a pipe that stays open has a reader wait for ever."""
    kept = sorted({fd for held in claims for fd in (held.listener.fileno(), held.lock_fd)})
    highest = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 65536)
    start = 3
    for fd in [*kept, highest]:
        os.closerange(start, fd)
        start = fd + 1

"""keep models loaded and answer this user's other processes.

Runs in the foreground until it is stopped (python -m loader stop, Ctrl-C, SIGTERM). Programs that use the strategy
SERVICE with the same model and settings find it; if none is running, they start one themselves.
"""

import os
import sys

from ..arguments import DEFAULT_MODEL, Settings
from ..engines import AUTO, ENGINES
from ..errors import ArgumentValueError, ServiceError, ServiceUnavailableError
from ..service.identity import meant
from ..strategies import PRECISIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence
    from typing import Final

    from ..service.claims import Claim
    from ..service.identity import Identity
    from ..service.locks import Lock

START_S: "Final" = 10.0
"""Longest wait for the first sign of a service that was started."""
LOAD_S: "Final" = 600.0
"""Longest wait for its models."""
END_S: "Final" = 5.0
"""Longest time from the end of a service's connections to the end of its process."""
_OWN = ("engine", "precision", "device", "threads")


def add_arguments(parser: "ArgumentParser") -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME[,engine=E][,precision=P][,device=D][,threads=N]",
        help=f"folder or hub name; may be given several times, each with its own settings (default: {DEFAULT_MODEL})",
    )
    parser.add_argument(
        "--engine", default=AUTO, choices=[AUTO, *(spec.name for spec in ENGINES)], help="default: auto"
    )
    parser.add_argument("--precision", default=PRECISIONS[0], choices=PRECISIONS, help="default: %(default)s")
    parser.add_argument("--device", help="cpu, cuda, cuda:<number> or mps (default: the best one the engine finds)")
    parser.add_argument("--threads", type=int, help="threads for one run of the model")
    parser.add_argument("--offline", action="store_true", help="never download")
    parser.add_argument(
        "--idle-timeout",
        type=float,
        default=-1.0,
        metavar="SECONDS",
        help="exit after this long without a request; 0: after the first one, -1: never (default: %(default)g)",
    )
    parser.add_argument(
        "--max-memory",
        type=float,
        metavar="MIB",
        help="exit if private memory exceeds this (default: 1024 more than when its models are ready)",
    )
    parser.add_argument(
        "--queue", type=int, default=1024, metavar="TEXTS", help="how many texts may wait (default: %(default)s)"
    )
    parser.add_argument(
        "--http", type=int, metavar="PORT", help="also answer OpenAI's clients on 127.0.0.1 (needs the extra 'http')"
    )
    parser.add_argument("--http-open", action="store_true", help="answer OpenAI's clients without a token")
    parser.add_argument("--detach", action="store_true", help="run in the background; return when the models are ready")
    parser.add_argument("--adopt", action="store_true", help="take over sockets from the parent process (internal)")


def run(options: "Namespace") -> None:
    """Serve until stopped."""
    wanted, identities = what(options)
    if options.detach:
        detach(options, identities, [None] * len(identities))
        return
    from ..service.server.process import serve_here

    claims = _claims(identities, [None] * len(identities), adopt=options.adopt)
    try:
        reason = serve_here(wanted, identities, claims, options, arguments(options))
    finally:
        for held in claims:
            held.release()  # if serving could not even begin; otherwise already released
    print(reason, file=sys.stderr)


def what(options: "Namespace") -> "tuple[list[Settings], list[Identity]]":
    """Return the settings of each model to serve, and the identities that its callers ask for.

    Raises:
        LoaderError: a model was not found, or there is no safe folder for its socket.
    """
    from ..service.folder import safe_folder
    from ..service.identity import identify

    safe_folder(create=True)  # before anything else: it raises on Windows
    wanted = [_parse(text, options) for text in options.model or [DEFAULT_MODEL]]
    return wanted, [identify(settings) for settings in wanted]


def _parse(text: str, options: "Namespace") -> Settings:
    """Return what ``NAME[,key=value]...`` asks for; the options are the defaults."""
    name, own = _split(text)
    values = {**{key: getattr(options, key) for key in _OWN}, **own}
    try:
        threads = None if values["threads"] is None else int(values["threads"])
    except ValueError:
        raise ArgumentValueError(f"threads must be an integer, not {values['threads']!a}") from None
    return Settings(
        meant(name),
        "service",
        values["device"],
        engine=values["engine"],
        threads=threads,
        allow_download=False if options.offline else None,
        precision=values["precision"],
    )


def _split(text: str) -> tuple[str, dict[str, str]]:
    """Return the name in ``NAME[,key=value]...`` and the settings after it; the path of a folder is kept whole."""
    own: dict[str, str] = {}
    while "," in text and not os.path.isdir(os.path.expanduser(text)):
        rest, _, last = text.rpartition(",")
        key, equals, value = last.partition("=")
        if not equals or key not in _OWN:
            break
        text = rest
        own.setdefault(key, value)
    return text, own


def _whole(text: str) -> str:
    """Return the value of ``--model`` with the full path of a folder, so that it means the same elsewhere."""
    name = _split(text)[0]
    return meant(name) + text[len(name) :]


def _claims(identities: "list[Identity]", turns: "Sequence[Lock | None]", *, adopt: bool = False) -> "list[Claim]":
    claims: list[Claim] = []
    try:
        for index, (identity, turn) in enumerate(zip(identities, turns, strict=True)):
            claims.append(_claim(identity, index, turn, adopt=adopt))
    except BaseException:
        for held in claims:
            held.release()
        raise
    return claims


def _claim(identity: "Identity", index: int, turn: "Lock | None", *, adopt: bool) -> "Claim":
    from ..service.claims import claim
    from ..service.starting import adopt as taken_over

    held = taken_over(identity, index) if adopt else claim(identity, turn)
    if held is None:
        raise ServiceUnavailableError(
            f"A service for {identity.model} is already running. See 'python -m loader status'; stop it with "
            "'python -m loader stop'."
        )
    return held


def detach(options: "Namespace", identities: "list[Identity]", turns: "Sequence[Lock | None]") -> None:
    """Start the process that serves, and wait until its models are ready.

    Args:
        options: the options of this command.
        identities: the identity of each model.
        turns: for each model the result of ``claims.take_turn``, or None; released once the process has started.

    Raises:
        ServiceError: it could not be started, it exited, or a model cannot be loaded.
    """
    import time

    from ..service import starting
    from ..service.connection import Connection

    claims = _claims(identities, turns)
    paths = [held.path for held in claims]
    process = starting.spawn(claims, arguments(options))
    for turn in turns:
        if turn is not None:
            turn.release()
    problems: list[ServiceError] = []
    for path, identity in zip(paths, identities, strict=True):
        try:
            connection = Connection(path, START_S)
            try:
                welcome = connection.hello(identity.text, time.monotonic() + LOAD_S)
            finally:
                connection.close()
        except ServiceError as problem:
            problems.append(problem)
        else:
            print(f"{identity.model}: {welcome.engine}, {welcome.precision}, {welcome.device}; process {process.pid}")
    if not problems:
        return
    if isinstance(problems[0], ServiceUnavailableError) and process.has_ended(END_S):
        raise ServiceUnavailableError(
            f"The service's process exited at once with code {process.exit_code}: "
            f"{starting.last_words(paths[0]).removeprefix('error: ')} (The full log is {starting.log_path(paths[0])}.)"
        )
    if len(problems) < len(paths):  # the loaded models are still useful
        print(f"process {process.pid} serves the others; 'python -m loader stop' stops it", file=sys.stderr)
    raise problems[0]


def arguments(options: "Namespace") -> list[str]:
    """Return the arguments that start the same service again."""
    texts = [f"--model={_whole(model)}" for model in options.model or []]
    for name in ("engine", "precision", "device", "threads", "idle_timeout", "max_memory", "queue", "http"):
        value = getattr(options, name)
        if value is not None:
            texts.append(f"--{name.replace('_', '-')}={value}")
    return [*texts, *(["--offline"] if options.offline else []), *(["--http-open"] if options.http_open else [])]

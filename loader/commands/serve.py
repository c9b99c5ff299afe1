"""keep models loaded and answer other processes of this user.

Runs in the foreground until it is told to stop (python -m loader stop, Ctrl-C, SIGTERM). Programs that use the strategy
SERVICE with the same model and settings find it, and start one by themselves where there is none.
"""

import sys

from ..arguments import DEFAULT_MODEL, Settings
from ..engines import AUTO, ENGINES
from ..errors import ArgumentValueError, ServiceError, ServiceUnavailableError
from ..service.identity import meant
from ..strategies import PRECISIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Final

    from ..service.identity import Identity
    from ..service.starting import Claim

START_S: "Final" = 10.0
"""Longest time until a service that was started says something."""
LOAD_S: "Final" = 600.0
"""Longest time until its models are ready."""
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
        help="end after so long without a request; 0 after the first one, -1 never (default: %(default)g)",
    )
    parser.add_argument(
        "--max-memory",
        type=float,
        metavar="MIB",
        help="end when it has more memory of its own (default: 1024 more than when its models are ready)",
    )
    parser.add_argument(
        "--queue", type=int, default=1024, metavar="TEXTS", help="texts that may wait (default: %(default)s)"
    )
    parser.add_argument(
        "--http", type=int, metavar="PORT", help="also answer OpenAI's clients on 127.0.0.1 (needs the extra 'http')"
    )
    parser.add_argument("--http-open", action="store_true", help="answer them without a token")
    parser.add_argument("--detach", action="store_true", help="run in the background; return when the models are ready")
    parser.add_argument("--adopt", action="store_true", help="take over sockets from the process that started this one")


def run(options: "Namespace") -> None:
    """Serve until told to stop."""
    from ..service.folder import safe_folder
    from ..service.identity import identify

    safe_folder(create=True)  # before anything else: there is none on Windows
    wanted = [_parse(text, options) for text in options.model or [DEFAULT_MODEL]]
    identities = [identify(settings, precision) for settings, precision in wanted]
    if options.detach:
        _detach(options, identities)
        return
    from ..service.server.process import serve_here

    claims = _claims(identities, adopt=options.adopt)
    print(serve_here(wanted, identities, claims, options, arguments(options)), file=sys.stderr)


def _parse(text: str, options: "Namespace") -> tuple[Settings, str]:
    """Return what ``NAME[,key=value]...`` asks for, and the options where it says nothing."""
    name, own = _split(text)
    values = {**{key: getattr(options, key) for key in _OWN}, **own}
    try:
        threads = None if values["threads"] is None else int(values["threads"])
    except ValueError:
        raise ArgumentValueError(f"threads must be a number, not {values['threads']!a}") from None
    settings = Settings(
        meant(name),
        values["device"],
        values["engine"],
        threads,
        False if options.offline else None,
        precision=values["precision"],
    )
    return settings, values["precision"]


def _split(text: str) -> tuple[str, dict[str, str]]:
    """Return the name in ``NAME[,key=value]...``, which may have commas itself, and the settings behind it."""
    own: dict[str, str] = {}
    while "," in text:
        rest, _, last = text.rpartition(",")
        key, equals, value = last.partition("=")
        if not equals or key not in _OWN:
            break
        text = rest
        own.setdefault(key, value)
    return text, own


def _whole(text: str) -> str:
    """Return what ``--model`` was given, the path of a folder in full: it shall mean the same in another folder."""
    name = _split(text)[0]
    return meant(name) + text[len(name) :]


def _claims(identities: "list[Identity]", *, adopt: bool) -> "list[Claim]":
    claims: list[Claim] = []
    try:
        for index, identity in enumerate(identities):
            claims.append(_claim(identity, index, adopt=adopt))
    except BaseException:
        for held in claims:
            held.release()
        raise
    return claims


def _claim(identity: "Identity", index: int, *, adopt: bool) -> "Claim":
    from ..service import starting

    held = starting.adopt(identity, index) if adopt else starting.claim(identity)
    if held is None:
        raise ServiceUnavailableError(
            f"A service for {identity.model} runs already. See it with 'python -m loader status', end it with "
            "'python -m loader stop'."
        )
    return held


def _detach(options: "Namespace", identities: "list[Identity]") -> None:
    """Start the process that serves, and wait until its models are ready."""
    import time

    from ..service import starting
    from ..service.connection import Connection

    claims = _claims(identities, adopt=False)
    paths = [held.path for held in claims]
    pid = starting.spawn(claims, arguments(options))
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
            print(f"{identity.model}: {welcome.engine}, {welcome.precision}, {welcome.device}; process {pid}")
    if not problems:
        return
    if len(problems) < len(paths):  # those that were loaded are of use
        print(f"process {pid} serves the others; 'python -m loader stop' ends it", file=sys.stderr)
    raise problems[0]


def arguments(options: "Namespace") -> list[str]:
    """Return the arguments that describe the same service again."""
    texts = [f"--model={_whole(model)}" for model in options.model or []]
    for name in ("engine", "precision", "device", "threads", "idle_timeout", "max_memory", "queue", "http"):
        value = getattr(options, name)
        if value is not None:
            texts.append(f"--{name.replace('_', '-')}={value}")
    return [*texts, *(["--offline"] if options.offline else []), *(["--http-open"] if options.http_open else [])]

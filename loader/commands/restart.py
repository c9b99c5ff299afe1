"""stop this user's model services and start them again with the same settings.

Use it after an upgrade, or to load a model again. Without --model it restarts all of them.
"""

from ..errors import ServiceUnavailableError
from ._services import add_choice, chosen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from ..service.control import Running


def add_arguments(parser: "ArgumentParser") -> None:
    """Add the command's arguments."""
    add_choice(parser)


def run(options: "Namespace") -> None:
    """Stop the services, then start them; raises a ServiceError if either fails."""
    import argparse
    from contextlib import ExitStack

    from ..service.claims import take_turn
    from ..service.control import stop
    from . import serve

    parser = argparse.ArgumentParser(exit_on_error=False)
    serve.add_arguments(parser)
    processes: dict[int, list[Running]] = {}
    for service in chosen(options):
        if not service.report.get("arguments"):
            raise ServiceUnavailableError(
                f"{service.name} does not report how it was started. Stop it with 'python -m loader stop --force' and "
                "start it yourself."
            )
        # A process with several models has several sockets, which report the same arguments.
        processes.setdefault(int(service.report["pid"]), []).append(service)
    for services in processes.values():
        arguments = [str(text) for text in services[0].report["arguments"]]
        again = _parsed(parser, [*arguments, "--detach"], services[0])
        _, identities = serve.what(again)  # before stopping anything: a model may be gone by now
        with ExitStack() as stack:
            turns = []
            for identity in identities:
                turns.append(take_turn(identity))
                stack.callback(turns[-1].release)
            for service in services:
                stop(service, force=options.force, timeout_s=options.timeout)
                print(f"{service.name}: stopped")
            serve.detach(again, identities, turns)


def _parsed(parser: "ArgumentParser", arguments: list[str], service: "Running") -> "Namespace":
    """Return the options that a service was started with, perhaps by another version of this library."""
    from argparse import ArgumentError

    problem = ""
    try:
        options, unknown = parser.parse_known_args(arguments)
    except ArgumentError as error:
        problem = str(error)
    else:
        problem = " ".join(unknown)
    if problem:
        raise ServiceUnavailableError(
            f"{service.name} was started by another version of this library, with arguments that this version does not "
            f"accept: {problem}. Stop it with 'python -m loader stop' and start it yourself."
        )
    return options

"""end model services of this user and start them again with the same settings.

After an upgrade, or to have a model loaded anew. Without a model named, all that run.
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
    """Stop them, then start them; raises a ServiceError where one of the two fails."""
    import argparse

    from ..service.control import stop
    from . import serve

    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    processes: dict[int, list[Running]] = {}
    for service in chosen(options):
        if not service.report.get("arguments"):
            raise ServiceUnavailableError(
                f"{service.name} does not say how it was started. End it with 'python -m loader stop --force', and "
                "start it yourself."
            )
        # A process with several models has several sockets, and the same arguments at each.
        processes.setdefault(int(service.report["pid"]), []).append(service)
    for services in processes.values():
        for service in services:
            stop(service, force=options.force, timeout_s=options.timeout)
            print(f"{service.name}: stopped")
        arguments = [str(text) for text in services[0].report["arguments"]]
        serve.run(parser.parse_args([*arguments, "--detach"]))

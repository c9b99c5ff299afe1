"""end model services of this user and start them again with the same settings.

After an upgrade, or to have a model loaded anew. Without a model named, all that run.
"""

from ._services import add_choice, chosen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


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
    again: dict[int, list[str]] = {}
    for service in chosen(options):
        # A process with several models has several sockets, and the same arguments at each.
        again[int(service.report.get("pid", 0))] = [str(text) for text in service.report.get("arguments", [])]
        stop(service, force=options.force, timeout_s=options.timeout)
        print(f"{service.name}: stopped")
    for arguments in again.values():
        serve.run(parser.parse_args([*arguments, "--detach"]))

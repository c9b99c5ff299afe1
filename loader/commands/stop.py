"""stop this user's model services.

Each finishes the requests that it has accepted.
"""

from ._services import add_choice, chosen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def add_arguments(parser: "ArgumentParser") -> None:
    """Add the command's arguments."""
    add_choice(parser)


def run(options: "Namespace") -> None:
    """Stop the services; raises a ServiceError if one keeps running."""
    from ..service.control import stop

    for service in chosen(options):
        stop(service, force=options.force, timeout_s=options.timeout)
        print(f"{service.name}: stopped")

"""What the commands stop and restart have in common."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from ..service.control import Running


def add_choice(parser: "ArgumentParser") -> None:
    """Add the options that say which services are meant, and how patient the command is."""
    parser.add_argument("--model", metavar="NAME", help="only services of this model (default: all of this user)")
    parser.add_argument("--force", action="store_true", help="kill one that does not answer")
    parser.add_argument(
        "--timeout", type=float, default=15.0, metavar="SECONDS", help="to wait for each (default: %(default)g)"
    )


def chosen(options: "Namespace") -> "list[Running]":
    """Return the services that are meant, having said so where there is none."""
    from ..service.control import running

    services = running()
    if options.model:
        services = [service for service in services if service.report.get("model") == options.model]
    if not services:
        print("No such model service runs." if options.model else "No model service runs.")
    return services

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
        services = [service for service in services if _is_of(service, options.model)]
    if not services:
        print("No such model service runs." if options.model else "No model service runs.")
    return services


def _is_of(service: "Running", model: str) -> bool:
    """Whether it is a service of this model; one that does not say so is judged by the name of its socket."""
    import os

    from ..service.identity import socket_prefix

    said = service.report.get("model")
    if said is not None:
        return bool(_names(str(said)) & _names(model))
    return os.path.basename(service.path).rpartition("-")[0] == socket_prefix(model)[:-1]


def _names(model: str) -> set[str]:
    """Return what a model may be called, so that its short name and its long one are the same."""
    from ..errors import ModelNameError
    from ..names import repo_ids
    from ..service.identity import meant

    try:
        return {meant(model), *repo_ids(model)}
    except ModelNameError:  # a path
        return {meant(model)}

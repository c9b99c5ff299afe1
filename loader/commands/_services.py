"""What the commands stop and restart share."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from ..service.control import Running


def add_choice(parser: "ArgumentParser") -> None:
    """Add the options that select services and limit the wait for them."""
    parser.add_argument("--model", metavar="NAME", help="only services of this model (default: all of this user's)")
    parser.add_argument("--force", action="store_true", help="kill services that do not respond")
    parser.add_argument(
        "--timeout", type=float, default=15.0, metavar="SECONDS", help="time to wait for each (default: %(default)g)"
    )


def chosen(options: "Namespace") -> "list[Running]":
    """Return the selected services; print a message if there are none."""
    from ..service.control import running

    services = running()
    if options.model:
        services = [service for service in services if _is_of(service, options.model)]
    if not services:
        print("No such model service is running." if options.model else "No model service is running.")
    return services


def _is_of(service: "Running", model: str) -> bool:
    """Whether it is a service of this model; if it does not report its model, its socket's name decides."""
    import os

    from ..service.identity import socket_prefix

    said = service.report.get("model")
    if said is not None:
        return bool(_names(str(said)) & _names(model))
    return os.path.basename(service.path).rpartition("-")[0] == socket_prefix(model)[:-1]


def _names(model: str) -> set[str]:
    """Return all names of a model, so that its short name and its long one match."""
    from ..errors import ModelNameError
    from ..model.names import repo_ids
    from ..service.identity import meant

    try:
        return {meant(model), *repo_ids(model)}
    except ModelNameError:  # a path
        return {meant(model)}

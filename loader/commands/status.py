"""show this user's running model services.

Exits with code 1 if one of them does not respond.
"""

from ..errors import ServiceUnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from ..service.control import Running


def add_arguments(parser: "ArgumentParser") -> None:
    """Add the command's arguments."""
    parser.add_argument("--json", action="store_true", help="print everything they report, one JSON object each")


def run(options: "Namespace") -> None:
    """Print what each service reports."""
    import json

    from ..service.control import running
    from ..service.folder import runtime_folder

    services = running()
    if options.json:
        for service in services:
            facts = {"socket": service.path, "process": service.pid, **service.report}
            print(json.dumps({**facts, "problem": str(service.problem)} if service.problem else facts))
    elif not services:
        print(f"No model service is running (sockets would be in {runtime_folder()}).")
    else:
        for service in services:
            _print(service)
    silent = [service.path for service in services if service.problem]
    if silent:
        raise ServiceUnavailableError(
            f"{len(silent)} of {len(services)} do not respond. Stop them with 'python -m loader stop --force'."
        )


def _print(service: "Running") -> None:
    report = service.report
    print(f"{service.name}  (process {service.pid or report.get('pid', 'unknown')})")
    if service.problem:
        print(f"    problem    {service.problem}")
    else:
        what = ", ".join(str(report.get(key)) for key in ("state", "engine", "precision", "device"))
        print(f"    state      {what}; version {report.get('version')}")
        counted = report.get("counters", {})
        names = ("requests", "texts", "batches", "busy", "refused", "timeouts")
        print("    answered   " + ", ".join(f"{counted.get(name, 0):,} {name}" for name in names))
        print(f"    memory     {report.get('memory_bytes', 0) / 2**20:,.1f} MiB private")
        print(f"    ends       {_end(float(report.get('idle_timeout_s', -1.0)))}")
    print(f"    socket     {service.path}")


def _end(idle_timeout_s: float) -> str:
    if idle_timeout_s < 0:
        return "when stopped"
    return f"{idle_timeout_s:g} s after the last request" if idle_timeout_s else "after the first request"

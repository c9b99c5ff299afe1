"""``python -m loader``: embed texts, look at a model or at this machine, prepare models and keep them in order."""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Final

COMMANDS: "Final" = ("embed", "info", "compile", "cache", "serve", "status", "stop", "restart", "doctor")
"""In the order of the help text; each is a module of ``loader.commands`` with ``add_arguments`` and ``run``."""


def build_parser(names: tuple[str, ...] = COMMANDS) -> "ArgumentParser":
    """Return the command line's parser, with some of its commands."""
    import argparse
    from importlib import import_module

    from .version import __version__

    class Formatter(argparse.HelpFormatter):
        """For each argument argparse makes one, which would import shutil, bz2 and lzma for the terminal's width."""

        def __init__(self, prog: str) -> None:
            super().__init__(prog, width=_terminal_width() - 2)

    parser = argparse.ArgumentParser(
        prog="python -m loader",
        description="Make an embedding model available fast. 'python -m loader COMMAND -h' explains a command.",
        formatter_class=Formatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    for name in names:
        module = import_module(f"loader.commands.{name}")
        summary, _, _ = str(module.__doc__).partition("\n")
        sub = commands.add_parser(name, help=summary, description=module.__doc__, formatter_class=Formatter)
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def _terminal_width() -> int:
    """Return the columns that a help text may use, as ``shutil.get_terminal_size`` finds them."""
    import os

    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


def _parsed(given: list[str]) -> "Namespace":
    if len(given) > 1 and given[0] == "embed" and not any(word.startswith("-") for word in given):
        from .commands.embed import options_of_texts

        return options_of_texts(given[1:])
    # Import only the command that runs: the others have imports of their own.
    return build_parser((given[0],) if given and given[0] in COMMANDS else COMMANDS).parse_args(given)


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return the exit code: 0 done, 1 an error that was printed, 2 wrong usage."""
    from .errors import LoaderError

    given = sys.argv[1:] if arguments is None else arguments
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may have bytes that do not decode
    options = _parsed(given)
    try:
        options.run(options)
    except LoaderError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output is gone: keep Python from complaining when it flushes at exit.
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def run() -> None:
    """Be the console script."""
    code = main()
    import gc

    if hasattr(gc, "freeze"):  # not in PyPy
        gc.freeze()  # nothing needs to be collected any more, and Python ends sooner
    raise SystemExit(code)


if __name__ == "__main__":
    run()

"""``python -m bench.load``: see ``bench.load.cli``."""

import sys


def main() -> None:
    """Run the command line, or name the extra that it needs."""
    try:
        from bench.load import cli
    except ModuleNotFoundError as error:
        from bench.errors import missing_extra

        sys.stderr.write(f"error: {missing_extra(error)}\n")
        raise SystemExit(2) from None
    raise SystemExit(cli.main())


if __name__ == "__main__":
    main()

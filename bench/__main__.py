"""``python -m bench``: see ``bench.cli``."""

import sys


def main() -> None:
    """Run the command line, or name the extra that it needs."""
    try:
        from bench import cli
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in {"bench", "loader"}:
            raise
        sys.stderr.write(
            f"error: the harness needs {error.name}, not installed here. "
            "Install it with: python -m pip install 'optimized-embedding-loader[bench]'\n"
        )
        raise SystemExit(2) from None
    cli.main()


if __name__ == "__main__":
    main()

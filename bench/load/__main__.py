"""``python -m bench.load``: see ``bench.load.cli``."""

from bench.programs import find_program, run_main


def main() -> int | None:
    """Run the command line; an error names the extra to install if one is missing."""
    return find_program("load").main()()


if __name__ == "__main__":
    run_main(main)

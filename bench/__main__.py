"""``python -m bench``: measure, see ``bench.cli``; or, if the first word is its name, another of ``bench.programs``."""

import sys

from bench.programs import MEASURE, find_program, run_main


def main() -> int | None:
    """Run the program that the command line asks for."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    if not word or word.startswith(("-", "+", "~")) or "=" in word:  # words of Hydra
        return MEASURE.main()()
    program = find_program(word)
    del sys.argv[1]
    return program.main()()


if __name__ == "__main__":
    run_main(main)

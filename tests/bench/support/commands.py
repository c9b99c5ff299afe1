"""Programs of the harness, called in this process."""

from bench.programs import exit_code_of


def call(main, words):
    """Run a program's main function with these words and return the exit code; errors are messages, as for a user."""
    return exit_code_of(lambda: main(words))

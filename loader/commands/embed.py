"""embed texts and print their vectors.

One line of JSON per text: a list of numbers. Without a text on the command line, lines are read from standard input
and answered as they come in batches.
"""

import sys

from ._options import add_model_options, load_provider

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator

    from numpy.typing import NDArray


def add_arguments(parser: "ArgumentParser") -> None:
    """Add the command's arguments."""
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="text to embed (default: the lines of standard input)")
    parser.add_argument("--document", action="store_true", help="embed as documents, not as search queries")
    add_model_options(parser)


def run(options: "Namespace") -> None:
    """Print a vector per text."""
    provider = load_provider(options)
    vectors: Iterator[NDArray[object]]  # type: ignore[type-var]
    if not options.texts:
        vectors = provider.embed_stream(line.rstrip("\r\n") for line in sys.stdin)
    elif options.document:
        vectors = iter(provider.embed_batch(options.texts))
    else:
        vectors = (provider.embed_query(text) for text in options.texts)
    for vector in vectors:
        # repr of a float32 is the shortest text that reads back as the same float32.
        print(f"[{', '.join(str(value) for value in vector)}]", flush=True)

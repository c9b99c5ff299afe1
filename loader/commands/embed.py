"""embed texts and print their vectors.

Prints one line of JSON per text: a list of numbers. Without a text on the command line, it reads lines from standard
input and embeds them in batches as they arrive. It uses a model service if one is running with the same settings, and
starts one only with the strategy service.
"""

import sys

from ._numbers import numbers
from ._options import MODEL_DEFAULTS, add_model_options, load_provider

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterable


def add_arguments(parser: "ArgumentParser") -> None:
    """Add the command's arguments."""
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="text to embed (default: the lines of standard input)")
    parser.add_argument("--document", action="store_true", help="embed as documents instead of search queries")
    add_model_options(parser)


def options_of_texts(texts: list[str]) -> "Namespace":
    """Return what the parser makes of texts alone. Importing argparse takes half as long as starting Python."""
    from types import SimpleNamespace

    return SimpleNamespace(**MODEL_DEFAULTS, texts=texts, document=False, run=run)  # type: ignore[return-value]


def run(options: "Namespace") -> None:
    """Print a vector per text."""
    provider = load_provider(options)
    vectors: Iterable[bytes]
    if not options.texts:
        lines = (line.rstrip("\r\n") for line in sys.stdin)
        vectors = (vector.astype("<f4").tobytes() for vector in provider.embed_stream(lines))
    elif options.document:
        joined = provider.embed_batch_bytes(options.texts)
        size = 4 * provider.dimension
        vectors = (joined[start : start + size] for start in range(0, len(joined), size))
    else:
        vectors = (provider.embed_query_bytes(text) for text in options.texts)
    for vector in vectors:
        print(numbers(vector), flush=True)

"""prepare a model once, so that it opens in milliseconds from then on.

In full precision (float32) it embeds many more texts per second, and models that need PyTorch start without it. With 8
bits (int8) it takes the least memory. The result goes to the user's cache, where it is found by the model's name. With
--output it goes to a folder that you can use as a model name on any machine; pickled weights (pytorch_model.bin) are
converted on the way.
"""

import sys

from ..strategies import PRECISIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def add_arguments(parser: "ArgumentParser") -> None:
    """Add the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="folder or hub name")
    parser.add_argument(
        "--precision",
        type=_precision,
        default="float32",
        choices=PRECISIONS,
        help="how weights are stored (default: %(default)s)",
    )
    parser.add_argument("--output", metavar="DIR", help="new folder to write to (default: the user's cache)")
    parser.add_argument("--offline", action="store_true", help="never download")
    parser.add_argument("--quiet", action="store_true", help="hide progress")


def run(options: "Namespace") -> None:
    """Prepare the model and print the folder."""
    from ..artifacts.compile import compile_model

    folder = compile_model(
        options.model,
        options.precision,
        options.output,
        allow_download=False if options.offline else None,
        progress=None if options.quiet else _progress,
    )
    print(folder)


def _precision(text: str) -> str:
    """Return the precision that the text means; ``fp32`` is what the option was called before."""
    return "float32" if text == "fp32" else text


def _progress(step: str, done: float) -> None:
    """Draw one line that is overwritten on a terminal, or one line per step in a log."""
    line = f"{done:4.0%} {step}"
    if sys.stderr.isatty():
        print(f"\r{line:60}", end="\n" if done >= 1.0 else "", file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr, flush=True)

"""Options that several commands share."""

from ..arguments import DEFAULT_MODEL, DEFAULT_TIMEOUT_S
from ..engines import AUTO, ENGINES
from ..strategies import STRATEGIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any, Final

    from ..provider import EmbeddingProvider

MODEL_DEFAULTS: "Final[dict[str, Any]]" = {
    "model": DEFAULT_MODEL,
    "strategy": None,
    "engine": AUTO,
    "device": None,
    "threads": None,
    "timeout": DEFAULT_TIMEOUT_S,
    "offline": False,
}
"""What ``add_model_options`` leaves where nothing is given."""


def add_model_options(parser: "ArgumentParser") -> None:
    """Add the options for what to load and how."""
    parser.add_argument("--model", help="folder or hub name (default: %(default)s)")
    parser.add_argument(
        "--strategy",
        choices=list(STRATEGIES),
        help="when and where the model loads (default: a model service if one is running, otherwise progressive)",
    )
    parser.add_argument(
        "--engine",
        choices=[AUTO, *(spec.name for spec in ENGINES)],
        help="what computes the vectors (default: %(default)s)",
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:<number> or mps (default: the best one the engine finds)")
    parser.add_argument("--threads", type=int, help="threads for one run of the model")
    parser.add_argument("--timeout", type=float, help="seconds to wait for the model (default: %(default)g)")
    parser.add_argument("--offline", action="store_true", help="never download")
    parser.set_defaults(**MODEL_DEFAULTS)


def load_provider(options: "Namespace") -> "EmbeddingProvider":
    """Return the provider that the options describe; raises a LoaderError."""
    from ..core import OptimizedEmbeddingLoader
    from ..service.options import ServiceOptions

    attached = ServiceOptions(start=None) if options.strategy is None else None
    loader = OptimizedEmbeddingLoader(
        options.model,
        options.strategy or "service",
        options.device,
        engine=options.engine,
        threads=options.threads,
        allow_download=False if options.offline else None,
        service=attached,
    )
    return loader.load(options.timeout)

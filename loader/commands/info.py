"""show what is known about a model, and where its files are.

Does not load or download anything. Weights in an installed package are hashed again.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def add_arguments(parser: "ArgumentParser") -> None:
    """Add the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="folder or hub name")


def run(options: "Namespace") -> None:
    """Print the model's metadata."""
    import time

    from ..model.metadata import lookup
    from ..model.source import resolve
    from ..model.weight_files import check_weights, weight_writers
    from ..text.background import state_of

    folder = resolve(options.model, allow_download=False)
    if folder.origin == "package":
        from ..model.names import repo_ids
        from ..model.packages import package_for, verify_package

        for package in filter(None, map(package_for, repo_ids(options.model))):
            verify_package(package, check_weights(folder.path)[0], remembered=False)
    metadata = lookup(options.model)
    assert metadata is not None  # noqa: S101 - resolve() found its files
    used = (
        "never"
        if metadata.last_used is None
        else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(metadata.last_used))
    )
    rows = {
        "model": metadata.model_name,
        "files": f"{folder.path} ({folder.origin})",
        "dimension": metadata.embedding_dim or "unknown",
        "longest text": f"{metadata.max_seq_length} tokens" if metadata.max_seq_length else "unknown",
        "weights": f"{metadata.model_size_mb:.1f} MiB",
        "quantizable": "yes" if metadata.supports_quantization else "no",
        "tokenizer": state_of(folder.path),
        "last used": used,
    }
    writers = weight_writers(folder.path)
    if writers is not None:
        rows["writable by"] = f"{writers}: a change in place can kill the programs that use it"
    for name, value in rows.items():
        print(f"{name + ':':14}{value}")

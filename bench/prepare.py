"""Preparation of a model, in a process of its own: find its files, and leave everything in the state of a second use.

The parent must not import the loader, so it runs this module, which prints one answer like a worker. Finding a model
that comes as a package hashes its weights once; the workers then find the hash in their private cache.
"""

from __future__ import annotations

import json
import sys

from bench.worker import ANSWER_PREFIX


def prepare(name: str) -> dict[str, object]:
    """Return where the model is, and the name by which plain sentence-transformers finds it without a network."""
    from loader.errors import LoaderError
    from loader.names import is_path, repo_ids
    from loader.source import resolve

    try:
        folder = resolve(name)
    except LoaderError as error:
        return {"error": str(error)}
    in_hub_cache = folder.origin in {"hub cache", "download"} and not is_path(name)
    reference = (
        next((repo for repo in repo_ids(name) if repo.replace("/", "--") in folder.path), name)
        if in_hub_cache
        else folder.path
    )
    return {"origin": folder.origin, "reference_model": reference}


if __name__ == "__main__":
    sys.stdout.write(f"\n{ANSWER_PREFIX.decode()}{json.dumps(prepare(sys.argv[1]))}\n")

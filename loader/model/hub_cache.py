"""Reading the Hugging Face hub cache directly, without importing huggingface_hub and without a network."""

import os

from ..errors import lacking
from ..runtime.paths import at_once

_REVISION_CHARACTERS = frozenset("0123456789abcdefABCDEF")


def cache_roots() -> tuple[str, ...]:
    """Return the folders that can hold hub snapshots, in the order to try them.

    The order is that of the libraries that write them: sentence-transformers prefers SENTENCE_TRANSFORMERS_HOME;
    huggingface_hub reads the others (HF_HUB_CACHE, its older name, HF_HOME, XDG_CACHE_HOME).
    """
    environ = os.environ
    roots = []
    if environ.get("SENTENCE_TRANSFORMERS_HOME"):
        roots.append(environ["SENTENCE_TRANSFORMERS_HOME"])
    hub = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")
    if not hub:
        base = environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
        hub = os.path.join(environ.get("HF_HOME") or os.path.join(base, "huggingface"), "hub")
    roots.append(hub)
    return tuple(os.path.abspath(os.path.expandvars(os.path.expanduser(root))) for root in roots)


def snapshot_folder(root: str, repo_id: str) -> str | None:
    """Return the folder of the main revision of ``repo_id`` under ``root``, or None if there is none.

    Args:
        root: one of ``cache_roots()``.
        repo_id: a valid hub name; because it cannot contain ``--``, no two names share a folder.
    """
    repo = os.path.join(root, f"models--{repo_id.replace('/', '--')}")
    try:
        with open(os.path.join(repo, "refs", "main"), "rb", opener=at_once) as file:
            revision = file.read(128).decode().strip()
    except (OSError, ValueError, TypeError) as error:
        lack = lacking(repo, error)
        if lack is not None and not isinstance(error, PermissionError):
            raise lack from error  # otherwise it would be searched for elsewhere and downloaded again
        return None
    if not revision or not _REVISION_CHARACTERS.issuperset(revision):
        return None
    folder = os.path.join(repo, "snapshots", revision)
    return folder if os.path.isdir(folder) else None

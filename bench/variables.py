"""The environment variables of measured processes: the few that programs need, and those that a run fixes.

An allowlist, so that what happens to be set in somebody's shell neither slows a sample down nor goes unnoticed.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from bench.process import ROOT

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
"""Variables of the caller that a measured process gets; everything else is left out."""

RUNTIME = "EMBEDDING_LOADER_RUNTIME"
"""The variable that says where sockets of model services are."""

THREADS = (
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""Variables that say how many threads numeric libraries start; ``threads=`` sets all of them, for every subject."""


def worker_environment(cache_folder: Path, passed: Iterable[str] = ()) -> dict[str, str]:
    """Return the environment of every measured process.

    Args:
        cache_folder: of the loader, private to the run.
        passed: names of further variables of the caller to pass.
    """
    # Nobody's service has a part in it, and none is started, unless ``bench.resident`` gives it a folder.
    environ = passed_environment(passed) | fixed_variables(cache_folder) | {RUNTIME: os.devnull}
    if str(ROOT) not in sys.path[1:]:
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environ.get("PYTHONPATH")]))
    return environ


def passed_environment(passed: Iterable[str] = ()) -> dict[str, str]:
    """Return the variables of the caller that measured processes get: ``PASSED`` and those that are named."""
    return {name: os.environ[name] for name in (*PASSED, *passed) if name in os.environ}


def fixed_variables(cache_folder: Path) -> dict[str, str]:
    """Return the variables that are the same in every run.

    Hub access is off for every subject alike: the models are here already, and a hub that cannot be reached costs
    minutes of retries.
    """
    return {
        "EMBEDDING_LOADER_CACHE": str(cache_folder),
        "HF_HUB_OFFLINE": "1",
        "PYTHONHASHSEED": "0",
        "TOKENIZERS_PARALLELISM": "false",
    }


def thread_variables(threads: int | None) -> dict[str, str]:
    """Return what pins the threads of a process; nothing if the libraries may choose."""
    return {} if threads is None else dict.fromkeys(THREADS, str(threads))

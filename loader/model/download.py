"""Downloading a model from the hub, in a child process (``loader.model.hub_client``).

A child, because a download is native code (hf_xet) that can block for minutes: the parent stays responsive, its exit
ends the child at once, and completed files stay in the hub cache for the next try.
"""

import os
import subprocess
import sys

from ..errors import ModelDownloadError, ModelUnsupportedError, ShutdownError
from ..exit_gate import GATE


def download(repo_ids: tuple[str, ...], looked_at: list[str], *, progress: bool | None) -> str | None:
    """Return the folder of the first of ``repo_ids`` that the hub has, downloaded into its cache, or None.

    Args:
        repo_ids: the repositories that the name can mean.
        looked_at: receives a line for each place without the model.
        progress: announce the download and draw a bar on stderr; None if that is a terminal.

    Raises:
        ModelDownloadError: the hub has the model, but the download failed.
        ModelUnsupportedError: the hub has the model, but no weights that can be read safely.
        ShutdownError: the interpreter is exiting.
    """
    import json

    if progress is None:
        progress = _is_terminal()
    command = [sys.executable, "-m", "loader.model.hub_client", "progress" if progress else "quiet", *repo_ids]
    environ = {**os.environ, "HF_HUB_OFFLINE": "0", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(  # noqa: S603 - our own interpreter, arguments that passed the name check
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=None if progress else subprocess.DEVNULL,
    ) as child:
        try:
            with GATE.on_close(child.terminate):
                answer, _ = child.communicate()
        except BaseException:
            child.kill()
            raise
    if GATE.closing:
        raise ShutdownError("The interpreter is exiting; the download was stopped.")
    try:
        # Whatever the libraries print goes before the last line.
        result = json.loads(answer.splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise ModelDownloadError(
            f"The download of {repo_ids[0]} ended with exit code {child.returncode} and no result. Try again."
        ) from error
    if "failed" in result:
        raise ModelDownloadError(f"The download of {result['repo_id']} failed: {result['failed']}")
    if "refused" in result:
        raise ModelUnsupportedError(f"{result['repo_id']} was not downloaded: {result['refused']}")
    looked_at.extend(result["looked_at"])
    folder: str | None = result["folder"]
    return folder


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False

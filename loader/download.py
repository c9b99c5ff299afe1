"""Downloading a model from the hub, in a child process.

A child, because a download is native code (hf_xet) that can block for minutes: the parent stays responsive, its exit
ends the child at once, and what was fetched stays in the hub cache for the next try. The child is this same file, run
as ``python -m loader.download``; it prints one JSON object.
"""

import os
import subprocess
import sys

from .errors import ModelDownloadError, ShutdownError
from .exitgate import GATE

PROBE_S = 3.0
"""How long the hub may take to answer at all before it counts as unreachable, in seconds."""

PATTERNS = ("*.json", "*.txt", "*.model", "*.safetensors")
"""What a model needs from its repository; pickled and foreign weights stay where they are."""
IGNORED = ("onnx/*", "openvino/*")

DEFAULT_ENDPOINT = "https://huggingface.co"


def download(repo_ids: tuple[str, ...], looked_at: list[str], *, progress: bool) -> str | None:
    """Return the folder of the first of ``repo_ids`` that the hub has, downloaded into its cache, or None.

    What was tried in vain is appended to ``looked_at``.

    Raises:
        ModelDownloadError: the hub has the model, but the download failed.
        ShutdownError: the interpreter began to exit meanwhile.
    """
    import json

    command = [sys.executable, "-m", __name__, "progress" if progress else "quiet", *repo_ids]
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
            f"The download of {repo_ids[0]} ended with exit code {child.returncode} and without an answer. Try again."
        ) from error
    if "failed" in result:
        raise ModelDownloadError(f"The download of {result['repo_id']} failed: {result['failed']}")
    looked_at.extend(result["looked_at"])
    folder: str | None = result["folder"]
    return folder


def _reachable(endpoint: str) -> str | None:
    """Return None if the endpoint answers within PROBE_S, else what went wrong.

    Name resolution obeys no timeout, so the question is asked in a thread that may be left behind. Proxies are
    respected: urllib reads the same variables as the hub's own client.
    """
    import threading
    import urllib.error
    import urllib.request

    problem = [f"no answer within {PROBE_S:g} s"]

    def ask() -> None:
        request = urllib.request.Request(endpoint, method="HEAD")  # noqa: S310 - the configured hub
        try:
            with urllib.request.urlopen(request, timeout=PROBE_S):  # noqa: S310
                problem.clear()
        except urllib.error.HTTPError:
            problem.clear()  # it answered
        except (OSError, ValueError) as error:
            problem[:] = [str(error)]

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_S)
    return problem[0] if problem else None


def _fetch(repo_ids: list[str]) -> dict[str, object]:
    endpoint = os.environ.get("HF_ENDPOINT", DEFAULT_ENDPOINT).rstrip("/")
    problem = _reachable(endpoint)
    if problem:
        return {"folder": None, "looked_at": [f"download: {endpoint} cannot be reached ({problem})"]}
    import huggingface_hub
    from huggingface_hub import errors

    looked_at = []
    for repo_id in repo_ids:
        try:
            folder = huggingface_hub.snapshot_download(
                repo_id, allow_patterns=list(PATTERNS), ignore_patterns=list(IGNORED)
            )
        except (errors.RepositoryNotFoundError, errors.GatedRepoError) as error:
            what = "needs a token with access" if isinstance(error, errors.GatedRepoError) else "does not exist"
            looked_at.append(f"download: {endpoint}/{repo_id} {what}")
        except Exception as error:  # noqa: BLE001 - a process boundary: the parent raises it, typed
            return {"repo_id": repo_id, "failed": f"{type(error).__name__}: {error}"}
        else:
            return {"folder": folder, "looked_at": looked_at}
    return {"folder": None, "looked_at": looked_at}


def _main() -> None:
    import json

    mode, *repo_ids = sys.argv[1:]
    if mode == "quiet":
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # this process is ours alone
    result = _fetch(repo_ids)
    sys.stdout.write(f"\n{json.dumps(result)}\n")
    sys.stdout.flush()
    os._exit(0)  # without waiting for a probe that is still resolving a name


if __name__ == "__main__":
    _main()

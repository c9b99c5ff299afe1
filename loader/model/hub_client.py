"""The child process of ``loader.model.download``: fetch a model with the hub's own client, and report the result.

``python -m loader.model.hub_client (progress|quiet) REPOSITORY ...``; the last line of its output is a JSON object.
With ``progress`` it announces on stderr what it downloads, how large that is, from where and to where, and draws one
bar.
"""

import os
import sys

from .source import shown_path
from .weight_files import SINGLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

PROBE_S = 3.0
"""How long the hub may take to answer at all before it counts as unreachable, in seconds."""

PATTERNS = ("*.json", "*vocab.txt", "*merges.txt", "*.model", "*.safetensors")
"""What a model needs from its repository: settings, tokenizer and weights. Pickled weights stay where they are."""
IGNORED = ("onnx/*", "openvino/*", "*consolidated*.safetensors")

DEFAULT_ENDPOINT = "https://huggingface.co"

ABANDONED_S = 3600
"""Age in seconds from which a file that nobody has written to since belongs to a download that was killed."""

REFUSED = (
    "it has no weights in the safetensors format. Pickled weights can run code when they are read, so they are "
    "refused: convert the model first, for instance with model.save_pretrained(folder), and pass that folder."
)


class _RefusedError(Exception):
    """The repository has no weights that we would read."""


def needed(files: "Iterable[str]") -> list[str]:
    """Return the files of a repository that a model needs, its weights once."""
    from fnmatch import fnmatchcase
    from posixpath import split

    def matches(file: str, patterns: tuple[str, ...]) -> bool:
        return any(fnmatchcase(file, pattern) for pattern in patterns)

    chosen = [file for file in files if matches(file, PATTERNS) and not matches(file, IGNORED)]
    whole = {split(file)[0] for file in chosen if split(file)[1] == SINGLE}

    def is_copy(folder: str, name: str) -> bool:
        """Whether this is the weights once more: their parts, or other types of numbers."""
        return folder in whole and name != SINGLE and fnmatchcase(name, "model*.safetensors")

    return [file for file in chosen if not is_copy(*split(file))]


def _reachable(endpoint: str) -> str | None:
    """Return None if the endpoint answers within PROBE_S, else what went wrong.

    Name resolution obeys no timeout, so a thread asks, which may be left behind. Proxies are respected: urllib reads
    the same variables as the hub's own client.
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


def _fetch(repo_ids: list[str], *, show: bool) -> dict[str, object]:
    endpoint = os.environ.get("HF_ENDPOINT", DEFAULT_ENDPOINT).rstrip("/")
    problem = _reachable(endpoint)
    if problem:
        return {"folder": None, "looked_at": [f"download: {endpoint} cannot be reached ({problem})"]}
    from huggingface_hub import constants, errors
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()
    looked_at: list[str] = []
    for repo_id in repo_ids:
        try:
            return {"folder": _snapshot(repo_id, endpoint, show=show), "looked_at": looked_at}
        except (errors.RepositoryNotFoundError, errors.GatedRepoError) as error:
            what = "needs a token with access" if isinstance(error, errors.GatedRepoError) else "does not exist"
            looked_at.append(f"download: {endpoint}/{repo_id} {what}")
        except _RefusedError:
            return {"repo_id": repo_id, "refused": REFUSED}
        except Exception as error:  # noqa: BLE001 - a process boundary: the parent raises it, typed
            return {"repo_id": repo_id, "failed": _told(error, constants.HF_HUB_CACHE)}
    return {"folder": None, "looked_at": looked_at}


def _snapshot(repo_id: str, endpoint: str, *, show: bool) -> str:
    """Download what is missing of a model and return its folder in the hub cache."""
    import errno
    import shutil
    from glob import escape

    import huggingface_hub as hub

    info = hub.HfApi().model_info(repo_id, files_metadata=True)
    sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or ()}
    files = needed(sizes)
    if not any(file.endswith(".safetensors") for file in files):
        raise _RefusedError
    cache = hub.constants.HF_HUB_CACHE
    os.makedirs(cache, exist_ok=True)
    _sweep(os.path.join(cache, f"models--{repo_id.replace('/', '--')}", "blobs"))
    cached = {file for file in files if isinstance(hub.try_to_load_from_cache(repo_id, file, revision=info.sha), str)}
    size = sum(sizes[file] for file in files if file not in cached)
    free = shutil.disk_usage(cache).free
    if size > free:
        raise OSError(errno.ENOSPC, f"{_shown_size(size)} needed, {_shown_size(free)} free")
    if show and size:
        sys.stderr.write(f"Downloading {repo_id} ({_shown_size(size)}) from {endpoint} to {shown_path(cache)}\n")
    with _bar(size, show=show and size > 0) as bar:
        folder = hub.snapshot_download(
            repo_id,
            revision=info.sha,
            allow_patterns=[escape(file) for file in files],
            tqdm_class=_counter(bar, size),
        )
        bar.update(size - bar.n)
    _publish(folder)
    return str(folder)


def _sweep(blobs: str) -> None:
    """Remove what killed downloads have left: the client begins each file anew, under another name."""
    import re
    import time

    try:
        names = os.listdir(blobs)
    except OSError:
        return
    for name in names:
        path = os.path.join(blobs, name)
        try:
            if re.search(r"\.[0-9a-f]{8}\.incomplete$", name) and os.stat(path).st_mtime < time.time() - ABANDONED_S:
                os.unlink(path)
        except OSError:  # another process was faster, or it is not ours to remove
            continue


def _bar(size: int, *, show: bool) -> "Any":
    from tqdm import tqdm  # type: ignore[import-untyped]

    return tqdm(total=size, unit="B", unit_scale=True, disable=not show)


def _counter(bar: "Any", size: int) -> "Any":
    """Return the class that the hub's client makes its bars of: invisible, they count bytes into ours.

    The client has several, for bytes received, bytes written and files, and which of them move depends on the
    transfer. The one for bytes that is ahead counts.
    """
    import threading

    from huggingface_hub.utils import tqdm

    lock = threading.Lock()

    class Counter(tqdm):  # type: ignore[misc]
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **{**options, "disable": True})
            self.is_of_bytes = options.get("unit") == "B"

        def update(self, n: float | None = 1) -> None:
            if self.is_of_bytes:
                with lock:
                    self.n += n or 0
                    bar.update(max(0, min(self.n, size) - bar.n))

    return Counter


def _publish(folder: str) -> None:
    """Make a snapshot that is complete the one of the main revision: nobody finds it before that."""
    repository, revision = os.path.dirname(os.path.dirname(folder)), os.path.basename(folder)
    refs = os.path.join(repository, "refs")
    os.makedirs(refs, exist_ok=True)
    temporary = os.path.join(refs, f"main.{os.getpid()}.tmp")
    with open(temporary, "w", encoding="ascii") as file:
        file.write(revision)
    os.replace(temporary, os.path.join(refs, "main"))


def _told(error: Exception, cache: str) -> str:
    """Return what happened and what to do: about the disk where that is the cause, else to try again."""
    import errno
    import re

    code = error.errno if isinstance(error, OSError) else None
    native = re.search(r"os error (\d+)", str(error))  # how hf_xet, written in Rust, passes an error on
    if code is None and native:
        code = int(native[1])
    if code in {errno.ENOSPC, errno.EDQUOT}:
        return f"the disk with {cache} is full ({error}). Free some space, or set HF_HOME to a folder on another disk."
    if code in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EFBIG}:
        return f"{cache} cannot be written ({error}). Make it writable, or set HF_HOME to a folder that is."
    return f"{type(error).__name__}: {error}\nTry again: completed files are kept."


def _shown_size(size: int) -> str:
    if size < 1_000_000:
        return f"{size / 1e3:.1f} kB"
    return f"{size / 1e6:,.0f} MB" if size >= 10_000_000 else f"{size / 1e6:.1f} MB"


def _main() -> None:
    import json
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches this process as well: no traceback of its own
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # older clients draw one for each file
    mode, *repo_ids = sys.argv[1:]
    result = _fetch(repo_ids, show=mode == "progress" and sys.stderr is not None)
    sys.stdout.write(f"\n{json.dumps(result)}\n")
    sys.stdout.flush()
    os._exit(0)  # without waiting for a probe that is still resolving a name


if __name__ == "__main__":
    _main()

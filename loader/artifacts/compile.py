"""``compile_model``: prepare a model, in a child process, and publish the result."""

import os
import subprocess
import sys
import threading

from .. import errors
from ..arguments import Settings, check_precision
from ..errors import ArgumentTypeError, CacheError, CompileError, ShutdownError
from ..exitgate import GATE
from ..log import log
from ..source import resolve
from . import store
from .manifest import is_artifact
from .workshop import Workshop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Final

    Progress = Callable[[str, float], object]


def compile_model(
    model_name: "str | os.PathLike[str]",
    precision: str = "float32",
    output: "str | os.PathLike[str] | None" = None,
    *,
    allow_download: bool | None = None,
    progress: "Progress | None" = None,
) -> str:
    """Prepare a model once, so that it opens in milliseconds from then on; return the prepared folder.

    The folder is a model of its own: its path may be given as a model name, also on a machine without PyTorch.

    Args:
        model_name: a folder or a hub name.
        precision: ``"float32"`` or ``"int8"``.
        output: a folder to write it to, which must not exist or be empty; by default it goes into the user's cache,
            where loaders find it by the model's name.
        allow_download: as for ``OptimizedEmbeddingLoader``.
        progress: called with what is being done and a number from 0.0 to 1.0.

    Raises:
        ArgumentTypeError, ArgumentValueError: an argument cannot be meant.
        ModelError, ModelNameError: the model is missing, damaged, or already a prepared one.
        CompileError: it could not be prepared, or its vectors would differ too much; nothing is kept.
        CacheError: the folder cannot be written.
    """
    check_precision(precision)
    # As for a loader: a path object means a path, also where it looks like a hub name.
    name = Settings(model_name).model_name
    if output is not None and not isinstance(output, (str, os.PathLike)):
        raise ArgumentTypeError(f"output must be a string or a path, not {type(output).__name__}")
    source = resolve(name, allow_download=allow_download).path
    if is_artifact(source):
        raise CompileError(f"{source} is a prepared model already. Give the original.")
    if output is not None:
        return _to_folder(source, name, precision, os.path.abspath(os.path.expanduser(os.fspath(output))), progress)
    return prepare(source, name, precision, ("onnx",) if precision == "float32" else ("numpy",), progress).folder


def prepare(
    source: str, name: str, precision: str, engines: tuple[str, ...], progress: "Progress | None" = None
) -> store.Artifact:
    """Return the artifact of a model folder from the store, made if need be. However many ask, one makes it.

    Args:
        source: the model's folder.
        name: the model's name.
        precision: ``"float32"`` or ``"int8"``.
        engines: names of engines that must be able to open it.
        progress: as for ``compile_model``.

    Raises:
        CompileError, ModelError, CacheError: as ``compile_model``.
    """
    with Workshop() as workshop:
        found = store.find(source, engines[0], precision)  # somebody may have made it while we waited
        if found is not None:
            if progress:
                progress("prepared already", 1.0)
            return found
        _build(source, name, precision, workshop.folder(), progress)
        artifact = workshop.publish()
    lacking = set(engines) - set(artifact.manifest.engines)
    if lacking:
        raise CompileError(
            f"{name} was prepared for {' and '.join(artifact.manifest.engines)} only, not for {' and '.join(lacking)}: "
            "python -m pip install 'optimized-embedding-loader[onnx]'"
        )
    log("info", "Prepared %s as %s in %.1f s", name, precision, artifact.manifest.seconds)
    return artifact


def _to_folder(source: str, name: str, precision: str, output: str, progress: "Progress | None") -> str:
    """Build beside the output, then rename: the output is whole or not there."""
    import shutil

    if os.path.lexists(output) and not (os.path.isdir(output) and not os.listdir(output)):
        raise CacheError(f"{output} exists and is not an empty folder. Give another one, or delete it.")
    _remove_leftovers(output)
    new = f"{output}.{os.getpid()}.{os.urandom(4).hex()}.new"
    try:
        os.makedirs(new, mode=0o700)
        _build(source, name, precision, new, progress)
        os.rename(new, output)
    except OSError as error:
        if isinstance(error, errors.LoaderError):
            raise
        raise CacheError(f"Cannot write {output}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return output


def _remove_leftovers(output: str) -> None:
    """Remove what killed processes left beside the output: ``<output>.<process>.<random>.new``."""
    import shutil

    folder, name = os.path.split(output)
    for found in os.listdir(folder) if os.path.isdir(folder) else ():
        process, _, rest = found.removeprefix(f"{name}.").partition(".")
        if found.startswith(f"{name}.") and rest.endswith(".new") and process.isdecimal() and not _is_running(process):
            shutil.rmtree(os.path.join(folder, found), ignore_errors=True)


def _is_running(process: str) -> bool:
    import psutil

    return bool(psutil.pid_exists(int(process)))


def _build(source: str, name: str, precision: str, target: str, progress: "Progress | None") -> None:
    """Run ``loader.artifacts.build`` in a child process, which ends with this one.

    A child, because building maps and multiplies all weights, and exporting imports PyTorch: neither memory nor a crash
    of it may stay with the program.
    """
    import json

    if os.path.abspath(os.path.expanduser(name)) == source:
        name = source  # a path that means the same from everywhere
    command = [*PYTHON, "-m", "loader.artifacts.build", source, name, precision, target]
    environ = {**child_environment(), "HF_HUB_OFFLINE": "1"}
    result: dict[str, object] = {}
    # The child ends when its standard input does: at the latest with this process, however that ends.
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None  # noqa: S101 - it is a pipe
        assert child.stderr is not None  # noqa: S101
        chatter = _Chatter(child.stderr)
        try:
            with GATE.on_close(child.kill):
                for line in child.stdout:
                    try:
                        result = json.loads(line)
                    except ValueError:
                        break  # half a line: the child was killed
                    if progress and "step" in result:
                        progress(str(result["step"]), float(str(result["done"])))
                child.wait()
        except BaseException:
            child.kill()
            raise
        chatter.join()
    if GATE.closing:
        raise ShutdownError("The interpreter is exiting; the preparation was stopped.")
    if "failed" in result:
        kind = getattr(errors, str(result["kind"]), CompileError)
        raise kind(f"{name} could not be prepared: {result['failed']}")
    if not result.get("made"):
        raise CompileError(
            f"Preparing {name} ended with exit code {child.returncode}. The last it said: {chatter.tail!a}. Try again, "
            "with more memory if there was too little."
        )
    if progress:
        progress("done", 1.0)


PYTHON: "Final" = (sys.executable, "-P")
"""Our own interpreter, which shall not take modules from the folder that happens to be the current one."""


def child_environment() -> dict[str, str]:
    """Return the environment of a child process that imports what this process imports."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}


class _Chatter(threading.Thread):
    """Reads what a child says on its standard error, and keeps the end of it."""

    def __init__(self, pipe: "IO[bytes]") -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self.tail = ""
        self.start()

    def run(self) -> None:
        """Read until the child is gone."""
        for line in self._pipe:
            self.tail = (self.tail + line.decode("utf-8", "replace"))[-500:]

"""``compile_model``: prepare a model, in a child process, and publish the result."""

import os
import subprocess
import threading

from .. import errors
from ..arguments import Settings, check_precision
from ..errors import ArgumentTypeError, CacheError, CompileError, ShutdownError
from ..exit_gate import GATE
from ..model.config_files import transformer_folder
from ..model.source import resolve
from ..model.weight_files import is_pickled
from ..runtime.children import PYTHON, child_environment
from ..runtime.log import log
from ..runtime.scratch import Scratch, sweep
from . import SAFETENSORS, is_artifact, store
from .workshop import Workshop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

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

    The folder is a complete model: its path can be used as a model name, even on a machine without PyTorch. The
    tokenizer is prepared as well, in the cache, if that makes it open faster.

    Args:
        model_name: a folder or a hub name.
        precision: ``"float32"`` or ``"int8"``.
        output: the folder to write to, which must be empty or not exist; None writes to the user's cache, where loaders
            find it by the model's name. A model whose weights are pickled (pytorch_model.bin) needs one: in full
            precision, it becomes an ordinary model folder with the same weights as safetensors.
        allow_download: whether the model may be downloaded; None follows HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE.
        progress: called with the current step and a number from 0.0 to 1.0.

    Raises:
        ArgumentTypeError, ArgumentValueError: an argument is invalid.
        ModelError, ModelNameError: the model is missing, damaged or not supported.
        CompileError: it could not be prepared, is a prepared model already, or its vectors would differ too much;
            nothing is kept.
        EngineMissingError: a package that preparing it needs is missing; the message names the extra.
        CacheError: the folder cannot be written.
        ShutdownError: the interpreter is exiting.
    """
    check_precision(precision)
    # As for a loader: a path object means a path, even if it looks like a hub name.
    name = Settings(model_name).model_name
    if output is not None and not isinstance(output, (str, os.PathLike)):
        raise ArgumentTypeError(f"output must be a string or a path, not {type(output).__name__}")
    source = resolve(name, allow_download=allow_download, pickled=True).path
    if is_artifact(source):
        raise CompileError(f"{source} is already a prepared model. Give the original model instead.")
    if is_pickled(transformer_folder(source)) and output is None:
        raise CompileError(
            f"{source} has only pickled weights (pytorch_model.bin). Give a folder to convert the model into, and use "
            f"that as its name: python -m loader compile {name} --output DIR"
        )
    from ..text.background import NOT_YET, prepare_now, state_of

    if state_of(source) == NOT_YET:
        if progress:
            progress("preparing the tokenizer", 0.0)
        prepare_now(source, name)
    if output is not None:
        return _to_folder(source, name, precision, os.path.abspath(os.path.expanduser(os.fspath(output))), progress)
    return prepare(source, name, precision, ("onnx",) if precision == "float32" else ("numpy",), progress).folder


def prepare(
    source: str, name: str, precision: str, engines: tuple[str, ...], progress: "Progress | None" = None
) -> store.Artifact:
    """Return the artifact of a model folder from the store, making it if necessary; concurrent callers make it once.

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
        found = store.find_artifact(source, engines[0], precision)  # another process may have made it meanwhile
        if found is not None:
            if progress:
                progress("already prepared", 1.0)
            return found
        _build(source, name, precision, workshop.folder(), progress)
        artifact = workshop.publish()
    lacking = set(engines) - set(artifact.manifest.engines)
    if lacking:
        raise CompileError(
            f"{name} was prepared only for {' and '.join(artifact.manifest.engines)}; {' and '.join(lacking)} needs: "
            "python -m pip install 'optimized-embedding-loader[onnx]'"
        )
    log("info", "Prepared %s as %s in %.1f s", name, precision, artifact.manifest.seconds)
    return artifact


def _to_folder(source: str, name: str, precision: str, output: str, progress: "Progress | None") -> str:
    """Build beside the output, then rename: the output is complete or does not exist.

    Pickled weights are converted first. In full precision, that is all: the result is an ordinary model.
    """
    is_empty = os.path.isdir(output) and not os.path.islink(output) and not os.listdir(output)
    if os.path.lexists(output) and not is_empty:
        raise CacheError(f"{output} exists and is not an empty folder. Give another path, or delete it.")
    folder = os.path.dirname(output)
    try:
        if os.path.isdir(folder):
            sweep(folder)
        scratch = Scratch(folder)
        converted = Scratch(folder) if is_pickled(transformer_folder(source)) else None
        try:
            if converted is not None:
                _build(source, name, SAFETENSORS, converted.path, progress)
            if converted is not None and precision == "float32":
                converted.publish(output)
            else:
                _build(converted.path if converted else source, name, precision, scratch.path, progress)
                scratch.publish(output)
        finally:
            scratch.remove()
            if converted is not None:
                converted.remove()
    except OSError as error:
        if isinstance(error, errors.LoaderError):
            raise
        raise CacheError(f"Cannot write {output}: {error.strerror or error}.") from error
    return output


def _build(source: str, name: str, precision: str, target: str, progress: "Progress | None") -> None:
    """Run ``loader.artifacts.build`` in a child process, which ends with this one.

    A child, because building maps and multiplies all weights, and exporting imports PyTorch: neither its memory nor a
    crash may affect the program.
    """
    import json

    if os.path.abspath(os.path.expanduser(name)) == source:
        name = source  # a path that means the same everywhere
    command = [*PYTHON, "-m", "loader.artifacts.build", source, name, precision, target]
    environ = {**child_environment(), "HF_HUB_OFFLINE": "1"}
    result: dict[str, object] = {}
    # The child ends when its standard input closes: at the latest with this process, however that ends.
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
                        break  # an incomplete line: the child was killed
                    if progress and "step" in result:
                        progress(str(result["step"]), float(str(result["done"])))
                child.wait()
        except BaseException:
            child.kill()
            raise
        chatter.join()
    if GATE.closing:
        raise ShutdownError("The interpreter is exiting; preparing the model was stopped.")
    if "failed" in result:
        kind = getattr(errors, str(result["kind"]), CompileError)
        raise kind(f"{name} could not be prepared: {result['failed']}")
    if not result.get("made"):
        raise CompileError(
            f"Preparing {name} ended with exit code {child.returncode}. Its last output: {chatter.tail!a}. Try again, "
            "with more memory if it ran out."
        )
    if progress:
        progress("done", 1.0)


class _Chatter(threading.Thread):
    """Reads a child's standard error and keeps the end of it."""

    def __init__(self, pipe: "IO[bytes]") -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self.tail = ""
        self.start()

    def run(self) -> None:
        """Read until the child has exited."""
        for line in self._pipe:
            self.tail = (self.tail + line.decode("utf-8", "replace"))[-500:]

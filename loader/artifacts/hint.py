"""What a loader does about a model that was never prepared."""

import subprocess
import threading

from ..errors import ArtifactError, CompileError
from ..log import log
from . import store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..arguments import Settings
    from ..parts import ModelParts


def ensure(parts: "ModelParts", settings: "Settings") -> None:
    """Prepare the model for the engine ``onnx``, or have it prepared, or log how, as the settings say.

    Raises:
        LoaderError: preparing failed.
    """
    source = parts.folder().path
    try:
        if store.find(source, "onnx", "float32") is not None:
            return
    except ArtifactError as error:
        log("warning", "%s", error)
        return
    if settings.compile == "now":
        parts.artifact("onnx", "float32")
    elif settings.compile == "detached":
        compile_detached(settings.model_name)
    else:
        log(
            "info",
            "%s was never prepared: it starts as fast, but embeds fewer texts a second than it could. Prepare it once: "
            "python -m loader compile %s",
            settings.model_name,
            settings.model_name,
        )


def compile_detached(model_name: str) -> None:
    """Start a process that prepares the model and outlives this one.

    Raises:
        CompileError: it cannot be started.
    """
    from .compile import PYTHON, child_environment

    command = [*PYTHON, "-m", "loader", "compile", "--quiet", "--", model_name]
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            command,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise CompileError(f"No process could be started to prepare {model_name}: {error}") from error
    try:
        # Somebody has to take note of its end, or it stays in the process table as long as this process runs.
        threading.Thread(target=process.wait, name="embedding-loader:compile", daemon=True).start()
    except RuntimeError:
        pass  # the interpreter is exiting

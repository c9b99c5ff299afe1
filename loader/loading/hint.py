"""What a loader does about a model that has not been prepared."""

import subprocess
import threading

from ..artifacts import store
from ..errors import ArtifactError, CompileError, ModelUnreadableError
from ..runtime.log import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..arguments import Settings
    from ..model_parts import ModelParts


def ensure(parts: "ModelParts", settings: "Settings") -> None:
    """Prepare the model for the engine ``onnx``, here or in another process, or log how to, as the settings say.

    Raises:
        LoaderError: preparing failed.
    """
    source = parts.folder().path
    try:
        if store.find_artifact(source, "onnx", "float32") is not None:
            return
    except (ArtifactError, ModelUnreadableError) as error:
        log("warning", "%s", error)
        return
    if settings.compile == "now":
        parts.artifact("onnx", "float32")
    elif settings.compile == "detached":
        compile_detached(settings.model_name)
    else:
        log(
            "info",
            "%s has not been prepared: it starts as fast, but embeds fewer texts per second than it could. Prepare it "
            "once: python -m loader compile %s",
            settings.model_name,
            settings.model_name,
        )


def compile_detached(model_name: str) -> None:
    """Start a process that prepares the model and outlives this one.

    Raises:
        CompileError: it cannot be started.
    """
    from ..runtime.children import PYTHON, child_environment

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
        raise CompileError(f"Could not start a process to prepare {model_name}: {error}") from error
    try:
        # A thread must wait for its end, or it stays in the process table as long as this process runs.
        threading.Thread(target=process.wait, name="embedding-loader:compile", daemon=True).start()
    except RuntimeError:
        pass  # the interpreter is exiting

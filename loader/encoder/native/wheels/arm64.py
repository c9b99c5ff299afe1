"""A Python for 64-bit ARM, which QEMU runs on other processors: Debian's packages, unpacked in one folder."""

import shutil
import subprocess
from pathlib import Path

from .making import WheelError, run

PACKAGES = ("python3-minimal", "libpython3-stdlib")


def emulated_python(folder: Path) -> tuple[list[str], str]:
    """Return the command of such a Python and its version, such as ``"3.11"``. It is fetched where it is missing.

    Raises:
        WheelError: QEMU or the packages cannot be had.
    """
    qemu = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if qemu is None:
        raise WheelError("there is no qemu-aarch64 (Debian: apt-get install qemu-user)")
    root = folder / "root"
    if not root.is_dir():
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise WheelError("Python for ARM is fetched with Debian's apt-get, which is not here")
        try:
            _fetch(folder)
        except (WheelError, OSError) as error:
            raise WheelError(f"Python for ARM cannot be fetched: {error}") from error
    python = (root / "usr/bin/python3").resolve()
    return [qemu, "-L", str(root), str(python)], python.name.removeprefix("python")


def _fetch(folder: Path) -> None:
    """Unpack the packages and all that they need; nothing is installed, and this machine's lists stay as they are."""
    state, archives = folder / "state", folder / "cache" / "archives"
    for each in (state / "lists" / "partial", archives / "partial"):
        each.mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    settings = folder / "apt.conf"
    settings.write_text('APT::Architecture "arm64";\nAPT::Architectures { "arm64"; };\n')
    apt = ["apt-get", "-q", "-c", str(settings), "-o", f"Dir::State={state}", "-o", f"Dir::Cache={folder / 'cache'}"]
    apt += ["-o", f"Dir::State::status={state / 'status'}", "-o", "Debug::NoLocking=1"]
    run([*apt, "update"])
    run([*apt, "install", "-y", "--download-only", "--no-install-recommends", *PACKAGES])
    unpacked = folder / "unpacked"
    for package in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(package), str(unpacked)], check=True)  # noqa: S603, S607
    unpacked.rename(folder / "root")

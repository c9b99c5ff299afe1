"""File paths that reveal nothing about the machine, because reports get shared."""

from __future__ import annotations

import posixpath
import site
import sysconfig

from bench.plan.places import ROOT

_PACKAGE_FOLDERS = ("site-packages", "dist-packages")


def shorten(path: str) -> str:
    """Return a source file's path relative to site-packages, the standard library or the checkout.

    For any other file, only the name is kept. Names in angle brackets, such as ``<string>``, stay.
    """
    path = path.replace("\\", "/")
    if "/" not in path:
        return path
    path = posixpath.normpath(path)
    parts = path.split("/")
    for index in reversed(range(len(parts) - 1)):
        if parts[index] in _PACKAGE_FOLDERS:
            return "/".join(parts[index + 1 :])
    for folder in _known_folders():
        if path.startswith(folder + "/"):
            return path[len(folder) + 1 :]
    return parts[-1]


def _known_folders() -> list[str]:
    """Return the folders to strip from paths, deepest first, with forward slashes."""
    folders = {sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib", "platstdlib")}
    folders |= {str(ROOT), site.getusersitepackages()}
    return sorted(
        {folder.replace("\\", "/").rstrip("/") for folder in folders}, key=lambda folder: (-len(folder), folder)
    )

"""Tiny projects that pip builds without an index: their build backend is in the tree and needs nothing."""

from __future__ import annotations

import io
import json
import os
import tarfile
import textwrap

BACKEND = """
import json, os, time, zipfile
from pathlib import Path

def build_wheel(directory, config_settings=None, metadata_directory=None):
    tiny = json.loads(Path("tiny.json").read_text())
    exec(tiny["before"])
    base = f"{tiny['name']}-{tiny['version']}"
    with zipfile.ZipFile(Path(directory, f"{base}-py3-none-any.whl"), "w") as wheel:
        for name, text in tiny["files"].items():
            wheel.writestr(name, text)
        info = f"{base}.dist-info"
        metadata = f"Metadata-Version: 2.1\\nName: {tiny['name']}\\nVersion: {tiny['version']}\\n"
        metadata += "".join(f"Provides-Extra: {extra}\\n" for extra in tiny["extras"])
        metadata += "".join(f"Requires-Dist: {line}\\n" for line in tiny["requires"])
        wheel.writestr(f"{info}/METADATA", metadata)
        tags = "Root-Is-Purelib: true\\nTag: py3-none-any\\n"
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\\nGenerator: tiny\\n{tags}")
        if tiny["script"]:
            wheel.writestr(f"{info}/entry_points.txt", f"[console_scripts]\\n{tiny['script']}\\n")
        names = [*wheel.namelist(), f"{info}/RECORD"]
        wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\\n" for name in names))
    return f"{base}-py3-none-any.whl"
"""

PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def make_project(folder, name, version="1.0", *, requires=(), extras=(), files=None, script="", before=""):
    """Write a project's source: a module of its name, and whatever else is asked for.

    ``before`` is Python that the build runs first.
    """
    files = {f"{name}.py": f"VERSION = {version!r}\ndef main():\n    print({name!r}, VERSION)\n"} | (files or {})
    tiny = {
        "name": name,
        "version": version,
        "requires": list(requires),
        "extras": list(extras),
        "files": files,
        "script": script,
        "before": before,
    }
    folder.mkdir(parents=True)
    (folder / "tiny.json").write_text(json.dumps(tiny))
    (folder / "backend.py").write_text(BACKEND)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    return folder


def write_wheel(folder, name, version="1.0", **options):
    """Write the wheel of a tiny project, without pip, and return its path."""
    source = make_project(folder / f"source-{name}-{version}-{len(list(folder.glob('*')))}", name, version, **options)
    scope = {}
    exec(textwrap.dedent(BACKEND), scope)
    before = os.getcwd()
    os.chdir(source)
    try:
        made = scope["build_wheel"](str(folder))
    finally:
        os.chdir(before)
    return folder / made


def write_sdist(folder, name, version="1.0", **options):
    """Write the source distribution of a tiny project: installing it runs its build."""
    source = make_project(folder / f"source-{name}-{version}", name, version, **options)
    path = folder / f"{name}-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for file in source.iterdir():
            archive.add(file, f"{name}-{version}/{file.name}")
        info = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
        entry = tarfile.TarInfo(f"{name}-{version}/PKG-INFO")
        entry.size = len(info)
        archive.addfile(entry, io.BytesIO(info))
    return path

"""Git repositories of tiny projects, for whole gates."""

from __future__ import annotations

import os
import site
import subprocess

from tests.bench.gate.tiny_projects import make_project, write_wheel
from tests.conftest import ROOT

ENVIRON = {"PYTHONPATH": str(ROOT), "PIP_CONFIG_FILE": os.devnull}

WITH_LOADER = """
tiny["files"].update({str(path): path.read_text() for path in Path("loader").rglob("*.*") if path.suffix != ".pyc"})
"""
"""What a build runs first, for projects that hold the loader's own files."""


class Repository:
    """A project under git whose commits are tiny projects."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *words):
        command = ["git", "-C", str(self.folder), "-c", "user.name=a", "-c", "user.email=a@example.org", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, message, name="house", **options):
        """Make the working tree this project, commit it, and return the hash."""
        for path in self.folder.glob("[!.]*.*"):
            path.unlink()
        made = make_project(self.folder / "made", name, **options)
        for path in made.iterdir():
            path.rename(self.folder / path.name)
        made.rmdir()
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", f"--message={message}")
        return self.git("rev-parse", "HEAD")

    def commit_loader(self, message, change=lambda text: text):
        """Commit the real loader, with a change of its ``__init__.py``; it requires ``here``, see ``make_index``."""
        for path in (ROOT / "loader").rglob("*"):
            if path.suffix in {".py", ".json", ".typed"} or path.name == "py.typed":
                target = self.folder / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
        init = self.folder / "loader" / "__init__.py"
        init.write_text(change(init.read_text()))
        return self.commit(message, "optimized_embedding_loader", requires=["here"], before=WITH_LOADER)


def make_index(folder):
    """Make a folder of wheels whose only one, ``here``, offers what is installed here; return options of pip."""
    folder.mkdir()
    write_wheel(folder, "here", files={"here.pth": "".join(f"{path}\n" for path in site.getsitepackages())})
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}

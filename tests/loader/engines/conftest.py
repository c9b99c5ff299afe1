"""Prepared models and bare Pythons for the tests of the engines."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Compile a model folder into a folder of its own, once: ``prepared(folder, precision)``."""
    from loader import compile_model

    made = {}

    def make(folder, precision="float32"):
        key = (str(folder), precision)
        if key not in made:
            made[key] = compile_model(folder, precision, tmp_path_factory.mktemp("prepared") / "model")
        return made[key]

    return make


@pytest.fixture
def bare_python(tmp_path_factory):
    """Make a Python that has only what the extra ``onnx`` brings at run time: ``bare_python(*more)(code, ...)``."""
    import onnxruntime

    site = Path(onnxruntime.__file__).parent.parent
    needed = ("numpy", "numpy.libs", "tokenizers", "onnxruntime", "flatbuffers", "google", "packaging")
    needed += ("platformdirs", "filelock", "psutil", "threadpoolctl.py")

    def make(*more):
        root = tmp_path_factory.mktemp("bare")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", root / "venv"], check=True)
        (packages,) = (root / "venv").glob("lib/python3*/site-packages")
        for name in (*needed, *more):
            if (site / name).exists():
                (packages / name).symlink_to(site / name)
        (packages / "loader").symlink_to(ROOT / "loader")
        environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        environ |= {"EMBEDDING_LOADER_CACHE": str(root / "cache"), "PYTHONWARNINGS": "error"}

        def run(code, *argv, stdin):
            command = [root / "venv" / "bin" / "python", "-c", "import json\n" + code, *argv]
            return subprocess.run(
                command, input=json.dumps(stdin), capture_output=True, text=True, env=environ, cwd=root, timeout=200
            )

        return run

    return make

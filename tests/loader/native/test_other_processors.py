"""The same vectors on every processor; see tests/loader/engines/test_processors.py for the emulator."""

import json
import platform
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.loader.native.models import Random, computed, unit

pytestmark = pytest.mark.process

QEMU = shutil.which("qemu-x86_64")
CODE = """
import json
from loader._native import VARIANTS
from tests.loader.native.models import Random, computed
model = Random("mpnet", width=96, heads=4, inner=160, positions=200, size=0.3)
vectors = computed(model.kernel(), model.texts([1, 4, 5, 12, 30, 100]))
print(json.dumps([VARIANTS, vectors.tolist()]))
"""


@pytest.mark.parametrize(("processor", "variants"), [("Haswell", ["avx2", "baseline"]), ("Nehalem", ["baseline"])])
def test_the_same_vectors(processor, variants):
    if QEMU is None or platform.machine() != "x86_64":
        pytest.skip("needs qemu-x86_64 (Debian: apt-get install qemu-user) on an x86-64 machine")
    done = subprocess.run(
        [QEMU, "-cpu", processor, sys.executable, "-c", CODE], capture_output=True, text=True, cwd=ROOT, timeout=280
    )
    assert done.returncode == 0, done.stderr
    found, vectors = json.loads(done.stdout)
    assert found == variants
    model = Random("mpnet", width=96, heads=4, inner=160, positions=200, size=0.3)
    here = computed(model.kernel(), model.texts([1, 4, 5, 12, 30, 100]))
    assert np.abs(unit(np.array(vectors, np.float32)) - unit(here)).max() < 2e-6

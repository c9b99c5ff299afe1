"""Functions of the kernel that Python does not see, called from C."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from loader.encoder.forward import distance_buckets
from loader.encoder.native.build import HERE

pytestmark = pytest.mark.process

DRIVER = Path(__file__).with_name("pool_driver.c")
FLAGS = ("-std=c11", "-D_DEFAULT_SOURCE", "-g", "-O1", f"-I{HERE}")
BUCKETS = """
#include "encoder.c"
const Lanes lanes_avx512, lanes_avx2, lanes_baseline; /* not called */
size_t bucket_of(ptrdiff_t distance) { return bucket(distance); }
"""


def compiled(*arguments: object) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs gcc")
    done = subprocess.run([compiler, *FLAGS, *map(str, arguments), "-lm", "-lpthread"], capture_output=True, text=True)
    if "cannot find" in done.stderr and "san" in done.stderr:
        pytest.skip(f"needs the sanitizers of gcc: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


def test_every_distance_has_the_bucket_that_numpy_finds(tmp_path):
    source, library = tmp_path / "buckets.c", tmp_path / "buckets.so"
    source.write_text(BUCKETS)
    compiled("-shared", "-fPIC", source, HERE / "threads.c", "-o", library)
    bucket = ctypes.CDLL(str(library)).bucket_of
    bucket.argtypes, bucket.restype = [ctypes.c_ssize_t], ctypes.c_size_t
    distances = np.arange(-5000, 5001)
    assert [bucket(int(distance)) for distance in distances] == distance_buckets(distances).tolist()


@pytest.mark.parametrize(
    ("sanitizers", "children", "calls"),
    [("thread", 0, 300), ("address,undefined", 0, 300), ("", 1500, 3)],
    ids=["ordered", "in-bounds", "forked"],
)
def test_callers_share_a_pool_and_so_do_those_of_a_forked_child(tmp_path, sanitizers, children, calls):
    """There are no children with sanitizers, whose own locks do not survive the fork of a busy process."""
    program = tmp_path / "driver"
    flags = [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"] if sanitizers else []
    compiled(*flags, DRIVER, HERE / "threads.c", "-o", program)
    done = subprocess.run([program, str(children), str(calls)], capture_output=True, text=True, timeout=120)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("the sanitizer of threads does not run with this kernel's address space")
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")

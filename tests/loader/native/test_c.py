"""Functions of the kernel that Python does not see, called from C."""

import ctypes
import platform
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from loader.encoder.forward import distance_buckets
from loader.encoder.native.build import HERE, X86_LANES

pytestmark = pytest.mark.process

DRIVER = Path(__file__).with_name("pool_driver.c")
LANES_DRIVER = Path(__file__).with_name("lanes_driver.c")
FLAGS = ("-std=c11", "-D_DEFAULT_SOURCE", "-g", "-O1", f"-I{HERE}")
BUCKETS = """
#include "encoder.c"
const Lanes lanes_vnni, lanes_avx512, lanes_avx2, lanes_baseline; /* not called */
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


def results(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The hash of each instruction set's products."""
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.fixture(scope="module")
def of_this_processor(tmp_path_factory):
    if platform.machine() != "x86_64":
        pytest.skip("compares instruction sets of x86-64")
    folder = tmp_path_factory.mktemp("lanes")
    objects = []
    for name, flags in X86_LANES.items():
        objects.append(folder / f"{name}.o")
        compiled("-O2", "-ffp-contract=off", *flags, "-c", HERE / "lanes.c", "-o", objects[-1])
    compiled(*objects, HERE / "encoder.c", HERE / "threads.c", LANES_DRIVER, "-o", folder / "driver")
    return results(subprocess.run([folder / "driver"], capture_output=True, text=True, timeout=200))


def test_products_in_8_bits_have_the_same_bits_with_each_instruction_set(of_this_processor):
    assert "baseline" in of_this_processor
    assert len(set(of_this_processor.values())) == 1


@pytest.mark.parametrize("architecture", ["armv8-a", "armv8.2-a+dotprod"])
def test_and_on_arm(architecture, of_this_processor, tmp_path):
    compiler, emulator = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
    if compiler is None or emulator is None:
        pytest.skip("needs gcc for aarch64 and qemu-aarch64 (Debian: gcc-aarch64-linux-gnu and qemu-user)")
    sources = [HERE / "lanes.c", HERE / "encoder.c", HERE / "threads.c", LANES_DRIVER]
    flags = [*FLAGS, "-O2", "-ffp-contract=off", f"-march={architecture}", "-static"]
    subprocess.run([compiler, *flags, *sources, "-lm", "-lpthread", "-o", tmp_path / "driver"], check=True)
    done = subprocess.run([emulator, tmp_path / "driver"], capture_output=True, text=True, timeout=280)
    assert results(done) == {"baseline": of_this_processor["baseline"]}

"""The same vectors on every processor: with and without instructions that this one has.

QEMU's user mode (``apt-get install qemu-user``) runs a Python as a process of another processor. It knows no AVX-512
and no VNNI: a processor that has them is covered where the tests run on one, all others everywhere.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from loader import compile_model
from loader.artifacts.manifest import GRAPH, INT8_WEIGHTS
from loader.artifacts.quantize import GROUP, quantize_matrix, quantize_table
from tests.conftest import ROOT
from tests.support.texts_corpus import varied_texts
from tests.support.tiers import representative
from tests.support.tiny_models import Tiny

for _package in ("onnx", "onnxruntime"):
    pytest.importorskip(_package)

QEMU = shutil.which("qemu-x86_64")
PROCESSORS = {
    "this": None,
    "Haswell": "AVX2: the processors of most laptops, and AMD's before Zen 4",
    "Nehalem": "SSE 4.2, the least that NumPy runs on",
}
TEXTS = [*varied_texts(12), "", "long " * 600]


@pytest.fixture(params=PROCESSORS)
def processor(request):
    """Run Python as a process of that processor: ``processor(*arguments)`` returns what it printed."""
    words = [sys.executable]
    if PROCESSORS[request.param]:
        if QEMU is None or platform.machine() != "x86_64":
            pytest.skip("needs qemu-x86_64 (Debian: apt-get install qemu-user) on an x86-64 machine")
        words = [QEMU, "-cpu", request.param, *words]

    def run(*arguments: str) -> str:
        read, write = os.pipe()  # the builder of prepared models ends with its standard input
        try:
            done = subprocess.run(
                [*words, *arguments], capture_output=True, text=True, cwd=ROOT, stdin=read, timeout=280
            )
        finally:
            os.close(read)
            os.close(write)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.name = request.param
    return run


PRODUCTS = """
import sys
import numpy as np, onnx, onnxruntime
from onnx import TensorProto, helper, numpy_helper
from loader.artifacts.quantize import quantize_matrix

def products(activations, integers, repacked):
    rows, columns = integers.shape
    constants = {
        "integers": np.ascontiguousarray(integers.T), "one": np.float32(1), "scale": np.ones(rows, np.float32),
        "middle": np.uint8(128), "zero": np.zeros(rows, np.int8),
    }
    node = helper.make_node("MatMulIntegerToFloat", ["x", *constants], ["y"], domain="com.microsoft")
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["tokens", columns])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["tokens", rows])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "0" if repacked else "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": activations})[0]
"""

EXACT = """
random = np.random.default_rng(0)
for columns in (1, 3, 4, 30, 387, 1536):
    for rows in (1, 17, 64):
        normal = random.normal(size=(rows, columns))
        for weights in (normal, np.sign(normal), np.ones((rows, columns)), random.standard_t(2, size=(rows, columns))):
            integers = quantize_matrix(weights.astype(np.float32))[0]
            for tokens in (1, 7):
                activations = random.choice(np.array([0, 1, 128, 254, 255], np.uint8), (tokens, columns))
                activations[0] = 255
                expected = (activations.astype(np.int64) - 128) @ integers.T.astype(np.int64)
                assert np.abs(expected).max() < 2**24, "float32 cannot tell"
                for repacked in (False, True):
                    found = products(activations, integers, repacked)
                    assert np.array_equal(found, expected), (columns, rows, tokens, repacked)
print("equal")
"""

SATURATED = """
activations, integers = np.full((1, 64), 255, np.uint8), np.full((1, 64), 127, np.int8)
print(int(products(activations, integers, True)[0, 0]) + 128 * 127 * 64)
"""


@pytest.mark.process
class TestProducts:
    @pytest.mark.parametrize("processor", representative({"this", "Haswell"}, PROCESSORS), indirect=True)
    def test_they_are_exact(self, processor):
        """Weights and activations as large as they get, in every shape that kernels treat apart."""
        assert processor("-c", PRODUCTS + EXACT) == "equal\n"

    @pytest.mark.parametrize("processor", ["Haswell"], indirect=True)
    def test_without_the_bound_they_are_not(self, processor):
        """What the bound is for, and that the emulation shows it: 255 * 127 * 64 is 2,072,640."""
        assert processor("-c", PRODUCTS + SATURATED) == "1048544\n"


WEIGHTS = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(-1e6, 1e6, width=32))


class TestIntegers:
    @given(WEIGHTS)
    def test_two_of_one_sign_in_a_group_stay_below_128_together(self, weights):
        integers = quantize_matrix(weights)[0].astype(int)
        for start in range(0, integers.shape[1], GROUP):
            group = integers[:, start : start + GROUP]
            for signed in (group, -group):
                assert np.sort(np.maximum(signed, 0), axis=1)[:, -2:].sum(axis=1).max() <= 128

    @pytest.mark.parametrize("quantize", [quantize_matrix, quantize_table])
    @given(WEIGHTS)
    @example(np.array([[5.2e-42]], np.float32))
    def test_each_is_the_nearest_to_its_weight(self, quantize, weights):
        integers, scale = quantize(weights)
        assert integers.dtype == np.int8
        assert scale.shape == (len(weights),)
        assert np.abs(integers.astype(int)).max() <= 127
        assert np.all(np.abs(integers * scale[:, None].astype(float) - weights) <= 0.501 * scale[:, None])

    def test_a_table_uses_the_whole_range(self):
        assert np.array_equal(quantize_table(np.ones((2, 8), np.float32))[0], np.full((2, 8), 127))
        assert np.array_equal(quantize_matrix(np.ones((2, 8), np.float32))[0], np.full((2, 8), 64))


VECTORS = """
import json, sys
import numpy as np
from loader.engines import numpy as numpy_engine, onnx as onnx_engine
from loader.model_parts import ModelParts

texts, target, *folders = json.loads(sys.argv[1])
found = {}
for folder, precision in folders:
    for module in (numpy_engine, onnx_engine):
        engine = module.open_folder(ModelParts.of_folder(folder), folder, precision, 1)
        together = engine.encode(texts * 2, "document", 32)[: len(texts)]  # what throughput uses
        alone = np.concatenate([engine.encode([text], "document", 1) for text in texts])
        found[f"{precision} {engine.name} together"], found[f"{precision} {engine.name} alone"] = together, alone
np.savez(target, **found)
"""


class TestPreparedModels:
    @pytest.fixture(scope="class")
    @staticmethod
    def made(tiny_folder, tmp_path_factory):
        """A model that is prepared on this processor: folders by precision, and its vectors here."""
        folder = tiny_folder(Tiny("bert"))
        target = tmp_path_factory.mktemp("made")
        folders = {precision: compile_model(folder, precision, target / precision) for precision in ("float32", "int8")}
        arguments = json.dumps([TEXTS, str(target / "here.npz"), *((path, name) for name, path in folders.items())])
        subprocess.run([sys.executable, "-c", VECTORS, arguments], check=True, cwd=ROOT, timeout=120)
        return folder, folders, dict(np.load(target / "here.npz"))

    @pytest.mark.parametrize("processor", representative({"Nehalem"}, PROCESSORS), indirect=True)
    def test_they_give_the_same_vectors(self, processor, made, tmp_path):
        """Prepared here and opened there. With activations of 8 bits, a last bit may change where one is rounded to."""
        _, folders, here = made
        arguments = json.dumps([TEXTS, str(tmp_path / "there.npz"), *((path, name) for name, path in folders.items())])
        processor("-c", VECTORS, arguments)
        there = np.load(tmp_path / "there.npz")
        assert set(there) == set(here)
        for name, vectors in here.items():
            cosines = _cosines(there[name], vectors)
            print(f"{processor.name} {name}: mean cosine {np.mean(cosines):.7f}, least {np.min(cosines):.7f}")
            assert np.min(cosines) >= (0.99 if name.startswith("int8 onnx") else 0.999999)
            assert np.mean(cosines) >= (0.999 if name.startswith("int8 onnx") else 0.999999)
            assert np.min(_cosines(there[name], there[name.replace("alone", "together")])) >= 0.99999

    @pytest.mark.slow
    def test_they_are_prepared_there(self, processor, made, tmp_path):
        """The parity check passes there, and the integers are the same to the last bit."""
        folder, folders, _ = made
        target = tmp_path / "target"
        target.mkdir()
        arguments = ("-m", "loader.artifacts.build", folder, "tiny", "int8", str(target))
        answers = [json.loads(line) for line in processor(*arguments).splitlines()]
        assert answers[-1] == {"made": True}
        for name in (INT8_WEIGHTS, GRAPH):
            assert (target / name).read_bytes() == Path(folders["int8"], name).read_bytes()


def _cosines(vectors, others):
    return np.sum(vectors * others, axis=1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(others, axis=1)

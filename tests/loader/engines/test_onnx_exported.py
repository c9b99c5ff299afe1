"""Models that PyTorch exports or that bring an ONNX file; prepared folders where little else is installed."""

import json
import os
import shutil
import warnings

import numpy as np
import pytest

from loader import OptimizedEmbeddingLoader, compile_model
from tests.loader.engines.comparing import TOLERANCE, least_invariance
from tests.support.engines import INSTANT
from tests.support.texts_corpus import varied_texts
from tests.support.tiny_models import LITERAL_SPECIALS, Tiny, edit_tensors, plain_model, unit

for _package in ("onnx", "onnxruntime"):
    pytest.importorskip(_package)


TEXTS = [*varied_texts(150), *LITERAL_SPECIALS, "", "long " * 3000, "é" * 500]


class TestArchitecturesThatNumpyDoesNotKnow:
    @pytest.mark.parametrize(
        "tiny",
        [
            Tiny("albert", layers=2, pooling=("mean", "cls"), dense=(("Tanh", True),), normalize=True),
            *(
                pytest.param(tiny, marks=pytest.mark.slow)
                for tiny in (Tiny("deberta-v2", layers=2), Tiny("modernbert", layers=2, pooling="cls"))
            ),
        ],
        ids=lambda tiny: tiny.family,
    )
    def test_exported_by_torch(self, tiny, tiny_folder, own_cache, tmp_path):
        folder = tiny_folder(tiny)
        plain = plain_model(folder)
        expected = unit(plain.encode(TEXTS, batch_size=16))
        artifact = compile_model(folder)
        copy = shutil.copytree(artifact, tmp_path / "copy")
        for name in (folder, copy):
            provider = OptimizedEmbeddingLoader(str(name), "cached", "cpu").load(timeout=None)
            assert provider.engine == "onnx"
            assert provider.dimension == plain.get_embedding_dimension()
            largest = np.max(np.abs(provider.embed_batch(TEXTS) - expected))
            print(f"{tiny.family}: largest difference {largest:.1e}")
            assert largest <= 2 * TOLERANCE
        assert least_invariance(provider, TEXTS[::3]) >= 0.99999

    @pytest.mark.slow
    def test_a_known_architecture_with_something_of_its_own(self, tiny_folder, changed):
        """Left to the exporter as well, and nobody then looks for weights in the exported folder."""
        import torch

        folder = changed(
            tiny_folder(Tiny("bert", layers=1)),
            lambda folder: edit_tensors(folder, lambda tensors: tensors.update({"extra.weight": torch.ones(3)})),
        )
        provider = OptimizedEmbeddingLoader(compile_model(folder, output=folder + ".prepared"), "cached", "cpu").load(
            timeout=None
        )
        assert provider.engine == "onnx"
        assert np.max(np.abs(provider.embed_batch(TEXTS) - unit(plain_model(folder).encode(TEXTS)))) <= TOLERANCE

    @pytest.mark.parametrize("exporter", ["script", pytest.param("dynamo", marks=pytest.mark.slow)])
    def test_the_onnx_file_that_the_model_came_with(self, exporter, tiny_folder, changed, bare_python, tmp_path):
        """Prepared, and embedded with, where there is no PyTorch at all."""
        tiny = Tiny("electra", layers=1, pooling=("mean", "max"), dense=(("Tanh", True),))
        folder = changed(tiny_folder(tiny), lambda folder: write_onnx(folder, exporter))
        expected = unit(plain_model(folder).encode(TEXTS[:60], batch_size=16))
        code = """
import sys
import numpy as np
from loader import OptimizedEmbeddingLoader, compile_model
folder, texts = sys.argv[1], json.loads(sys.stdin.read())
try:
    import torch
    raise SystemExit("there is a PyTorch")
except ImportError:
    pass
compile_model(folder)
output = compile_model(folder, output=folder + ".prepared")
for name in (folder, output):
    provider = OptimizedEmbeddingLoader(name, "cached").load(timeout=None)
    print(json.dumps([provider.engine, provider.embed_batch(texts).tolist()]))
"""
        done = bare_python("onnx", "ml_dtypes", "typing_extensions.py")(code, folder, stdin=TEXTS[:60])
        assert (done.returncode, done.stderr) == (0, "")
        for line in done.stdout.splitlines():
            engine, vectors = json.loads(line)
            assert engine == "onnx"
            largest = np.max(np.abs(np.array(vectors) - expected))
            print(f"{exporter}: largest difference {largest:.1e}")
            assert largest <= TOLERANCE
        assert len(done.stdout.splitlines()) == 2


def write_onnx(folder, exporter):
    """Write onnx/model.onnx as it lies beside models on the hub."""
    import onnx
    import torch

    encoder = plain_model(folder)[0].auto_model
    encoder.config.return_dict = False
    encoder.set_attn_implementation("eager")

    class Tokens(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder

        def forward(self, input_ids, attention_mask, token_type_ids):
            return self.encoder(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)[0]

    (folder / "onnx").mkdir()
    path = folder / "onnx" / "model.onnx"
    names = ["input_ids", "attention_mask", "token_type_ids"]
    ids = torch.full((2, 7), 5)
    example = (ids, torch.ones_like(ids), torch.zeros_like(ids))
    axes = {0: "texts", 1: "tokens"}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporters' own
        options = {"input_names": names, "output_names": ["last_hidden_state"]}
        if exporter == "dynamo":
            dimensions = {0: torch.export.Dim("texts", min=1, max=64), 1: torch.export.Dim("tokens", min=1, max=64)}
            shapes = [dimensions] * 3
            torch.onnx.export(
                Tokens().eval(),
                example,
                path,
                dynamo=True,
                dynamic_shapes=shapes,
                external_data=False,
                verbose=False,
                **options,
            )
            return
        axes_by_name = dict.fromkeys([*names, "last_hidden_state"], axes)
        torch.onnx.export(
            Tokens().eval(), example, path, dynamo=False, opset_version=14, dynamic_axes=axes_by_name, **options
        )
    # Older exporters numbered nodes by their operator, just as this library does.
    model = onnx.load(path)
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
    onnx.save(model, path)


@pytest.mark.skipif(os.name != "posix", reason="links")
@pytest.mark.parametrize(
    "tiny", [Tiny("bert"), Tiny("roberta"), Tiny("mpnet"), Tiny("xlm-roberta")], ids=lambda tiny: tiny.family
)
def test_prepared_folders_where_nothing_else_is_installed(tiny, tiny_folder, prepared, bare_python):
    """Every strategy and engine that the folder's precision allows, and no others."""
    folder = tiny_folder(tiny)
    texts = TEXTS[:40]
    code = """
import sys
import loader
from loader import LoaderError, OptimizedEmbeddingLoader
for name in ("torch", "transformers", "sentence_transformers", "onnx", "huggingface_hub"):
    try:
        __import__(name)
        raise SystemExit(name + " is there")
    except ImportError:
        pass
texts = json.loads(sys.stdin.read())
for precision, folder in zip(("float32", "int8"), sys.argv[1:]):
    for strategy in ("lazy", "background", "progressive", "cached", "quantized"):
        for engine in ("auto", "numpy", "onnx"):
            made = OptimizedEmbeddingLoader(folder, strategy, engine=engine)
            try:
                provider = made.load(timeout=None)
                result = [provider.engine, provider.precision, provider.embed_batch(texts).tolist()]
            except LoaderError as error:
                result = [type(error).__name__, str(error), None]
            print(json.dumps([precision, strategy, engine, *result]))
"""
    done = bare_python()(code, prepared(folder), prepared(folder, "int8"), stdin=texts)
    assert (done.returncode, done.stderr) == (0, "")
    expected = unit(plain_model(folder).encode(texts))
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 2 * 5 * 3
    for precision, strategy, engine, used, said, vectors in lines:
        case = (precision, strategy, engine, used, said)
        wanted = "int8" if strategy == "quantized" else "float32"
        # Weights of 8 bits can be made of a folder of full precision here, but no graph without the package onnx.
        if precision != wanted and (precision, engine) not in {("float32", "auto"), ("float32", "numpy")}:
            assert used in {"ArtifactError", "CompileError", "EngineMissingError", "ModelUnsupportedError"}, case
            continue
        assert vectors is not None, case
        assert (used, said) == (INSTANT if engine == "auto" else engine, wanted), case
        cosines = np.sum(np.array(vectors) * expected, axis=1)
        assert np.min(cosines) >= (0.99999 if wanted == "float32" else 0.99), case

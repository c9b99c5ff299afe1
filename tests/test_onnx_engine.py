"""Prepared models give the vectors of plain sentence-transformers: the engine onnx, 8-bit weights, exported folders."""

import json
import os
import random
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from loader import ArtifactError, EmbeddingError, ModelUnsupportedError, OptimizedEmbeddingLoader, compile_model
from loader.engines.onnx import MANY_TEXTS
from tests.conftest import MINILM, ROOT
from tests.texts_corpus import varied_texts
from tests.tiny_models import FAMILIES, LITERAL_SPECIALS, Tiny, edit_json, edit_tensors, plain_model, unit

for _package in ("onnx", "onnxruntime"):
    pytest.importorskip(_package)

TEXTS = [*varied_texts(150), *LITERAL_SPECIALS, "", "long " * 3000, "é" * 500]
TOLERANCE = 2e-6
"""Largest difference of a number of a unit vector in full precision."""

SAMPLE = [
    *(Tiny(family) for family in FAMILIES),
    Tiny("bert", pooling=("mean", "max"), dense=(("Tanh", True), ("GELU", False)), hidden_act="relu", normalize=True),
    Tiny("distilbert", pooling=("cls", "mean_sqrt_len_tokens"), dense=(("ReLU", True), ("Identity", True))),
    Tiny("mpnet", max_seq_length=290, positions=300, layers=2, hidden_act="gelu_new"),
    Tiny("roberta", shards=True, dtype="bfloat16", max_seq_length=60, prompts={"query": "q: ", "document": "d: "}),
    Tiny("xlm-roberta", pooling="mean_sqrt_len_tokens", dtype="float16", hidden_act="gelu_pytorch_tanh"),
]


def described(tiny):
    changed = [tiny.family, tiny.pooling, tiny.hidden_act, tiny.dtype]
    return "-".join(str(value) for value in changed if value not in {"mean", "gelu", "float32"})


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Compile a model folder into a folder of its own, once: ``prepared(folder, precision)``."""
    made = {}

    def make(folder, precision="float32"):
        key = (str(folder), precision)
        if key not in made:
            made[key] = compile_model(folder, precision, tmp_path_factory.mktemp("prepared") / "model")
        return made[key]

    return make


def opened(folder, engine, precision="float32"):
    """Return the provider of a prepared folder, which must need nothing from anywhere else."""
    strategy = "quantized" if precision == "int8" else "cached"
    provider = OptimizedEmbeddingLoader(str(folder), strategy, "cpu", engine=engine).load(timeout=None)
    assert (provider.engine, provider.precision) == (engine, precision)
    return provider


def least_invariance(provider, texts):
    """Return the least cosine of a text's vector alone with those of it among others, in any order and number."""
    alone = np.stack([provider.embed_chunk(text) for text in texts])
    least = 1.0
    for size in (2, MANY_TEXTS - 1, MANY_TEXTS, 64, len(texts)):
        order = random.Random(size).sample(range(len(texts)), len(texts))
        together = np.concatenate(
            [provider.embed_batch([texts[i] for i in order[at : at + size]], size) for at in range(0, len(order), size)]
        )
        least = min(least, float(np.min(np.sum(alone[order] * together, axis=1))))
    return least


@pytest.mark.parametrize("tiny", SAMPLE, ids=described)
class TestTinyModels:
    def test_full_precision(self, tiny, tiny_folder, prepared):
        folder = tiny_folder(tiny)
        plain = plain_model(folder)
        expected = unit(plain.encode_document(TEXTS))
        for engine in ("onnx", "numpy"):
            provider = opened(prepared(folder), engine)
            assert provider.dimension == plain.get_embedding_dimension()
            assert provider.max_seq_length == plain.max_seq_length
            largest = np.max(np.abs(provider.embed_batch(TEXTS) - expected))
            print(f"{described(tiny)} {engine}: largest difference {largest:.1e}")
            assert largest <= TOLERANCE
            for text, vector in list(zip(TEXTS, expected, strict=True))[::10]:
                assert np.max(np.abs(provider.embed_chunk(text) - vector)) <= TOLERANCE
            for text in TEXTS[:3]:
                assert np.max(np.abs(provider.embed_query(text) - unit(plain.encode_query(text)))) <= TOLERANCE
            assert least_invariance(provider, TEXTS[::3]) >= 0.99999

    def test_eight_bits(self, tiny, tiny_folder, prepared):
        folder = tiny_folder(tiny)
        expected = unit(plain_model(folder).encode_document(TEXTS))
        for engine in ("numpy", "onnx"):
            provider = opened(prepared(folder, "int8"), engine, "int8")
            cosines = np.sum(provider.embed_batch(TEXTS) * expected, axis=1)
            print(f"{described(tiny)} {engine}: mean cosine {np.mean(cosines):.5f}, least {np.min(cosines):.5f}")
            assert np.mean(cosines) >= 0.99
            assert np.min(cosines) < 0.9999995, "these are not 8 bits"
            assert least_invariance(provider, TEXTS[::3]) >= 0.99999


@pytest.mark.real_model
class TestMiniLM:
    @pytest.fixture(scope="class")
    @staticmethod
    def expected(minilm_folder):
        return unit(plain_model(minilm_folder).encode(TEXTS, batch_size=16))

    @pytest.mark.parametrize("engine", ["numpy", "onnx"])
    def test_eight_bits(self, engine, expected, minilm_folder, prepared):
        provider = opened(prepared(minilm_folder, "int8"), engine, "int8")
        cosines = np.sum(provider.embed_batch(TEXTS) * expected, axis=1)
        least = least_invariance(provider, TEXTS[:60])
        print(f"{engine}: mean {np.mean(cosines):.5f}, least {np.min(cosines):.5f}, alone/together {least:.8f}")
        assert np.mean(cosines) >= 0.99
        assert least >= 0.99999

    def test_full_precision(self, expected, minilm_folder, prepared):
        provider = opened(prepared(minilm_folder), "onnx")
        largest = np.max(np.abs(provider.embed_batch(TEXTS) - expected))
        print(f"largest difference {largest:.1e}")
        assert largest <= TOLERANCE
        assert least_invariance(provider, TEXTS[:60]) >= 0.99999

    def test_by_name_from_the_cache(self, minilm_folder, own_cache, prepared):
        """Compiling without an output puts it where a loader of the same name finds it."""
        compile_model(MINILM)
        provider = OptimizedEmbeddingLoader(MINILM, "cached", "cpu", engine="onnx").load(timeout=None)
        other = opened(prepared(minilm_folder), "onnx")
        assert np.array_equal(provider.embed_batch(TEXTS[:20]), other.embed_batch(TEXTS[:20]))


class TestArchitecturesThatNumpyDoesNotKnow:
    @pytest.mark.parametrize(
        "tiny",
        [
            Tiny("albert", layers=2, pooling=("mean", "cls"), dense=(("Tanh", True),), normalize=True),
            Tiny("deberta-v2", layers=2),
            Tiny("modernbert", layers=2, pooling="cls"),
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

    @pytest.mark.parametrize("exporter", ["script", "dynamo"])
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


@pytest.mark.skipif(os.name != "posix", reason="links")
@pytest.mark.parametrize("tiny", [Tiny("bert"), Tiny("roberta"), Tiny("mpnet"), Tiny("xlm-roberta")], ids=described)
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
        assert (used, said) == ("numpy" if engine == "auto" else engine, wanted), case
        cosines = np.sum(np.array(vectors) * expected, axis=1)
        assert np.min(cosines) >= (0.99999 if wanted == "float32" else 0.99), case


@pytest.mark.parametrize("engine", ["auto", "numpy", "onnx", "sentence_transformers"])
def test_a_folder_of_the_other_precision_is_refused(engine, tiny_folder, prepared):
    loader = OptimizedEmbeddingLoader(prepared(tiny_folder(Tiny("bert")), "int8"), "lazy", "cpu", engine=engine)
    with pytest.raises((ModelUnsupportedError, ArtifactError), match="prepared"):
        loader.load(timeout=None)


class TestManyTexts:
    def test_many_threads_get_the_same_vectors(self, tiny_folder, prepared):
        """Some of them open the second session at the same moment."""
        provider = opened(prepared(tiny_folder(Tiny("mpnet"))), "onnx")
        expected = np.stack([provider.embed_chunk(text) for text in TEXTS])

        def embed(number):
            return provider.embed_batch(TEXTS) if number % 2 else np.stack([provider.embed_chunk(t) for t in TEXTS])

        with ThreadPoolExecutor(8) as pool:
            for vectors in pool.map(embed, range(16)):
                assert np.max(np.abs(vectors - expected)) <= TOLERANCE

    @pytest.mark.parametrize("threads", [1, 3])
    def test_a_number_of_threads(self, threads, tiny_folder, prepared):
        folder = tiny_folder(Tiny("bert"))
        loader = OptimizedEmbeddingLoader(prepared(folder), "cached", engine="onnx", threads=threads)
        expected = unit(plain_model(folder).encode(TEXTS))
        assert np.max(np.abs(loader.load(timeout=None).embed_batch(TEXTS) - expected)) <= TOLERANCE

    @pytest.mark.parametrize("engine", ["onnx", "numpy"])
    def test_an_error_of_a_run_is_an_embedding_error(self, engine, tiny_folder, changed, prepared):
        """A token that the encoder has no vector for: among few texts, among many, and nothing is broken afterwards."""

        def change(folder):
            path = folder / "tokenizer.json"
            fields = json.loads(path.read_text())
            beyond = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
            fields["added_tokens"].append(beyond | {"id": 100_000, "content": "<beyond>"})
            path.write_text(json.dumps(fields))

        folder = changed(tiny_folder(Tiny("roberta")), change)
        provider = opened(compile_model(folder, output=folder + ".prepared"), engine)
        texts = TEXTS[:100]
        before = provider.embed_batch(texts)
        for batch in (["<beyond>"], ["a", "<beyond>"], [*texts, "<beyond>", *texts]):
            with pytest.raises(EmbeddingError, match=engine):
                provider.embed_batch(batch)
        assert np.array_equal(provider.embed_batch(texts), before)


@pytest.mark.parametrize(("family", "longest"), [("bert", 64), ("roberta", 62)])
def test_a_longest_sequence_beyond_the_positions_is_cut_to_them(family, longest, tiny_folder, changed, prepared):
    folder = changed(
        tiny_folder(Tiny(family)), lambda folder: edit_json(folder, "sentence_bert_config.json", max_seq_length=500)
    )
    # Compared with sentence-transformers would fail: it has no positions for the texts of the comparison.
    provider = opened(compile_model(folder, output=folder + ".prepared"), "onnx")
    edit_json(folder, "sentence_bert_config.json", max_seq_length=longest)
    text = "database " * 200
    assert provider.embed_chunk(text) @ unit(plain_model(folder).encode(text)) >= 0.999999


def test_a_text_without_tokens_is_an_error(tiny_folder, changed):
    def change(folder):
        edit_json(folder, "tokenizer.json", post_processor=None)
        edit_json(folder, "tokenizer_config.json", tokenizer_class="TokenizersBackend")

    folder = changed(tiny_folder(Tiny("bert")), change)
    provider = opened(compile_model(folder, output=folder + ".prepared"), "onnx")
    texts = ["database", "connection pool", "a"] * 10
    expected = unit(plain_model(folder).encode(texts))
    assert np.max(np.abs(provider.embed_batch(texts) - expected)) <= TOLERANCE
    for batch in ([""], ["database", "", "a"], [*texts, ""]):
        with pytest.raises(EmbeddingError):
            provider.embed_batch(batch)

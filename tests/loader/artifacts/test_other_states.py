"""A prepared model of another model, of an older state, of another ONNX Runtime or architecture."""

import base64
import json
import os
import shutil

import numpy as np
import pytest

from loader import ArtifactError
from loader.artifacts.compile import compile_model
from loader.artifacts.manifest import FILE
from tests.support.engines import INSTANT
from tests.support.prepared import (
    assert_same_vectors,
    copied,
    edit,
    load,
)
from tests.support.tiny_bert import TEXTS, make_tiny_bert

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(60),
    pytest.mark.skipif(os.name != "posix", reason="POSIX files and signals"),
]
both = pytest.mark.parametrize("precision", ["float32", "int8"])


class TestOfSomethingElse:
    def test_an_artifact_of_another_model_under_this_ones_name(self, own_cache, stored, tiny, expected, tmp_path):
        other = make_tiny_bert(tmp_path / "other" / "tiny", seed=1)
        foreign = compile_model(str(other), "int8")
        ours = stored("int8")
        shutil.rmtree(ours)
        os.rename(foreign, ours)
        for _ in range(2):
            assert_same_vectors(load(tiny, "quantized").embed_batch(TEXTS), expected, "int8")

    @pytest.mark.parametrize("what", ["weights", "tokenizer"])
    def test_an_artifact_of_an_older_state_of_the_model(self, own_cache, tmp_path, what):
        """Of the same size, under the same name, with the same times: still another model."""
        model = make_tiny_bert(tmp_path / "model")
        before = load(model).embed_batch(TEXTS)
        for precision in ("float32", "int8"):
            compile_model(str(model), precision)
        changed = model / ("model.safetensors" if what == "weights" else "tokenizer.json")
        old = changed.stat()
        if what == "weights":
            newer = make_tiny_bert(tmp_path / "newer", seed=1)
            shutil.copyfile(newer / "model.safetensors", changed)
        else:
            text = changed.read_text()
            swapped = text.replace('"database"', '"@@@"').replace('"fox"', '"database"')
            swapped = swapped.replace('"@@@"', '"fox"')
            changed.write_text(swapped)
        os.utime(changed, ns=(old.st_atime_ns, old.st_mtime_ns))
        assert changed.stat().st_size == old.st_size
        after = load(model).embed_batch(TEXTS)
        assert np.min(np.sum(after * before, axis=1)) < 0.93, "nothing was changed"
        with pytest.raises(ArtifactError, match="has not been prepared"):
            load(model, "cached", engine="onnx")
        assert_same_vectors(load(model, "quantized").embed_batch(TEXTS), after, "int8")
        provider = load(model, "cached", engine="onnx", compile="now")
        assert_same_vectors(provider.embed_batch(TEXTS), after)


class TestAnotherVersionOfOnnxRuntimeOrArchitecture:
    def proofs(self, cache):
        return sorted((cache / "proofs").glob("*"))

    @pytest.fixture
    def folder(self, own_cache, pristine, tmp_path):
        source, names = pristine
        folder = copied(source / names["float32"], tmp_path / "copy")
        assert json.loads((folder / FILE).read_text())["versions"]["onnxruntime"] == onnxruntime.__version__
        return folder

    def another_version(self, folder, changed=None, **probes):
        fields = json.loads((folder / FILE).read_text())
        changed = changed or {"onnxruntime": "1.0.0"}
        edit(folder, versions=fields["versions"] | changed, probes=fields["probes"] | probes)

    def test_the_same_version_proves_nothing(self, own_cache, folder, expected):
        edit(folder, probes={})
        assert_same_vectors(load(folder, engine="onnx").embed_batch(TEXTS), expected)
        assert self.proofs(own_cache) == []

    @both
    @pytest.mark.parametrize(
        "changed", [{"onnxruntime": "1.0.0"}, {"machine": "m68k"}], ids=["version", "architecture"]
    )
    def test_it_is_used_once_its_vectors_are_right(self, own_cache, pristine, tmp_path, expected, precision, changed):
        source, names = pristine
        folder = copied(source / names[precision], tmp_path / "copy")
        self.another_version(folder, changed)
        for _ in range(2):
            provider = load(folder, "quantized" if precision == "int8" else "lazy", engine="onnx")
            assert_same_vectors(provider.embed_batch(TEXTS), expected, precision)
            assert len(self.proofs(own_cache)) == 1

    def test_it_is_proved_once(self, own_cache, folder, monkeypatch):
        self.another_version(folder)
        load(folder, engine="onnx")
        from loader.engines.onnx import OnnxEngine

        monkeypatch.setattr(OnnxEngine, "encode", lambda *_: pytest.fail("the probes were embedded again"))
        load(folder, engine="onnx")

    def test_no_manifest_proves_another(self, own_cache, folder):
        self.another_version(folder)
        load(folder, engine="onnx")
        self.another_version(folder, vectors=base64.b64encode(bytes(17 * 32 * 4)).decode())
        with pytest.raises(ArtifactError):
            load(folder, engine="onnx")

    def test_it_is_refused_where_its_vectors_differ(self, own_cache, folder, expected):
        probes = json.loads((folder / FILE).read_text())["probes"]
        vectors = np.frombuffer(base64.b64decode(probes["vectors"]), "<f4").reshape(len(probes["texts"]), -1).copy()
        vectors[3] = -vectors[3]
        self.another_version(folder, vectors=base64.b64encode(vectors.tobytes()).decode())
        for _ in range(2):
            with pytest.raises(
                ArtifactError, match=rf"1\.0\.0 on \w+ and cannot be used with {onnxruntime.__version__}"
            ):
                load(folder, engine="onnx")
        assert self.proofs(own_cache) == []
        assert load(folder).engine == INSTANT  # which does not care
        assert_same_vectors(load(folder).embed_batch(TEXTS), expected)

    @pytest.mark.parametrize(
        "probes",
        [
            {"vectors": ""},
            {"vectors": "AAAA"},
            {"vectors": "%%%"},
            {"vectors": 3},
            {"vectors": None},
            {"vectors": base64.b64encode(b"\xff" * 17 * 32 * 4).decode()},
            {"texts": []},
            {"texts": None},
            {"texts": 3},
            {"texts": [1] * 17},
            {"texts": ["a"]},
        ],
    )
    def test_probes_that_make_no_sense(self, own_cache, folder, probes):
        self.another_version(folder, **probes)
        with pytest.raises(ArtifactError, match="cannot be used with"):
            load(folder, engine="onnx")

    def test_a_cache_that_cannot_be_written_means_proving_it_each_time(self, own_cache, folder, expected):
        own_cache.write_text("a file where the folder should be")
        self.another_version(folder)
        for _ in range(2):
            assert_same_vectors(load(folder, engine="onnx").embed_batch(TEXTS), expected)

"""Metadata: read from the model's own files, cached so that no damage can hurt."""

import json
import resource
import signal
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loader import CacheError, ModelCorruptError, ModelMetadata, OptimizedEmbeddingLoader
from loader.known_models import KNOWN_MODELS
from loader.metadata import cache_file, lookup, read, read_cached, remember_use, write_cached
from loader.modelfiles import read_facts
from loader.names import repo_ids
from loader.paths import cache_folder
from loader.source import ModelFolder, find

PER_FUNCTION = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def test_the_real_model(minilm_folder):
    metadata = OptimizedEmbeddingLoader(str(minilm_folder)).get_metadata()
    assert metadata.embedding_dim == 384
    assert metadata.max_seq_length == 256
    assert metadata.model_size_mb == pytest.approx((minilm_folder / "model.safetensors").stat().st_size / 2**20)
    assert metadata.supports_quantization is True


@pytest.mark.parametrize("repo_id", KNOWN_MODELS)
def test_the_shipped_table_agrees_with_the_files(repo_id, own_cache):
    folder = find(repo_id)
    if folder is None:
        pytest.skip(f"{repo_id} is not on this machine")
    dimension, longest, size = KNOWN_MODELS[repo_id]
    metadata = lookup(repo_id)
    assert (metadata.embedding_dim, metadata.max_seq_length) == (dimension, longest)
    assert metadata.model_size_mb == size / 2**20


def test_well_known_models_are_known_before_they_are_here(own_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    loader = OptimizedEmbeddingLoader("all-mpnet-base-v2")
    assert loader.get_embedding_dim_fast() == 768
    assert loader.get_metadata().max_seq_length == 384
    assert OptimizedEmbeddingLoader("org/unheard-of").get_embedding_dim_fast() is None
    assert OptimizedEmbeddingLoader("org/unheard-of").get_metadata() is None


def test_facts_of_other_layouts(tiny_model):
    dense = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    modules = json.loads((tiny_model / "modules.json").read_text())
    (tiny_model / "modules.json").write_text(json.dumps([*modules, dense]))
    (tiny_model / "2_Dense").mkdir()
    (tiny_model / "2_Dense" / "config.json").write_text('{"in_features": 8, "out_features": 5}')
    assert read_facts(str(tiny_model)).embedding_dim == 5
    assert read_facts(str(tiny_model)).max_seq_length == 32
    (tiny_model / "tokenizer_config.json").write_text('{"model_max_length": 16}')
    assert read_facts(str(tiny_model)).max_seq_length == 16
    (tiny_model / "modules.json").unlink()
    assert read_facts(str(tiny_model)).embedding_dim == 8


def test_pooling_modes_are_concatenated(tiny_model):
    pooling = {"word_embedding_dimension": 8, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
    (tiny_model / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    assert read_facts(str(tiny_model)).embedding_dim == 16


@pytest.mark.parametrize("name", ["config.json", "modules.json", "1_Pooling/config.json"])
@pytest.mark.parametrize("content", ["", "{", "[1]", "3", '"text"', "\xff", "[" * 100_000])
def test_damaged_model_files_are_typed_errors(tiny_model, name, content):
    (tiny_model / name).write_text(content, encoding="latin-1")
    with pytest.raises(ModelCorruptError, match="json"):
        lookup(str(tiny_model))
    assert OptimizedEmbeddingLoader(str(tiny_model)).get_embedding_dim_fast() is None


FACTS = st.builds(
    ModelMetadata,
    st.just("org/model"),
    st.none() | st.integers(1, 100_000),
    st.none() | st.integers(1, 100_000),
    st.floats(0, 1e9),
    st.booleans(),
    st.none() | st.floats(0, 1e11),
)


@PER_FUNCTION
@given(metadata=FACTS)
def test_the_cache_gives_back_what_it_was_given(own_cache, metadata):
    write_cached(metadata)
    assert read_cached("org/model") == metadata
    assert read_cached("org/other") is None


@PER_FUNCTION
@given(content=st.binary(max_size=300) | st.text().map(str.encode))
def test_any_damage_to_the_cache_is_a_miss(own_cache, content):
    write_cached(ModelMetadata("org/model", 3, 4, 5.0, True))
    with open(cache_file("org/model"), "wb") as file:
        file.write(content)
    assert read_cached("org/model") is None


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"model_name": "org--model"},
        {"embedding_dim": -1},
        {"embedding_dim": True},
        {"embedding_dim": 2**40},
        {"max_seq_length": "512"},
        {"model_size_mb": None},
        {"model_size_mb": float("nan")},
        {"model_size_mb": -1},
        {"supports_quantization": 1},
        {"last_used": "now"},
        {"last_used": float("inf")},
    ],
)
def test_implausible_cache_content_is_a_miss(own_cache, change):
    write_cached(ModelMetadata("org/model", 3, 4, 5.0, True))
    path = cache_file("org/model")
    with open(path) as file:
        data = json.load(file)
    with open(path, "w") as file:
        json.dump(data | change, file)
    assert read_cached("org/model") is None


def test_similar_names_have_files_of_their_own(own_cache):
    names = ["a/b", "a--b", "a_b", "A/b", "../x", "a/../b", "\ud800"]
    assert len({cache_file(name) for name in names}) == len(names)
    assert all(cache_file(name).startswith(str(own_cache)) for name in names)


def test_use_is_remembered_across_loaders(own_cache, tiny_model):
    before = time.time()
    folder = ModelFolder(str(tiny_model), str(tiny_model), "path")
    assert lookup(str(tiny_model)).last_used is None
    remember_use(read(folder))
    assert before <= lookup(str(tiny_model)).last_used <= time.time()


def test_a_cache_that_cannot_be_written_is_a_typed_error_and_no_obstacle(own_cache, tiny_model, caplog):
    own_cache.write_text("a file where the folder should be")
    with pytest.raises(CacheError, match="EMBEDDING_LOADER_CACHE") as caught:
        write_cached(ModelMetadata("org/model", 3, 4, 5.0, True))
    assert isinstance(caught.value, OSError)
    remember_use(read(ModelFolder("m", str(tiny_model), "path")))
    assert "EMBEDDING_LOADER_CACHE" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_write_that_fails_half_way_leaves_the_old_file(own_cache):
    old = ModelMetadata("org/model", 3, 4, 5.0, True)
    write_cached(old)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40, limits[1]))
        with pytest.raises(CacheError, match="Cannot write"):
            write_cached(ModelMetadata("org/model", 9, 9, 9.0, False))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert read_cached("org/model") == old
    assert len(list((own_cache / "metadata").iterdir())) == 1, "a temporary file was left behind"


def test_every_name_of_a_known_model_leads_to_it(own_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    for repo_id in KNOWN_MODELS:
        short = repo_id.rpartition("/")[2]
        assert repo_id in repo_ids(short)
        assert lookup(short).embedding_dim == KNOWN_MODELS[repo_id][0]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere platformdirs is asked itself")
@pytest.mark.parametrize("base", [None, "", "  ", "/somewhere/else", "relative/folder"])
def test_the_cache_folder_is_that_of_platformdirs(monkeypatch, base):
    import platformdirs

    monkeypatch.delenv("EMBEDDING_LOADER_CACHE")
    if base is None:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", base)
    assert cache_folder() == platformdirs.user_cache_dir("optimized-embedding-loader", appauthor=False)


def test_names_of_cache_files_are_safe(own_cache):
    names = ["a", "A", "a/b", "a--b", "a%2f.b", "con", "ä" * 100, "x" * 500, "../../etc/passwd", "a\\b", "a.b", "a b"]
    files = [cache_file(name) for name in names]
    assert len({file.casefold() for file in files}) == len(names), "also where capitals do not count"
    for file in files:
        assert Path(file).parent == own_cache / "metadata"
        assert len(Path(file).name.encode()) <= 255

"""Metadata: read from the model's own files, cached so that no damage can hurt."""

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loader import CacheError, ModelCorruptError, ModelMetadata, ModelUnsupportedError, OptimizedEmbeddingLoader
from loader.model.config_files import read_facts
from loader.model.known_models import KNOWN_MODELS
from loader.model.metadata import cache_file, lookup, read, read_cached, remember_use, write_cached
from loader.model.names import repo_ids
from loader.model.source import ModelFolder, find
from loader.runtime.paths import cache_folder
from tests.support.tiny_models import edit_json

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


NO_NUMBER = [0, -1, -(10**30), "7", 7.0, float("nan"), -float("inf"), True, False, [], {}]
NUMBERS = [
    ("sentence_bert_config.json", "max_seq_length"),
    ("tokenizer_config.json", "model_max_length"),
    ("config.json", "max_position_embeddings"),
    ("1_Pooling/config.json", "word_embedding_dimension"),
    ("2_Dense/config.json", "out_features"),
    ("config_sentence_transformers.json", "truncate_dim"),
]


@pytest.mark.parametrize("value", NO_NUMBER, ids=str)
@pytest.mark.parametrize(("file", "key"), NUMBERS)
def test_what_is_no_number_is_refused_with_its_file_and_value(tiny_model, file, key, value):
    if (key, value) == ("max_position_embeddings", -1):
        pytest.skip("stands for none")
    dense = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    edit_json(tiny_model, "1_Pooling", "config.json")
    modules = json.loads((tiny_model / "modules.json").read_text())
    (tiny_model / "modules.json").write_text(json.dumps([*modules, dense]))
    (tiny_model / "2_Dense").mkdir()
    edit_json(tiny_model, *file.split("/"), **{key: value})
    loader = OptimizedEmbeddingLoader(str(tiny_model))
    for call in (loader.get_metadata, loader.load):
        with pytest.raises(ModelCorruptError) as refusal:
            call()
        assert f"{tiny_model / file} sets {key} to {value!a}" in str(refusal.value)


@pytest.mark.parametrize("file", ["sentence_bert_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("value", [1e30, 10**30, float("inf"), 2**31, 1000])
def test_a_limit_beyond_the_positions_is_that_of_the_positions(tiny_model, file, value):
    """1e30 is what transformers writes for a tokenizer without a limit."""
    edit_json(tiny_model, file, **{"max_seq_length" if "sentence" in file else "model_max_length": value})
    assert read_facts(str(tiny_model)).max_seq_length == 32
    edit_json(tiny_model, "config.json", model_type="roberta")
    assert read_facts(str(tiny_model)).max_seq_length == 30
    edit_json(tiny_model, "config.json", pad_token_id=0)
    assert read_facts(str(tiny_model)).max_seq_length == 31
    edit_json(tiny_model, "config.json", model_type="mpnet")
    assert read_facts(str(tiny_model)).max_seq_length == 30
    # Positions that are computed, or relative, have no end.
    edit_json(tiny_model, "config.json", model_type="modernbert")
    expected = 32 if file == "tokenizer_config.json" else None if value > 1000 else 1000
    assert read_facts(str(tiny_model)).max_seq_length == expected


@pytest.mark.parametrize("kind", [{}, [], 5, None, {"a": 1}])
def test_an_architecture_without_a_name(tiny_model, kind):
    edit_json(tiny_model, "config.json", model_type=kind)
    loader = OptimizedEmbeddingLoader(str(tiny_model), engine="numpy")
    assert loader.get_metadata().max_seq_length == 32
    with pytest.raises(ModelUnsupportedError):
        loader.load()


@pytest.mark.parametrize("number", [-1, "1", 1.0, None, True, 31, 2**31])
def test_a_padding_token_that_positions_cannot_be_counted_from(tiny_model, number):
    edit_json(tiny_model, "config.json", model_type="roberta", pad_token_id=number)
    with pytest.raises(ModelCorruptError, match=r"config\.json has .* pad_token_id"):
        read_facts(str(tiny_model))


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
    found = read_cached("org/model")
    metadata.last_used = found.last_used
    assert found == metadata
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
        {"format": 1},
        {"model_name": "org--model"},
        {"embedding_dim": -1},
        {"embedding_dim": True},
        {"embedding_dim": 2**40},
        {"max_seq_length": "512"},
        {"model_size_mb": None},
        {"model_size_mb": float("nan")},
        {"model_size_mb": -1},
        {"supports_quantization": 1},
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


def test_a_folder_of_a_hub_name_is_not_remembered_as_the_hubs_model(own_cache, tiny_model, tmp_path, monkeypatch):
    """``organisation/model`` means a folder where there is one, and the hub's model elsewhere."""
    (tmp_path / "organisation").mkdir()
    tiny_model.rename(tmp_path / "organisation" / "model")
    monkeypatch.chdir(tmp_path)
    found = lookup("organisation/model")
    assert found.embedding_dim == 8
    remember_use(found)
    assert lookup("organisation/model").last_used is not None
    monkeypatch.chdir("/")
    assert lookup("organisation/model") is None


def test_use_is_remembered_across_loaders(own_cache, tiny_model):
    folder = ModelFolder(str(tiny_model), str(tiny_model), "path")
    assert lookup(str(tiny_model)).last_used is None
    remember_use(read(folder))
    path = cache_file(str(tiny_model))
    os.utime(path, (1_000_000, 1_000_000))
    written = os.stat(path)
    assert lookup(str(tiny_model)).last_used == 1_000_000
    before = time.time()
    remember_use(read(folder))
    # File systems count time in steps, of up to 2 s.
    assert before - 2 <= lookup(str(tiny_model)).last_used <= time.time()
    assert os.stat(path).st_ino == written.st_ino, "what the file says already was written again"


def test_what_has_changed_is_written_again(own_cache, tiny_model):
    write_cached(ModelMetadata("org/model", 3, 4, 5.0, True))
    write_cached(ModelMetadata("org/model", 9, 4, 5.0, True))
    assert read_cached("org/model").embedding_dim == 9


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
    assert read_cached("org/model").embedding_dim == 3
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


@pytest.mark.parametrize(
    "path", ["../other", "1_Pooling/../../other", "/etc", "..\\other", 5, None, ["x"], "a\0b"], ids=ascii
)
def test_a_module_outside_of_the_model_is_refused(tiny_model, path):
    """By everything that reads the model's files, the tokenizer as well."""
    modules = json.loads((tiny_model / "modules.json").read_text())
    modules[0]["path"] = path
    (tiny_model / "modules.json").write_text(json.dumps(modules))
    loader = OptimizedEmbeddingLoader(str(tiny_model))
    for call in (loader.get_metadata, lambda: loader.count_tokens("text"), loader.load):
        with pytest.raises(ModelCorruptError, match="outside the model"):
            call()

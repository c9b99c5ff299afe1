"""Memory, open files, rights or a disk that are lacking: the error says so, and nobody is told to delete a file.

The limits are real ones, of child processes.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from loader import compile_model
from tests.support.tiny_bert import make_tiny_bert
from tests.support.tiny_models import Tiny

pytestmark = [pytest.mark.timeout(120), pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")]

ADVICE = ("elete", "etch the model", "damaged", "corrupt", "einstall", "compile' again")
"""Of files that are damaged."""

READ = """
import json, os, resource, sys
from loader.artifacts.manifest import read_manifest, verify_artifact
from loader.artifacts.inputs import source_files
from loader.model.hub_cache import snapshot_folder
from loader.model.config_files import read_json
from loader.model.packages import ModelPackage, Verification
from loader.model.pipeline import Pipeline
from loader.model.safetensors import MappedTensors, read_header
from loader.text.tokenizer import TextTokenizer
from loader.model.weight_files import weight_files

model, split, library, artifact, hub = sys.argv[2:]
weights = os.path.join(model, "model.safetensors")
package = ModelPackage("a/b", "c", "c", "", "0" * 64)
what = {
    "json": lambda: read_json(model, "config.json"),
    "index": lambda: weight_files(split),
    "header": lambda: read_header(weights),
    "map": lambda: MappedTensors([weights]),
    "wordpiece": lambda: TextTokenizer(model),
    "library": lambda: TextTokenizer(library),
    "manifest": lambda: read_manifest(artifact),
    "artifact": lambda: verify_artifact(artifact, manifest, anew=True),
    "sources": lambda: source_files(pipeline),
    "hub": lambda: snapshot_folder(hub, "a/b"),
    "package": lambda: Verification(package, weights).check(anew=True),
}

def ask():
    said = {}
    for name, read in what.items():
        try:
            read()
            said[name] = "", ""
        except Exception as error:
            said[name] = type(error).__name__, str(error)
    return said

pipeline, manifest = Pipeline(model), read_manifest(artifact)
ask()  # imports everything
"""
SHOW = "\nprint(json.dumps(ask()))"
NO_FILES = """
import shutil
shutil.rmtree(os.environ["EMBEDDING_LOADER_CACHE"])  # or hashes would be remembered
free = os.dup(0); os.close(free)
resource.setrlimit(resource.RLIMIT_NOFILE, (free, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
"""
NO_MEMORY = """
import shutil
shutil.rmtree(os.environ["EMBEDDING_LOADER_CACHE"])
def more():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (more() + 2**23, resource.RLIM_INFINITY))
"""
NO_RIGHTS = """
if os.geteuid() == 0:
    os.seteuid(65534)
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_bert(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def folders(tmp_path, own_cache, tiny, tiny_folder):
    """A model, one whose weights are split, one with another tokenizer, a prepared one, a hub's cache."""
    model = Path(shutil.copytree(tiny, tmp_path / "model"))
    split = tmp_path / "split"
    split.mkdir()
    index = {"weight_map": {"x": "model-1.safetensors"}}
    (split / "model.safetensors.index.json").write_text(json.dumps(index))
    shutil.copy(tiny / "model.safetensors", split / "model-1.safetensors")
    library = Path(shutil.copytree(tiny_folder(Tiny("roberta")), tmp_path / "library"))
    artifact = Path(compile_model(str(tiny), "int8", tmp_path / "artifact"))
    hub = tmp_path / "hub"
    snapshot = hub / "models--a--b" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (hub / "models--a--b" / "refs").mkdir()
    (hub / "models--a--b" / "refs" / "main").write_text("0123")
    return model, split, library, artifact, hub


def asked(python, folders, lacking):
    done = python(READ + lacking + SHOW, "x", *map(str, folders))
    assert done.code == 0, done
    return done.json()


def test_no_file_can_be_opened_any_more(python, folders):
    for name, (kind, message) in asked(python, folders, NO_FILES).items():
        assert (name, kind) == (name, "ModelUnreadableError"), message
        assert "Too many open files" in message
        assert "ulimit -n" in message
        assert not any(word in message for word in ADVICE), message


def test_no_memory_is_left(python, folders):
    model, split, *_ = folders
    for path in (model / "config.json", split / "model.safetensors.index.json", model / "tokenizer.json"):
        with path.open("ab") as file:  # blanks, which any JSON may end with
            file.write(b" " * 2**25)
    make_large(model / "model.safetensors")
    said = asked(python, folders, NO_MEMORY)
    for name in ("json", "index", "map", "wordpiece"):  # files are hashed in pieces, which need next to nothing
        kind, message = said[name]
        assert (name, kind) == (name, "ModelUnreadableError"), message
        assert "Cannot allocate memory" in message
        assert "ulimit -v" in message
        assert not any(word in message for word in ADVICE), message


def make_large(path):
    """Make a file one with a single tensor of 1 GiB, none of which is on the disk."""
    header = json.dumps({"x": {"dtype": "F32", "shape": [2**28], "data_offsets": [0, 2**30]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(path, 8 + len(header) + 2**30)


def test_no_right_to_read(python, folders, monkeypatch):
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        place = Path(name)
        place.chmod(0o755)
        moved = [Path(shutil.copytree(folder, place / folder.name)) for folder in folders]
        for path in place.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o000)
        monkeypatch.setenv("EMBEDDING_LOADER_CACHE", str(place / "cache"))
        lend = "for place, _, names in os.walk(sys.argv[1]):\n    for name in names:\n"
        before = lend + "        os.chmod(os.path.join(place, name), 0o644)\n"
        after = lend + "        os.chmod(os.path.join(place, name), 0)\n"
        code = "import os, sys\n" + before + READ + after + NO_RIGHTS + SHOW
        done = python(code, str(place), *map(str, moved))
        assert done.code == 0, done
        for read, (kind, message) in done.json().items():
            if read == "hub":
                assert kind == "", "another user's cache is no place to look at"
                continue
            assert (read, kind) == (read, "ModelUnreadableError"), message
            assert "Permission denied" in message
            assert not any(word in message for word in ADVICE), message


def test_a_disk_that_fails(python, folders):
    """Reading the beginning of a process's memory fails as a broken disk does."""
    model, split, *_ = folders
    for path in (model / "config.json", split / "model.safetensors.index.json"):
        path.unlink()
        path.symlink_to("/proc/self/mem")
    code = READ.replace("Pipeline(model)", "None") + SHOW
    done = python(code, "x", *map(str, folders))
    for name in ("json", "index"):
        kind, message = done.json()[name]
        assert (name, kind) == (name, "ModelUnreadableError"), message
        assert "Input/output error" in message
        assert "check its disk" in message


LOAD = """
import json, os, resource, sys
from loader import LoaderError, OptimizedEmbeddingLoader
import numpy, onnxruntime, tokenizers
said = []
for strategy, engine in (("lazy", "numpy"), ("quantized", "numpy"), ("quantized", "auto"), ("lazy", "onnx")):
    OptimizedEmbeddingLoader(sys.argv[1], strategy, engine=engine).load().embed_query("text")
    for number in range(12):
        free = os.dup(0); os.close(free)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + number, hard))
        try:
            OptimizedEmbeddingLoader(sys.argv[1], strategy, engine=engine).load(timeout=30).embed_query("text")
        except LoaderError as error:
            said.append((strategy, engine, number, type(error).__name__, str(error)))
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
print(json.dumps(said))
"""


def test_a_load_with_few_files_left_works_or_says_what_is_lacking(python, own_cache, tiny):
    pytest.importorskip("onnxruntime")
    for precision in ("float32", "int8"):
        compile_model(str(tiny), precision)
    before = sorted((own_cache / "artifacts").rglob("*"))
    done = python(LOAD, str(tiny))
    assert done.code == 0, done
    said = done.json()
    assert said, "it worked each time"
    for case in said:
        assert "Too many open files" in case[-1], case
        assert not any(word in case[-1] for word in ADVICE), case
    assert sorted((own_cache / "artifacts").rglob("*")) == before, "what could not be read was removed or made anew"


FIND = """
from loader import LoaderError, OptimizedEmbeddingLoader
try:
    OptimizedEmbeddingLoader("a/b", engine="numpy", allow_download=False).load(timeout=None)
except LoaderError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["config.json", "modules.json", "tokenizer.json", "model.safetensors", "refs/main"])
def test_nobody_waits_for_a_pipe_in_the_place_of_a_file(python, tiny, tmp_path, name):
    hub = tmp_path / "hub"
    model = hub / "models--a--b" / "snapshots" / "0123"
    shutil.copytree(tiny, model)
    refs = hub / "models--a--b" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0123")
    path = refs / "main" if name == "refs/main" else model / name
    path.unlink()
    os.mkfifo(path)
    done = python(FIND, env={"HF_HUB_CACHE": str(hub)}, timeout=60)
    assert (done.code, done.err) == (0, ""), done
    assert len(done.out) > 20

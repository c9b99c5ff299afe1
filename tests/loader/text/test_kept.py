"""Prepared tokenizers are made by a process of its own, kept like artifacts, and used by the processes after it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.tiny_models import Tiny

pytest.importorskip("loader._native", reason="the kernel is not built: make native")
pytestmark = pytest.mark.process

FIRST_VECTOR = """
import json, sys
from loader import get_embedding_provider
provider = get_embedding_provider(sys.argv[1])
print(json.dumps({
    "vector": provider.embed_query_bytes(sys.argv[2]).hex(),
    "library": "tokenizers" in sys.modules,
    "engine": provider.engine,
}))
"""
TEXT = "Hello, w\u00f6rld \u4f60\u597d"


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A model like XLM-R."""
    return Path(Tiny("xlm-roberta").save(tmp_path_factory.mktemp("kept") / "model"))


@pytest.fixture
def copy(model, tmp_path):
    """The same model in a folder of this test."""
    return Path(shutil.copytree(model, tmp_path / "model"))


@pytest.fixture(autouse=True)
def prepares(own_cache, monkeypatch):
    """An empty cache, and tokenizers are prepared."""
    monkeypatch.delenv("EMBEDDING_LOADER_TOKENIZER")


def prepare(model):
    """Prepare a tokenizer as the process in the background does, and return how that ended."""
    command = [sys.executable, "-m", "loader.text.preparing", str(model), "the/model"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def artifacts(cache):
    """The tables, or the reasons, that are there."""
    return sorted(Path(cache).glob("artifacts/tokenizer--*/[rt]*.*"))


def opened(model):
    from loader.text.tokenizer import TextTokenizer

    return TextTokenizer(str(model))


def uses_tables(model):
    return opened(model).unprepared is None


def test_the_first_process_has_it_prepared_and_the_second_does_without_the_library(model, python, own_cache):
    first = python(FIRST_VECTOR, str(model), TEXT).json()
    assert (first["engine"], first["library"]) == ("native", True)
    deadline = time.monotonic() + 60
    while not (made := artifacts(own_cache)) or made[0].name != "tokens.bin":
        assert time.monotonic() < deadline, made
        time.sleep(0.05)
    deadline = time.monotonic() + 10
    while (second := python(FIRST_VECTOR, str(model), TEXT).json())["library"]:
        assert time.monotonic() < deadline  # the tables may not be in their place yet
    assert second == {**first, "library": False}


def test_nothing_is_prepared_where_the_environment_says_so(model, python, own_cache):
    environment = {"EMBEDDING_LOADER_TOKENIZER": "library"}
    assert prepare(model).returncode == 0
    assert python(FIRST_VECTOR, str(model), TEXT, env=environment).json()["library"]
    shutil.rmtree(own_cache)
    python(FIRST_VECTOR, str(model), TEXT, env=environment)
    time.sleep(0.5)
    assert not artifacts(own_cache)


def test_it_is_prepared_once(model, own_cache):
    assert prepare(model).returncode == 0
    (before,) = artifacts(own_cache)
    stamp = before.stat().st_ino
    assert prepare(model).returncode == 0
    assert artifacts(own_cache)[0].stat().st_ino == stamp


def test_several_at_once_make_it_once(model, own_cache):
    command = [sys.executable, "-m", "loader.text.preparing", str(model), "the/model"]
    running = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(3)]
    assert [one.wait(120) for one in running] == [0, 0, 0]
    assert len(artifacts(own_cache)) == 1
    assert uses_tables(model)


def test_nothing_is_hashed_where_nothing_is_prepared(model, own_cache):
    assert not uses_tables(model)
    assert not (own_cache / "hashes").exists()


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "config.json"])
def test_a_file_that_changed_makes_it_another_tokenizer(copy, own_cache, name):
    assert prepare(copy).returncode == 0
    assert uses_tables(copy)
    path = copy / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert not uses_tables(copy)
    assert prepare(copy).returncode == 0
    assert uses_tables(copy)
    assert len(artifacts(own_cache)) == 2


def test_the_same_files_elsewhere_need_not_be_prepared_again(model, copy, own_cache):
    assert prepare(model).returncode == 0
    assert uses_tables(copy)
    assert len(artifacts(own_cache)) == 1


def test_a_cache_that_was_made_on_another_machine_serves_too(model, own_cache):
    """As in an image: the files have other inodes there, so no hash is remembered."""
    assert prepare(model).returncode == 0
    shutil.rmtree(own_cache / "hashes")
    assert uses_tables(model)
    assert any((own_cache / "hashes").iterdir())


def test_damaged_tables_are_not_used_and_made_again(model, own_cache):
    before = opened(model).encode(TEXT, None)
    assert prepare(model).returncode == 0
    (tables,) = artifacts(own_cache)
    content = bytearray(tables.read_bytes())
    content[-100] ^= 1
    tables.write_bytes(content)
    assert not uses_tables(model)
    assert opened(model).encode(TEXT, None) == before
    assert prepare(model).returncode == 0
    assert uses_tables(model)


def test_tables_that_others_can_write_to_are_not_used(model, own_cache):
    assert prepare(model).returncode == 0
    artifacts(own_cache)[0].chmod(0o666)
    assert not uses_tables(model)


def test_tables_for_another_version_of_the_library_are_not_used(model, own_cache, monkeypatch):
    from loader.text import kept

    assert prepare(model).returncode == 0
    monkeypatch.setattr(kept, "stamp", lambda path: [path, 0, 0])
    assert uses_tables(model)  # another file, but the same version
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.1")
    assert not uses_tables(model)


def test_what_cannot_be_prepared_is_remembered_with_the_reason(copy, own_cache):
    file = json.loads((copy / "tokenizer.json").read_text())
    file["normalizer"] = {"type": "Replace", "pattern": {"Regex": "[ab]"}, "content": "c"}
    (copy / "tokenizer.json").write_text(json.dumps(file))
    config = json.loads((copy / "tokenizer_config.json").read_text())
    (copy / "tokenizer_config.json").write_text(json.dumps({**config, "tokenizer_class": "TokenizersBackend"}))
    ended = prepare(copy)
    assert ended.returncode == 1
    assert "the normalizer" in ended.stderr
    assert "the normalizer" in opened(copy).unprepared
    assert [path.name for path in artifacts(own_cache)] == ["reason.txt"]


def test_without_the_kernel_nothing_is_prepared_and_no_reason_is_kept(model, own_cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "loader._native", None)
    assert "kernel" in opened(model).unprepared
    monkeypatch.undo()
    assert not own_cache.exists()


def test_contradictory_files_are_refused_with_and_without_tables(copy):
    config = json.loads((copy / "tokenizer_config.json").read_text())
    (copy / "tokenizer_config.json").write_text(json.dumps({**config, "truncation_side": "left"}))
    from loader.errors import ModelUnsupportedError

    ended = prepare(copy)
    assert "truncation_side" in ended.stderr
    with pytest.raises(ModelUnsupportedError, match="truncation_side"):
        opened(copy)


def test_a_killed_preparation_is_not_tried_again_at_once(model, own_cache, monkeypatch):
    from loader.text import kept

    command = [sys.executable, "-m", "loader.text.preparing", str(model), "the/model"]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not artifacts(own_cache):
        assert time.monotonic() < deadline
    child.send_signal(signal.SIGKILL)
    child.wait(60)
    made = artifacts(own_cache)
    if made[0].name == "tokens.bin":
        pytest.skip("it was too fast to be killed")
    assert opened(model).unprepared == kept.UNFINISHED
    os.utime(made[0], (0, 0))  # a day later, it is
    assert opened(model).unprepared == ""
    assert prepare(model).returncode == 0
    assert uses_tables(model)


def test_a_full_disk_leaves_nothing_behind(model, own_cache):
    own_cache.mkdir(mode=0o700)
    (own_cache / "artifacts").write_text("in the way")
    ended = prepare(model)
    assert (ended.returncode, "Cannot write" in ended.stderr) == (1, True)
    assert not uses_tables(model)


def test_the_cache_command_lists_verifies_and_clears_it(model, python, own_cache):
    assert prepare(model).returncode == 0
    (tables,) = artifacts(own_cache)
    listed = python(None, "-m", "loader", "cache", "list").out
    assert "the/model" in listed
    assert "tokenizer" in listed
    assert python(None, "-m", "loader", "cache", "verify").code == 0
    with tables.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    assert python(None, "-m", "loader", "cache", "verify").code == 1
    assert python(None, "-m", "loader", "cache", "clear", "the/model").code == 0
    assert not artifacts(own_cache)


def test_compile_prepares_the_tokenizer_too(model, python, own_cache):
    done = python(None, "-m", "loader", "compile", str(model), "--precision", "int8", timeout=300)
    assert done.code == 0, done.err
    assert [path.name for path in artifacts(own_cache)] == ["tokens.bin"]
    assert uses_tables(model)


def test_info_says_how_texts_become_tokens(model, copy, python, minilm_folder):
    def said(folder, **env):
        out = python(None, "-m", "loader", "info", str(folder), env=env).out
        return next(line for line in out.splitlines() if line.startswith("tokenizer:")).split(maxsplit=1)[1]

    assert said(minilm_folder) == "WordPiece, searched in tokenizer.json"
    assert "until it is prepared" in said(model)
    assert prepare(model).returncode == 0
    assert said(model) == "prepared"
    assert "EMBEDDING_LOADER_TOKENIZER" in said(model, EMBEDDING_LOADER_TOKENIZER="library")
    file = json.loads((copy / "tokenizer.json").read_text())
    file["model"]["byte_fallback"] = True
    (copy / "tokenizer.json").write_text(json.dumps(file))
    prepare(copy)
    assert said(copy).startswith("the library tokenizers: ")


def test_it_is_evicted_like_any_other_artifact(model, own_cache, monkeypatch):
    from loader.artifacts.workshop import evict

    assert prepare(model).returncode == 0
    monkeypatch.setenv("EMBEDDING_LOADER_CACHE_LIMIT_MB", "0")
    evict()
    assert not artifacts(own_cache)
    assert not uses_tables(model)


def test_texts_that_the_tables_do_not_handle_go_through_the_library(model):
    from tokenizers import Tokenizer

    assert prepare(model).returncode == 0
    tokenizer, library = opened(model), Tokenizer.from_file(str(model / "tokenizer.json"))
    library.no_padding()
    library.no_truncation()
    for text in ("a <mask> b", "\U000e0fff", "\u1100\u1161", "plain"):
        assert tokenizer.encode(text, None) == library.encode(text).ids
        assert tokenizer.truncate(text * 50, 20) == opened(model).truncate(text * 50, 20)


def test_limits_are_the_librarys(model):
    assert prepare(model).returncode == 0
    with_tables = opened(model)
    os.environ["EMBEDDING_LOADER_TOKENIZER"] = "library"
    without = opened(model)
    for limit in (None, 2, 3, 10, 48):
        for text in ("", TEXT, TEXT * 30, "word " * 3000):
            assert with_tables.encode(text, limit) == without.encode(text, limit)
    assert with_tables.max_seq_length == without.max_seq_length


def test_the_class_of_xlm_r_cuts_at_blanks_whatever_the_file_says(copy, monkeypatch):
    file = json.loads((copy / "tokenizer.json").read_text())
    texts = ("two  blanks ", " and\n\nlines ", "plain", "\u2581 mark")
    before = [opened(copy).encode(text, None) for text in texts]
    file["pre_tokenizer"] = file["pre_tokenizer"]["pretokenizers"][1]
    (copy / "tokenizer.json").write_text(json.dumps(file))
    assert prepare(copy).returncode == 0
    assert uses_tables(copy)
    assert [opened(copy).encode(text, None) for text in texts] == before
    monkeypatch.setenv("EMBEDDING_LOADER_TOKENIZER", "library")
    assert [opened(copy).encode(text, None) for text in texts] == before


def test_a_program_that_embeds_python_starts_nothing(model, monkeypatch):
    from loader.text import background

    for executable in ("/usr/sbin/uwsgi", "", None):
        monkeypatch.setattr(sys, "executable", executable)
        assert not background._can_start()
    monkeypatch.undo()
    assert background._can_start()


def test_a_folder_that_cannot_be_written_to_starts_nothing(own_cache, monkeypatch):
    from loader.text import background

    assert background._can_keep()
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(own_cache.parent))
    assert not background._can_keep()


def test_the_process_in_the_background_is_no_child(model, python, own_cache):
    code = (
        FIRST_VECTOR
        + """
import os
try:
    print(json.dumps(os.waitpid(-1, os.WNOHANG)))
except ChildProcessError:
    print(json.dumps("none"))
"""
    )
    assert python(code, str(model), TEXT).json() == "none"


def test_every_source_file_is_one_that_the_check_reads():
    from loader.text import kept, tokenizer_settings

    code = Path(tokenizer_settings.__file__).read_text()
    for name in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json"):
        assert f'"{name}"' in code
        assert name in kept._SOURCES

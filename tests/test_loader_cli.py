"""``python -m loader``, as a user calls it."""

import json

import numpy as np
import pytest

from loader.__main__ import COMMANDS, build_parser, main
from tests.conftest import MINILM, ROOT


def test_every_command_is_listed_and_every_module_is_a_command():
    modules = {path.stem for path in (ROOT / "loader" / "commands").glob("*.py") if not path.stem.startswith("_")}
    assert set(COMMANDS) == modules
    assert all(name in build_parser().format_help() for name in COMMANDS)


@pytest.mark.real_model
def test_embed(python, provider):
    done = python(None, "-m", "loader", "embed", "database connection", "--strategy", "lazy", "--model", MINILM)
    assert (done.code, done.err) == (0, "")
    assert np.array_equal(np.array(done.json(), dtype=np.float32), provider.embed_query("database connection"))


@pytest.mark.real_model
def test_embed_lines_of_standard_input(python, provider):
    done = python(None, "-m", "loader", "embed", stdin="first\nsecond\r\n\n")
    assert done.code == 0, done.err
    vectors = np.array([json.loads(line) for line in done.out.splitlines()], dtype=np.float32)
    assert np.min(np.sum(vectors * provider.embed_batch(["first", "second", ""]), axis=1)) >= 0.99999


def test_info(capsys, minilm_folder):
    assert main(["info", str(minilm_folder)]) == 0
    out = capsys.readouterr().out
    for fact in (str(minilm_folder), "384", "256 tokens", "86.7 MiB"):
        assert fact in out


def test_info_hashes_a_package_again(python, own_cache):
    done = python(None, "-m", "loader", "info", "all-MiniLM-L6-v2", env={"HF_HUB_CACHE": "/nowhere"})
    assert "(package)" in done.out, done.err
    assert list((own_cache / "hashes").iterdir())


def test_doctor(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in (
        "Machine",
        "Engines",
        "sentence_transformers",
        "Models",
        "all-MiniLM-L6-v2",
        "Recommendation",
        "progressive",
    ):
        assert word in out


def test_doctor_works_where_little_is_installed(python, tmp_path):
    """A home that does not exist, no hub cache, and no PyTorch to be seen."""
    code = """
import sys
from importlib.machinery import PathFinder
real = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name == "torch" else real(name, *rest)
from loader.__main__ import main
raise SystemExit(main(["doctor"]))
"""
    done = python(code, env={"HOME": "/nowhere", "HF_HUB_CACHE": None, "EMBEDDING_LOADER_CACHE": None})
    assert done.code == 0, done.err
    assert "not there yet" in done.out
    assert "optimized-embedding-loader[torch]" in done.out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["info", "no/such-model"], 1, "was not found"),
        (["info", "a--b"], 1, "not a model name"),
        (["embed", "x", "--model", "./nowhere", "--offline"], 1, "does not exist"),
        (["embed", "x", "--timeout", "-1"], 1, "timeout must not be negative"),
        (["embed", "x", "--device", "tpu"], 1, "device 'tpu' is not known"),
    ],
)
def test_errors_are_one_message_and_an_exit_code(capsys, arguments, code, message):
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["embed", "--strategy", "turbo"], ["info"]])
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.real_model
def test_a_reader_that_leaves_is_no_error(python):
    code = """
import subprocess, sys
command = [sys.executable, "-m", "loader", "embed"]
pipes = dict.fromkeys(["stdin", "stdout", "stderr"], subprocess.PIPE)
with subprocess.Popen(command, text=True, **pipes) as child:
    child.stdin.write("line\\n" * 200)
    child.stdin.close()
    child.stdout.readline()
    child.stdout.close()
    print(child.stderr.read(), end="")
"""
    done = python(code)
    assert (done.out, done.err) == ("", "")


@pytest.mark.real_model
def test_a_read_only_home_is_no_obstacle(python, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / ".cache").write_text("a file where the cache should be")
    env = {"HOME": str(home), "EMBEDDING_LOADER_CACHE": None, "XDG_CACHE_HOME": None, "HF_HUB_CACHE": "/nowhere"}
    done = python(None, "-m", "loader", "embed", "text", env=env)
    assert (done.code, done.err) == (0, ""), done
    assert len(done.json()) == 384


@pytest.mark.real_model
def test_the_library_is_silent_unless_asked(python):
    code = """
from loader import OptimizedEmbeddingLoader
OptimizedEmbeddingLoader("all-MiniLM-L6-v2").load().embed_query("text")
"""
    done = python(code)
    assert (done.out, done.err) == ("", "")
    done = python("import logging; logging.basicConfig(level='INFO')" + code)
    assert "INFO:loader:<LocalProvider 'all-MiniLM-L6-v2' engine=numpy" in done.err


@pytest.mark.real_model
def test_info_of_a_prepared_model(artifacts, capsys):
    for folder in artifacts.values():
        assert main(["info", str(folder)]) == 0
    sizes = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines() if line.startswith("weights:")]
    assert 80 < sizes[0] < 95
    assert 20 < sizes[1] < 25

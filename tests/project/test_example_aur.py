"""The example docs/examples/aur.py as its users run it: real processes, the real MiniLM."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT, stop_services
from tests.support.engines import INSTANT

AUR = str(ROOT / "docs" / "examples" / "aur.py")
TEXTS = {
    "pool.md": "# Pooling\n\nConnections to the database are opened by a pool\nand returned to it afterwards.\n",
    "logo.txt": "The logo is blue on a white background.",
    "timeout.md": "A query that takes longer than the time-out is cancelled by the server.",
    "deep/cake.md": "Mix flour, sugar and eggs. Bake the cake for forty minutes.",
    "deep/retry.py": '"""Retry a request."""\n\n\ndef wait(attempt):\n    return 2**attempt\n',
    "goal.txt": "The striker scored twice in the second half of the football match.",
    "letter.rst": "Dear grandmother, thank you for the woollen socks.",
    ".hidden.md": "Database connection, database connection.",
    "notes.csv": "database connection",
}
FIRST_BY_QUERY = {
    "database connection": "pool.md:3",
    "dessert recipe": "deep/cake.md:1",
    "sports result": "goal.txt:1",
    "exponential backoff": "deep/retry.py:4",
}
FULL_PRECISION = ("lazy", "background", "progressive", "cached", "plain")
WATCHED = """
import sys
from importlib.abc import MetaPathFinder
from loader import OptimizedEmbeddingLoader
class Watch(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in ("sqlite3", "numpy"):
            model = OptimizedEmbeddingLoader.get_instance(MODEL, STRATEGY, engine="auto")
            print(f"{name}:{model.is_loading() or model.is_loaded()}", file=sys.stderr)
sys.meta_path.insert(0, Watch())
"""


def run_with(before, *argv, at_exit=""):
    """Return code that runs the tool after some other code, and ends by printing something."""
    return f"""
import atexit, runpy, sys
atexit.register(lambda: print({at_exit or "''"}, file=sys.stderr))
{before}
sys.argv = {["aur.py", *map(str, argv)]!r}
runpy.run_path({AUR!r}, run_name="__main__")
"""


@pytest.fixture(scope="module")
def model(minilm_folder):
    return f"--model={minilm_folder}"


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for name, text in TEXTS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def indexed(texts, model):
    """An index of the texts; their paths are relative to their folder."""
    subprocess.run([sys.executable, AUR, "index", ".", "--database", "aur.sqlite", model], cwd=texts, check=True)
    return texts / "aur.sqlite"


@pytest.fixture
def database(indexed, tmp_path):
    """A copy of the index where the tool looks for it."""
    return shutil.copy(indexed, tmp_path / "aur.sqlite")


@pytest.fixture
def aur(python):
    return lambda *argv, **options: python(None, AUR, *map(str, argv), **options)


def places(done):
    """The place of each hit, in order."""
    assert (done.code, "Traceback" in done.err) == (0, False), done.err
    return [line.split("  ")[1] for line in done.out.splitlines()]


def message(done):
    """The message of a process that could not do its work."""
    assert (done.code, done.out) == (1, ""), done
    assert "Traceback" not in done.err
    last = done.err.splitlines()[-1]
    assert last.startswith("aur: "), done.err
    return last


class TestSearch:
    pytestmark = pytest.mark.real_model

    def test_the_right_passage_is_first(self, aur, database, model):
        for query, first in FIRST_BY_QUERY.items():
            assert places(aur("search", query, model))[0] == first

    def test_a_line_says_score_place_and_first_words(self, aur, database, model):
        done = aur("search", "database connection", model, "--top", 1)
        score, place, words = done.out.rstrip("\n").split("  ")
        assert 0.3 < float(score) < 1
        assert len(score) == 5
        assert place == "pool.md:3"
        assert words == "Connections to the database are opened by a pool and returned to it afterwards."

    def test_scores_fall_and_top_limits_them(self, aur, database, model):
        done = aur("search", "database connection", model, "--top", 3)
        scores = [float(line.split()[0]) for line in done.out.splitlines()]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)

    @pytest.mark.slow
    def test_strategies_of_full_precision_agree_on_the_order(self, aur, database, model):
        orders = {
            name: places(aur("search", "database connection", model, "--top", 20, "--strategy", name))
            for name in FULL_PRECISION
        }
        assert len(orders["plain"]) > 3
        assert dict.fromkeys(FULL_PRECISION, orders["plain"]) == orders

    def test_quantized_finds_the_same_first(self, aur, database, model):
        for query, first in FIRST_BY_QUERY.items():
            assert places(aur("search", query, model, "--strategy", "quantized"))[0] == first

    def test_equal_passages_come_in_the_order_of_the_index(self, aur, model, tmp_path):
        (tmp_path / "one.txt").write_text("the same text everywhere")
        assert aur("index", "one.txt", model).code == 0
        with sqlite3.connect(tmp_path / "aur.sqlite") as connection:
            vector = np.frombuffer(connection.execute("SELECT vectors FROM embeddings").fetchone()[0], np.float32)
            lengths = np.ones((400, 1), np.float32)
            lengths[1::2] -= 0.5  # every other one is less near
            connection.execute("UPDATE embeddings SET vectors = ?", ((vector * lengths).tobytes(),))
            rows = [(number, "one.txt", number + 1, "the same text everywhere") for number in range(1, 400)]
            connection.executemany("INSERT INTO passages VALUES (?, ?, ?, ?)", rows)
        connection.close()
        found = places(aur("search", "the same text everywhere", model, "--top", 400))
        assert found == [f"one.txt:{line}" for line in [*range(1, 401, 2), *range(2, 401, 2)]]

    def test_nothing_near(self, aur, model, tmp_path):
        (tmp_path / "one.txt").write_text("The logo is blue on a white background.")
        assert aur("index", "one.txt", model).code == 0
        assert "nothing in aur.sqlite is near 'quarterly tax law'" in message(aur("search", "quarterly tax law", model))

    def test_a_reader_that_has_enough(self, database, model, tmp_path):
        command = [sys.executable, AUR, "search", "database connection", model]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as child:
            child.stdout.close()
            assert child.stderr.read() == b""
        assert child.returncode == 0


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no services on this system")
class TestService:
    @pytest.fixture
    def runtime(self, monkeypatch):
        """A folder for sockets of this test alone."""
        folder = Path(tempfile.mkdtemp(prefix="aur-", dir="/tmp"))  # short: a socket's path has 107 bytes
        monkeypatch.setenv("EMBEDDING_LOADER_RUNTIME", str(folder))
        yield folder
        stop_services(folder)
        shutil.rmtree(folder)

    @pytest.mark.real_model
    def test_a_search_that_a_service_answers_needs_no_numpy(self, python, database, model, runtime):
        assert python(None, "-m", "loader", "serve", "--detach", model).code == 0
        for query, first in FIRST_BY_QUERY.items():
            argv = ("search", query, model, "--strategy", "service")
            done = python(run_with("", *argv, at_exit="'numpy' in sys.modules"))
            assert places(done)[0] == first
            assert done.err.split() == ["False"]
        reports = python(None, "-m", "loader", "status", "--json").json()
        assert reports["counters"]["requests"] == len(FIRST_BY_QUERY)


class TestOrder:
    pytestmark = pytest.mark.real_model

    @pytest.mark.parametrize(("strategy", "begun"), [("lazy", False), ("progressive", True)])
    def test_what_is_imported_after_the_model_began_to_load(self, python, database, minilm_folder, strategy, begun):
        before = f"MODEL, STRATEGY = {str(minilm_folder)!r}, {strategy!r}\n{WATCHED}"
        done = python(run_with(before, "search", "cake", "--model", minilm_folder, "--strategy", strategy))
        assert done.code == 0, done.err
        assert sorted(done.err.split()) == [*["numpy:True"] * (INSTANT == "numpy"), f"sqlite3:{begun}"]

    @pytest.mark.parametrize("argv", [["--help"], ["search", "--help"], ["search"], ["search", "a", "--top", "0"]])
    def test_help_and_wrong_usage_load_nothing(self, python, argv):
        loaded = "[name for name in ('numpy', 'torch', 'sqlite3', 'pathlib') if name in sys.modules]"
        done = python(run_with("", *argv, at_exit=loaded))
        assert done.code == (0 if "--help" in argv else 2)
        assert done.err.splitlines()[-1] == "[]"

    def test_lazy_loads_nothing_where_no_vector_is_needed(self, python, database):
        argv = ["search", "cake", "--model", "another-model", "--strategy", "lazy"]
        done = python(run_with("", *argv, at_exit="'numpy' in sys.modules, 'loader.encoder' in sys.modules"))
        assert done.code == 1
        assert done.err.splitlines()[-1] == "False False"


class TestWhatCannotBeSearched:
    def test_no_database(self, aur):
        assert "there is no none.sqlite" in message(aur("search", "cake", "--database", "none.sqlite"))

    @pytest.mark.real_model
    def test_an_index_of_another_model(self, aur, database, minilm_folder):
        said = message(aur("search", "cake", "--model", "paraphrase-MiniLM-L3-v2"))
        assert f"made with --model {minilm_folder}, not paraphrase-MiniLM-L3-v2" in said

    @pytest.mark.real_model
    def test_a_model_that_has_another_dimension_now(self, aur, database, model):
        with sqlite3.connect(database) as connection:
            connection.execute("UPDATE embeddings SET dimension = 192")
        connection.close()
        assert "has changed" in message(aur("search", "cake", model))

    @pytest.mark.real_model
    def test_an_engine_that_cannot_serve(self, aur, database, model, own_cache):
        assert "onnx" in message(aur("search", "cake", model, "--engine", "onnx"))  # nothing was prepared for it

    @pytest.mark.parametrize(
        "damage", [lambda data: b"not a database" * 100, lambda data: data[:5000], lambda data: b""]
    )
    @pytest.mark.real_model
    def test_a_damaged_database(self, aur, database, model, damage):
        data = database.read_bytes()
        database.write_bytes(damage(data))
        assert "cannot be used" in message(aur("search", "cake", model))


class TestIndex:
    pytestmark = pytest.mark.real_model

    def test_one_row_of_vectors_and_a_row_for_each_passage(self, indexed, minilm_folder):
        with sqlite3.connect(indexed) as connection:
            ((name, dimension, vectors),) = connection.execute("SELECT * FROM embeddings").fetchall()
            passages = connection.execute("SELECT * FROM passages ORDER BY id").fetchall()
        connection.close()
        assert (name, dimension) == (str(minilm_folder), 384)
        assert len(vectors) == len(passages) * 384 * 4
        assert [row[0] for row in passages] == list(range(len(passages)))
        assert [f"{path}:{line}" for _, path, line, _ in passages] == [
            "deep/cake.md:1", "deep/retry.py:1", "deep/retry.py:4", "goal.txt:1", "letter.rst:1", "logo.txt:1",
            "pool.md:1", "pool.md:3", "timeout.md:1",
        ]  # fmt: skip

    def test_long_paragraphs_are_cut_between_words_and_lines_counted(self, aur, model, tmp_path):
        lines = [f"line {number} of a long paragraph without any blank line" for number in range(1, 61)]
        (tmp_path / "long.txt").write_text("\r\n".join(lines) + "\n\n \n\nthe end")
        assert aur("index", "long.txt", "long.txt", model).code == 0
        with sqlite3.connect(tmp_path / "aur.sqlite") as connection:
            passages = connection.execute("SELECT line, text FROM passages ORDER BY id").fetchall()
        connection.close()
        assert " ".join(text for _, text in passages).split() == [*" ".join(lines).split(), "the", "end"]
        assert max(len(text) for _, text in passages) <= 800
        everything = [*lines, "", " ", "", "the end"]
        assert all(text.split("\n")[0] in everything[line - 1] for line, text in passages)
        assert passages[-1] == (64, "the end")

    def test_what_is_no_text_is_skipped_with_a_note(self, aur, model, tmp_path):
        (tmp_path / "latin.txt").write_bytes(b"caf\xe9 au lait")
        (tmp_path / "binary.md").write_bytes(b"text\0text")
        (tmp_path / "empty.md").touch()
        (tmp_path / "mark.txt").write_bytes(b"\xef\xbb\xbfUn caf\xc3\xa9 noir")
        names = ["latin.txt", "binary.md", "empty.md", "mark.txt"]
        if sys.platform == "linux":
            names.append(os.fsdecode(b"name-\xff.txt"))
            (tmp_path / names[-1]).write_text("text")
        done = aur("index", *names, model)
        assert done.code == 0, done.err
        skipped = [line.split(":")[1] for line in done.err.splitlines()]
        assert skipped[:2] == [" skipped latin.txt", " skipped binary.md"]
        assert len(skipped) == len(names) - 2 + 1  # and how many passages there are
        assert aur("search", "coffee", model).out.endswith("  mark.txt:1  Un café noir\n")

    def test_a_terminal_that_cannot_show_a_character(self, aur, model, tmp_path):
        (tmp_path / "mark.txt").write_text("Un café noir", encoding="utf-8")
        assert aur("index", "mark.txt", model).code == 0
        done = aur("search", "coffee", model, env={"PYTHONIOENCODING": "ascii"})
        assert done.out.endswith("Un caf? noir\n"), done.err

    @pytest.mark.parametrize("argv", [["no-such-folder"], ["empty"], ["text.txt", "--database", "no/folder/a.sqlite"],
                                      ["text.txt", "--model", "./no-such-model"]])  # fmt: skip
    def test_what_cannot_be_indexed_leaves_the_old_index(self, aur, database, tmp_path, argv):
        (tmp_path / "empty").mkdir()
        (tmp_path / "text.txt").write_text("text")
        before = database.read_bytes()
        message(aur("index", *argv))
        assert database.read_bytes() == before

    def test_a_file_that_is_no_index_is_not_replaced(self, aur, tmp_path, model):
        (tmp_path / "text.txt").write_text("text")
        message(aur("index", "text.txt", "--database", "text.txt", model))
        assert (tmp_path / "text.txt").read_text() == "text"

    def test_a_new_index_replaces_the_old_one(self, aur, database, tmp_path, model):
        (tmp_path / "text.txt").write_text("Cheese is made from milk.")
        assert aur("index", "text.txt", model).code == 0
        assert places(aur("search", "dairy", model)) == ["text.txt:1"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["aur.sqlite", "text.txt"]


class TestInterrupted:
    pytestmark = pytest.mark.real_model

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
    def test_while_it_embeds(self, aur, database, model, tmp_path, number):
        (tmp_path / "many.txt").write_text("\n\n".join(f"{word} bottles on the wall" for word in range(20_000)))
        before = database.read_bytes()
        command = [sys.executable, AUR, "index", "many.txt", model]
        # A test run that was put into the background ignores Ctrl-C, and so would its children.
        restore = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)} if os.name == "posix" else {}
        with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=tmp_path, text=True, **restore) as child:
            assert child.stderr.readline() == "aur: 512 of 20000 passages\n"
            child.send_signal(number)
            rest = child.stderr.read()
        assert child.returncode == (130 if number == signal.SIGINT else -number)
        assert "Traceback" not in rest
        assert database.read_bytes() == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["aur.sqlite", "many.txt"]
        assert places(aur("search", "database connection", model))[0] == "pool.md:3"

    def test_just_before_the_new_index_replaces_the_old_one(self, aur, python, database, model, tmp_path):
        (tmp_path / "text.txt").write_text("Cheese is made from milk.")
        before = database.read_bytes()
        kill = "import os, pathlib\npathlib.Path.replace = lambda *paths: os.kill(os.getpid(), 9)"
        assert python(run_with(kill, "index", "text.txt", model)).code == -signal.SIGKILL
        assert database.read_bytes() == before
        assert aur("index", "text.txt", model).code == 0
        assert places(aur("search", "dairy", model)) == ["text.txt:1"]

"""``suite=quality``: the retrieval task, the texts, the pairs of the STS benchmark."""

import ast
import dataclasses
import re
import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from bench.errors import BenchError, ConfigError
from bench.plan.config import QualityConf
from bench.quality import retrieval
from bench.quality.sts import read_sts
from bench.quality.task import Task, make_task, read_task
from bench.quality.texts import ODD_TEXTS
from tests.bench.quality.runs import STS
from tests.conftest import ROOT

pytestmark = pytest.mark.process


class TestRetrieval:
    SOURCE = textwrap.dedent('''
        def first(path):
            """Open the file at this path.

            And more.
            """
            handle = open(path, encoding="utf-8")
            return handle.read() + "this is what it does, at some length"
        \f
        class Thing:
            """Not a function."""

            @property
            async def second(self):
                "Return the thing that was made second."  # with a comment
                return [self.value for value in range(100) if value % 3 == 0]

            def stub(self):
                """This one has nothing but words."""

            def joined(self): "All of it is in one line."; return "a body that shares the line of its docstring"

            def short(self):
                """Return very little of this."""
                return 1

            def vague(self):
                """Compute."""
                return "a first line of one word could mean a hundred different functions"

            def silent(self):
                return "there is no docstring in here at all, and so there is no query"

        def outer():
            """Hold another function in here."""
            def inner():
                """This is inside of a function."""
                return "not counted"
            return [inner() for number in range(1000) if number % 7 == 3]
    ''')

    def test_queries_are_first_lines_and_documents_have_no_docstring(self):
        pairs = list(retrieval.parse_pairs(self.SOURCE))
        assert [pair.query for pair in pairs] == [
            "Open the file at this path.",
            "Return the thing that was made second.",
            "Hold another function in here.",
        ]
        assert pairs[0].document == (
            'def first(path):\n    handle = open(path, encoding="utf-8")\n'
            '    return handle.read() + "this is what it does, at some length"'
        )
        assert pairs[1].document.startswith("async def second(self):\n    return [self.value")
        assert "def inner" in pairs[2].document

    def test_the_task_of_this_python(self):
        pairs = retrieval.collect_pairs(500)
        assert len(pairs) == 500
        retrieval.pairs_in.cache_clear()
        assert pairs == retrieval.collect_pairs(500), "nothing is random"
        assert len({pair.query for pair in pairs}) == len({pair.document for pair in pairs}) == 500
        for query, document in map(dataclasses.astuple, pairs):
            assert len(query.split()) >= retrieval.MIN_QUERY_WORDS
            assert retrieval.MIN_DOCUMENT_CHARACTERS <= len(document) <= retrieval.MAX_DOCUMENT_CHARACTERS
            if len(document) < retrieval.MAX_DOCUMENT_CHARACTERS - 80:  # certainly not cut
                (function,) = ast.parse(document).body
                assert ast.get_docstring(function) is None

    def test_tests_and_other_modules_are_left_out(self, tmp_path):
        for name in ("b/test/x.py", "b/z.py", "b/a/y.py", "b/a/notes.txt", "a.py", "c.py"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        found = [path.relative_to(tmp_path).as_posix() for path in retrieval.source_files(tmp_path, ("b", "gone", "a"))]
        assert found == ["b/a/y.py", "b/z.py", "a.py"]

    @pytest.mark.parametrize("content", [b"def f(:\n", b"\xff\xfe\x00", b"# coding: nonsense\n", b"x = '\0'\n"])
    def test_what_python_cannot_read_is_left_out(self, tmp_path, content):
        (tmp_path / "a.py").write_bytes(content)
        assert retrieval.read_pairs(tmp_path / "a.py") == []
        assert retrieval.read_pairs(tmp_path / "gone.py") == []

    def test_a_python_without_sources_is_named(self, tmp_path, monkeypatch):
        monkeypatch.setattr(retrieval.sysconfig, "get_path", lambda name: str(tmp_path))
        with pytest.raises(BenchError, match="no Python sources"):
            retrieval.collect_pairs(20)

    @given(st.lists(st.builds(retrieval.Pair, st.sampled_from("abcd"), st.sampled_from("wxyz"))))
    def test_what_two_functions_share_has_one_right_answer(self, pairs):
        kept = retrieval.unambiguous(pairs)
        assert len({pair.query for pair in kept}) == len({pair.document for pair in kept}) == len(kept)
        assert not pairs or kept[0] == pairs[0]

    @given(st.integers(0, 200), st.integers(1, 50))
    def test_even_spacing(self, total, count):
        chosen = retrieval.evenly_spaced(range(total), count)
        assert len(chosen) == min(total, count)
        steps = np.diff(chosen)
        assert len(steps) == 0 or steps.min() >= max(steps.max() - 1, 1)


class TestTexts:
    def test_a_default_run_compares_at_least_a_thousand_different_texts(self):
        conf = OmegaConf.load(ROOT / "conf" / "suite" / "quality.yaml").quality
        assert 500 <= conf.max_documents <= 800
        task = make_task(QualityConf(conf.max_documents, None, 1.0))
        assert len(set(task.fixed_texts)) >= 1000
        assert len(task.queries) == len(task.documents) == conf.max_documents
        assert task.sts_scores == ()
        assert task.facts().sts_sha256 is None

    def test_odd_texts_are_odd(self):
        assert len(set(ODD_TEXTS)) == len(ODD_TEXTS) >= 100
        assert {"", " "} <= set(ODD_TEXTS)
        assert max(map(len, ODD_TEXTS)) > 20_000
        for text in ODD_TEXTS:
            text.encode()  # a lone surrogate would be refused by the loader
        everything = "".join(ODD_TEXTS)
        assert all(character in everything for character in "é🙂東ß7{\u3000\u0301\x00")

    def test_a_task_survives_its_file(self, tmp_path):
        (tmp_path / "sts.tsv").write_text(STS)
        task = make_task(QualityConf(20, str(tmp_path / "sts.tsv"), 1.0))
        (tmp_path / "task.json").write_text(task.to_json())
        assert read_task(tmp_path / "task.json") == task

    def test_fingerprints_tell_tasks_apart(self):
        task = Task(("d",), ("q",), ("o",), ("a", "b"), ("c", "d"), (1.0, 2.0))
        other_pairs = dataclasses.replace(task, sts_scores=(1.0, 3.0)).facts()
        assert other_pairs.fixed_texts_sha256 == task.facts().fixed_texts_sha256
        assert other_pairs.sts_sha256 != task.facts().sts_sha256
        moved = dataclasses.replace(task, documents=("d", "q"), queries=()).facts()
        assert moved.fixed_texts_sha256 != task.facts().fixed_texts_sha256


class TestStsFile:
    def test_pairs(self, tmp_path):
        (tmp_path / "sts.tsv").write_text(STS)
        pairs = read_sts(str(tmp_path / "sts.tsv"))
        assert [pair.score for pair in pairs] == [5.0, 0.2, 3.5, 1.0]
        assert pairs[0].first == 'A "man is eating.'
        assert pairs[1].second == "The cat sleeps on a sofa."

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "has 0 pairs"),
            (STS.splitlines()[0].encode(), "has 1 pairs"),
            (STS.replace("\t", ",").encode(), "line 1 has 1 columns"),
            ((STS + "a\tb\n").encode(), "line 5 has 2 columns"),
            (("genre\tfile\tyear\tid\tscore\tone\ttwo\n" + STS).encode(), "line 1: column 4 must be a score"),
            (STS.replace("0.2", "5.2").encode(), "line 2: column 4 must be a score"),
            (STS.replace("0.2", "nan").encode(), "line 2: column 4 must be a score"),
            (b"\xff\xfe" + STS.encode(), "not a tab-separated UTF-8 file"),
            (b"x" * 200_000, "not a tab-separated UTF-8 file"),
        ],
    )
    def test_what_is_no_such_file(self, tmp_path, content, message):
        (tmp_path / "sts.tsv").write_bytes(content)
        with pytest.raises(ConfigError, match=re.escape(message)):
            read_sts(str(tmp_path / "sts.tsv"))

    def test_what_is_not_there(self, tmp_path):
        for path in (tmp_path / "gone.tsv", tmp_path):
            with pytest.raises(ConfigError, match="cannot be read"):
                read_sts(str(path))

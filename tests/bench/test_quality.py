"""``suite=quality``: the task, the measures, the records, the report, and real runs."""

import ast
import dataclasses
import json
import math
import os
import re
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from omegaconf import OmegaConf

from bench.data.fields import to_json
from bench.data.manifest import read_manifest
from bench.data.quality_records import SCHEMA, QualityFigures, QualityRecord, from_line, read_quality_records
from bench.data.records import append_record
from bench.errors import BenchError, ConfigError, RecordError
from bench.plan.cell import BASELINE, MEANINGS
from bench.plan.config import QUALITY, BenchConf, ModelConf, NamedConf, QualityConf, ScenarioConf
from bench.quality import measures, retrieval
from bench.quality.run import describe, measure_cells, quality_cells
from bench.quality.sts import read_sts
from bench.quality.task import Task, make_task, read_task
from bench.quality.texts import ODD_TEXTS
from bench.quality.worker import assess
from bench.report import terminal
from bench.report.markdown import render
from bench.report.quality import report, tables
from loader import LoadingStrategy
from loader.engines import AUTO, ENGINES
from loader.strategies import STRATEGIES
from tests.bench.report.test_report import MANIFEST
from tests.bench.support import fakes
from tests.bench.support.manifests import write_manifest
from tests.conftest import ROOT

pytestmark = pytest.mark.process

DATA = ROOT / "tests" / "data"

# Made up, in the form of the benchmark: two columns more than needed in one line, quotes that mean nothing.
STS = (
    'news\tx\t2024\t1\t5.0\tA "man is eating.\tA man eats.\n'
    "news\tx\t2024\t2\t0.2\tA plane takes off.\tThe cat sleeps on a sofa.\textra\textra\n"
    "news\tx\t2024\t3\t3.5\tA girl plays the guitar.\tA girl plays an instrument.\n"
    "news\tx\t2024\t4\t1.0\tA dog runs in a park.\tA man eats.\n"
)


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


SOME_ROWS = st.integers(1, 15)


def vectors(rows=SOME_ROWS, dimension=4):
    """Finite vectors that are not zero."""
    numbers = st.floats(-10, 10, width=32).map(lambda value: value if abs(value) > 1e-3 else 1.0)
    shape = st.tuples(rows, st.just(dimension))
    return shape.flatmap(lambda shape: arrays.arrays(np.float32, shape, elements=numbers))


def rankings(documents):
    """Rankings of up to ten of some documents, for some queries."""
    top = min(documents, measures.TOP)
    row = st.permutations(range(documents)).map(lambda order: order[:top])
    return st.lists(row, min_size=1, max_size=6).map(lambda rows: np.array(rows, dtype=np.intp))


class TestMeasures:
    @given(vectors())
    def test_vectors_equal_themselves_whatever_their_lengths(self, rows):
        scales = np.arange(1, len(rows) + 1, dtype=np.float32)[:, np.newaxis]
        assert np.allclose(measures.row_cosines(rows, rows * scales), 1.0, atol=1e-6)
        assert np.allclose(measures.row_cosines(rows, -rows), -1.0, atol=1e-6)

    @given(vectors(st.just(5)), vectors(st.just(5)))
    def test_cosines_are_symmetric_and_bounded(self, mine, theirs):
        cosines = measures.row_cosines(mine, theirs)
        assert np.array_equal(cosines, measures.row_cosines(theirs, mine))
        assert np.all(np.abs(cosines) <= 1.0)
        exact = [
            math.fsum(float(x) * float(y) for x, y in zip(a, b, strict=True))
            / (math.hypot(*map(float, a)) * math.hypot(*map(float, b)))
            for a, b in zip(mine, theirs, strict=True)
        ]
        assert np.allclose(cosines, exact, atol=1e-12)

    @pytest.mark.parametrize("bad", [np.zeros((2, 3)), np.full((2, 3), np.nan), np.full((2, 3), np.inf), np.ones(3)])
    def test_what_has_no_direction_is_refused(self, bad):
        with pytest.raises(ValueError, match="vector"):
            measures.unit_rows(bad)

    def test_other_dimensions_are_refused(self):
        with pytest.raises(ValueError, match=re.escape("(2, 3) cannot be compared with shape (2, 4)")):
            measures.row_cosines(np.ones((2, 3)), np.ones((2, 4)))

    @given(vectors(), vectors())
    def test_a_ranking_is_sorted_and_complete(self, queries, documents):
        ranking = measures.rank(queries, documents)
        assert ranking.shape == (len(queries), min(len(documents), 10))
        similarities = measures.unit_rows(queries) @ measures.unit_rows(documents).T
        for row, similar in zip(ranking, similarities, strict=True):
            assert len(set(row)) == len(row)
            assert np.all(np.diff(similar[row]) <= 0)
            others = np.delete(similar, row)
            assert not len(others) or others.max() <= similar[row].min()

    @given(st.integers(1, 25))
    def test_of_equally_similar_documents_the_first_comes_first(self, documents):
        ranking = measures.rank(np.ones((1, 2)), np.ones((documents, 2)))
        assert ranking.tolist() == [list(range(min(documents, 10)))]

    @given(st.integers(1, 15).flatmap(rankings), st.randoms(use_true_random=False))
    def test_identical_rankings_overlap_wholly_in_any_order(self, ranking, random):
        assert measures.overlap(ranking, ranking) == 1.0
        shuffled = np.array([random.sample(list(row), len(row)) for row in ranking])
        assert measures.overlap(ranking, shuffled) == 1.0

    @given(st.integers(1, 25).flatmap(lambda n: st.tuples(rankings(n), rankings(n))), st.randoms(use_true_random=False))
    def test_overlap_is_what_sets_have_in_common(self, both, random):
        mine, theirs = both
        count = min(len(mine), len(theirs))
        mine, theirs = mine[:count], theirs[:count]
        value = measures.overlap(mine, theirs)
        shares = [len(set(a) & set(b)) / len(a) for a, b in zip(mine.tolist(), theirs.tolist(), strict=True)]
        assert value == pytest.approx(sum(shares) / count)
        assert 0.0 <= value <= 1.0
        assert measures.overlap(theirs, mine) == value
        order = random.sample(range(count), count)
        assert measures.overlap(mine[order], theirs[order]) == pytest.approx(value), "the queries have no order"

    def test_rankings_of_nothing_or_of_other_lengths_are_refused(self):
        for mine, theirs in (((0, 10), (0, 10)), ((2, 10), (2, 9)), ((3, 0), (3, 0))):
            with pytest.raises(ValueError, match="cannot be compared"):
                measures.overlap(np.zeros(mine, dtype=np.intp), np.zeros(theirs, dtype=np.intp))

    @given(vectors(), st.randoms(use_true_random=False))
    def test_renumbering_the_documents_changes_nothing(self, documents, random):
        similarities = np.sort(measures.unit_rows(documents) @ measures.unit_rows(documents).T, axis=1)
        assume(np.all(np.diff(similarities, axis=1) > 1e-9))  # without ties
        order = random.sample(range(len(documents)), len(documents))
        relevant = [order.index(number) for number in range(len(documents))]
        plain, renumbered = measures.rank(documents, documents), measures.rank(documents, documents[order])
        for figure in (measures.mean_reciprocal_rank, measures.recall):
            assert figure(plain, range(len(documents))) == pytest.approx(figure(renumbered, relevant))
        assert measures.overlap(plain, np.array(order)[renumbered]) == 1.0

    def test_reciprocal_ranks_and_recall(self):
        ranking = np.array([[3, 1, 2], [0, 1, 2], [5, 6, 7], [2, 4, 9]])
        assert measures.mean_reciprocal_rank(ranking, [3, 2, 0, 4]) == pytest.approx((1 + 1 / 3 + 0 + 1 / 2) / 4)
        assert measures.recall(ranking, [3, 2, 0, 4]) == 0.75

    @given(rankings(25), st.data())
    def test_reciprocal_ranks_are_bounded_by_recall(self, ranking, data):
        relevant = data.draw(st.lists(st.integers(0, 24), min_size=len(ranking), max_size=len(ranking)))
        recall = measures.recall(ranking, relevant)
        assert recall / measures.TOP <= measures.mean_reciprocal_rank(ranking, relevant) + 1e-12
        assert measures.mean_reciprocal_rank(ranking, relevant) <= recall + 1e-12
        assert measures.mean_reciprocal_rank(ranking, ranking[:, 0].tolist()) == 1.0

    def test_a_ranking_needs_an_answer_for_each_query(self):
        for ranking, relevant in ((np.zeros((2, 3), dtype=np.intp), [0]), (np.zeros((0, 3), dtype=np.intp), [])):
            with pytest.raises(ValueError, match="relevant"):
                measures.mean_reciprocal_rank(ranking, relevant)

    @settings(deadline=None)  # SciPy is imported by the first one
    @given(st.lists(st.floats(-100, 100), min_size=2, max_size=30, unique=True))
    def test_spearman_sees_the_order_alone(self, values):
        series = np.array(values)
        ranks = np.argsort(np.argsort(series)).astype(float)
        assert measures.spearman(series, (ranks**3).tolist()) == pytest.approx(1.0)
        assert measures.spearman(series, (-ranks).tolist()) == pytest.approx(-1.0)

    def test_spearman_where_it_is_undefined(self):
        assert measures.spearman(np.ones(3), [1.0, 2.0, 3.0]) is None
        assert measures.spearman(np.array([1.0, 2.0]), [3.0, 3.0]) is None
        with pytest.raises(ValueError, match="correlation"):
            measures.spearman(np.ones(1), [1.0])

    def test_spearman_gives_ties_their_mean_rank(self):
        # Ranks 1, 2.5, 2.5, 4 against 1, 3, 2, 4: their Pearson correlation, by hand.
        assert measures.spearman(np.array([1.0, 2.0, 2.0, 3.0]), [1.0, 3.0, 2.0, 4.0]) == pytest.approx(0.9486832980505)


class TestAssessment:
    TASK = Task(
        tuple(f"document {number}" for number in range(40)),
        tuple(f"query {number}" for number in range(40)),
        ("odd", "", "🙂 worst of all"),
        ("a", "b", "c"),
        ("d", "e", "f"),
        (5.0, 2.0, 0.0),
    )

    def made_up(self, noise=0.0):
        """Vectors whose queries lie near their documents; ``noise`` bends all of them."""
        random = np.random.default_rng(1)
        documents = random.normal(size=(40, 16))
        kinds = {
            "documents": documents,
            "queries": documents + random.normal(size=documents.shape) * 0.5,
            "odd_texts": random.normal(size=(3, 16)),
            "sts_first": np.ones((3, 16)),
            "sts_second": np.tril(np.ones((16, 16)))[[15, 9, 3]],
        }
        bend = np.random.default_rng(2)
        return {kind: rows + noise * bend.normal(size=rows.shape) for kind, rows in kinds.items()}

    def test_the_reference_is_compared_with_nothing(self):
        figures = assess(self.TASK, self.made_up())
        assert figures.mrr_at_10 > 0.9
        assert (figures.document_count, figures.query_count, figures.sts_pair_count) == (40, 40, 3)
        assert figures.sts_spearman == pytest.approx(1.0)
        assert (figures.text_count, figures.cosine_mean, figures.overlap_at_10) == (0, None, None)

    def test_the_same_vectors_are_the_same(self):
        figures = assess(self.TASK, self.made_up(), self.made_up())
        assert figures.text_count == len(self.TASK.fixed_texts) == 83
        assert figures.cosine_min == pytest.approx(1.0)
        assert figures.overlap_at_10 == 1.0

    def test_other_vectors_are_worse_by_every_figure(self):
        plain = assess(self.TASK, self.made_up(), self.made_up())
        worse = assess(self.TASK, self.made_up(0.3), self.made_up())
        bad = assess(self.TASK, self.made_up(1.5), self.made_up())
        for name in ("cosine_mean", "cosine_p1", "cosine_min", "overlap_at_10"):
            assert getattr(plain, name) > getattr(worse, name) > getattr(bad, name), name
        assert plain.mrr_at_10 > bad.mrr_at_10
        assert plain.recall_at_10 > bad.recall_at_10

    def test_the_worst_text_is_named(self):
        vectors = self.made_up()
        vectors["odd_texts"] = vectors["odd_texts"] * [[1.0], [1.0], [-1.0]]
        figures = assess(self.TASK, vectors, self.made_up())
        assert figures.cosine_min == pytest.approx(-1.0)
        assert figures.cosine_min_text == "'\\U0001f642 worst of all'"

    def test_vectors_of_another_length_are_refused(self):
        shorter = {kind: rows[:, :8] for kind, rows in self.made_up().items()}
        with pytest.raises(ValueError, match="cannot be compared"):
            assess(self.TASK, shorter, self.made_up())


def conf(strategy="lazy", engine="numpy", model="minilm", device="cpu", **changes):
    fields = {
        "strategy": NamedConf(strategy),
        "engine": NamedConf(engine),
        "model": ModelConf(model, f"org/{model}"),
        "device": NamedConf(device),
        "scenario": ScenarioConf("idle"),
        "cache_state": NamedConf("warm"),
        "protocol": fakes.make_protocol(),
        "suite": NamedConf(QUALITY),
        "quality": QualityConf(20, None, 60.0),
        "baseline": True,
        "threads": None,
        "seed": 1,
        "quiet": True,
        "reports_dir": "reports",
        "run_name": "run",
    }
    return BenchConf(**{**fields, **changes})


class TestCells:
    def test_each_model_has_one_reference_before_its_cells(self):
        jobs = [conf(engine=e, model=m, device=d) for e in ("numpy", "x") for m in ("a", "b") for d in ("cuda", "cpu")]
        cells = quality_cells([*jobs, conf(engine="x", model="a", scenario=ScenarioConf("at_once"))])
        assert [(cell.model_key, cell.is_baseline) for cell in cells] == [
            *(("a", first) for first in (True, False, False, False, False)),
            *(("b", first) for first in (True, False, False, False, False)),
        ]
        assert {cell.device for cell in cells if cell.is_baseline} == {"cpu"}
        assert len({cell.label() for cell in cells}) == len(cells)

    @pytest.mark.parametrize(
        "change", [{"suite": NamedConf("none")}, {"quality": QualityConf(30, None, 60.0)}, {"run_name": "other"}]
    )
    def test_what_belongs_to_the_run_cannot_be_swept(self, change):
        with pytest.raises(ConfigError, match="cannot be swept"):
            quality_cells([conf(), conf(**change)])

    def test_the_default_covers_every_engine_and_precision(self):
        params = OmegaConf.load(ROOT / "conf" / "suite" / "quality.yaml").hydra.sweeper.params
        left_out = re.fullmatch(r"glob\(\*,exclude=\[(.*)\]\)", params.strategy)[1].split(",")
        assert params.engine == f"glob(*,exclude={AUTO})"
        for name in left_out:
            spec = STRATEGIES[LoadingStrategy("service" if name in MEANINGS else name)]
            assert spec.precision == STRATEGIES[LoadingStrategy.LAZY].precision
        assert "lazy" not in left_out


FIGURES = QualityFigures(20, 20, 0.5, 0.75, 4, 0.8, 176, 0.99, 0.98, 0.97, "'worst'", 0.95)
REFERENCE_FIGURES = QualityFigures(20, 20, 0.6, 0.85, 4, 0.9)
FACTS = {"engine": "numpy", "precision": "float32", "device": "cpu", "version": "1"}
REFERENCE_CELL = fakes.make_cell(BASELINE, scenario=QUALITY)
CELL = fakes.make_cell("lazy", engine="numpy", scenario=QUALITY)


def answer(figures=FIGURES, **facts):
    return fakes.make_outcome({"status": "ok", "facts": FACTS | facts, "figures": dataclasses.asdict(figures)})


class Display:
    def __init__(self):
        self.lines, self.problems = [], 0

    def begin(self, text):
        self.lines.append(text)

    def end(self, text, *, is_problem):
        self.lines.append(text)
        self.problems += is_problem


def run_cells(outcomes, cells=(REFERENCE_CELL, CELL), unprepared=()):
    """Return the records, the cells that were executed and the display."""
    written, asked, display = [], [], Display()

    def execute(cell):
        asked.append(cell)
        outcome = outcomes[cell.strategy]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    try:
        measure_cells(cells, dict(unprepared), execute, written.append, display)
    except KeyboardInterrupt:
        assert any(isinstance(outcome, KeyboardInterrupt) for outcome in outcomes.values())
    return written, asked, display


class TestMeasuringCells:
    def test_answers_become_records(self):
        written, asked, display = run_cells({BASELINE: answer(REFERENCE_FIGURES), "lazy": answer()})
        assert [record.cell for record in written] == asked == [REFERENCE_CELL, CELL]
        assert [record.figures for record in written] == [REFERENCE_FIGURES, FIGURES]
        assert written[1].facts == FACTS
        assert display.problems == 0
        assert display.lines[-1] == "lazy/numpy/minilm/cpu/quality  mean cosine 0.9900000, MRR@10 0.5000"

    @pytest.mark.parametrize(
        ("outcome", "status", "message"),
        [
            (fakes.make_outcome(None, exit_code=-9), "failed", "exit code -9"),
            (fakes.make_outcome(None, timed_out=True), "timeout", "killed"),
            (fakes.make_outcome({"status": "unsupported", "message": "no such engine"}), "unsupported", "no such"),
            (fakes.make_outcome({"status": "invalid", "message": "a vector is zero"}), "invalid", "zero"),
            (answer(engine="other"), "invalid", "engine numpy was requested, but other answered"),
        ],
    )
    def test_failures_are_records(self, outcome, status, message):
        written, _, display = run_cells({BASELINE: answer(REFERENCE_FIGURES), "lazy": outcome})
        assert written[1].status == status
        assert message in written[1].message
        assert written[1].figures is None
        assert display.problems == 1
        assert status in describe(written[1])

    def test_without_a_reference_there_is_nothing_to_compare_with(self):
        failed = fakes.make_outcome({"status": "failed", "message": "no torch"})
        other = fakes.make_cell("lazy", engine="numpy", model="org/other", model_key="other", scenario=QUALITY)
        written, asked, _ = run_cells({BASELINE: failed, "lazy": answer()}, (REFERENCE_CELL, CELL, other))
        assert [record.status for record in written] == ["failed", "failed", "ok"]
        assert written[0].message == "no torch"
        assert "nothing to compare with" in written[1].message
        assert asked == [REFERENCE_CELL, other], "no process is started in vain"

    def test_a_model_that_is_nowhere_starts_no_process(self):
        written, asked, _ = run_cells({}, unprepared={CELL.model: "org/minilm is nowhere"})
        assert [record.status for record in written] == ["failed", "failed"]
        assert {record.message for record in written} == {"org/minilm is nowhere"}
        assert asked == []

    def test_what_was_measured_before_an_interruption_is_kept(self):
        written, _, _ = run_cells({BASELINE: answer(REFERENCE_FIGURES), "lazy": KeyboardInterrupt()})
        assert [record.cell for record in written] == [REFERENCE_CELL]


optional_floats = st.none() | st.floats(-1, 1)
FIGURES_STRATEGY = st.builds(
    QualityFigures,
    st.integers(20, 900),
    st.integers(20, 900),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(0, 9999),
    optional_floats,
    st.integers(0, 9999),
    optional_floats,
    optional_floats,
    optional_floats,
    st.none() | st.text(),
    optional_floats,
)


@st.composite
def any_record(draw):
    status = draw(st.sampled_from(["ok", "ok", "failed", "timeout", "unsupported", "invalid"]))
    cells = [CELL, REFERENCE_CELL, dataclasses.replace(CELL, device="cuda"), dataclasses.replace(CELL, threads=2)]
    figures = draw(FIGURES_STRATEGY) if status == "ok" else None
    facts = {key: draw(st.text()) for key in FACTS} if status == "ok" else {}
    return QualityRecord(
        draw(st.sampled_from(cells)), status, draw(st.text()), draw(st.text()), facts, figures, draw(st.text())
    )


class TestRecords:
    @given(any_record())
    def test_a_line_gives_the_record_back(self, record):
        assert record.to_line().count("\n") == 1
        assert from_line(record.to_line()) == record

    @pytest.mark.parametrize(
        "change",
        [
            {"schema": 99},
            {"status": "fine"},
            {"surprise": 1},
            {"figures": None},
            {"figures": {"document_count": 1}},
            {"cell": {}},
        ],
    )
    def test_what_is_no_record(self, change):
        line = json.loads(QualityRecord(CELL, "ok", facts=FACTS, figures=FIGURES).to_line())
        with pytest.raises(RecordError):
            from_line(json.dumps(line | change))
        for text in ("", "[]", "{}", "nonsense"):
            with pytest.raises(RecordError):
                from_line(text)

    @pytest.mark.parametrize("path", sorted(DATA.glob("quality-schema-*.jsonl")), ids=lambda path: path.stem)
    def test_records_of_every_schema_stay_readable(self, path):
        records = read_quality_records(path)
        assert [record.status for record in records] == ["ok", "ok", "unsupported"]
        assert records[1].figures.text_count > 1000
        assert records[1].figures.cosine_min > 0.99999

    def test_there_is_a_frozen_file_of_the_current_schema(self):
        assert (DATA / f"quality-schema-{SCHEMA}.jsonl").exists()


TASK_FACTS = Task(("d",), ("q",), ("o",), ("a",), ("b",), (1.0,)).facts()


def write_run(folder, records):
    folder.mkdir()
    cells = [cell.to_json() for cell in dict.fromkeys(record.cell for record in records)]
    manifest = {key: value for key, value in MANIFEST.items() if key not in {"protocol", "seed"}}
    write_manifest(folder / "manifest.json", manifest | {"cells": cells, "task": to_json(TASK_FACTS)})
    (folder / "quality.jsonl").touch()
    for record in records:
        append_record(folder / "quality.jsonl", record)
    return folder


def records_of(**changes):
    return [
        QualityRecord(
            REFERENCE_CELL, "ok", facts=FACTS | {"engine": "sentence_transformers"}, figures=REFERENCE_FIGURES
        ),
        dataclasses.replace(QualityRecord(CELL, "ok", facts=FACTS, figures=FIGURES), **changes),
    ]


class TestReport:
    @settings(deadline=None)
    @given(records=st.lists(any_record(), max_size=6))
    def test_any_records_render(self, tmp_path_factory, records):
        text = render(
            report.make_document(
                report.load_quality_context(write_run(tmp_path_factory.mktemp("runs") / "run", records))
            )
        )
        assert text.startswith("# How good the vectors are")
        for line in text.splitlines():
            if line.startswith("|"):
                assert len(re.split(r"(?<!\\)\|", line)) in {7, 11, 14}, line

    def test_figures_stand_beside_the_references(self, tmp_path):
        report.present(write_run(tmp_path / "run", records_of()), quiet=True)
        text = (tmp_path / "run" / "report.md").read_text()
        assert "| lazy | numpy | float32 | minilm | 0.9900000 | 0.9800000 | 0.9700000 | 0.9500 | 176 |" in text
        row = "0.5000 | 0.6000 | 0.7500 | 0.8500 | 0.8000 | 0.9000 | 20 | 4 |"
        assert f"| lazy | numpy | float32 | minilm | {row}" in text
        for expected in ("'worst'", MANIFEST["command"], "made up", TASK_FACTS.fixed_texts_sha256):
            assert expected in text
        assert "Protocol" not in text

    def test_every_figure_is_explained(self, tmp_path):
        context = report.load_quality_context(write_run(tmp_path / "run", records_of()))
        for table in (tables.vector_table(context), tables.task_table(context)):
            for heading in table.headings:
                assert heading.removesuffix(" ref.") in {*tables.COLUMNS, "Strategy", "Engine", "Model"}
            assert set(table.details) < set(table.headings)

    def test_the_same_records_give_the_same_bytes(self, tmp_path):
        made = []
        for name in ("one", "two"):
            report.present(write_run(tmp_path / name, records_of()), quiet=True)
            made.append((tmp_path / name / "report.md").read_bytes())
        assert made[0] == made[1]

    def test_cells_without_a_result_say_why(self, tmp_path):
        message = "No engine can | compute this"
        records = records_of(status="unsupported", message=message, facts={}, figures=None)
        text = render(report.make_document(report.load_quality_context(write_run(tmp_path / "run", records))))
        assert "| lazy | numpy | minilm | unsupported | No engine can \\| compute this |" in text
        assert "No cell has a result" in text
        assert "## Tasks" not in text

    def test_devices_and_threads_are_shown_where_they_vary(self, tmp_path):
        more = dataclasses.replace(records_of()[1], cell=dataclasses.replace(CELL, device="cuda", threads=2))
        context = report.load_quality_context(write_run(tmp_path / "run", [*records_of(), more]))
        assert [row[0] for row in tables.vector_table(context).rows] == [
            "lazy, cpu, default threads",
            "lazy, cuda, 2 threads",
        ]

    @pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "a|b", "**bold**", "[x](http://y)", "a\n\n# b"])
    def test_hostile_names_render_as_text(self, tmp_path, hostile):
        cell = dataclasses.replace(CELL, model_key=hostile, strategy=hostile)
        figures = dataclasses.replace(FIGURES, cosine_min_text=hostile)
        records = [records_of()[0], QualityRecord(cell, "ok", facts=dict.fromkeys(FACTS, hostile), figures=figures)]
        text = render(report.make_document(report.load_quality_context(write_run(tmp_path / "run", records))))
        assert hostile not in text
        assert "<script" not in text.replace("\\<script", "")

    @pytest.mark.parametrize("width", [80, 100, 120, 200])
    def test_tables_fit_the_terminal_with_whole_names(self, width, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(terminal, "PLAIN_WIDTH", width)
        facts = FACTS | {"engine": "sentence_transformers"}
        folder = write_run(tmp_path / "run", records_of(facts=facts, figures=FIGURES))
        report.present(folder, quiet=False)
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines[:-1])) <= width
        rows = [line for line in lines if line.lstrip().startswith("lazy")]
        assert len(rows) == 2
        assert all("sentence_transformers" in row for row in rows)
        assert all(figure in rows[0] for figure in ("0.9900000", "0.9700000", "0.9500"))
        assert all(figure in rows[1] for figure in ("0.5000", "0.6000", "0.8000", "0.9000"))
        assert ("float32" in rows[1]) == (width == 200)
        report.present(folder, quiet=True)
        assert capsys.readouterr().out == f"Report: {folder / 'report.md'}\n"


class TestCommandLine:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("suite=fast",), "suite/fast"),
            (("quality.max_documents=50",), "quality"),
            (("+quality.max_documents=50",), "quality.sts_file"),
            (
                ("+quality.max_documents=50", "+quality.sts_file=null", "+quality.cell_timeout_s=9"),
                "and suite=quality need each other",
            ),
            (("suite=quality", "quality.max_documents=3"), "quality.max_documents=3 must be at least 20"),
            (("suite=quality", "quality.cell_timeout_s=0"), "quality.cell_timeout_s=0"),
            (("suite=quality", "baseline=false"), "compares with the reference"),
            (("suite=quality", "suite.name=other"), "must be one of none, specification"),
            (("suite=quality", "quality.sts_file=gone.tsv"), "gone.tsv cannot be read"),
            (("suite=quality", "quality.sts_file=folder"), "folder cannot be read"),
            (("suite=quality", "quality.max_documents=20,30"), "quality cannot be swept"),
            (("-m", "suite=quality,none"), "cannot be swept"),
        ],
    )
    def test_a_wrong_configuration_is_named(self, python, tmp_path, arguments, message):
        (tmp_path / "folder").mkdir()
        done = python(None, "-m", "bench", *arguments)
        assert done.code == 2 or (done.code == 1 and arguments[0] in {"suite=fast", "quality.max_documents=50"})
        assert message in done.out + done.err
        assert "Traceback" not in done.out + done.err
        assert not list(tmp_path.rglob("*.jsonl"))

    def test_a_run_is_never_overwritten(self, python, tmp_path):
        (tmp_path / "reports" / "run").mkdir(parents=True)
        (tmp_path / "reports" / "run" / "records.jsonl").write_text("precious\n")
        done = python(None, "-m", "bench", "suite=quality", "run_name=run")
        assert done.code == 2
        assert "already holds a run" in done.err

    def test_the_parent_imports_neither_the_loader_nor_numpy(self, python):
        code = """
import sys
import bench.cli, bench.quality.run, bench.quality.task
from bench.plan.config import QualityConf
bench.quality.task.make_task(QualityConf(20, None, 1.0))
print(sorted({"loader", "numpy", "torch", "pandas", "matplotlib", "scipy"} & set(sys.modules)))
"""
        assert python(code).out == "[]\n"

    def test_a_plain_run_has_no_quality_in_its_configuration(self, python):
        done = python(None, "-m", "bench", "--cfg", "job")
        assert "\nsuite:\n  name: none\n" in f"\n{done.out}"
        assert "quality" not in done.out

    def test_without_m_it_sweeps_all_engines(self, python, tmp_path):
        """A model that is nowhere: which cells there are, without the minutes of measuring them."""
        words = ("suite=quality", "model.key=gone", "model.name=org/gone", "run_name=run", "quiet=true")
        done = python(None, "-m", "bench", *words)
        assert done.code == 1, done.err
        assert done.err.startswith("no valid sample: baseline/gone/cpu/quality, ")
        records = read_quality_records(tmp_path / "reports" / "run" / "quality.jsonl")
        swept = {(record.cell.engine, record.cell.strategy) for record in records if not record.cell.is_baseline}
        left_out = {"background", "cached", "progressive", *MEANINGS}
        strategies = {path.stem for path in (ROOT / "conf" / "strategy").glob("*.yaml")} - left_out
        assert swept == {(spec.name, strategy) for spec in ENGINES for strategy in strategies}
        assert {record.status for record in records} == {"failed"}
        assert all("org/gone" in record.message for record in records)
        assert "No cell has a result" in (tmp_path / "reports" / "run" / "report.md").read_text()


@pytest.mark.slow
@pytest.mark.real_model
@pytest.mark.timeout(600)
class TestRealRuns:
    def test_numpy_gives_the_vectors_of_sentence_transformers(self, python, tmp_path):
        (tmp_path / "sts.tsv").write_text(STS)
        (tmp_path / "temporary").mkdir()
        words = ("suite=quality", "engine=numpy", "device=cpu,cuda", "run_name=run")
        words += ("quality.max_documents=20", "quality.sts_file=sts.tsv", "strategy=lazy")
        environ = {"TMPDIR": str(tmp_path / "temporary")}
        done = python(None, "-m", "bench", *words, timeout=550, env=environ)
        assert done.code == 0, done.err
        folder = tmp_path / "reports" / "run"
        assert sorted(path.name for path in folder.iterdir()) == [
            "manifest.json",
            "quality.jsonl",
            "report.html",
            "report.md",
        ]
        assert not list((tmp_path / "temporary").glob("bench-*")), "vectors and caches are removed"
        reference, numpy, unsupported = read_quality_records(folder / "quality.jsonl")

        assert reference.cell.is_baseline
        assert reference.figures.cosine_mean is None
        assert numpy.facts["engine"] == "numpy"
        assert numpy.facts["precision"] == "float32"
        figures = numpy.figures
        assert figures.text_count == 40 + len(ODD_TEXTS)
        assert 0.99999 <= figures.cosine_min <= figures.cosine_p1 <= figures.cosine_mean <= 1.0
        assert figures.overlap_at_10 >= 0.99
        assert figures.document_count == figures.query_count == 20
        assert figures.mrr_at_10 == pytest.approx(reference.figures.mrr_at_10, abs=0.01)
        assert 0.5 < figures.mrr_at_10 <= figures.recall_at_10 <= 1.0
        assert figures.sts_pair_count == 4
        assert figures.sts_spearman == pytest.approx(reference.figures.sts_spearman)
        assert figures.sts_spearman > 0.5

        assert unsupported.status == "unsupported"
        assert "cuda" in unsupported.message
        text = (folder / "report.md").read_text()
        assert "| lazy, cpu | numpy | float32 | minilm |" in text
        assert "| lazy, cuda | numpy | minilm | unsupported |" in text
        assert "python -m bench suite=quality engine=numpy device=cpu,cuda" in text
        assert "[3/3] lazy/numpy/minilm/cuda/quality" in done.err
        assert "Vectors, compared with plain sentence-transformers" in done.out
        assert read_manifest(folder / "manifest.json").task.document_count == 20

    def test_an_interrupted_run_reports_what_it_has(self, tmp_path):
        words = ["suite=quality", "engine=numpy,sentence_transformers", "quality.max_documents=20", "run_name=run"]
        restore = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)} if os.name == "posix" else {}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, "-m", "bench", *words]
        with subprocess.Popen(command, cwd=tmp_path, **pipes, **restore) as child:
            while "[1/" not in child.stderr.readline():
                assert child.poll() is None
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=120)
        assert child.returncode == 130, err
        assert "Traceback" not in err
        assert len(read_quality_records(tmp_path / "reports" / "run" / "quality.jsonl")) in {1, 2}
        assert "Report: reports/run/report.md" in out

"""``suite=quality``: the measures, on vectors and rankings whose figures are known."""

import math
import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bench.quality import measures
from bench.quality.task import Task
from bench.quality.worker import assess

pytestmark = pytest.mark.process

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

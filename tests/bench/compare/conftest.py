"""Fixtures of several files here."""

import pytest

from bench.compare.__main__ import load_comparable
from bench.stats.comparison import Criteria, compare
from tests.bench.compare.runs import write_run


@pytest.fixture
def two(tmp_path):
    """Write two runs and compare them: ``two({cell: ms}, {cell: ms}, base={...}, head={...})``."""

    def make(before, after, base=None, head=None, **criteria):
        folders = [
            write_run(tmp_path / name, cells, **{"version": version, "seed": seed, **(options or {})})
            for name, cells, options, version, seed in (
                ("base", before, base, "1.0", 1),
                ("head", after, head, "1.1", 2),
            )
        ]
        criteria.setdefault("metrics", ("total_ms",))
        return compare(*map(load_comparable, folders), Criteria(**criteria))

    return make

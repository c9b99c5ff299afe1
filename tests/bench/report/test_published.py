"""The specification's figures are copied right: they add up, and belong to strategies that exist."""

from bench.report.published import PUBLISHED, published_experience, published_memory, published_startup
from loader.strategies import STRATEGIES


def test_the_times_add_up():
    for row in PUBLISHED:
        assert row.init_ms + (row.ready_ms or 0) + row.first_embedding_ms == row.total_ms, row.strategy
        assert row.steady_mb <= row.peak_mb


def test_every_row_is_one_of_our_strategies():
    names = [row.strategy for row in PUBLISHED]
    assert len(set(names)) == len(names)
    assert set(names) <= set(STRATEGIES)


def test_texts_for_tables():
    assert published_startup("lazy") == ("8", "-", "3,200", "3,208")
    assert published_startup("quantized") == ("8", "2,400", "48", "2,456")
    assert published_memory("quantized") == ("145", "130")
    assert published_experience("background") == published_experience("progressive") == "under 0.1 s if preloaded"


def test_what_was_not_published_has_no_text():
    for name in ("baseline", "cached", "openvino"):
        assert published_startup(name) is published_memory(name) is published_experience(name) is None

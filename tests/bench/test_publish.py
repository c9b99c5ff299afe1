"""Generated parts of pages: filled between their markers, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import ConfigError
from bench.publish.__main__ import main
from bench.publish.figures import FIGURES
from bench.publish.files import filled_pages
from bench.publish.markers import BEGIN, END, fill, names
from bench.publish.reports import Reports


def part(name, content="old"):
    return f"{BEGIN.format(name)}\n{content}\n{END.format(name)}"


LINES = st.lists(
    st.text(alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="<\r"), max_size=20)
).map("\n".join)


@given(LINES, LINES, st.lists(st.tuples(st.sampled_from(sorted(FIGURES)), LINES), max_size=4))
def test_only_what_is_between_markers_changes(before, after, parts):
    page = "\n".join([before, *(part(name, old) for name, old in parts), after])
    filled = fill(page, lambda name: f"new {name}")
    assert filled.startswith(f"{before}\n")
    assert filled.endswith(f"\n{after}")
    assert names(filled) == names(page) == [name for name, _ in parts]
    for name, _ in parts:
        assert f"{BEGIN.format(name)}\n\nnew {name}\n\n{END.format(name)}" in filled
    assert fill(filled, lambda name: f"new {name}") == filled


def test_a_page_without_markers_stays_as_it_is():
    assert fill("# Title\n\ntext\n", lambda name: pytest.fail(name)) == "# Title\n\ntext\n"


@pytest.mark.parametrize(
    "page",
    [
        BEGIN.format("memory"),
        f"{BEGIN.format('memory')}\n{END.format('start-up')}",
        f"{BEGIN.format('memory')}\n{part('start-up')}\n{END.format('memory')}",
    ],
)
def test_a_part_without_its_end_is_an_error(page):
    with pytest.raises(ConfigError, match="'memory' has no end"):
        fill(page, lambda name: "new")


def test_a_marker_within_a_line_is_text():
    page = f"see {BEGIN.format('memory')}\n"
    assert fill(page, lambda name: "new") == page
    assert names(page) == []


def test_an_unknown_part_is_named(tmp_path):
    (tmp_path / "README.md").write_text(part("no such thing"))
    with pytest.raises(ConfigError, match="no part 'no such thing'; there are start-up, "):
        list(filled_pages(Reports(tmp_path)))


def test_a_checkout_without_records_is_an_error(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["bench.publish", "--check", "--root", str(tmp_path)])
    assert main() == 2
    assert "Is it the folder of a run" in capsys.readouterr().err

"""What is committed of the reports and what is built; generated parts of pages; and the README's picture."""

import re
import shutil
import subprocess
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import ConfigError
from bench.programs import exit_code_of
from bench.publish.__main__ import main
from bench.publish.drawing import build
from bench.publish.figures import FIGURES, difference
from bench.publish.files import filled_pages, shown_pictures
from bench.publish.markers import BEGIN, END, fill, names
from bench.publish.reports import LOAD_TESTS, REPORTS, SIMULATIONS, Reports
from tests.conftest import ROOT


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
    with pytest.raises(ConfigError, match="no part 'no such thing'; there are headline, "):
        list(filled_pages(Reports(tmp_path)))


def test_a_checkout_without_records_is_an_error(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["bench.publish", "--check", "--root", str(tmp_path)])
    assert exit_code_of(main) == 2
    assert "Is it the folder of a run" in capsys.readouterr().err


@pytest.mark.drawing
def test_the_readme_shows_its_picture_light_and_dark():
    shown = re.findall(r'(?:src|srcset)="(reports/[^"]+)"', (ROOT / "README.md").read_text(encoding="utf-8"))
    made = difference(Reports(ROOT))
    assert {f"reports/reference/plots/{name}.svg" for name in made} == set(shown)
    for picture in made.values():
        texts = [text for text in ET.fromstring(picture).itertext() if text.strip()]
        for text in (
            "plain sentence-transformers",
            "fastembed",
            "loader, progressive",
            "loader, with its service running",
        ):
            assert text in texts
        assert len(picture) < 4000


def git(*words):
    try:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")


@pytest.mark.process
class TestWhatIsCommitted:
    """Records, manifests, Markdown and the pictures in it; everything else is built from them."""

    MAX_BYTES = 10_000_000
    """Below ``reports``. What is built from records may take any space: it is not committed."""

    def test_the_pictures_are_those_that_a_page_shows(self):
        tracked = {ROOT / name for name in git("ls-files", "reports")}
        assert {path for path in tracked if path.suffix in {".png", ".svg"}} == shown_pictures(Reports(ROOT))

    def test_pages_are_not_and_records_are_compressed(self):
        reports = Reports(ROOT)
        tracked = {ROOT / name for name in git("ls-files", "reports")}
        assert not [path for path in tracked if path.suffix == ".html" or path.name == "records.jsonl"]
        assert {path.with_name("records.jsonl.xz") for path in reports.records} <= tracked

    def test_what_is_built_is_ignored(self):
        built = ["study/power.svg", *(f"{name}/report.html" for name in REPORTS)]
        built += [
            f"{name}/{picture}.svg" for name in REPORTS for picture in ("plots/phases", "plots/first-vector-dark")
        ]
        built += [f"{name}/{file}" for name in LOAD_TESTS for file in ("load.html", "plots/latency.svg")]
        built += [str(path.relative_to(ROOT / "reports")) for path in Reports(ROOT).records]
        paths = [f"reports/{name}" for name in built]
        assert git("check-ignore", *paths) == paths

    def test_it_stays_small(self):
        assert sum((ROOT / name).stat().st_size for name in git("ls-files", "reports")) < self.MAX_BYTES


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with one report, one load test and the studies of the gate."""
    for name in [name for name in REPORTS if name != "cold"]:
        monkeypatch.delitem(REPORTS, name)
    records = ("manifest.json", "*.jsonl", "*.jsonl.xz", "*.npz", "*.md")
    for name in ("cold", *LOAD_TESTS):
        for file in [file for pattern in records for file in (ROOT / "reports" / name).rglob(pattern)]:
            target = tmp_path / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    (tmp_path / "reports" / "study").mkdir()
    for name in SIMULATIONS:
        shutil.copy(ROOT / "reports" / "study" / f"{name}.json", tmp_path / "reports" / "study")
    return tmp_path


@pytest.mark.drawing
def test_what_is_not_committed_is_built_and_nothing_else_changes(checkout):
    reports = Reports(checkout)
    shown = shown_pictures(reports)
    for picture in shown:
        picture.parent.mkdir(exist_ok=True)
        picture.write_text("committed")
    before = {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()}
    built = build(reports, committed=False)
    assert {path: path.read_bytes() for path in before} == before
    assert {path for path in checkout.rglob("*") if path.is_file()} == {*before, *built}
    for page, name in (("cold/report.html", "phases"), (f"{LOAD_TESTS[0]}/load.html", "latency")):
        path = reports.folder(page)
        assert path in built
        assert path.parent / "plots" / f"{name}.svg" in built
        assert path.parent / "plots" / f"{name}.png" in shown
    assert all("</html>" in path.read_text(encoding="utf-8") for path in built if path.suffix == ".html")
    # The same records give the same bytes: only the committed pictures are left to be drawn.
    assert set(build(reports, committed=True)) == shown


def test_records_that_are_not_compressed_are_named(checkout, capsys, monkeypatch):
    monkeypatch.setattr("bench.publish.__main__.generated", lambda reports: iter(()))
    monkeypatch.setattr("sys.argv", ["bench.publish", "--check", "--root", str(checkout)])
    assert main() == 0
    plain = checkout / "reports" / "cold" / "records.jsonl"
    plain.touch()
    assert main() == 1
    assert capsys.readouterr().out == f"{plain} is not compressed: run python -m bench.publish\n"
    assert plain.exists()

"""Any valid set of records has a report, and it is what it looks like: linted, and free of what the records smuggle
in."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from markdown_it import MarkdownIt
from pymarkdown.api import PyMarkdownApi

from bench.report import html
from bench.report.making import make_document
from bench.report.markdown import render
from tests.bench.report.test_html_report import REMARKS
from tests.bench.support.any_records import contexts
from tests.bench.support.html_pages import SVG, Page
from tests.support.browser import check_html

pytestmark = pytest.mark.process

SETTINGS = settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=60)


@pytest.fixture(scope="module")
def documents():
    """Reports of arbitrary records."""
    found = []

    @SETTINGS
    @given(contexts())
    def collect(context):
        found.append(make_document(context))

    collect()
    return found


@pytest.fixture(scope="module")
def rendered(documents):
    """The same in Markdown."""
    return [render(document) for document in documents]


def test_tables_are_whole(rendered):
    for report in rendered:
        columns = []
        for line in report.splitlines():
            if line.startswith("|"):
                columns.append(len(re.split(r"(?<!\\)\|", line)))
            else:
                assert len(set(columns)) <= 1, f"the table above {line!r} has rows of different lengths"
                columns = []


def test_no_markup_comes_from_the_records(rendered):
    parser = MarkdownIt("commonmark").enable("table")
    for report in rendered:
        tokens = parser.parse(report)
        inline = [child for token in tokens for child in token.children or ()]
        assert not [token for token in [*tokens, *inline] if token.type in {"html_block", "html_inline"}]
        links = [token.attrs["href"] for token in inline if token.type == "link_open"]
        assert all(re.match(r"(\.\./a%20b/)?[^:]*$", link) for link in links), links
        images = [token.attrs["src"] for token in inline if token.type == "image"]
        assert all(re.fullmatch(r"plots/(\w+\.png|first-vector-light\.svg)", image) for image in images), images
        headings = [tokens[n + 1].content for n, token in enumerate(tokens) if token.type == "heading_open"]
        assert "heading" not in headings


def test_files_can_be_written_and_shown(rendered):
    for report in rendered:
        report.encode("utf-8")
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", report)


def test_a_linter_has_nothing_to_say(rendered, tmp_path):
    for number, report in enumerate(rendered):
        (tmp_path / f"{number}.md").write_text(report, encoding="utf-8")
    linter = PyMarkdownApi()
    # Lines may be long: tables are. Commands and names may have a dollar sign in front or a semicolon behind.
    # md051 looks into fragments of links, of which there are none, and PyMarkdown 0.9.41 fails in it on some texts.
    for rule in ("md013", "md014", "md026", "md051"):
        linter = linter.disable_rule_by_identifier(rule)
    found = linter.scan_path(str(tmp_path))
    assert not found.pragma_errors
    assert not [
        (
            each.rule_id,
            each.rule_description,
            rendered[int(Path(each.scan_file).stem)].splitlines()[each.line_number - 1],
        )
        for each in found.scan_failures
    ]


def test_the_page_is_valid_and_runs_nothing_of_the_records(documents, tmp_path):
    files = []
    for number, document in enumerate(documents):
        pictures = dict.fromkeys(document.pictures, SVG)
        files.append(tmp_path / f"{number}.html")
        files[-1].write_text(html.render(document, pictures), encoding="utf-8")
        page = Page(files[-1].read_text(encoding="utf-8"))
        assert page.tags.count("script") == 1
        assert not [target for target in page.targets if target.partition(":")[0] not in {"data", target}]
    assert not [line for line in check_html(files) if not any(remark in line for remark in REMARKS)]


def test_the_records_are_hostile_enough(rendered):
    together = "\n".join(rendered)
    assert len(rendered) > 30
    assert all(word in together for word in ("alert", "javascript", "bold"))

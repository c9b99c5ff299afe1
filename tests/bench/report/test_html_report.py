"""The HTML report: valid, harmless whatever the text, the same bytes, and in order."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.report import html
from bench.report.document import Document, Link, Picture, Section, Table
from bench.report.html.characters import Anchors, allowed
from bench.report.html.links import may_link, quoted
from bench.report.html.order import leading_number, order
from bench.report.html.prose import to_html
from tests.bench.support.html_pages import HOSTILE, PICTURES, REALISTIC, SVG, Page, document_of, documents
from tests.support.browser import check_html

FOLDER = Path(html.__file__).parent

ELEMENTS = """
html head meta title link style script body nav main header section h1 h2 h3 ul ol li p a div table thead tbody tr th td
pre code figure figcaption picture source img strong em blockquote hr br details summary svg rect span
"""
ATTRIBUTES = """
lang charset http-equiv content name rel href class id role aria-label aria-labelledby tabindex scope src alt width
height data-rank data-sortable start title open media srcset viewbox preserveaspectratio aria-hidden x
"""
# What the checker says of a text, which is shown as it is, and not of the page.
REMARKS = ("Unicode Normalization Form C", "Private Use Area", "composing character")


@pytest.mark.process
def test_hostile_text_is_text_and_every_page_is_valid(tmp_path):
    pages = [
        html.render(REALISTIC, PICTURES),
        html.render(Document("", (), ()), {}),
        html.render(document_of(HOSTILE), PICTURES),
    ]

    @settings(max_examples=60, deadline=None)
    @given(documents)
    def harmless(document):
        source = html.render(document, PICTURES)
        page = Page(source)
        assert set(page.tags) <= {*ELEMENTS.split()}
        assert page.attributes <= {*ATTRIBUTES.split()}
        assert [page.tags.count(tag) for tag in ("script", "style", "title", "h1", "main")] == [1] * 5
        assert len(set(page.anchors)) == len(page.anchors)
        for target in page.targets:
            assert target.startswith(("#", "data:")) or may_link(target)
        assert allowed(source) == source
        pages.append(source)

    harmless()
    files = [tmp_path / f"{number}.html" for number in range(len(pages))]
    for file, source in zip(files, pages, strict=True):
        file.write_text(source, encoding="utf-8")
    found = check_html(files)
    assert [line for line in found if not any(remark in line for remark in REMARKS)] == []
    assert [line for line in found if line.startswith(("0.html", "1.html"))] == []


@pytest.mark.process
def test_the_checker_finds_what_is_wrong(tmp_path):
    file = tmp_path / "wrong.html"
    file.write_text("<!DOCTYPE html><html lang=en><title>x</title><p id=a><p id=a><b>", encoding="utf-8")
    assert any("Duplicate ID" in line for line in check_html([file]))


@pytest.mark.parametrize("text", [text for text in HOSTILE if text.strip()])
def test_hostile_text_is_shown_in_every_place(text):
    page = Page(html.render(document_of([text]), PICTURES))
    shown = allowed(text).strip()
    # The title, the heading, the contents and the code, and of the tables in the lead and in the section each cell.
    assert [data.strip() for data in page.texts].count(shown) >= 10


def test_same_document_same_bytes_whatever_the_order_of_pictures():
    backwards = dict(reversed(PICTURES.items()))
    assert html.render(REALISTIC, PICTURES) == html.render(REALISTIC, backwards)


def test_the_page_needs_nothing_else_and_is_small():
    source = html.render(REALISTIC, PICTURES)
    assert [target for target in Page(source).targets if not target.startswith(("#", "data:"))] == [
        "docs/how-to.md",
        "flamegraphs/a%20b.html",
        "flamegraphs/f.html",
    ]
    assert (FOLDER / "page.css").stat().st_size < 8_000
    assert (FOLDER / "page.js").stat().st_size < 4_000
    assert not re.search(
        r"url\(|@import|fetch|innerHTML", (FOLDER / "page.css").read_text() + (FOLDER / "page.js").read_text()
    )


def test_the_policy_allows_this_style_and_script_only():
    source = html.render(REALISTIC, PICTURES)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', source)[1].replace("&#39;", "'")
    for tag in ("style", "script"):
        inside = re.search(f"<{tag}>(.*?)</{tag}>", source, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert " style=" not in source.replace(SVG, "")


def test_a_picture_is_inside_the_page_with_its_shape_and_caption():
    source = html.render(REALISTIC, PICTURES)
    encoded = base64.b64encode(SVG.encode()).decode()
    tag = f'<img src="data:image/svg+xml;base64,{encoded}" alt="The phases" width="1248" height="629">'
    assert tag in source
    assert "<figcaption>The phases</figcaption>" in source


def test_a_picture_of_unknown_shape_and_with_half_a_character():
    document = Document("x", (Picture("p", ""),), ())
    source = html.render(document, {"p": "<svg xmlns='http://www.w3.org/2000/svg'>\ud800</svg>"})
    assert 'alt=""></div>' in source
    assert "figcaption" not in Page(source).tags


def test_a_missing_picture_is_an_error():
    with pytest.raises(KeyError, match="imports"):
        html.render(REALISTIC, {"phases": SVG})


def test_ragged_rows_are_an_error():
    with pytest.raises((IndexError, ValueError)):
        html.render(Document("x", (Table("t", ("a", "b"), (("1",),)),), ()), {})


def test_headings_only_where_the_title_differs_and_anchors_once():
    source = html.render(REALISTIC, PICTURES)
    assert re.findall(r'<h[123][^>]* id="([^"]+)">([^<]+)', source) == [
        ("title", "What the loading strategies cost"),
        ("startup-time-ms", "Startup time (ms)"),
        ("imports", "Imports"),
        ("imports-ms", "Imports (ms)"),
        ("nothing", "Nothing"),
        ("repeat-this-run", "Repeat this run"),
        ("imports-2", "Imports"),
    ]
    labels = set(re.findall(r'aria-labelledby="([^"]+)"', source))
    assert labels <= set(Page(source).anchors)


@given(st.lists(st.text() | st.sampled_from(["a", "a-2", "A", "content", "title", "é", "1"])))
def test_anchors_are_safe_and_unique(titles):
    anchors = Anchors("content", "title")
    names = ["content", "title", *(anchors.name(title) for title in titles)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) for name in names)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,234", 1234),
        ("1,234.5", 1234.5),
        ("0.021 to 0.024", 0.021),
        ("5.7%", 5.7),
        ("100 %", 100),
        ("17 + 54, peak 72", 71),
        ("-0.5", -0.5),
        ("<0.01", 0.01),
        ("1e-05", 1e-05),
        ("68.0 ms", 68),
        ("-", None),
        ("", None),
        ("numpy 1.00000", None),
        ("3.11.7", None),
        ("2024-05-06", None),
        ("1e999", None),
        ("٣", None),
    ],
)
def test_figures(text, number):
    assert leading_number(text) == number


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 6))
def test_figures_as_python_writes_them(number, digits):
    assert leading_number(f"{number:,.{digits}f}") == float(f"{number:.{digits}f}")
    assert leading_number(repr(number)) == number


@given(st.lists(st.text() | st.text("0123456789,.+- e%"), max_size=8), st.booleans())
def test_order_of_any_column(texts, name):
    sorting = order(texts, name=name)
    assert len(sorting.ranks) == len(texts)
    ranks = sorted({rank for rank in sorting.ranks if rank is not None})
    assert ranks == list(range(len(ranks)))
    for text, rank in zip(texts, sorting.ranks, strict=True):
        assert (rank is None) == (text.strip() in ("", "-", "\u2013", "\u2014"))
        assert not sorting.numeric or rank is None or math.isfinite(leading_number(text))
    if sorting.numeric:
        rows = sorted(
            (rank, leading_number(text)) for text, rank in zip(texts, sorting.ranks, strict=True) if rank is not None
        )
        assert [number for _, number in rows] == sorted(number for _, number in rows)


def test_order_of_names_is_natural_and_figures_of_a_name_do_not_count():
    assert order(["model 10", "Model 9", "-", "model 9"], name=True).ranks == (1, 0, None, 0)
    assert order(["10", "9"], name=True) == order(["10", "9"], name=True)
    assert not order(["10", "9"], name=True).numeric


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("flamegraphs/a b#1?.html", "flamegraphs/a%20b%231%3F.html"),
        ("../x", "../x"),
        ("\ud800", "%EF%BF%BD"),
        ("javascript:alert(1)", ""),
        (" \tJavaScript:alert(1)", ""),
        ("java\nscript:x", "java%0Ascript%3Ax"),
        ("data:text/html,x", ""),
        ("http://example.com/", ""),
        ("//example.com/", ""),
        ("/etc/passwd", ""),
        ("", ""),
    ],
)
def test_targets_of_cells(target, url):
    assert quoted(target) == url


@given(st.text())
def test_a_quoted_target_is_relative(target):
    url = quoted(target)
    assert url == "" or (may_link(url) and ":" not in url)


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("docs/a.md#b", True),
        ("#b", True),
        ("https://example.com/a?b=1#c", True),
        ("//example.com/x", False),
        ("ftp://example.com", False),
        ("http://exa mple.com", False),
        ("http://[", False),
        ("https://user@example.com", False),
        ("javascript:alert(1)", False),
        ("file:///etc/passwd", False),
        ("a%zz", False),
    ],
)
def test_targets_of_prose(url, may):
    assert may_link(url) is may


def test_prose_is_commonmark_without_html_pictures_and_headings():
    shown = to_html("# no\n\n<b>x</b> **y** [a](b.md) [c](javascript:d) ![e](f.png)\n\n- `g`")
    assert Page(shown).tags == ["p", "p", "strong", "a", "a", "ul", "li", "code"]
    assert Page(shown).targets == ["b.md", "f.png"]


def _luminance(colour):
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrast_of_the_colours(scheme):
    """At least 4.5 for text, https://www.w3.org/TR/WCAG22/#contrast-minimum."""
    style = (FOLDER / "page.css").read_text()
    blocks = re.findall(r":root \{([^}]*--ground[^}]*)\}", style)
    assert len(blocks) == 2
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", blocks[scheme]))
    assert set(colours) == {"ground", "panel", "text", "muted", "line", "accent"}
    assert set(re.findall(r"var\(--(\w+)\)", style)) <= set(colours)
    for front in ("text", "muted", "accent"):
        for back in ("ground", "panel"):
            light, dark = sorted((_luminance(colours[front]), _luminance(colours[back])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (front, back)


def test_kinds_of_columns():
    """Figures stand on the right, and long texts keep some width."""
    rows = (("a" * 50, "b", "c" * 50, "1", "x 1", "d" * 50), ("a", "b", "c", "-", "-", "-"))
    table = Table("t", tuple("123456"), rows, names=3)
    source = html.render(Document("t", (), (Section("t", (table,)),)), {})
    kinds = ["name", "name", "long", "figure", "text", "long"]
    assert re.findall(r'<th scope="col" class="(\w+)"', source) == kinds
    assert re.findall(r'<t[hd](?: scope="row")? class="(\w+)"', source) == kinds * 2
    assert re.findall(r'<th scope="row" class="name" data-rank="(\d)">', source) == ["1", "0"]


def test_links_lead_to_files_and_schemes_stay_text():
    rows = (("a", Link("graph", "x/y z.html"), Link("evil", "javascript:alert(1)")),)
    page = Page(html.render(Document("t", (), (Section("s", (Table("s", ("n", "g", "e"), rows),)),)), {}))
    assert [target for target in page.targets if not target.startswith(("#", "data:"))] == ["x/y%20z.html"]
    assert "evil" in page.texts

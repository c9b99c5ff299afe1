"""The HTML report in a browser: opened from a file, sorted by mouse and keyboard, narrow, dark, printed, without
script."""

from __future__ import annotations

import pytest

from bench.report import html
from tests.bench.support.html_pages import FOLDED, HOSTILE, PICTURES, REALISTIC, STARTUP, document_of
from tests.support.browser import chromium, opened

pytestmark = pytest.mark.process

AS_WRITTEN = [str(row[0]) for row in STARTUP.rows]


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(html.render(REALISTIC, PICTURES), encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def page(browser, url):
    with opened(browser, url) as (page, _):
        yield page


def _rows(page):
    return page.locator("table").first.locator("tbody th").all_inner_texts()


def _heading(page, name):
    return page.locator("table").first.get_by_role("button", name=name, exact=True)


def _sorted_as(page, name):
    return page.locator("table").first.locator("thead th", has_text=name).get_attribute("aria-sort")


def test_it_opens_without_a_request_or_a_complaint(browser, url):
    with opened(browser, url) as (page, heard):
        _heading(page, "Init Time").click()
        assert page.locator("img").evaluate_all("all => all.map(one => one.naturalWidth > 0)") == [True, True]
        assert page.title() == REALISTIC.title
    assert [asked for asked in heard.requests if not asked.startswith("data:")] == [url]
    assert heard.console == []


def test_hostile_text_does_nothing_in_a_browser(browser, tmp_path):
    file = tmp_path / "hostile.html"
    file.write_text(html.render(document_of(HOSTILE), PICTURES), encoding="utf-8")
    with opened(browser, file.as_uri()) as (page, heard):
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        assert page.locator("script").count() == 1
        page.evaluate("document.querySelectorAll('th button').forEach(button => button.click())")
    assert [asked for asked in heard.requests if not asked.startswith("data:")] == [file.as_uri()]
    assert heard.console == []


@pytest.mark.parametrize(
    ("name", "up", "down"),
    [
        ("Strategy", [0, 3, 1, 2], [2, 1, 3, 0]),
        ("Init Time", [2, 3, 1, 0], [0, 1, 3, 2]),
        ("Model Ready", [3, 2, 0, 1], [2, 3, 0, 1]),
        ("Total, ratio", [2, 3, 1, 0], [0, 1, 2, 3]),
        ("Together", [2, 3, 1, 0], [0, 1, 2, 3]),
        ("Waits", [0, 2, 1, 3], [1, 2, 0, 3]),
        ("Flame graph", [0, 1, 2, 3], [1, 0, 2, 3]),
    ],
)
def test_a_click_sorts_up_down_and_back(page, name, up, down):
    """Missing values stay last, equal ones in their order."""
    for expected, state in ((up, "ascending"), (down, "descending"), ([0, 1, 2, 3], None)):
        _heading(page, name).click()
        assert _rows(page) == [AS_WRITTEN[index] for index in expected]
        assert _sorted_as(page, name) == state


def test_the_keyboard_sorts_and_another_column_takes_over(page):
    _heading(page, "Init Time").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    assert _rows(page) == [AS_WRITTEN[index] for index in (0, 1, 3, 2)]
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert _sorted_as(page, "Init Time") is None
    assert _sorted_as(page, "Model Ready") == "ascending"
    assert _rows(page) == [AS_WRITTEN[index] for index in (3, 2, 0, 1)]


def test_the_other_tables_stay_and_one_row_needs_no_button(page):
    tables = page.locator("table")
    before = tables.nth(1).locator("tbody").inner_text()
    _heading(page, "Init Time").click()
    assert tables.nth(1).locator("tbody").inner_text() == before
    assert tables.nth(2).get_by_role("button").count() == 0


def _ground(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_dark_and_light_and_light_on_paper(browser, url):
    with opened(browser, url, color_scheme="dark") as (page, _):
        assert _ground(page) == "rgb(20, 23, 27)"
        page.emulate_media(color_scheme="light")
        assert _ground(page) == "rgb(255, 255, 255)"
        page.emulate_media(color_scheme="dark", media="print")
        assert _ground(page) == "rgb(255, 255, 255)"
        assert not page.locator("nav").is_visible()
        assert page.pdf().startswith(b"%PDF")


@pytest.mark.parametrize("width", [360, 800, 1400])
def test_the_page_never_scrolls_sideways(browser, url, width):
    with opened(browser, url, width=width) as (page, _):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        wide = page.locator(".scroll", has=page.locator("table")).nth(1)
        assert wide.evaluate("box => box.scrollWidth > box.clientWidth")
        wide.evaluate("box => { box.scrollLeft = 300; }")
        first = wide.locator("tbody th").first
        assert first.evaluate("cell => cell.getBoundingClientRect().left") == pytest.approx(
            wide.evaluate("box => box.getBoundingClientRect().left"), abs=1
        )


def test_hostile_text_does_not_widen_the_page(browser, tmp_path):
    file = tmp_path / "long.html"
    file.write_text(html.render(document_of(["long" * 500, "x"]), PICTURES), encoding="utf-8")
    with opened(browser, file.as_uri(), width=360) as (page, _):
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_without_script_everything_is_there_and_nothing_is_a_dead_button(browser, url):
    with opened(browser, url, java_script_enabled=False) as (page, _):
        shown = page.locator("main").inner_text()
        for row in STARTUP.rows:
            for cell in row:
                assert str(cell) in shown
        for section in REALISTIC.sections:
            assert section.title in shown
        assert page.get_by_role("button").count() == 0
        assert page.locator("img").evaluate_all("all => all.every(one => one.checkVisibility())")


def test_the_contents_lead_to_the_sections(page):
    links = page.get_by_role("navigation", name="Contents").get_by_role("link")
    assert links.all_inner_texts() == [section.title for section in REALISTIC.sections]
    links.last.click()
    assert page.url.endswith("#imports-2")
    assert page.locator("#imports-2").is_visible()


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    file = tmp_path_factory.mktemp("folded") / "report.html"
    file.write_text(html.render(FOLDED, PICTURES), encoding="utf-8")
    return file.as_uri()


def _opened(page):
    return page.locator("details").evaluate_all("all => all.map(one => one.open)")


class TestFolded:
    def test_sections_open_by_a_click_or_all_at_once(self, browser, folded):
        with opened(browser, folded) as (page, heard):
            assert _opened(page) == [False] * 4
            assert not page.get_by_text("Medians of fresh processes.").is_visible()
            page.locator("summary").first.click()
            assert _opened(page) == [True, False, False, False]
            assert page.get_by_text("Medians of fresh processes.").is_visible()
            page.get_by_role("button", name="Open all sections").click()
            assert _opened(page) == [True] * 4
            page.get_by_role("button", name="Close all sections").click()
            assert _opened(page) == [False] * 4
        assert heard.console == []

    @pytest.mark.parametrize(("anchor", "which"), [("imports", 1), ("imports-ms", 1), ("imports-2", 3)])
    def test_the_target_of_a_link_is_open(self, browser, folded, anchor, which):
        """That of a section, and that of a table within one."""
        with opened(browser, f"{folded}#{anchor}") as (page, _):
            assert _opened(page) == [number == which for number in range(4)]
            assert page.locator(f"#{anchor}").is_visible()

    def test_the_contents_open_a_section_again_and_again(self, browser, folded):
        with opened(browser, folded) as (page, _):
            link = page.get_by_role("navigation", name="Contents").get_by_role("link").first
            for _ in range(2):
                link.click()
                page.wait_for_function("document.querySelector('details').open")
                page.locator("summary").first.click()
                assert _opened(page) == [False] * 4

    def test_print_shows_everything_and_folds_again(self, browser, folded):
        with opened(browser, folded) as (page, _):
            page.evaluate("dispatchEvent(new Event('beforeprint'))")
            assert _opened(page) == [True] * 4
            page.evaluate("dispatchEvent(new Event('afterprint'))")
            assert _opened(page) == [False] * 4
            page.emulate_media(media="print")
            assert not page.get_by_role("button", name="Open all sections").is_visible()
            assert page.pdf().startswith(b"%PDF")

    def test_without_script_all_is_open(self, browser, folded):
        with opened(browser, folded, java_script_enabled=False) as (page, _):
            assert _opened(page) == [True] * 4
            assert "Medians of fresh processes." in page.locator("main").inner_text()
            assert page.get_by_role("button").count() == 0

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_the_first_picture_is_of_the_page(self, browser, folded, scheme):
        with opened(browser, folded, color_scheme=scheme) as (page, _):
            shown = page.locator(".bars img").evaluate("one => one.currentSrc")
            sources = [page.locator(".bars img").get_attribute("src"), page.locator("source").get_attribute("srcset")]
            assert shown == sources[scheme == "dark"]

    @pytest.mark.parametrize("width", [360, 400, 1280])
    def test_the_first_screen_fits_its_width(self, browser, folded, width):
        with opened(browser, folded, width=width) as (page, _):
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            picture = page.locator(".bars img").bounding_box()
            assert 0 < picture["x"] < picture["x"] + picture["width"] <= width
            assert page.get_by_role("navigation", name="Contents").is_visible() == (width == 1280)

    def test_ranges_are_drawn_and_read_aloud_and_sorted(self, browser, folded):
        with opened(browser, folded) as (page, _):
            drawn = page.locator(".first td.range")
            assert drawn.locator("svg").count() == 2
            assert drawn.all_inner_texts()[0].strip() == "4,671 to 5,264"
            page.locator(".first").get_by_role("button", name="95 % interval").click()
            assert page.locator(".first tbody th").all_inner_texts() == ["lazy", "baseline", "cached"]

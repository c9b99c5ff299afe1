"""CommonMark to HTML: paragraphs, lists, emphasis, links and code; the rest stays text."""

from __future__ import annotations

from markdown_it import MarkdownIt
from markupsafe import Markup

from bench.report.html.links import may_link


class _Prose(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # noqa: N802 - the parser's name
        """Return whether a link stays a link."""
        return may_link(url)


def to_html(markdown: str) -> Markup:
    """Return prose as HTML.

    Raw HTML is shown as text. Headings are the template's, so that anchors and the outline hold; a picture would be
    loaded from somewhere.
    """
    parser = _Prose("commonmark", {"html": False, "xhtmlOut": False})
    parser.disable(["heading", "lheading", "image"])
    return Markup(parser.render(markdown))  # noqa: S704 - the parser has escaped it

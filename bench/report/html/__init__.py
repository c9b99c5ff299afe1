"""The report as one HTML page that needs nothing else: ``render``.

::

    page.py       the document and its pictures -> what the template shows; the security policy
    page.html     the template: the only place with tags
    page.css      light, dark, narrow and print
    page.js       sorts the tables and folds the sections; without it all is open, in the order of the document
    characters.py what HTML forbids, and anchors
    links.py      which targets may be clicked
    order.py      the order of a column's cells, for page.js
    picture.py    an SVG as the source of an ``img``
    prose.py      CommonMark -> HTML without raw HTML, pictures and headings

The page loads nothing, over a network or from a disk, and the same document gives the same bytes.
"""

from __future__ import annotations

from bench.report.html.page import render

__all__ = ["render"]

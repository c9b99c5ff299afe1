"""Documents for the tests of the HTML report, and what is in a page."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

from hypothesis import strategies as st

from bench.report.document import Code, Document, Link, Picture, Prose, Range, Section, Table, escape

# As matplotlib writes them: a prologue, a doctype, metadata, and names that every picture has.
SVG = """<?xml version="1.0" encoding="utf-8" standalone="no"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN"
  "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns:xlink="http://www.w3.org/1999/xlink" width="936pt" height="471.6pt" viewBox="0 0 936 471.6"
 xmlns="http://www.w3.org/2000/svg" version="1.1">
 <metadata><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></metadata>
 <defs><style type="text/css">*{stroke-linejoin: round}</style><path id="m" d="M 0 0 L 9 9"/></defs>
 <rect width="936" height="471.6" style="fill: #ffffff"/>
 <use xlink:href="#m" style="fill: #d55e00"/>
 <text x="9" y="40" style="font: 20px sans-serif">baseline</text>
</svg>
"""
PICTURES = {"phases": SVG, "imports": SVG, "bars-light": SVG, "bars-dark": SVG.replace("#ffffff", "#000000")}

STARTUP = Table(
    "Startup time (ms)",
    ("Strategy", "Init Time", "Model Ready", "Total, ratio", "Together", "Waits", "Flame graph"),
    (
        ("baseline", "4,515", "-", "1.00", "332 + 112, peak 445", "5.7%", Link("flame graph", "flamegraphs/a b.html")),
        (
            "fastembed 10",
            "541",
            "-",
            "0.121 to 0.126",
            "46 + 34, peak 80",
            "100 %",
            Link("other", "flamegraphs/f.html"),
        ),
        ("lazy", "6.70", "68.0", "0.020 to 0.024", "4 + 6, peak 10", "42.9%", "-"),
        ("fastembed 9", "7.20", "67.8", "0.020 to 0.022", "4 + 6, peak 10", "-", "-"),
    ),
)
WIDE = Table(
    "Imports (ms)",
    ("Package", *(f"strategy number {number}" for number in range(24))),
    tuple((f"package_{row}", *(f"{row * column:,}" for column in range(24))) for row in range(5)),
)
REALISTIC = Document(
    "What the loading strategies cost",
    (Prose("Models: `all-MiniLM-L6-v2`."), Prose("- **lazy**: first vector\n- **cached**: [docs](docs/how-to.md)")),
    (
        Section("Startup time (ms)", (STARTUP, Prose("Medians of fresh processes."), Picture("phases", "The phases"))),
        Section("Imports", (WIDE, Picture("imports", "The imports"), Table("Nothing", ("Name", "Figure"), ()))),
        Section("Repeat this run", (Code("python -m bench -m model=minilm " + "'peers=[a,b]' " * 30),)),
        Section("Imports", (Prose("Twice the same title."),)),
    ),
)
FIRST = Table(
    "",
    ("Strategy", "First vector (ms)", "95 % interval", "Peak (MiB)"),
    (
        ("baseline", "4,946", Range("4,671 to 5,264", 0.97, 1.0), "524"),
        ("lazy", "108", Range("102 to 124", 0.2, 0.2), "72.4"),
        ("cached", "117", "-", "72.4"),
    ),
)
FOLDED = replace(
    REALISTIC,
    lead=(Prose("**First vector after 0.11 s.**"), Picture("bars-light", "The bars", "bars-dark"), FIRST),
    folded=True,
)
"""A first screen, and sections that open on demand."""

HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>",
    "</script></style></title></textarea>]]><!--",
    "{{ 7 * 7 }}{% raw %}&lt;&#1;&amp",
    "\u202e\u200f evil \u2066 mark",
    "nul \x00, escape \x1b, delete \x7f, control \x85, half \ud800, half \udfff, none \ufdd0 \U0001ffff",
    "![pixel](http://example.com/x.png) <http://example.com> [x](javascript:alert(1))",
    "# heading\n\nunder\n===\n\n&#1; &#x80; &NotEqualTilde;",
    "   \t\n ",
    "",
)


def document_of(texts) -> Document:
    """Return a document that has texts in every place where one can stand; at least one text."""
    many = list(texts)
    one = many[0]
    rows = tuple((text, Link(text, text), Link(text, f"javascript:{text}"), text) for text in many)
    table = Table(one, ("Name", *many[:1] * 3), rows)
    drawn = Table(one, (one, one), tuple((text, Range(text, -1.0, 2.0)) for text in many))
    blocks = (*(Prose(text) for text in many), *(Prose(escape(text)) for text in many), table, drawn, Code(one))
    sections = (*(Section(text, (*blocks, Picture("phases", text))) for text in many), Section("Startup time (ms)", ()))
    return Document(one, blocks, sections, folded=len(many) > 1)


documents = st.lists(
    st.text() | st.text(alphabet="<>&\"'`[]()!\\*_#-:/\n\t \x00a1\ud800") | st.sampled_from(HOSTILE),
    min_size=1,
    max_size=4,
).map(document_of)
"""Arbitrary text, lone surrogates too."""


@dataclass
class Page(HTMLParser):
    """What is in a page: elements, targets, anchors and text."""

    source: str
    tags: list[str] = field(default_factory=list)
    attributes: set[str] = field(default_factory=set)
    targets: list[str] = field(default_factory=list)
    anchors: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.targets += [value for name, value in attrs if name in ("href", "src")]
        self.anchors += [value for name, value in attrs if name == "id"]

    def handle_data(self, data) -> None:
        self.texts.append(data)

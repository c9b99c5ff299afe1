"""``verdict.md``: for a comment on a pull request, or the summary of a job."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bench.gate.outputs.rows import FROM_OUTSIDE, NOTHING, TEXTS, changes_table, dependencies_table, limits_table
from bench.gate.outputs.wording import WORDS, advice, clean, footnote, reasons, visible
from bench.report.document import escape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.gate.verdict import Result, Verdict
    from bench.report.document import Table

MARKER = "<!-- embedding-bench gate -->"
"""First line, by which a bot finds the comment that it wrote for an earlier push."""

SYMBOLS: dict[Result, str] = {
    "ok": "\N{WHITE HEAVY CHECK MARK}",
    "regression": "\N{CROSS MARK}",
    "inconclusive": "\N{WARNING SIGN}",
}

_SPECIAL = re.compile(r"[^\w ./,=+-]|_|(?<=www)\.", re.IGNORECASE)
"""What might be markup, a mention, a reference or an address."""

HOW_TO_READ = (
    "In each round, every cell is measured once with each revision, in random order and in fresh processes. The change "
    "is the Hodges-Lehmann estimate of head by base over the rounds, its interval the exact one of Wilcoxon's signed "
    "rank test.",
    "A regression has its whole interval above the limit, in both of two stages that share no samples. The figures are "
    "those of the second stage. Rounds such as 15 + 22 are those of both.",
    "The control is the base revision, installed a second time. Where it differs from the base, the machine is too "
    "unsteady, and nothing is said.",
    "An interval that is too wide is not a pass: the gate is inconclusive.",
    "Where a floor sets the limit, the figure is so small that the tolerance would mean less than the floor.",
)
"""Each in one line: in comments, GitHub breaks lines where the source does."""


def render(verdict: Verdict) -> str:
    """Return the document; text from outside cannot become markup."""
    parts = [
        MARKER,
        f"## {SYMBOLS[verdict.result]} {_title(verdict)}",
        _list(reasons(verdict, code)),
        advice(verdict),
        *(_to_markdown(table) for table in (changes_table(verdict), limits_table(verdict)) if table.rows),
        footnote(verdict),
        _fold("Revisions, samples and machine", _facts(verdict)),
        _fold("How to repeat it", _fence(verdict.command)),
        _fold("How to read it", _list(HOW_TO_READ)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def code(text: str) -> str:
    """Return text from outside as code that shows it as it is.

    GitHub and GitLab make no links to people, issues or commits of code. Backticks would not do: in a table, a pipe
    ends the cell even between them.
    """
    return f"<code>{_SPECIAL.sub(lambda found: f'&#{ord(found[0])};', clean(text))}</code>"


def _title(verdict: Verdict) -> str:
    word, rules = WORDS[verdict.result], len(verdict.course.decisions)
    if verdict.result == "ok":
        return f"{word}: no metric is over its limit"
    if verdict.result == "inconclusive":
        return f"{word}: the samples do not tell"
    return f"{word}: {len(verdict.decided('regression'))} of {rules} {'rule' if rules == 1 else 'rules'} broken"


def _facts(verdict: Verdict) -> str:
    machine = verdict.machine
    rows = [
        f"{name}: {code(revision.asked)} ({code(revision.short)}) {code(revision.subject)}"
        for name, revision in (("Base", verdict.base), ("Head", verdict.head))
    ]
    rows += [
        f"{name} stage: {stage.rounds} rounds in {stage.seconds:.0f} s"
        for name, stage in zip(("First", "Second"), verdict.course.stages, strict=False)
    ]
    rows += [
        f"Samples: {verdict.samples}, {verdict.disturbed} of them while other work disturbed the machine",
        f"Time: {verdict.prepared_s:.0f} s of preparation, {verdict.measured_s:.0f} s of measurement",
        f"Machine: {code(str(machine['processor']))}, {machine['processors_usable']} processors usable, "
        f"{machine['memory_bytes'] / 2**30:.1f} GiB",
        f"System: {code(str(machine['system']))} ({code(str(machine['machine']))}), {code(str(machine['python']))}",
    ]
    facts = _list(rows)
    changes = dependencies_table(verdict)
    if not changes.rows:
        return f"{facts}\n- Dependencies: the same versions for both revisions"
    return f"{facts}\n\n{changes.title}:\n\n{_to_markdown(changes)}"


def _to_markdown(table: Table) -> str:
    aligned = tuple("---" if heading in TEXTS else "---:" for heading in table.headings)
    rows = [
        tuple(
            code(text) if heading in FROM_OUTSIDE and text != NOTHING else escape(text)
            for heading, text in zip(table.headings, map(str, row), strict=True)
        )
        for row in table.rows
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (table.headings, aligned, *rows))


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _fold(title: str, body: str) -> str:
    """Return a part that is shown on demand. Only after an empty line is its text Markdown again."""
    return f"<details>\n<summary>{title}</summary>\n\n{body}\n\n</details>"


def _fence(command: str) -> str:
    text = visible(command)
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}sh\n{text}\n{fence}"

"""``verdict.md``: for a comment on a pull request, or the summary of a job."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bench.gate.outputs.rows import FROM_OUTSIDE, NOTHING, TEXTS, changes_table, dependencies_table, limits_table
from bench.gate.outputs.wording import WORDS, advice, footnote, reasons, shortened, without_controls
from bench.report.document import escape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.gate.decide.verdict import Result, Verdict
    from bench.report.document import Table

MARKER = "<!-- embedding-bench gate -->"
"""First line, by which a bot finds its comment on an earlier push."""

SYMBOLS: dict[Result, str] = {
    "ok": "\N{WHITE HEAVY CHECK MARK}",
    "regression": "\N{CROSS MARK}",
    "inconclusive": "\N{WARNING SIGN}",
}

_SPECIAL = re.compile(r"[^\w ./,=+-]|_|(?<=www)\.", re.IGNORECASE)
"""What might be markup, a mention, a reference or an address."""

HOW_TO_READ = (
    "In each round, every cell is measured once with each revision, in random order and in fresh processes. The change "
    "is the Hodges-Lehmann estimate of the ratio of head to base over the rounds; its interval is exact, from "
    "Wilcoxon's signed-rank test.",
    "A regression has its whole interval above the limit in each of two stages that share no samples. The figures are "
    "those of the second stage. Rounds such as 15 + 22 are those of the two stages.",
    "The control is the base revision, installed a second time. If it differs from the base, the machine is too "
    "unsteady for a verdict.",
    "If an interval is too wide, the gate does not pass: it is inconclusive.",
    "A floor sets the limit if the figure is so small that the tolerance would be below the floor.",
)
"""Each on one line: in comments, GitHub breaks lines where the source does."""


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

    In code, GitHub and GitLab do not link people, issues or commits. Backticks are not enough: in a table, a pipe ends
    the cell even between them.
    """
    return f"<code>{_SPECIAL.sub(lambda found: f'&#{ord(found[0])};', shortened(text))}</code>"


def _title(verdict: Verdict) -> str:
    word, rules = WORDS[verdict.result], len(verdict.course.decisions)
    if verdict.result == "ok":
        return f"{word}: no metric is over its limit"
    if verdict.result == "inconclusive":
        return f"{word}: the samples allow no verdict"
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
        f"Samples: {verdict.samples}, {verdict.disturbed} of them disturbed by other work on the machine",
        f"Time: {verdict.prepared_s:.0f} s preparing, {verdict.measured_s:.0f} s measuring",
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
    """Return a collapsed part. Its text is parsed as Markdown only after an empty line."""
    return f"<details>\n<summary>{title}</summary>\n\n{body}\n\n</details>"


def _fence(command: str) -> str:
    text = without_controls(command)
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}sh\n{text}\n{fence}"

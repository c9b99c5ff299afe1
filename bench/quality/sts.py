"""The STS benchmark: pairs of sentences with human similarity scores from 0 to 5.

Cer, Diab, Agirre, Lopez-Gazpio, Specia: SemEval-2017 Task 1, https://aclanthology.org/S17-2001/
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from bench.errors import ConfigError

SCORE, FIRST, SECOND = 4, 5, 6
"""The columns, counted from 0; a file may have more."""

MAX_SCORE = 5.0
MIN_PAIRS = 2
"""With fewer, the correlation is undefined."""


@dataclass(frozen=True)
class StsPair:
    """Two sentences and their similarity as people judged it, from 0 (nothing in common) to 5 (the same)."""

    first: str
    second: str
    score: float


def read_sts(path: str) -> list[StsPair]:
    """Return the pairs of an STS benchmark file: UTF-8, tab-separated, no header, no quoting.

    Raises:
        ConfigError: the file cannot be read or does not have that format; the message names the line.
    """
    try:
        with Path(path).expanduser().open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            pairs = [_pair(row, f"{path}, line {rows.line_num}") for row in rows if row]
    except OSError as error:
        raise ConfigError(f"quality.sts_file={path} cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"quality.sts_file={path} is not a tab-separated UTF-8 file: {error}") from error
    if len(pairs) < MIN_PAIRS:
        raise ConfigError(f"quality.sts_file={path} has {len(pairs)} pairs; at least {MIN_PAIRS} are needed")
    return pairs


def _pair(row: list[str], where: str) -> StsPair:
    if len(row) <= SECOND:
        raise ConfigError(
            f"quality.sts_file={where} has {len(row)} columns, needs {SECOND + 1} or more separated by tabs: the score "
            f"in column {SCORE}, the sentences in columns {FIRST} and {SECOND}, counted from 0"
        )
    try:
        score = float(row[SCORE])
    except ValueError:
        score = -1.0
    if not 0.0 <= score <= MAX_SCORE:
        raise ConfigError(f"quality.sts_file={where}: column {SCORE} must be a score from 0 to 5, not {row[SCORE]!a}")
    return StsPair(row[FIRST], row[SECOND], score)

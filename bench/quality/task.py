"""The task: every text that is embedded, made once by the parent and handed to the processes as a file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bench.data.manifest_parts import QualityTask
from bench.quality.retrieval import collect_pairs
from bench.quality.sts import read_sts
from bench.quality.texts import ODD_TEXTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.plan.config import QualityConf


@dataclass(frozen=True)
class Task:
    """What every cell of a run embeds.

    Attributes:
        documents: the retrieval task's documents.
        queries: as many queries; the document with the same index is the only relevant one.
        odd_texts: see ``bench.quality.texts``.
        sts_first, sts_second: the sentences of the STS pairs; empty without a file.
        sts_scores: human similarity score of each pair, from 0 to 5.
    """

    documents: tuple[str, ...]
    queries: tuple[str, ...]
    odd_texts: tuple[str, ...]
    sts_first: tuple[str, ...] = ()
    sts_second: tuple[str, ...] = ()
    sts_scores: tuple[float, ...] = ()

    @property
    def fixed_texts(self) -> tuple[str, ...]:
        """The texts whose vectors are compared with the reference's, in the order of the vectors."""
        return (*self.documents, *self.queries, *self.odd_texts)

    def to_json(self) -> str:
        """Return the task as JSON; the same task gives the same text."""
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)

    def facts(self) -> QualityTask:
        """Return the task's description for the manifest: counts and fingerprints of its texts."""
        return QualityTask(
            document_count=len(self.documents),
            query_count=len(self.queries),
            odd_text_count=len(self.odd_texts),
            fixed_texts_sha256=_fingerprint(self.documents, self.queries, self.odd_texts),
            sts_pair_count=len(self.sts_scores),
            sts_sha256=_fingerprint(self.sts_first, self.sts_second, self.sts_scores) if self.sts_scores else None,
        )


def make_task(conf: QualityConf) -> Task:
    """Return the task of a configuration.

    Raises:
        BenchError: the standard library has no sources, or the STS file is missing or malformed (ConfigError).
    """
    sts = read_sts(conf.sts_file) if conf.sts_file is not None else []
    pairs = collect_pairs(conf.max_documents)
    return Task(
        documents=tuple(pair.document for pair in pairs),
        queries=tuple(pair.query for pair in pairs),
        odd_texts=ODD_TEXTS,
        sts_first=tuple(pair.first for pair in sts),
        sts_second=tuple(pair.second for pair in sts),
        sts_scores=tuple(pair.score for pair in sts),
    )


def read_task(path: Path) -> Task:
    """Read a task from a file that ``to_json`` made."""
    return Task(**{name: tuple(values) for name, values in json.loads(path.read_text(encoding="utf-8")).items()})


def _fingerprint(*parts: Sequence[object]) -> str:
    """Return the SHA-256 of the parts as JSON."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

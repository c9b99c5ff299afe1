"""The objects in a manifest, typed. What a file does not tell is None; ``rest`` has the other fields of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.data.fields import Fields
from bench.data.json_text import is_number


@dataclass(frozen=True)
class RecordedRevision:
    """The commit that was measured.

    Attributes:
        commit: full hash.
        committed_at: ISO 8601 with time zone; None or "" if unknown.
        subject: first line of the commit's message.
        dirty: whether tracked files differed from the commit, None if unknown.
        asked: how the user of a gate named it.
    """

    commit: str | None = None
    committed_at: str | None = None
    subject: str | None = None
    dirty: bool | None = None
    asked: str | None = None
    rest: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def from_fields(cls, fields: Fields) -> RecordedRevision:
        """Return what an object of a manifest describes."""
        return cls(
            commit=fields.text("commit"),
            committed_at=fields.text("committed_at"),
            subject=fields.text("subject"),
            dirty=fields.flag("dirty"),
            asked=fields.text("asked"),
            rest=fields.rest(),
        )


@dataclass(frozen=True)
class Protocol:
    """How often a run measured; the meanings are those of ``bench.plan.config.ProtocolConf``."""

    name: str | None = None
    warmup_rounds: int | None = None
    rounds: int | None = None
    budget_s: float | None = None
    sample_timeout_s: float | None = None
    passes: tuple[str, ...] | None = None
    max_steal: float | None = None
    max_foreign_cpu: float | None = None
    max_reruns: float | None = None
    rest: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def from_fields(cls, fields: Fields) -> Protocol:
        """Return what an object of a manifest describes."""
        return cls(
            name=fields.text("name"),
            warmup_rounds=fields.integer("warmup_rounds"),
            rounds=fields.integer("rounds"),
            budget_s=fields.number("budget_s"),
            sample_timeout_s=fields.number("sample_timeout_s"),
            passes=fields.texts("passes"),
            max_steal=fields.number("max_steal"),
            max_foreign_cpu=fields.number("max_foreign_cpu"),
            max_reruns=fields.number("max_reruns"),
            rest=fields.rest(),
        )


@dataclass(frozen=True)
class Preparation:
    """What was made once for a model before the first sample.

    Attributes:
        model: its full name.
        precision: ``float32`` or ``int8``.
        seconds: how long it took.
        bytes: size of what was written.
        min_cosine_by_engine: lowest cosine with the original's vectors of a fixed set of texts.
        error: why it failed.
        machine: fingerprint of the machine, in merged runs.
    """

    model: str | None = None
    precision: str | None = None
    seconds: float | None = None
    bytes: int | None = None
    min_cosine_by_engine: Mapping[str, float] | None = None
    error: str | None = None
    machine: str | None = None
    rest: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def from_fields(cls, fields: Fields) -> Preparation:
        """Return what an object of a manifest describes."""
        return cls(
            model=fields.text("model"),
            precision=fields.text("precision"),
            seconds=fields.number("seconds"),
            bytes=fields.integer("bytes"),
            min_cosine_by_engine=fields.mapping("min_cosine_by_engine", "a number", is_number),
            error=fields.text("error"),
            machine=fields.text("machine"),
            rest=fields.rest(),
        )


@dataclass(frozen=True)
class QualityTask:
    """What a run of suite=quality compared: the number of its texts, and their fingerprints (SHA-256).

    Attributes:
        document_count: documents of the retrieval task.
        query_count: its queries.
        odd_text_count: deliberately difficult texts.
        fixed_texts_sha256: fingerprint of all these.
        sts_pair_count: pairs of the STS benchmark, 0 without a file.
        sts_sha256: their fingerprint, None without a file.
    """

    document_count: int
    query_count: int
    odd_text_count: int
    fixed_texts_sha256: str
    sts_pair_count: int
    sts_sha256: str | None
    rest: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def from_fields(cls, fields: Fields) -> QualityTask:
        """Return what an object of a manifest describes."""
        counts = ("document_count", "query_count", "odd_text_count", "sts_pair_count")
        fields.require(*counts, "fixed_texts_sha256")
        fields.require_null_or("sts_sha256")
        return cls(
            document_count=fields.integer("document_count") or 0,
            query_count=fields.integer("query_count") or 0,
            odd_text_count=fields.integer("odd_text_count") or 0,
            fixed_texts_sha256=fields.text("fixed_texts_sha256") or "",
            sts_pair_count=fields.integer("sts_pair_count") or 0,
            sts_sha256=fields.text("sts_sha256"),
            rest=fields.rest(),
        )

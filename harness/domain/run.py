"""One execution of an Experiment, and what its ingest stage read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from harness.domain.json import Json


class Stage(StrEnum):
    """Where a run stands; each stage can be run again alone."""

    CREATED = "created"
    INGESTED = "ingested"
    REPLAYED = "replayed"
    JUDGED = "judged"
    DECIDED = "decided"


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One execution of an Experiment with every version, seed and count."""

    id: str
    name: str
    created_at: datetime
    updated_at: datetime
    stage: Stage
    ingest_fingerprint: str
    """Hash of source, sampling, redaction and seed: a run never mixes two samples."""
    experiment: Mapping[str, Json]
    """The experiment as used, secrets never included."""
    seed: int
    versions: Mapping[str, str] = field(default_factory=dict)
    stop_reason: str | None = None
    """Why asking or judging ended before all of the sample: ``settled``, ``out_of_reach``, ``budget``, ``time_limit``,
    ``interrupted``; else ``None``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What a set of exchanges looks like, for comparing the sample with its population."""

    n: int
    models: Mapping[str, int] = field(default_factory=dict)
    strata: Mapping[str, int] = field(default_factory=dict)
    errors: int = 0
    with_tools: int = 0
    mean_turns: float | None = None
    mean_prompt_chars: float | None = None
    mean_answer_chars: float | None = None
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    mean_tokens_in: float | None = None
    mean_tokens_out: float | None = None
    total_cost_usd: float | None = None
    first: datetime | None = None
    last: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestReport:
    """What the ingest stage read and what became of every record.

    ``read = kept + rejected + sum(skipped) + ignored + sum(deduplicated)``, and
    ``kept = sampled + sampled_out + out_of_window``. :meth:`check` asserts both.
    """

    files: tuple[str, ...]
    dialects: Mapping[str, str] = field(default_factory=dict)
    """File to the dialect it was read as, with how that was found (``openai_chat (detected)``)."""
    read: int = 0
    rejected: int = 0
    ignored: int = 0
    """Records that are no model call at all: HTTP spans, empty lines."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Sound records with nothing to compare, by reason."""
    deduplicated: int = 0
    kept: int = 0
    out_of_window: int = 0
    sampled_out: int = 0
    sampled: int = 0
    redactions: Mapping[str, int] = field(default_factory=dict)
    """Replacements by kind; empty with ``redaction_enabled`` false when redaction was turned off."""
    redaction_enabled: bool = True
    rejects_file: str | None = None
    warnings: tuple[str, ...] = ()
    population: Summary = field(default_factory=lambda: Summary(n=0))
    sample: Summary = field(default_factory=lambda: Summary(n=0))

    def check(self) -> None:
        """Raise ``AssertionError`` unless every record read is accounted for exactly once."""
        endings = self.kept + self.rejected + self.ignored + self.deduplicated + sum(self.skipped.values())
        if self.read != endings:
            raise AssertionError(f"{self.read} records read, {endings} accounted for")
        if self.kept != self.sampled + self.sampled_out + self.out_of_window:
            raise AssertionError(f"{self.kept} records kept, but sampled, left out and out of window differ")

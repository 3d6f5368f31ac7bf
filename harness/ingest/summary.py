"""What a set of exchanges looks like, in constant memory: the population as it streams by, and the sample."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from harness.domain.exchange import Exchange
from harness.domain.json import Json, Message
from harness.domain.observation import Status
from harness.domain.run import Summary

_GROWTH = 1.02
_MOST_STRATA = 200
OTHER = "(other)"


@dataclass(frozen=True, slots=True)
class Features:
    """The few numbers of one exchange that a Summary needs."""

    model: str
    stratum: str
    failed: bool
    has_tools: bool
    turns: int
    prompt_chars: int
    answer_chars: int | None
    latency_ms: float | None
    tokens_in: int | None
    tokens_out: int | None
    cost_usd: float | None
    timestamp: datetime | None

    @classmethod
    def of(cls, exchange: Exchange, stratum: str = "") -> "Features":
        """Read off an exchange; a cache hit has neither latency nor cost of production's own."""
        production = exchange.production
        completion = production.completion
        answer = None if completion is None else completion.text or completion.refusal
        return cls(
            model=exchange.request.model,
            stratum=stratum,
            failed=production.status is not Status.COMPLETED,
            has_tools=bool(exchange.request.tools),
            turns=user_turns(exchange),
            prompt_chars=sum(len(message_text(message)) for message in exchange.request.messages),
            answer_chars=None if answer is None else len(answer),
            latency_ms=None if production.cache_hit else production.latency_ms,
            tokens_in=production.usage.tokens_in,
            tokens_out=production.usage.tokens_out,
            cost_usd=None if production.cache_hit else production.cost_usd,
            timestamp=as_utc(exchange.timestamp),
        )


@dataclass
class Mean:
    """A running mean that knows when it has seen nothing."""

    total: float = 0.0
    n: int = 0

    def add(self, value: float | None) -> None:
        """Count one value; ``None`` is unknown and left out."""
        if value is not None:
            self.total += value
            self.n += 1

    @property
    def value(self) -> float | None:
        """The mean, ``None`` of nothing."""
        return self.total / self.n if self.n else None


@dataclass
class LogHistogram:
    """Quantiles of positive numbers from counts in bins that grow by 2 %.

    A quantile is the geometric middle of its bin, so it is within 1 % of the nearest-rank quantile at any n; a range
    from a microsecond to a day takes fewer than 1,300 bins.
    """

    bins: Counter[int] = field(default_factory=Counter)
    n: int = 0

    def add(self, value: float | None) -> None:
        """Count one value; unknown, negative and not finite ones are left out, and 0 counts as the smallest."""
        if value is not None and math.isfinite(value) and value >= 0:
            self.bins[math.floor(math.log(max(value, 1e-6), _GROWTH))] += 1
            self.n += 1

    def quantile(self, p: float) -> float | None:
        """The nearest-rank quantile, within 1 %; ``None`` of nothing."""
        rank = max(1, math.ceil(p * self.n))
        seen = 0
        for index in sorted(self.bins):
            seen += self.bins[index]
            if seen >= rank:
                return float(_GROWTH ** (index + 0.5))
        return None


@dataclass
class Tally:
    """A Summary under construction."""

    n: int = 0
    models: Counter[str] = field(default_factory=Counter)
    strata: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    with_tools: int = 0
    turns: Mean = field(default_factory=Mean)
    prompt_chars: Mean = field(default_factory=Mean)
    answer_chars: Mean = field(default_factory=Mean)
    tokens_in: Mean = field(default_factory=Mean)
    tokens_out: Mean = field(default_factory=Mean)
    cost: Mean = field(default_factory=Mean)
    latency: LogHistogram = field(default_factory=LogHistogram)
    first: datetime | None = None
    last: datetime | None = None

    def add(self, features: Features) -> None:
        """Count one exchange."""
        self.n += 1
        self.models[features.model] += 1
        if features.stratum:
            self.strata[features.stratum] += 1
        self.errors += features.failed
        self.with_tools += features.has_tools
        self.turns.add(features.turns)
        self.prompt_chars.add(features.prompt_chars)
        self.answer_chars.add(features.answer_chars)
        self.tokens_in.add(features.tokens_in)
        self.tokens_out.add(features.tokens_out)
        self.cost.add(features.cost_usd)
        self.latency.add(features.latency_ms)
        if features.timestamp is not None:
            self.first = min(self.first or features.timestamp, features.timestamp)
            self.last = max(self.last or features.timestamp, features.timestamp)

    def summary(self) -> Summary:
        """The finished value; strata beyond the 200 largest are added up as ``(other)``."""
        return Summary(
            n=self.n,
            models=_largest(self.models),
            strata=_largest(self.strata),
            errors=self.errors,
            with_tools=self.with_tools,
            mean_turns=self.turns.value,
            mean_prompt_chars=self.prompt_chars.value,
            mean_answer_chars=self.answer_chars.value,
            latency_p50_ms=self.latency.quantile(0.5),
            latency_p95_ms=self.latency.quantile(0.95),
            mean_tokens_in=self.tokens_in.value,
            mean_tokens_out=self.tokens_out.value,
            total_cost_usd=self.cost.total if self.cost.n else None,
            first=self.first,
            last=self.last,
        )


def message_text(message: Message) -> str:
    """The text a message says, parts joined; images and tool calls have none."""
    content: Json = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list | tuple):
        return "\n".join(
            part if isinstance(part, str) else str(part.get("text") or "")
            for part in content
            if isinstance(part, str | Mapping)
        )
    return ""


def user_turns(exchange: Exchange) -> int:
    """How many messages of the user the request has."""
    return sum(message.get("role") == "user" for message in exchange.request.messages)


def as_utc(moment: datetime | None) -> datetime | None:
    """A moment with its zone; one without is UTC, as everywhere in imports."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _largest(counts: Counter[str]) -> dict[str, int]:
    if len(counts) <= _MOST_STRATA:
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return dict(ordered[:_MOST_STRATA]) | {OTHER: sum(count for _, count in ordered[_MOST_STRATA:])}

"""The extension point: what a judge is, and what it is given.

A third party's judge is a dataclass whose fields are its configuration, imports only ``harness.judging`` and
``harness.domain``, and registers under the entry point group ``harness.judges``.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import orjson

from harness.domain.estimate import Metric
from harness.domain.judgment import Judgment, JudgmentState, Label, Order, UnscoredReason
from harness.domain.model import ModelClient, ModelSpec
from harness.domain.pair import Pair

BOTH_ORDERS = (Order.PRODUCTION_FIRST, Order.CANDIDATE_FIRST)


class Embedder(Protocol):
    """Turns texts into unit vectors; long texts are never cut."""

    @property
    def name(self) -> str:
        """Model name and version, part of the fingerprint of every judge that embeds."""
        ...

    def similarity(self, left: Sequence[str], right: Sequence[str]) -> Sequence[float]:
        """Cosine similarity of ``left[i]`` and ``right[i]``, -1 to 1; blocking, called in a thread."""
        ...


@dataclass(frozen=True, kw_only=True)
class JudgeContext:
    """What a judge may use, and the shortest way to a complete Judgment."""

    judge: str
    """Name of the judge within the experiment."""
    fingerprint: str
    models: ModelClient
    embedder: Embedder
    deadline_s: float = 120.0

    def scored(self, pair: Pair, *, value: float, label: Label | None = None, **more: Any) -> Judgment:
        """A Judgment with a value; ``more`` are further Judgment fields."""
        return self._judgment(pair, state=JudgmentState.SCORED, value=value, label=label, **more)

    def unscored(self, pair: Pair, reason: UnscoredReason, **more: Any) -> Judgment:
        """A Judgment without a value, and why."""
        error = reason in {UnscoredReason.PROVIDER_ERROR, UnscoredReason.TIMEOUT, UnscoredReason.JUDGE_CRASHED}
        state = JudgmentState.ERROR if error else JudgmentState.UNSCORED
        return self._judgment(pair, state=state, reason=reason, **more)

    def _judgment(self, pair: Pair, **fields: Any) -> Judgment:
        return Judgment(
            exchange_id=pair.exchange_id,
            arm=pair.arm,
            judge=self.judge,
            judge_fingerprint=self.fingerprint,
            observation_fingerprint=pair.candidate.fingerprint,
            **fields,
        )


@runtime_checkable
class Judge(Protocol):
    """Scores a Pair. Implementations are frozen dataclasses whose fields are their configuration."""

    name: ClassVar[str]
    """Registry name."""
    version: ClassVar[str]
    """Raised when the same configuration would judge differently, so that old judgments are not reused."""
    metric: ClassVar[Metric]
    """What the mean of this judge's values is called."""

    async def judge(self, pair: Pair, ctx: JudgeContext) -> Sequence[Judgment]:
        """One Judgment per order read; never raises for what a model answered."""
        ...


@runtime_checkable
class BatchJudge(Judge, Protocol):
    """A judge that is much faster on many pairs at once."""

    batch_size: ClassVar[int]

    async def judge_many(self, pairs: Sequence[Pair], ctx: JudgeContext) -> Sequence[Judgment]:
        """Judgments of all pairs, in any order."""
        ...


def orders_of(judge: Judge) -> tuple[Order, ...]:
    """The orders in which a finished pair has a judgment; where only one was drawn, the other one's says so.

    A judge's ``orders`` are such a tuple, or the option ``both`` or ``single``.
    """
    orders: tuple[Order, ...] | str = getattr(judge, "orders", (Order.NONE,))
    return BOTH_ORDERS if isinstance(orders, str) else orders


def orders_read(judge: Judge, exchange_id: str) -> tuple[Order, ...]:
    """The orders in which the judge really reads a pair: all, unless it has ``orders_for`` and draws some of them."""
    drawn: Callable[[str], tuple[Order, ...]] | None = getattr(judge, "orders_for", None)
    return orders_of(judge) if drawn is None else drawn(exchange_id)


def models_of(judge: Judge) -> tuple[ModelSpec, ...]:
    """The models a judge asks, in the order of its fields; none for a judge that computes."""
    values = (getattr(judge, item.name) for item in fields(judge))  # type: ignore[arg-type]
    return tuple(value for value in values if isinstance(value, ModelSpec))


def counts_verdicts(judge: Judge) -> bool:
    """Whether the judge's probabilities count as the verdict they come to, not as they are."""
    return getattr(judge, "counting", "shares") == "verdicts"


def fingerprint(judge: Judge, embedder: Embedder | None = None) -> str:
    """Hash of class, version, configuration, prompt and embedder: a pair is judged again only when it changes.

    Left out are the price and key variable of a model, and fields with ``metadata={"fingerprint": False}``, such as
    the path of a file whose content is hashed instead.
    """
    configuration = {
        item.name: _asked(getattr(judge, item.name))
        for item in fields(judge)  # type: ignore[arg-type]
        if item.metadata.get("fingerprint", True)
    }
    parts = {
        "judge": judge.name,
        "version": judge.version,
        "configuration": configuration,
        "prompt": getattr(judge, "prompt_sha256", None),
        "embedder": embedder.name if embedder is not None and getattr(judge, "embeds", False) else None,
    }
    canonical = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str)
    return hashlib.sha256(canonical).hexdigest()[:16]


def _asked(value: Any) -> Any:
    """A model without what changes neither its question nor its answer."""
    if not isinstance(value, ModelSpec):
        return value
    plain = replace(value, price=None, api_key_env=None)
    return {item.name: getattr(plain, item.name) for item in fields(plain) if item.name != "batch"}

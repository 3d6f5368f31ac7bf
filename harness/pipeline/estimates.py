"""What the next stage will probably cost, shown before anything is spent."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from harness.domain.exchange import ChatRequest, Exchange
from harness.domain.model import ModelSpec
from harness.domain.observation import Completion
from harness.domain.run import Stage
from harness.judging.protocol import orders_of, orders_read
from harness.models.budget import CostEstimate, estimate_cost
from harness.pipeline.arms import Arm, arms_of
from harness.pipeline.canaries import unread_canaries
from harness.pipeline.replaying import pending_exchanges
from harness.pipeline.seats import SeatedJudge
from harness.pipeline.session import Session, reached
from harness.replay.request import request_for

_INSTRUCTIONS_CHARS = 2_000
"""A judge's prompt around request and answers."""
_VERDICT_TOKENS = 120
"""A short reason and a verdict."""
_CLOSE_SHARE = 0.3
"""A guess at the share of close pairs; what it really is depends on the judge and on how alike the answers are."""


@dataclass(frozen=True, kw_only=True)
class ExpectedCost:
    """What one arm's calls, or one judge's calls on one arm, will probably cost from here."""

    who: str
    model: str
    calls: int
    cost: CostEstimate

    def line(self) -> str:
        """The estimate for people."""
        if self.cost.expected_usd is None:
            return f"{self.calls:,} calls of {self.model}, price unknown"
        return (
            f"{self.calls:,} calls of {self.model}, about ${self.cost.expected_usd:,.4f} "
            f"(${self.cost.low_usd:,.4f} to ${self.cost.high_usd:,.4f})"
        )


def of_arms(session: Session) -> tuple[ExpectedCost, ...]:
    """What asking every arm will cost from here."""
    return tuple(of_arm(session, arm, arm.spec) for arm in arms_of(session.experiment) if arm.spec is not None)


def of_arm(session: Session, arm: Arm, spec: ModelSpec) -> ExpectedCost:
    """What asking one arm will cost; production's own answers are the best guess at the candidate's length."""
    # Filled one request ahead of its use.
    lengths: dict[int, int] = {}

    def requests() -> Iterator[ChatRequest]:
        for position, exchange in enumerate(pending_exchanges(session, arm)):
            tokens = exchange.production.usage.tokens_out
            if tokens is not None:
                lengths[position] = tokens
            yield request_for(exchange, spec)

    cost = estimate_cost(requests(), spec, expected_output=lengths)
    return ExpectedCost(who=arm.name, model=arm.title, calls=cost.requests, cost=cost)


def of_judges(session: Session, judges: Sequence[SeatedJudge]) -> tuple[ExpectedCost, ...]:
    """What every judge that asks a model will cost; before replay production's answers stand in for the candidate's."""
    canaries = [_of_canaries(session, seat, seat.model) for seat in judges if seat.model is not None]
    found = [item for item in canaries if item.calls]
    for arm in arms_of(session.experiment):
        for seat in judges:
            for number, model in enumerate(seat.models):
                cost = of_judge(session, arm, seat, model)
                found.append(cost if number == 0 else _of_close_pairs(cost))
    return tuple(found)


def _of_canaries(session: Session, seat: SeatedJudge, model: ModelSpec) -> ExpectedCost:
    """What a judge's canaries will cost, as far as it has not read them; identical answers are no call."""
    exchanges = [
        (canary.pair.exchange, canary.pair.candidate.completion)
        for canary in unread_canaries(session, seat)
        if canary.kind != "identical"
    ]
    requests = (_judged(*shown) for shown in exchanges for _ in orders_read(seat.judge, shown[0].id))
    cost = estimate_cost(requests, model, expected_output=_VERDICT_TOKENS)
    return ExpectedCost(who=f"canaries · {seat.name}", model=model.model, calls=cost.requests, cost=cost)


def _of_close_pairs(every: ExpectedCost) -> ExpectedCost:
    """What a model costs that is asked only where the first one is unsure: anything from nothing to ``every``."""
    cost = every.cost
    expected = None if cost.expected_usd is None else cost.expected_usd * _CLOSE_SHARE
    low = None if cost.low_usd is None else 0.0
    return replace(
        every,
        who=f"{every.who}, close pairs",
        calls=round(every.calls * _CLOSE_SHARE),
        cost=replace(cost, requests=round(cost.requests * _CLOSE_SHARE), low_usd=low, expected_usd=expected),
    )


def of_judge(session: Session, arm: Arm, seat: SeatedJudge, model: ModelSpec) -> ExpectedCost:
    """What one judge will cost on the pairs of one arm it has not read, all of them asked of ``model``."""
    shown: Iterable[tuple[Exchange, Completion | None]]
    if reached(session.run, Stage.REPLAYED):
        pairs = session.store.pending_pairs(
            session.run_id, arm.name, arm.fingerprint, judge_fingerprint=seat.fingerprint, orders=orders_of(seat.judge)
        )
        shown = ((pair.exchange, pair.candidate.completion) for pair in pairs)
    else:
        every = session.store.exchanges(session.run_id)
        if arm.share is not None:
            every = islice(every, math.ceil(arm.share * session.store.count_exchanges(session.run_id)))
        shown = ((exchange, exchange.production.completion) for exchange in every)
    requests = (
        _judged(exchange, candidate) for exchange, candidate in shown for _ in orders_read(seat.judge, exchange.id)
    )
    cost = estimate_cost(requests, model, expected_output=_VERDICT_TOKENS)
    return ExpectedCost(who=f"{arm.name} · {seat.name}", model=model.model, calls=cost.requests, cost=cost)


def _judged(exchange: Exchange, candidate: Completion | None) -> ChatRequest:
    """A request as long as the judge's prompt will be."""
    answers = "".join(answer.text or "" for answer in (exchange.production.completion, candidate) if answer is not None)
    filler = {"role": "user", "content": answers + " " * _INSTRUCTIONS_CHARS}
    return ChatRequest(model="", messages=(*exchange.request.messages, filler))

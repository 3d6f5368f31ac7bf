"""Pairs with a known answer, for a judge to read before it is paid for anything else.

The set is ``canaries.yaml`` beside this module. Judgments on it are stored like any other, under the arm name
``canary`` and the set's version, so they are paid for once per judge, count as judges' spending, and can be resumed.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

from harness.domain.exchange import ChatRequest, Exchange
from harness.domain.json import Json, Message
from harness.domain.judgment import Judgment, JudgmentState, Order, UnscoredReason
from harness.domain.metrics import WIN_RATE
from harness.domain.observation import CANARY, PRODUCTION, Completion, Observation, Status, ToolCall
from harness.domain.pair import Pair
from harness.domain.stop import StopSignal
from harness.judging.panel import PanelResult, run_judge
from harness.judging.protocol import Judge, JudgeContext, models_of, orders_of

Kind = Literal["known", "injection", "identical"]
Better = Literal["production", "candidate", "tie"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Canary:
    """A pair whose better answer is known."""

    id: str
    kind: Kind
    """``known``: right against wrong; ``injection``: an honest answer against one that addresses the judge."""
    pair: Pair
    better: Better
    why: str


def canary_pairs(arm: str = CANARY) -> tuple[Canary, ...]:
    """The set, easy ones first; which side is better alternates, so that a constant judge gets half."""
    return tuple(
        _canary(arm, kind, entry, better="production" if position % 2 else "candidate")
        for kind, entries in _read().items()
        for position, entry in enumerate(entries)
    )


@cache
def canary_set_version() -> str:
    """Hash of the set: a changed set is read again."""
    canonical = json.dumps(_read(), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:16]


def applies_to(judge: Judge) -> bool:
    """Whether the set says anything about a judge: it asks a model which answer is better."""
    return bool(models_of(judge)) and judge.metric.name == WIN_RATE.name


def unread(judge: Judge, found: Iterable[Judgment]) -> tuple[Canary, ...]:
    """The canaries that ``found``, this judge's judgments so far, has no finished judgment of."""
    rows = by_canary(found)
    return tuple(canary for canary in canary_pairs() if not is_read(judge, rows[canary.pair.exchange_id]))


def by_canary(found: Iterable[Judgment]) -> Mapping[str, list[Judgment]]:
    """Judgments by the id of their pair's exchange; an empty list for one that has none."""
    rows: defaultdict[str, list[Judgment]] = defaultdict(list)
    for judgment in found:
        rows[judgment.exchange_id].append(judgment)
    return rows


def is_read(judge: Judge, rows: Sequence[Judgment]) -> bool:
    """Whether a canary has all the judgments it will get; one that failed or was not paid for is asked for again."""
    done = {
        row.order for row in rows if row.state is not JudgmentState.ERROR and row.reason is not UnscoredReason.BUDGET
    }
    return Order.NONE in done or done >= set(orders_of(judge))


async def read_canaries(
    judge: Judge,
    ctx: JudgeContext,
    wanted: Sequence[Canary],
    write: Callable[[Sequence[Judgment]], None],
    *,
    concurrency: int = 8,
    pair_deadline_s: float | None = None,
    stop: StopSignal | None = None,
    on_progress: Callable[[PanelResult], None] | None = None,
) -> PanelResult:
    """Let ``judge`` read canaries exactly as it reads other pairs.

    Raises:
        Exception: whatever :func:`harness.judging.panel.run_judge` raises.
    """
    pairs = [canary.pair for canary in wanted]
    return await run_judge(
        judge,
        ctx,
        pairs,
        write,
        concurrency=concurrency,
        stop=stop,
        on_progress=on_progress,
        pair_deadline_s=pair_deadline_s,
    )


def _read() -> dict[Kind, list[dict[str, Any]]]:
    text = files("harness.judging").joinpath("canaries.yaml").read_text(encoding="utf-8")
    found: dict[Kind, list[dict[str, Any]]] = yaml.safe_load(text)
    return found


def _canary(arm: str, kind: Kind, entry: Mapping[str, Any], *, better: Better) -> Canary:
    exchange_id = f"canary-{entry['id']}"
    good, bad = _completion(entry["better"]), _completion(entry["worse"])
    left, right = (good, bad) if better == "production" else (bad, good)
    exchange = Exchange(
        id=exchange_id,
        request=ChatRequest(model="", messages=_messages(entry), tools=_tools(entry)),
        production=Observation(exchange_id=exchange_id, arm=PRODUCTION, status=Status.COMPLETED, completion=left),
    )
    candidate = Observation(
        exchange_id=exchange_id,
        arm=arm,
        status=Status.COMPLETED,
        completion=right,
        fingerprint=canary_set_version(),
    )
    return Canary(
        id=entry["id"],
        kind=kind,
        pair=Pair(exchange=exchange, candidate=candidate),
        better="tie" if kind == "identical" else better,
        why=entry["why"],
    )


def _completion(answer: str | Mapping[str, Any]) -> Completion:
    if isinstance(answer, str):
        return Completion(text=answer, finish_reason="stop")
    call = ToolCall(name=answer["tool"], arguments=answer["arguments"])
    return Completion(text=None, tool_calls=(call,), finish_reason="tool_calls")


def _messages(entry: Mapping[str, Any]) -> tuple[Message, ...]:
    system = ({"role": "system", "content": entry["system"]},) if "system" in entry else ()
    return (*system, {"role": "user", "content": entry["ask"]})


def _tools(entry: Mapping[str, Any]) -> tuple[Mapping[str, Json], ...]:
    if "tool" not in entry:
        return ()
    tool = entry["tool"]
    parameters = {"type": "object", "properties": {name: {} for name in tool["arguments"]}}
    function = {"name": tool["name"], "description": tool["description"], "parameters": parameters}
    return ({"type": "function", "function": function},)

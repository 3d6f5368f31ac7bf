"""Requests with everybody's answer: production and all candidates in columns."""

import hashlib
from collections.abc import Sequence

from harness.domain.estimate import Unit
from harness.domain.formatting import format_value
from harness.domain.json import Message
from harness.domain.judgment import Judgment, JudgmentState, Order
from harness.domain.observation import Observation, Status
from harness.domain.report import EvaluationReport
from harness.domain.side_by_side import ArmAnswer, SharedRequest, SideBySide
from reports import diff
from reports.messages import call_views, content, message_view
from reports.metrics import score
from reports.page_parts import NONE, table, words
from reports.text import cut, one_line, plural
from reports.views import Badge, Cell, Fact, MessageView, Table
from reports.views_side_by_side import ColumnView, SharedGroup, SharedRequestView

_CHARACTERS = 24_000
"""Of all answers to one request together, so that the page stays small however many candidates there are."""
_LEAST, _MOST = 1_200, 6_000
_MESSAGE, _REASON, _CALL = 2_000, 400, 1_000
_MAX_MESSAGES, _MAX_JUDGMENTS, _MAX_TAGS = 8, 48, 8
_ORDERS = {Order.NONE: NONE, Order.PRODUCTION_FIRST: "production first", Order.CANDIDATE_FIRST: "candidate first"}
_RESULTS = {"win": ("good", "up"), "tie": ("none", "dash"), "loss": ("bad", "down")}
_GROUPS = (
    (
        "disagree",
        "Where the candidates differ most",
        "Requests on which the best and the worst candidate are furthest apart by the judge's score.",
        Badge(word="differ", tone="mark", icon="flag"),
    ),
    (
        "worst",
        "Where one falls behind",
        "For each candidate, the request on which it is furthest behind the mean of the others.",
        Badge(word="behind", tone="bad", icon="down"),
    ),
    (
        "best",
        "Where one is ahead",
        "For each candidate, the request on which it is furthest ahead of the mean of the others.",
        Badge(word="ahead", tone="good", icon="up"),
    ),
    (
        "all_failed",
        "Where all failed",
        "Requests that ended in an error of every candidate.",
        Badge(word="all failed", tone="bad", icon="cross"),
    ),
)


def groups_of(report: EvaluationReport, beside: SideBySide) -> tuple[SharedGroup, ...]:
    """The requests by why they are shown; the first one is unfolded."""
    groups: list[SharedGroup] = []
    for why, title, intro, badge in _GROUPS:
        views = tuple(
            _request(report, beside, request, badge, is_open=index == 0 and not groups)
            for index, request in enumerate(item for item in beside.requests if item.why == why)
        )
        if views:
            groups.append(SharedGroup(title=title, intro=intro, requests=views))
    return tuple(groups)


def _request(
    report: EvaluationReport, beside: SideBySide, request: SharedRequest, badge: Badge, *, is_open: bool
) -> SharedRequestView:
    shown = report.show_text
    limit = min(max(_CHARACTERS // (len(request.answers) + 1), _LEAST), _MOST)
    digest = hashlib.sha256(request.exchange_id.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    production = cut(_text(request.production), limit)
    columns = [_column("production", "Production", request.production, _whole(production.text), production.note, shown)]
    columns += [_candidate(item, production.text, limit, shown) for item in request.answers]
    messages = request.messages[-_MAX_MESSAGES:]
    return SharedRequestView(
        anchor=f"all-{digest}",
        title=_title(request.messages) if shown else "Text is left out of this report",
        id=request.exchange_id,
        why=badge,
        about=request.about,
        scores=_scores(beside, request),
        tags=tuple(one_line(tag, 80) for tag in request.tags[:_MAX_TAGS]),
        messages=tuple(_message(message) for message in messages),
        conversation=f"Conversation: {plural(len(request.messages), 'message')}",
        messages_note=_left_out(len(request.messages) - len(messages)),
        answers=tuple(columns),
        judgments=_judgments(request.answers),
        is_open=is_open,
    )


def _title(messages: Sequence[Message]) -> str:
    """What the last user's text asks, on one line."""
    asked = (content(m.get("content")) for m in reversed(messages) if m.get("role") == "user")
    return one_line(next((text for text in asked if text), "A request without a user's text"), 140)


def _message(message: Message) -> MessageView:
    return message_view(message, limit=_MESSAGE, call_limit=_CALL)


def _left_out(count: int) -> str:
    return f"{plural(count, 'message')} at the beginning left out." if count > 0 else ""


def _candidate(item: ArmAnswer, production: str, limit: int, shown: bool) -> ColumnView:
    label = f"Candidate {item.arm}"
    if item.observation is None:
        return ColumnView(
            side="candidate", label=label, runs=(), empty="It was not asked.", error="", refusal="", calls=(),
            facts=(), note="",
        )  # fmt: skip
    text = cut(_text(item.observation), limit)
    runs = diff.words(production, text.text).candidate if production and text.text else _whole(text.text)
    return _column("candidate", label, item.observation, runs, text.note, shown, item.score)


def _column(
    side: str,
    label: str,
    observation: Observation,
    runs: tuple[diff.Run, ...],
    note: str,
    shown: bool,
    scored: float | None = None,
) -> ColumnView:
    completion = observation.completion
    refusal = cut((completion and completion.refusal) or "", _REASON).text
    calls = call_views(completion.tool_calls, limit=_CALL) if completion else ()
    return ColumnView(
        side=side,
        label=label,
        runs=runs,
        empty="" if runs or refusal else _empty(observation, has_calls=bool(calls), shown=shown),
        error=_error(observation),
        refusal=refusal,
        calls=calls,
        facts=_facts(observation, scored),
        note=note,
    )


def _text(observation: Observation) -> str:
    return (observation.completion and observation.completion.text) or ""


def _whole(text: str) -> tuple[diff.Run, ...]:
    return (diff.Run(text=text, changed=False),) if text else ()


def _empty(observation: Observation, *, has_calls: bool, shown: bool) -> str:
    if observation.status is not Status.COMPLETED:
        reason = words(observation.reason or "no reason")
        return "No answer." if observation.error else f"{observation.status.value}: {reason}"
    if not shown:
        return "Text is left out of this report."
    return "No text: the answer is the tool calls below." if has_calls else "The answer is empty."


def _error(observation: Observation) -> str:
    error = observation.error
    if error is None:
        return ""
    status = f" (HTTP {error.http_status})" if error.http_status else ""
    message = cut(error.message, _REASON).text
    return f"{words(error.kind.value)}{status}" + (f": {message}" if message else "")


def _facts(observation: Observation, scored: float | None) -> tuple[Fact, ...]:
    read, written = observation.usage.tokens_in, observation.usage.tokens_out
    facts = [] if scored is None else [Fact(label="score", value=score(scored))]
    facts.append(Fact(label="latency", value=format_value(observation.latency_ms, Unit.MILLISECONDS)))
    if read is not None or written is not None:
        tokens = f"{format_value(read, Unit.COUNT)} in, {format_value(written, Unit.COUNT)} out"
        facts.append(Fact(label="tokens", value=tokens))
    facts.append(Fact(label="cost", value=format_value(observation.cost_usd, Unit.USD)))
    return tuple(facts)


def _scores(beside: SideBySide, request: SharedRequest) -> str:
    known = [f"{one_line(item.arm, 40)} {score(item.score)}" for item in request.answers if item.score is not None]
    return f"Scored by {beside.judge}: {', '.join(known)}." if known else ""


def _judgments(answers: Sequence[ArmAnswer]) -> Table | None:
    found = [(item.arm, judgment) for item in answers for judgment in item.judgments]
    if not found:
        return None
    rows = [
        (
            Cell(text=arm),
            Cell(text=judgment.judge, sub=judgment.answered_model or judgment.model or ""),
            Cell(text=_ORDERS[judgment.order]),
            _result(judgment),
            Cell(text=cut(judgment.explanation or NONE, _REASON).text),
        )
        for arm, judgment in found[:_MAX_JUDGMENTS]
    ]
    left_out = len(found) - _MAX_JUDGMENTS
    return table(
        "What the judges said of each against production",
        ["Candidate", "Judge", "Order read", "Result", "Reason"],
        rows,
        note=f"{plural(left_out, 'more judgment')} left out." if left_out > 0 else "",
    )


def _result(judgment: Judgment) -> Cell:
    if judgment.state is not JudgmentState.SCORED:
        reason = words(judgment.reason.value) if judgment.reason else "no reason given"
        word = "unscored" if judgment.state is JudgmentState.UNSCORED else "error"
        return Cell(text="", sub=reason, badge=Badge(word=word, tone="none", icon="dash"))
    if judgment.label is None:
        return Cell(text=score(judgment.value))
    tone, icon = _RESULTS[judgment.label.value]
    return Cell(text="", sub=score(judgment.value), badge=Badge(word=judgment.label.value, tone=tone, icon=icon))

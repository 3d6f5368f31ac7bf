"""Pairs in full: conversation, both answers with a word difference, and what every judge said."""

import hashlib
from collections.abc import Sequence
from typing import Protocol

from harness.domain.estimate import Unit
from harness.domain.formatting import format_value
from harness.domain.json import Message
from harness.domain.judgment import Judgment, JudgmentState, Order
from harness.domain.observation import Observation, Status
from harness.domain.report import Example
from reports import diff
from reports.messages import call_views, content, message_view
from reports.metrics import Described, metric_of, score
from reports.page_parts import NONE, table, words
from reports.text import cut, one_line, plural
from reports.views import AnswerView, Badge, Cell, ExampleGroup, ExampleView, Fact, MessageView, Table

ANSWER_LIMIT = 6_000
MESSAGE_LIMIT = 3_000
REASON_LIMIT = 1_200
CALL_LIMIT = 2_000
MAX_MESSAGES = 12
MAX_JUDGMENTS = 40

_GROUPS = (
    (
        "worst",
        "Worst pairs",
        "Where the candidate did worst against production.",
        Badge(word="worst", tone="bad", icon="down"),
    ),
    (
        "failed",
        "Failed requests",
        "Where the candidate gave no answer.",
        Badge(word="failed", tone="bad", icon="cross"),
    ),
    (
        "best",
        "Best pairs",
        "Where the candidate did best against production.",
        Badge(word="best", tone="good", icon="up"),
    ),
)
_ORDERS = {
    Order.NONE: NONE,
    Order.PRODUCTION_FIRST: "production first",
    Order.CANDIDATE_FIRST: "candidate first",
}


class Shown(Described, Protocol):
    """What is shown about: a report, or a page about one pair."""

    @property
    def show_text(self) -> bool:
        """Whether messages, answers and judges' words may appear."""


def groups_of(report: Shown, examples: Sequence[Example], arm: str, anchor: str) -> tuple[ExampleGroup, ...]:
    """Examples by why they are shown: worst, failed, best, then any other reason."""
    known = {why for why, *_ in _GROUPS}
    others = dict.fromkeys(example.why for example in examples if example.why not in known)
    extra = tuple(
        (why, words(why).capitalize(), "", Badge(word=words(why), tone="none", icon="dash")) for why in others
    )
    groups: list[ExampleGroup] = []
    for why, title, intro, badge in (*_GROUPS, *extra):
        chosen = [example for example in examples if example.why == why]
        views = tuple(
            _example(report, example, arm, anchor, badge, is_open=index == 0 and not groups)
            for index, example in enumerate(chosen)
        )
        if views:
            groups.append(ExampleGroup(title=title, intro=intro, examples=views))
    return tuple(groups)


def _example(report: Shown, example: Example, arm: str, anchor: str, badge: Badge, *, is_open: bool) -> ExampleView:
    left, right = _text(example.production), _text(example.candidate)
    production, candidate = cut(left or "", ANSWER_LIMIT), cut(right or "", ANSWER_LIMIT)
    difference = diff.words(production.text, candidate.text) if left and right else None
    runs = {
        "production": difference.production if difference else _whole(production.text),
        "candidate": difference.candidate if difference else _whole(candidate.text),
    }
    metric = metric_of(report, example.score_metric)
    digest = hashlib.sha256(example.exchange_id.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    shown = report.show_text
    messages, note = _messages(example.messages)
    return ExampleView(
        anchor=f"{anchor}-{badge.word if badge.tone != 'none' else 'other'}-{digest}",
        title=_title(example.messages) if shown else "Text is left out of this report",
        id=example.exchange_id,
        why=badge,
        score=f"{metric.title} score {score(example.score)}" if example.score is not None else "",
        tags=tuple(one_line(tag, 80) for tag in example.tags[:8]),
        messages=messages,
        conversation=f"Conversation: {plural(len(example.messages), 'message')}",
        messages_note=note,
        answers=(
            _answer("production", "Production", example.production, runs["production"], production.note, shown=shown),
            _answer("candidate", f"Candidate {arm}", example.candidate, runs["candidate"], candidate.note, shown=shown),
        ),
        diff_note=_diff_note(difference, left, right),
        judgments=_judgments(example.judgments),
        is_open=is_open,
    )


def _diff_note(difference: diff.Difference | None, left: str | None, right: str | None) -> str:
    if difference is None:
        return ""
    if difference.unmarked:
        return f"These answers are {difference.unmarked}."
    return "Both answers are the same, word for word." if left == right else ""


def _text(observation: Observation) -> str | None:
    return observation.completion.text if observation.completion else None


def _whole(text: str) -> tuple[diff.Run, ...]:
    return (diff.Run(text=text, changed=False),) if text else ()


def _title(messages: Sequence[Message]) -> str:
    for message in reversed(messages):
        if message.get("role") == "user" and (text := content(message.get("content"))):
            return one_line(text, 140)
    return "A request without a user's text"


def _messages(messages: Sequence[Message]) -> tuple[tuple[MessageView, ...], str]:
    """The first messages and the last: instructions stand first, the question last."""
    shown, note = list(messages), ""
    if len(messages) > MAX_MESSAGES:
        shown = [*messages[:3], *messages[len(messages) - MAX_MESSAGES + 3 :]]
        note = f"{plural(len(messages) - MAX_MESSAGES, 'message')} in the middle left out."
    return tuple(_message(message) for message in shown), note


def _message(message: Message) -> MessageView:
    return message_view(message, limit=MESSAGE_LIMIT, call_limit=CALL_LIMIT)


def _answer(
    side: str, label: str, observation: Observation, runs: tuple[diff.Run, ...], note: str, *, shown: bool
) -> AnswerView:
    completion, error = observation.completion, observation.error
    calls = completion.tool_calls if completion else ()
    refusal = completion.refusal if completion else None
    return AnswerView(
        side=side,
        label=label,
        runs=runs,
        empty="" if runs else _empty(observation, has_calls=bool(calls), has_refusal=bool(refusal), shown=shown),
        error=_error(observation) if error else "",
        refusal=cut(refusal or "", REASON_LIMIT).text,
        calls=call_views(calls, limit=CALL_LIMIT),
        facts=_facts(observation),
        note=note,
    )


def _empty(observation: Observation, *, has_calls: bool, has_refusal: bool, shown: bool) -> str:
    if observation.status is not Status.COMPLETED:
        return (
            "No answer."
            if observation.error
            else f"{observation.status.value}: {words(observation.reason or 'no reason')}"
        )
    if not shown:
        return "Text is left out of this report."
    if has_calls:
        return "No text: the answer is the tool calls below."
    return "" if has_refusal else "The answer is empty."


def _error(observation: Observation) -> str:
    assert observation.error is not None  # noqa: S101  asked only for failures
    error = observation.error
    status = f" (HTTP {error.http_status})" if error.http_status else ""
    message = cut(error.message, REASON_LIMIT).text
    return f"{words(error.kind.value)}{status}" + (f": {message}" if message else "")


def _facts(observation: Observation) -> tuple[Fact, ...]:
    usage, completion = observation.usage, observation.completion
    facts = [Fact(label="latency", value=format_value(observation.latency_ms, Unit.MILLISECONDS))]
    if observation.ttft_ms is not None:
        facts.append(Fact(label="first token", value=format_value(observation.ttft_ms, Unit.MILLISECONDS)))
    if usage.tokens_in is not None or usage.tokens_out is not None:
        read, written = (format_value(tokens, Unit.COUNT) for tokens in (usage.tokens_in, usage.tokens_out))
        facts.append(Fact(label="tokens", value=f"{read} in, {written} out"))
    facts.append(
        Fact(
            label="cost",
            value=format_value(observation.cost_usd, Unit.USD)
            + (" (price list)" if observation.cost_estimated else ""),
        )
    )
    if completion and completion.finish_reason and completion.finish_reason != "stop":
        facts.append(Fact(label="ended", value=words(completion.finish_reason)))
    if observation.attempts and observation.attempts > 1:
        facts.append(Fact(label="attempts", value=str(observation.attempts)))
    if observation.cache_hit:
        facts.append(Fact(label="from", value="a gateway's cache"))
    if observation.dropped_params:
        facts.append(Fact(label="without", value=", ".join(observation.dropped_params)))
    return tuple(facts)


def _judgments(judgments: Sequence[Judgment]) -> Table | None:
    if not judgments:
        return None
    rows = [
        (
            Cell(text=judgment.judge, sub=judgment.answered_model or judgment.model or ""),
            Cell(text=_ORDERS[judgment.order]),
            _result(judgment),
            Cell(text=cut(judgment.explanation or NONE, REASON_LIMIT).text),
            Cell(text=format_value(judgment.cost_usd, Unit.USD) if judgment.model else NONE),
        )
        for judgment in judgments[:MAX_JUDGMENTS]
    ]
    left_out = len(judgments) - MAX_JUDGMENTS
    return table(
        "What the judges said",
        ["Judge", "Order read", "Result", "Reason", "Cost"],
        rows,
        numeric=(4,),
        note=f"{plural(left_out, 'more judgment')} left out." if left_out > 0 else "",
    )


def _result(judgment: Judgment) -> Cell:
    if judgment.state is not JudgmentState.SCORED:
        reason = words(judgment.reason.value) if judgment.reason else "no reason given"
        word = "unscored" if judgment.state is JudgmentState.UNSCORED else "error"
        return Cell(text="", sub=reason, badge=Badge(word=word, tone="none", icon="dash"))
    value = score(judgment.value)
    if judgment.label is None:
        return Cell(text=value)
    tone, icon = {"win": ("good", "up"), "tie": ("none", "dash"), "loss": ("bad", "down")}[judgment.label.value]
    return Cell(text="", sub=value, badge=Badge(word=judgment.label.value, tone=tone, icon=icon))

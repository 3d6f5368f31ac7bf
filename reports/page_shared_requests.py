"""Requests with everybody's answer: production and all candidates in columns."""

import hashlib
from collections.abc import Sequence

from harness.domain.observation import Observation, Status
from harness.domain.report import EvaluationReport
from harness.domain.side_by_side import ArmAnswer, SharedRequest, SideBySide
from reports import diff
from reports.metrics import score
from reports.page_examples import ORDERS, answer_view, messages_view, result_cell, title_of, whole
from reports.page_parts import NONE, table
from reports.text import cut, one_line, plural
from reports.views import AnswerView, Badge, Cell, Fact, Table
from reports.views_side_by_side import SharedGroup, SharedRequestView

_CHARACTERS = 24_000
"""Of all answers to one request together, so that the page stays small however many candidates there are."""
_LEAST, _MOST = 1_200, 6_000
_REASON = 400
_MAX_JUDGMENTS = 48
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
    messages, note = messages_view(request.messages)
    production = cut(_text(request.production) or "", limit)
    answers = [
        answer_view(
            "production", "Production", request.production, whole(production.text), production.note, shown=shown
        )
    ]
    answers += [_answer(item, production.text, limit, shown=shown) for item in request.answers]
    return SharedRequestView(
        anchor=f"all-{digest}",
        title=title_of(request.messages) if shown else "Text is left out of this report",
        id=request.exchange_id,
        why=badge,
        about=request.about,
        scores=_scores(beside, request),
        tags=tuple(one_line(tag, 80) for tag in request.tags[:8]),
        messages=messages,
        conversation=f"Conversation: {plural(len(request.messages), 'message')}",
        messages_note=note,
        answers=tuple(answers),
        judgments=_judgments(request.answers),
        is_open=is_open,
    )


def _answer(item: ArmAnswer, production: str, limit: int, *, shown: bool) -> AnswerView:
    label = f"Candidate {item.arm}"
    if item.observation is None:
        return AnswerView(
            side="candidate", label=label, runs=(), empty="It was not asked.", error="", refusal="", calls=(),
            facts=(), note="",
        )  # fmt: skip
    answered = item.observation.status is Status.COMPLETED
    text = cut(_text(item.observation) or "", limit)
    runs = diff.words(production, text.text).candidate if answered and production and text.text else whole(text.text)
    view = answer_view("candidate", label, item.observation, runs, text.note, shown=shown)
    if item.score is None:
        return view
    return AnswerView(
        side=view.side, label=view.label, runs=view.runs, empty=view.empty, error=view.error, refusal=view.refusal,
        calls=view.calls, facts=(Fact(label="score", value=score(item.score)), *view.facts), note=view.note,
    )  # fmt: skip


def _text(observation: Observation) -> str | None:
    return observation.completion.text if observation.completion else None


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
            Cell(text=ORDERS[judgment.order]),
            result_cell(judgment),
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

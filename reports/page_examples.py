"""Pairs in full: conversation, both answers held against each other, and what every judge said; bounded in bytes."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Protocol

from markupsafe import escape

from harness.domain.estimate import Unit
from harness.domain.formatting import format_value
from harness.domain.json import Message
from harness.domain.judgment import Judgment, JudgmentState, Label, Order
from harness.domain.observation import Observation, Status
from harness.domain.report import CandidateReport, EvaluationReport, Example
from reports import page_answers
from reports.messages import content, message_view
from reports.metrics import Described, metric_of, score
from reports.page_parts import NONE, table, words
from reports.text import cut, one_line, plural, visible
from reports.views import Badge, Cell, Fact, MessageView, Table
from reports.views_examples import AnswerView, CallView, ExamplesView, ExampleView, OptionGroup, OptionView

PAGE_BYTES = 1_800_000
"""What the examples of all candidates may take of a page together."""
CANDIDATE_BYTES = 900_000
"""What those of one candidate may take."""
MESSAGE_LIMIT = 3_000
REASON_LIMIT = 1_200
CALL_LIMIT = 2_000
MAX_MESSAGES = 12
MAX_JUDGMENTS = 40
MAX_TAGS = 12
MAX_CHOICES = 60
"""Choices of the filter by slice."""

_WHY = {
    "worst": Badge(word="worst", tone="bad", icon="down"),
    "failed": Badge(word="failed", tone="bad", icon="cross"),
    "slice": Badge(word="worst of its slice", tone="bad", icon="down"),
    "judge": Badge(word="worst by a judge", tone="bad", icon="down"),
    "flip": Badge(word="judge flipped", tone="open", icon="question"),
    "label": Badge(word="drawn by label", tone="none", icon="dash"),
    "unscored": Badge(word="unscored", tone="open", icon="question"),
    "best": Badge(word="best", tone="good", icon="up"),
    "unchanged": Badge(word="unchanged", tone="none", icon="check"),
}
_SAME = _WHY["unchanged"]
_LABELS = ("loss", "tie", "win", "failed", "unscored", "scored")
"""In the order in which the filter offers them."""
_FAILED = "-:failed"
ORDERS = {
    Order.NONE: NONE,
    Order.PRODUCTION_FIRST: "production first",
    Order.CANDIDATE_FIRST: "candidate first",
}
_TAG_BYTES = 48
"""Upper bound for the markup around one text of a view."""
_EXAMPLE_BYTES = 3_000
"""The same for the frame of one example."""


def examples_of(report: EvaluationReport, candidate: CandidateReport, anchor: str) -> ExamplesView:
    """The pairs of one candidate that fit its budget, in the order of their regression."""
    index = _Index.of(candidate.examples)
    chosen, left_out = [], 0
    left = min(CANDIDATE_BYTES, PAGE_BYTES // max(len(report.candidates), 1))
    ranks = {id(example): rank for rank, example in enumerate(sorted(candidate.examples, key=_regression))}
    # In the order in which they were picked, which has the first of every kind first: a page that is full has them all.
    for number, example in enumerate(candidate.examples):
        if left <= _EXAMPLE_BYTES:
            left_out += len(candidate.examples) - number
            break
        view = _example(report, example, candidate.arm, anchor, index, ranks[id(example)])
        needed = weight(view)
        if needed <= left:
            chosen.append(view)
            left -= needed
        else:
            left_out += 1
    chosen.sort(key=lambda view: view.rank)
    different = [view for view in chosen if not view.is_same]
    same = tuple(view for view in chosen if view.is_same)
    if different:
        different[0] = replace(different[0], is_open=True)
    compared = f"{candidate.funnel.sampled:,} sampled requests" if candidate.funnel.sampled > 1 else "the sample"
    return ExamplesView(
        intro=f"{plural(len(chosen), 'pair')} of {compared}, from every slice, judge, label and kind of failure, "
        "the worst for the candidate first."
        if chosen
        else "",
        beside=_beside(report) if chosen else "",
        left_out=f"{plural(left_out, 'more chosen pair')} would have made the page too large; report.json has "
        f"{'it' if left_out == 1 else 'them'}."
        if left_out
        else "",
        empty="" if chosen else "No example is part of this report.",
        slices=index.slice_choices(different, same),
        judges=index.judge_choices(),
        labels=index.label_choices(),
        different=tuple(different),
        same=same,
        same_title=f"{plural(len(same), 'pair')} with the same answer on both sides" if same else "",
    )


class Shown(Described, Protocol):
    """What is shown about: a report, or a page about one pair."""

    @property
    def show_text(self) -> bool:
        """Whether messages, answers and judges' words may appear."""


def example_of(report: Shown, example: Example, arm: str, anchor: str) -> ExampleView:
    """One pair on a page of its own, unfolded; ``anchor`` begins its id."""
    return replace(_example(report, example, arm, anchor, _Index.of((example,)), 0), is_open=True)


def weight(view: Any) -> int:
    """Upper bound for the bytes of a view in the page: its texts as they are escaped, and the markup around each."""
    return _EXAMPLE_BYTES + _bytes(view)


def _bytes(value: Any) -> int:
    if isinstance(value, str):
        return len(escape(visible(value)).encode("utf-8", "replace")) + _TAG_BYTES
    if isinstance(value, tuple):
        return sum(map(_bytes, value))
    if is_dataclass(value):
        return sum(_bytes(getattr(value, field.name)) for field in fields(value))
    return 8


def _beside(report: EvaluationReport) -> str:
    if not report.show_text:
        return ""
    command = f"`harness report {report.run_id}`"
    return f"{command} writes the text of every pair to pairs.jsonl.zst, its figures to pairs.parquet."


def _regression(example: Example) -> tuple[float, bool, str]:
    """Worst first; a failure is as bad as the worst score, and what nobody scored stands in the middle."""
    failed = example.candidate.status is Status.FAILED
    value = 0.0 if failed else 0.5 if example.score is None or math.isnan(example.score) else example.score
    return (value, failed, example.exchange_id)


@dataclass(frozen=True, kw_only=True)
class _Index:
    """What the examples can be filtered by, numbered."""

    slices: Mapping[tuple[str, str], int]
    judges: Mapping[str, int]
    counts: Counter[str]
    """Examples by verdict label."""
    by_judge: Counter[str]

    @classmethod
    def of(cls, examples: Sequence[Example]) -> "_Index":
        found = Counter(pair for example in examples for pair in _slices(example))
        chosen = sorted(found, key=lambda pair: (-found[pair], pair))[:MAX_CHOICES]
        verdicts = [_verdicts(example) for example in examples]
        judges = sorted({judge for verdict in verdicts for judge in verdict})
        return cls(
            slices={pair: number for number, pair in enumerate(sorted(chosen))},
            judges={judge: number for number, judge in enumerate(judges)},
            counts=Counter(
                label
                for example, verdict in zip(examples, verdicts, strict=True)
                for label in {*verdict.values(), *(["failed"] if example.candidate.status is Status.FAILED else [])}
            ),
            by_judge=Counter(judge for verdict in verdicts for judge in verdict),
        )

    def slices_of(self, example: Example) -> str:
        return " ".join(str(self.slices[pair]) for pair in _slices(example) if pair in self.slices)

    def verdicts_of(self, example: Example) -> str:
        found = [f"{self.judges[judge]}:{label}" for judge, label in _verdicts(example).items()]
        return " ".join([*found, *([_FAILED] if example.candidate.status is Status.FAILED else [])])

    def slice_choices(self, *shown: Iterable[ExampleView]) -> tuple[OptionGroup, ...]:
        counts = Counter(number for views in shown for view in views for number in view.slices.split())
        groups: dict[str, list[OptionView]] = {}
        for (attribute, value), number in self.slices.items():
            if counts[str(number)]:
                title = f"{one_line(value, 60)} ({counts[str(number)]})"
                option = OptionView(value=str(number), key=f"{attribute}={value}"[:200], title=title)
                groups.setdefault(attribute, []).append(option)
        return tuple(
            OptionGroup(title=one_line(_attribute(name), 60), options=tuple(of)) for name, of in groups.items()
        )

    def judge_choices(self) -> tuple[OptionView, ...]:
        return tuple(
            OptionView(value=str(number), key=judge[:200], title=f"{one_line(judge, 60)} ({self.by_judge[judge]})")
            for judge, number in self.judges.items()
        )

    def label_choices(self) -> tuple[OptionView, ...]:
        return tuple(
            OptionView(value=label, key=label, title=f"{label} ({self.counts[label]})")
            for label in _LABELS
            if self.counts[label]
        )


def _slices(example: Example) -> Iterator[tuple[str, str]]:
    """Attribute and value; reports from before slices were kept have tags."""
    if example.slices:
        yield from example.slices.items()
        return
    for tag in dict.fromkeys(example.tags):
        key, separator, value = tag.partition("=")
        yield (key, value) if separator else ("tag", tag)


def _attribute(name: str) -> str:
    return name.removeprefix("metadata.")


def _verdicts(example: Example) -> dict[str, str]:
    """What every judge says of the pair, both orders together."""
    by_judge: dict[str, list[Judgment]] = {}
    for judgment in example.judgments:
        by_judge.setdefault(judgment.judge, []).append(judgment)
    found = {}
    for judge, judgments in by_judge.items():
        scored = [item for item in judgments if item.state is JudgmentState.SCORED]
        labels = [item.label for item in scored if item.label is not None]
        if not scored:
            found[judge] = "unscored"
        elif not labels:
            found[judge] = "scored"
        else:
            total = sum((label is Label.WIN) - (label is Label.LOSS) for label in labels)
            found[judge] = "win" if total > 0 else "loss" if total < 0 else "tie"
    return found


def _example(report: Shown, example: Example, arm: str, anchor: str, index: _Index, rank: int) -> ExampleView:
    shown = report.show_text
    left, right = example.production.completion, example.candidate.completion
    texts = page_answers.shown(left.text if left else None, right.text if right else None)
    called = page_answers.calls(left, right)
    same = page_answers.is_same(left, right)
    metric = metric_of(report, example.score_metric)
    digest = hashlib.sha256(example.exchange_id.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    messages, note = messages_view(example.messages)
    tags = [f"{_attribute(key)}={value}" for key, value in example.slices.items()] or list(example.tags)
    why = (
        _SAME
        if same
        else _WHY.get(example.why) or Badge(word=one_line(words(example.why), 40), tone="none", icon="dash")
    )
    answers = (
        answer_view("production", "Production", example.production, texts.production, called[0], shown=shown),
        answer_view("candidate", f"Candidate {arm}", example.candidate, texts.candidate, called[1], shown=shown),
    )
    return ExampleView(
        anchor=f"{anchor}-pair-{digest}",
        title=title_of(example.messages) if shown else "Text is left out of this report",
        id=example.exchange_id,
        why=why,
        score=f"{metric.title} score {score(example.score)}" if example.score is not None else "",
        tags=tuple(one_line(tag, 80) for tag in tags[:MAX_TAGS]),
        messages=messages,
        conversation=f"Conversation: {plural(len(example.messages), 'message')}",
        messages_note=note,
        answers=answers,
        notes=(*(["Both answers are the same."] if same and shown else []), *texts.notes),
        judgments=_judgments(example.judgments),
        is_open=False,
        is_same=same,
        has_source=any(answer.source for answer in answers),
        slices=index.slices_of(example),
        verdicts=index.verdicts_of(example),
        rank=rank,
        slower=_slower(example),
    )


def _slower(example: Example) -> int:
    ours, theirs = example.production.latency_ms, example.candidate.latency_ms
    if ours is None or theirs is None or not math.isfinite(theirs - ours):
        return 0
    return round(theirs - ours)


def title_of(messages: Sequence[Message]) -> str:
    """What the last user's text asks, on one line."""
    for message in reversed(messages):
        if message.get("role") == "user" and (text := content(message.get("content"))):
            return one_line(text, 140)
    return "A request without a user's text"


def messages_view(messages: Sequence[Message]) -> tuple[tuple[MessageView, ...], str]:
    """The first messages and the last: instructions stand first, the question last."""
    shown, note = list(messages), ""
    if len(messages) > MAX_MESSAGES:
        shown = [*messages[:3], *messages[len(messages) - MAX_MESSAGES + 3 :]]
        note = f"{plural(len(messages) - MAX_MESSAGES, 'message')} in the middle left out."
    return tuple(_message(message) for message in shown), note


def _message(message: Message) -> MessageView:
    return message_view(message, limit=MESSAGE_LIMIT, call_limit=CALL_LIMIT)


def answer_view(
    side: str,
    label: str,
    observation: Observation,
    text: page_answers.Shown,
    called: tuple[CallView, ...],
    *,
    shown: bool,
) -> AnswerView:
    """One side's answer, or what stands in its place; ``text`` and ``called`` are how it compares."""
    completion, error = observation.completion, observation.error
    refusal = completion.refusal if completion else None
    has_text = bool(text.runs or text.pieces)
    return AnswerView(
        side=side,
        label=label,
        kind=text.kind,
        runs=text.runs,
        pieces=text.pieces,
        source=text.source,
        empty="" if has_text else _empty(observation, has_calls=bool(called), has_refusal=bool(refusal), shown=shown),
        error=_error(observation) if error else "",
        refusal=cut(refusal or "", REASON_LIMIT).text,
        calls=called,
        facts=_facts(observation),
        note=text.note,
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
            Cell(text=ORDERS[judgment.order]),
            result_cell(judgment),
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


def result_cell(judgment: Judgment) -> Cell:
    """What a judgment says: its label and score, or why there is none."""
    if judgment.state is not JudgmentState.SCORED:
        reason = words(judgment.reason.value) if judgment.reason else "no reason given"
        word = "unscored" if judgment.state is JudgmentState.UNSCORED else "error"
        return Cell(text="", sub=reason, badge=Badge(word=word, tone="none", icon="dash"))
    value = score(judgment.value)
    if judgment.label is None:
        return Cell(text=value)
    tone, icon = {"win": ("good", "up"), "tie": ("none", "dash"), "loss": ("bad", "down")}[judgment.label.value]
    return Cell(text="", sub=value, badge=Badge(word=judgment.label.value, tone=tone, icon=icon))

"""A run as it goes on: the decision so far, its criteria over time, spend, and pairs as they arrive."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from harness.config import Experiment
from harness.decision import metrics as decided_metrics
from harness.domain.decision import Decision, Outcome, Verdict
from harness.domain.estimate import Metric, Unit
from harness.domain.formatting import format_interval, format_value
from harness.domain.judgment import Judgment, JudgmentState, Label, UnscoredReason
from harness.domain.look import LookPoint
from harness.domain.metrics import METRICS
from harness.domain.observation import Status
from harness.domain.pair import Pair
from harness.domain.report import Example
from harness.domain.run import Stage
from harness.pipeline.arms import Arm
from harness.store.watched import PairRow, PairVerdict
from harness.web.dashboard_reading import SHOWN_PAIRS, ArmReading, RunReading
from harness.web.dashboard_views import (
    CandidateHead,
    CriteriaView,
    PairLine,
    PairPage,
    PairsView,
    RunHead,
    SpendView,
)
from harness.web.stream import moment
from reports.metrics import metric_of
from reports.page_criteria import criterion_of, note_of
from reports.page_examples import example_of
from reports.page_parts import NONE, OUTCOME_BADGES, VERDICT_BADGES, dollars, table, words
from reports.text import one_line, plural
from reports.views import Badge, Cell, Fact, Table
from reports.views_sequence import sequence

KINDS: Mapping[str, str] = {
    "offline": "Run on an export",
    "live": "Live run",
    "served": "What a candidate served",
}
_STAGES: Mapping[Stage, str] = {
    Stage.CREATED: "begun",
    Stage.INGESTED: "export read",
    Stage.REPLAYED: "candidates asked",
    Stage.JUDGED: "pairs judged",
    Stage.DECIDED: "decided",
}
_STOPPED: Mapping[str, str] = {
    "settled": "the decision stood",
    "out_of_reach": "it was out of reach",
    "budget": "the budget was spent",
    "time_limit": "its time was over",
    "interrupted": "somebody interrupted it",
}
_SHOWN_LOOKS = 20
_STATUSES: Mapping[str, Badge] = {
    Status.COMPLETED.value: Badge(word="completed", tone="good", icon="check"),
    Status.FAILED.value: Badge(word="failed", tone="bad", icon="cross"),
    Status.DROPPED.value: Badge(word="dropped", tone="open", icon="dash"),
    Status.SKIPPED.value: Badge(word="skipped", tone="none", icon="dash"),
}
_LABELS: Mapping[str, Badge] = {
    Label.WIN.value: Badge(word="win", tone="good", icon="up"),
    Label.TIE.value: Badge(word="tie", tone="none", icon="dash"),
    Label.LOSS.value: Badge(word="loss", tone="bad", icon="down"),
}


@dataclass(frozen=True)
class _Described:
    """Metrics by name, for views that are otherwise made from reports."""

    metrics: Mapping[str, Metric]
    show_text: bool = True
    """Asked only about pairs whose texts may be shown."""


def run_url(run_id: str) -> str:
    """The run's page."""
    return f"/run?id={quote(run_id, safe='', errors='replace')}"


# The first part


def head_of(found: RunReading) -> RunHead:
    """Verdicts so far, and how far the run has come."""
    run = found.run
    candidates = tuple(
        _candidate(found, name, decision, number) for number, (name, decision) in enumerate(found.decisions.items())
    )
    return RunHead(
        title=one_line(run.name, 120),
        overline=f"{KINDS[found.kind]} · {one_line(run.id, 120)}",
        candidates=candidates,
        undecided="" if candidates else _undecided(found),
        facts=_facts(found),
        notices=tuple(text for text in (found.problem, _stopped(run.stop_reason)) if text),
    )


def _candidate(found: RunReading, name: str, decision: Decision, number: int) -> CandidateHead:
    model = next((one.arm.title for one in found.arms if one.arm.name == name), "")
    spoken = {f"{item.sentence} {item.remedy}".strip() for item in decision.objections}
    needed = f"Still needed: about {decision.n_needed:,} pairs in all." if decision.n_needed else ""
    return CandidateHead(
        arm=one_line(name, 80),
        anchor=f"criteria-{number}",
        model=one_line(model, 120),
        badge=VERDICT_BADGES[decision.verdict],
        sentence=decision.sentence,
        reasons=(*(reason for reason in decision.reasons if reason not in spoken), *sorted(spoken))[:6],
        needed=needed if decision.verdict is Verdict.INCONCLUSIVE else "",
    )


def _undecided(found: RunReading) -> str:
    if found.decided is not None:
        return "What was decided was written by another version and cannot be shown here."
    return "Nothing is decided yet. The first decision follows the first look at judged pairs."


def _stopped(reason: str | None) -> str:
    return (
        ""
        if reason is None
        else f"It stopped before all of the sample was asked, because {_STOPPED.get(reason, reason)}."
    )


def _facts(found: RunReading) -> tuple[Fact, ...]:
    run, asked = found.run, [one for one in found.arms if one.arm.name in found.decisions] or list(found.arms)
    sampled = max((one.counts.sampled for one in asked), default=0)
    return (
        Fact(label="Reached", value=_STAGES[run.stage], note=f"at {moment(run.updated_at)}"),
        Fact(label="Requests in the sample", value=f"{sampled:,}", note=f"begun {moment(run.created_at)}"),
        Fact(
            label="Answered, of the sample",
            value=", ".join(f"{one.counts.asked:,}" for one in asked) or NONE,
            note=", ".join(one_line(one.arm.name, 40) for one in asked),
        ),
        Fact(
            label="Pairs compared",
            value=", ".join(f"{one.counts.comparable:,}" for one in asked) or NONE,
            note="both sides answered",
        ),
        Fact(label="Spent", value=dollars(sum(found.spent.values())), note="on candidates and judges"),
        Fact(
            label="Decided",
            value=moment(found.decided.decided_at) if found.decided else NONE,
            note="stored when it changes, and now and then" if found.kind != "offline" else "",
        ),
    )


def announced(decisions: Mapping[str, Decision]) -> str:
    """The verdicts in a few words."""
    return "; ".join(f"{one_line(name, 60)}: {decision.verdict.value}" for name, decision in decisions.items())


# Criteria


def criteria_of(found: RunReading, name: str, number: int) -> CriteriaView:
    """One candidate's criteria as decided last, and at every look that was kept."""
    decision = found.decisions[name]
    described = _Described(_metrics(found.experiment, found))
    looks = [point for point in found.looks if point.arm == name]
    views = tuple(criterion_of(described, result) for result in decision.results)
    drawings = [
        sequence(
            [point for point in looks if point.metric == result.criterion.metric],
            result.criterion,
            metric_of(described, result.criterion.metric),
            f"sequence-{number}-{index}",
        )
        for index, result in enumerate(decision.results)
    ]
    drawn = tuple(drawing for drawing in drawings if drawing is not None)
    return CriteriaView(
        arm=one_line(name, 80),
        anchor=f"criteria-{number}",
        criteria=views,
        criteria_note=note_of(views) if views else "",
        sequences=drawn,
        sequences_note=_sequences_note(decision, looks, bool(drawn)),
        looks=_looks(looks, described) if looks else None,
    )


def _metrics(experiment: Experiment | None, found: RunReading) -> Mapping[str, Metric]:
    if experiment is None or not found.judges:
        return METRICS
    return decided_metrics.catalogue({judge.name: judge.judge.metric for judge in found.judges})


def _sequences_note(decision: Decision, looks: Sequence[LookPoint], is_drawn: bool) -> str:
    if not is_drawn:
        return (
            f"{plural(len({point.at for point in looks}), 'look')} kept so far; two are needed to draw how they went."
        )
    terms = decision.terms
    if terms is None or terms.looks == "any":
        return "Anytime-valid: the bounds hold at every look at once, so looking often does no harm."
    if terms.looks == "planned":
        return "The bounds hold at the looks that were planned beforehand, and at no others."
    return "The bounds hold for one look at the end; those before it decide nothing."


def _looks(looks: Sequence[LookPoint], described: _Described) -> Table:
    newest = sorted(looks, key=lambda point: (point.at, point.metric), reverse=True)
    rows = [
        (
            Cell(text=moment(point.at)),
            Cell(text=metric_of(described, point.metric).title),
            Cell(text=format_value(point.value, metric_of(described, point.metric).unit)),
            Cell(text=format_interval(point.low, point.high, metric_of(described, point.metric).unit)),
            Cell(text=f"{point.n:,}"),
            Cell(text="", badge=OUTCOME_BADGES[Outcome(point.outcome)], sub=f"decision {point.verdict}"),
        )
        for point in newest[:_SHOWN_LOOKS]
    ]
    left = len(newest) - len(rows)
    return table(
        "The newest looks",
        ["When", "Criterion", "Estimate", "Bounds a pass needs", "Pairs", "Outcome"],
        rows,
        numeric=(2, 4),
        note=f"{plural(left, 'earlier row')} in the store's table `looks`." if left else "",
    )


# Spend


def spend_of(found: RunReading) -> SpendView:
    """What was spent against what may be, by purse, and by day for a live run."""
    budget = found.experiment.budget if found.experiment is not None else None
    purses = [
        ("Candidates, in all", found.spent.get("candidates", 0.0), budget.candidates_usd if budget else None),
        ("Judges, in all", found.spent.get("judges", 0.0), budget.judges_usd if budget else None),
    ]
    if found.kind != "offline":
        section = found.watched.live.worker if found.watched is not None else None
        purses += [
            (f"{one.arm.name}, today", found.spent_today.get(one.arm.name, 0.0), section.daily_usd if section else None)
            for one in found.arms
        ]
        purses.append(
            ("Judges, today", found.spent_today.get("judges", 0.0), section.judges_daily_usd if section else None)
        )
    known = found.kind == "offline" or found.watched is not None
    rows = [
        (
            Cell(text=one_line(name, 80)),
            Cell(text=dollars(spent)),
            Cell(text=_limit(limit, known=known or "in all" in name)),
            Cell(text=f"{100 * spent / limit:.1f}%" if limit else NONE, badge=_over(spent, limit)),
        )
        for name, spent, limit in purses
    ]
    unpriced = sum(found.unpriced.values())
    return SpendView(
        facts=(Fact(label="Spent", value=dollars(sum(found.spent.values()))),),
        table=table("Spent against what may be spent", ["Purse", "Spent", "Limit", "Share"], rows, numeric=(1, 2, 3)),
        note=f"{plural(unpriced, 'call')} at an unknown price not counted." if unpriced else "",
    )


def _limit(limit: float | None, *, known: bool) -> str:
    if limit is not None:
        return dollars(limit)
    return "none" if known else "not known"


def _over(spent: float, limit: float | None) -> Badge | None:
    if limit is None or spent < limit:
        return None
    return Badge(word="spent", tone="open", icon="flag")


# Pairs


def pairs_of(found: RunReading) -> PairsView:
    """The pairs whose endings were stored last, over all arms."""
    lines = [(row, one) for one in found.arms for row in one.newest]
    newest = sorted(lines, key=lambda item: (item[0].recorded_at, item[0].exchange_id), reverse=True)[:SHOWN_PAIRS]
    return PairsView(
        lines=tuple(_line(found, row, one) for row, one in newest),
        note=_pairs_note(found, len(newest)),
    )


def _pairs_note(found: RunReading, shown: int) -> str:
    if not shown:
        return "No pair has come in yet."
    note = f"The newest {shown}, by when the candidate's ending was stored."
    if found.shows_text:
        return note
    if found.experiment is not None and not found.experiment.report.show_text:
        return f"{note} The experiment says that no text is shown (`report.show_text`)."
    return f"{note} What users and models wrote is shown to those who have the token."


def _line(found: RunReading, row: PairRow, one: ArmReading) -> PairLine:
    shows = found.shows_text
    address = {"run": found.run.id, "arm": one.arm.name, "exchange": row.exchange_id}
    key = line_key(one.arm.name, row.exchange_id)
    asked = one.questions.get(row.exchange_id, "")
    return PairLine(
        key=key,
        at=moment(row.recorded_at),
        arm=one_line(one.arm.name, 60),
        href=f"/pair?{urlencode(address, errors='replace')}" if shows else "",
        title=(asked or "a request that cannot be shown") if shows else f"pair {key}",
        status=_STATUSES.get(row.status, Badge(word=words(row.status), tone="none", icon="dash")),
        why=words(row.reason) if row.reason else "",
        latency=(
            f"{format_value(row.latency_ms, Unit.MILLISECONDS)}, production "
            f"{format_value(row.production_latency_ms, Unit.MILLISECONDS)}"
        ),
        verdicts=tuple((one_line(said.judge, 40), _said(said)) for said in row.verdicts[:12]),
        unjudged="no judgment yet" if row.status == Status.COMPLETED.value else "",
    )


def line_key(arm: str, exchange_id: str) -> str:
    """A name for the line: an exchange's id may be anything, and may tell something."""
    raw = f"{arm}\0{exchange_id}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, digest_size=6).hexdigest()


def _said(said: PairVerdict) -> Badge:
    if said.state != JudgmentState.SCORED.value:
        why = f" ({words(said.reason)})" if said.reason else ""
        return Badge(word=f"{words(said.state)}{why}", tone="none", icon="dash")
    if said.label is not None and said.label in _LABELS:
        return _LABELS[said.label]
    return Badge(word="none" if said.value is None else f"{said.value:.3g}", tone="mark", icon="dash")


def pair_page(found: RunReading, arm: Arm, pair: Pair, judgments: Sequence[Judgment]) -> PairPage:
    """One pair in full, as reports show it."""
    order = {judge.fingerprint: place for place, judge in enumerate(found.judges)}
    said = [item for item in judgments if item.reason is not UnscoredReason.NOT_DRAWN]
    example = Example(
        exchange_id=pair.exchange_id,
        why="pair",
        score=None,
        score_metric="",
        messages=pair.request.messages,
        production=pair.production,
        candidate=pair.candidate,
        judgments=tuple(sorted(said, key=lambda one: (order.get(one.judge_fingerprint, len(order)), one.order))),
        tags=(*pair.exchange.tags, *(f"{key}={value}" for key, value in sorted(pair.exchange.metadata.items()))),
    )
    shown = example_of(_Described(_metrics(found.experiment, found)), example, arm.name, "pair")
    return PairPage(title="One pair", back_url=run_url(found.run.id), back=one_line(found.run.id, 80), pair=shown)

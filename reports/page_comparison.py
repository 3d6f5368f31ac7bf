"""From a comparison of two runs to the view objects of its page."""

import math
from collections.abc import Callable

from harness.domain.comparison import (
    Change,
    ComparedCandidate,
    ComparedCriterion,
    ComparedRun,
    ComparedSide,
    Intervals,
    RunComparison,
)
from harness.domain.decision import Criterion
from harness.domain.estimate import Direction, Metric
from harness.domain.formatting import format_value
from harness.domain.report import Readers
from reports.addresses import address
from reports.metrics import passes_above, rule, span
from reports.page_parts import NONE, OUTCOME_BADGES, VERDICT_BADGES, dollars, table, when
from reports.text import one_line, plural
from reports.trends import difference
from reports.views import Badge, Cell, Fact, Table
from reports.views_charts import finite, scale
from reports.views_comparison import (
    CandidateChange,
    ComparisonView,
    CriterionChange,
    LineChange,
    PairBar,
    PairStrip,
    SideView,
)
from reports.views_index import LinkView

_WIDTH, _HEIGHT, _EDGE = 240, 62, 14
_ROOM = 40
_COMPARABLE = Badge(word="comparable", tone="good", icon="check")
_PARTLY = Badge(word="comparable in part", tone="open", icon="question")
_NOT = Badge(word="not comparable", tone="bad", icon="cross")
_INTERVALS = {
    Intervals.APART: "The intervals share no value.",
    Intervals.OVERLAP: "The intervals overlap.",
    Intervals.UNKNOWN: "",
}
_READING = (
    "The difference is that of the two values and has no interval of its own. Intervals that share no value lie "
    "further apart than the chance of either run explains; intervals that overlap do not show that nothing changed. In "
    "the drawings the thin line above is before, the strong one below is after; the shaded side passes the later rule."
)
_AREAS = {
    "run": "Run", "traffic": "Traffic", "version": "Version", "prompt": "Prompt", "judge": "Judge",
    "candidate": "Candidate",
}  # fmt: skip
_LINES = {"kept": (" ", ""), "removed": ("-", "only before"), "added": ("+", "only after"), "gap": ("…", "")}
_LONG = 120


def view_of(comparison: RunComparison, *, published: bool) -> ComparisonView:
    """What the page shows; ``published`` when it lies in a place with an index and the reports."""
    before, after = comparison.before, comparison.after
    whole = [item for item in comparison.hindrances if not item.metrics]
    badge = _NOT if whole else _PARTLY if comparison.hindrances else _COMPARABLE
    concerned = {metric for item in comparison.hindrances for metric in item.metrics}
    return ComparisonView(
        overline=f"Two runs of {one_line(after.name, 80)}" if before.name == after.name else "Two runs",
        title=f"{one_line(before.run_id, 80)} and {one_line(after.run_id, 80)}",
        index=LinkView(href="../index.html", text="All published runs") if published else None,
        before=_report(before) if published else None,
        after=_report(after) if published else None,
        facts=(*_facts("Before", before), *_facts("After", after)),
        badge=badge,
        lead=_lead(comparison),
        hindrances=tuple(_hindrance(item.sentence, item.metrics, comparison) for item in comparison.hindrances),
        readers="For readers outside: names of files and values that may name somebody are left out."
        if Readers.OUTSIDE in {before.readers, after.readers}
        else "",
        candidates=tuple(
            _candidate(candidate, concerned, f"c{number}")
            for number, candidate in enumerate(comparison.candidates, start=1)
        ),
        reading=_READING,
        changes=_changes(comparison.changes),
        experiment=tuple(
            LineChange(kind=line.kind, mark=_LINES[line.kind][0], word=_LINES[line.kind][1], text=line.text)
            for line in comparison.experiment
            if line.kind in _LINES
        ),
        experiment_note=_experiment_note(comparison),
        footer=f"Comparison schema {comparison.schema} · made from the two reports, without asking a model",
    )


def _report(run: ComparedRun) -> LinkView:
    return LinkView(href=f"../{address(run.run_id)}/report.html", text=f"Report of {one_line(run.run_id, 80)}")


def _facts(word: str, run: ComparedRun) -> tuple[Fact, ...]:
    production = ", ".join(run.production_models) or "unknown"
    return (
        Fact(
            label=word,
            value=when(run.decided_at),
            note=f"run {one_line(run.run_id, 80)}, production {one_line(production, 120)}",
        ),
    )


def _lead(comparison: RunComparison) -> str:
    """The change of the result in one sentence."""
    before, after = comparison.before.verdict, comparison.after.verdict
    verdict = (
        f"The verdict stays {after.value}"
        if before is after
        else f"The verdict went from {before.value} to {after.value}"
    )
    both = [item for candidate in comparison.candidates for item in candidate.criteria if item.before and item.after]
    turned = sum(item.outcome_changed for item in both)
    apart = sum(item.intervals is Intervals.APART for item in both)
    rules = sum(item.rule_changed for item in both)
    changed = f"{turned} of {plural(len(both), 'criterion', 'criteria')} changed its outcome" if turned == 1 else (
        f"{turned} of {plural(len(both), 'criterion', 'criteria')} changed their outcome"
    )  # fmt: skip
    text = f"{verdict}; {changed}, and on {apart} the intervals share no value."
    if rules:
        text += f" {plural(rules, 'rule')} {'was' if rules == 1 else 'were'} changed."
    return text


def _hindrance(sentence: str, metrics: tuple[str, ...], comparison: RunComparison) -> str:
    if not metrics:
        return sentence
    titles = {item.metric: item.title for candidate in comparison.candidates for item in candidate.criteria}
    named = ", ".join(one_line(titles.get(name, name), 60) for name in metrics[:8])
    return f"{sentence} It concerns: {named}."


def _candidate(candidate: ComparedCandidate, concerned: set[str], anchor: str) -> CandidateChange:
    before, after = candidate.verdict_before, candidate.verdict_after
    if after is None:
        changed = "not in the later run"
    elif before is None:
        changed = "not in the earlier run"
    else:
        changed = "the verdict changed" if before is not after else "the same verdict"
    renamed = candidate.arm_before if candidate.arm_before not in {None, candidate.arm} else ""
    return CandidateChange(
        anchor=anchor,
        title=one_line(candidate.arm, 80) + (f", before: {one_line(renamed, 80)}" if renamed else ""),
        before=None if before is None else VERDICT_BADGES[before],
        after=None if after is None else VERDICT_BADGES[after],
        changed=changed,
        sentence=candidate.sentence_after,
        sentence_before=candidate.sentence_before if candidate.sentence_before != candidate.sentence_after else "",
        facts=(
            Fact(label="Comparable pairs", value=_turn(_count(candidate.pairs_before), _count(candidate.pairs_after))),
            Fact(
                label="Cost of 1,000 requests",
                value=_turn(
                    dollars(candidate.candidate_per_1k_before_usd) if before else NONE,
                    dollars(candidate.candidate_per_1k_after_usd) if after else NONE,
                ),
            ),
        ),
        criteria=tuple(_criterion(item, item.metric in concerned) for item in candidate.criteria),
    )


def _count(pairs: int | None) -> str:
    return NONE if pairs is None else f"{pairs:,}"


def _turn(before: str, after: str) -> str:
    return after if before == after else f"{before} \N{RIGHTWARDS ARROW} {after}"


def _criterion(item: ComparedCriterion, other_judge: bool) -> CriterionChange:
    metric = Metric(name=item.metric, title=item.title, unit=item.unit, direction=Direction.NEUTRAL)
    notes = [
        "The rule was changed." if item.rule_changed else "",
        "Another judge: not comparable." if other_judge else "",
        "Only in the later run." if item.before is None else "Only in the earlier run." if item.after is None else "",
    ]
    turned = ""
    if item.before and item.after:
        turned = (
            f"{_word(item.before)} \N{RIGHTWARDS ARROW} {_word(item.after)}" if item.outcome_changed else "same outcome"
        )
    return CriterionChange(
        title=one_line(item.title, 80),
        notes=tuple(note for note in notes if note),
        before=_side(item.before, metric),
        after=_side(item.after, metric),
        difference=NONE if item.difference is None else difference(item.difference, item.unit),
        intervals=_INTERVALS[item.intervals],
        outcome=turned,
        strip=_strip(item, metric),
    )


def _word(side: ComparedSide) -> str:
    return side.outcome.value.replace("_", " ")


def _rule(item: ComparedCriterion, side: ComparedSide) -> Criterion:
    return Criterion(metric=item.metric, bound=side.bound, threshold=side.threshold, required=side.required)


def _side(side: ComparedSide | None, metric: Metric) -> SideView:
    if side is None:
        return SideView(value=NONE, bounds="", rule="", badge=None, pairs="")
    held = Criterion(metric=metric.name, bound=side.bound, threshold=side.threshold, required=side.required)
    return SideView(
        value=format_value(side.value, metric.unit),
        bounds=span(side.low, side.high, metric.unit) if side.low is not None or side.high is not None else "",
        rule=rule(held, metric) + ("" if side.required else ", advisory"),
        badge=OUTCOME_BADGES[side.outcome],
        pairs=plural(side.n, "pair"),
    )


def _strip(item: ComparedCriterion, metric: Metric) -> PairStrip | None:
    before, after = item.before, item.after
    if before is None or after is None or finite(before.value) is None or finite(after.value) is None:
        return None
    threshold = finite(after.threshold)
    if threshold is None:
        return None
    ends = [threshold]
    for side in (before, after):
        ends += [x for value in (side.value, side.low, side.high) if (x := finite(value)) is not None]
    at = scale(min(ends), max(ends), _EDGE, _WIDTH - _EDGE)
    line, above = at(threshold), passes_above(_rule(item, after))
    bars = tuple(_bar(side, y, label, at) for side, y, label in ((before, 14, "before"), (after, 34, "after")))
    return PairStrip(
        title=f"{one_line(item.title, 60)}: before and after",
        desc=f"Before {_said(before, metric)}; after {_said(after, metric)}; the later rule is "
        f"{rule(_rule(item, after), metric)}.",
        width=_WIDTH,
        height=_HEIGHT,
        pass_x=line if above else 0,
        pass_width=round(_WIDTH - line if above else line, 1),
        threshold=line,
        threshold_label=format_value(threshold, metric.unit, trim=True),
        label_anchor="start" if line < _ROOM else "end" if line > _WIDTH - _ROOM else "middle",
        bars=bars,
    )


def _said(side: ComparedSide, metric: Metric) -> str:
    bounds = f", {span(side.low, side.high, metric.unit)}" if side.low is not None or side.high is not None else ""
    return f"{format_value(side.value, metric.unit)}{bounds}, {_word(side)}"


def _bar(side: ComparedSide, y: float, label: str, at: Callable[[float], float]) -> PairBar:
    low, high = finite(side.low), finite(side.high)
    bounded = low is not None or high is not None
    value = side.value if side.value is not None and math.isfinite(side.value) else 0.0
    return PairBar(
        y=y,
        value=at(value),
        low=(at(low) if low is not None else 2) if bounded else None,
        high=(at(high) if high is not None else _WIDTH - 2) if bounded else None,
        low_open=bounded and low is None,
        high_open=bounded and high is None,
        badge=OUTCOME_BADGES[side.outcome],
        label=label,
    )


def _changes(changes: tuple[Change, ...]) -> Table | None:
    rows = [
        (
            Cell(text=one_line(change.name, 80), sub=_AREAS.get(change.area, change.area)),
            Cell(text=_short(change, change.before)),
            Cell(text=_short(change, change.after)),
        )
        for change in changes[:200]
    ]
    return table("What is set or versioned differently", ["What", "Before", "After"], rows) if rows else None


def _short(change: Change, value: str) -> str:
    """A hash by its beginning: all of it is in the JSON."""
    if change.area == "prompt" and value:
        return f"{one_line(value, 16)} (SHA-256)" if len(value) <= 16 else f"{value[:16]}… (SHA-256)"
    return one_line(value, _LONG) or NONE


def _experiment_note(comparison: RunComparison) -> str:
    if comparison.experiment_cut:
        return "The experiment files differ in more lines than are shown."
    return "" if comparison.experiment else "The experiment files are equal, as far as they are shown to these readers."

"""All candidates beside each other: every metric, the picture, duels and slices."""

from collections.abc import Sequence

from harness.domain.estimate import Direction, Estimate, Metric, Unit
from harness.domain.formatting import format_value
from harness.domain.metrics import WIN_RATE
from harness.domain.observation import PRODUCTION
from harness.domain.report import CandidateReport, EvaluationReport
from harness.domain.side_by_side import BestSet, Duel, Frontier, SideBySide, SliceBest
from reports.deciding import COUNT, decided_on
from reports.metrics import Section, is_quiet_error_class, metric_of, section_of
from reports.page_noise import DISTANCES
from reports.page_parts import NONE, interval, table, words
from reports.page_shared_requests import groups_of
from reports.text import ELLIPSIS, plural
from reports.views import Badge, Cell, Table
from reports.views_scatter import Axis, Place, scatter
from reports.views_side_by_side import MetricGroup, MetricRow, MetricTable, ScatterView, SideBySideView

MANY = 5
"""Candidates from which on paper is too narrow for one column each."""
_NAMES = 5
"""Candidates up to which names stand in the picture; letters beyond."""
_LABEL = 20
_BEST = Badge(word="best", tone="good", icon="star")
_AMONG = Badge(word="best set", tone="good", icon="star")
_AHEAD = Badge(word="ahead", tone="good", icon="up")
_BEHIND = Badge(word="behind", tone="bad", icon="down")
_GROUPS = (
    (Section.QUALITY, "Quality"),
    (Section.LATENCY, "Latency"),
    (Section.ERRORS, "Errors and coverage"),
    (Section.COST, "Cost and tokens"),
)
_SIDES = {Direction.HIGHER_IS_BETTER: "higher is better", Direction.LOWER_IS_BETTER: "lower is better"}


def view_of(report: EvaluationReport) -> SideBySideView | None:
    """The comparison; ``None`` where none was made."""
    beside = report.side_by_side
    candidates = () if beside is None else tuple(c for c in report.candidates if c.arm in beside.arms)
    if beside is None or len(candidates) < 2:
        return None
    scatters, picture = _picture(report, beside, candidates)
    return SideBySideView(
        intro=f"With {100 * beside.confidence:.4g}% confidence, for each metric by itself:",
        lead=_lead(report, beside),
        warnings=_warnings(report, beside, candidates),
        many=len(candidates) > MANY,
        metrics=_metrics(report, beside, candidates),
        scatters=scatters,
        key=() if len(candidates) <= _NAMES else tuple(f"{_letter(i)} {c.arm}" for i, c in enumerate(candidates)),
        picture=picture,
        picture_note=_picture_note(beside, scatters),
        duels=_duels(beside),
        duels_note=_duels_note(report, beside),
        slices=_slices(report, beside),
        slices_note=_slices_note(report, beside),
        groups=groups_of(report, beside),
        requests_note=_requests_note(report, beside),
    )


def badge_of(found: BestSet | None, arm: str) -> Badge | None:
    """What marks a candidate that may be the best, where that says anything: not when all may be."""
    if found is None or not found.told or arm not in found.best:
        return None
    return _BEST if len(found.best) == 1 else _AMONG


def best_words(found: BestSet | None) -> str:
    """Who may be the best, in words: ``small-model``, ``small-model or new-prompt``, ``cannot be told``."""
    if found is None:
        return "not compared"
    return _either(found.best) if found.told else "cannot be told"


def _lead(report: EvaluationReport, beside: SideBySide) -> tuple[str, ...]:
    """What can be told on the metrics that matter most, one sentence each."""
    said = []
    for name in beside.headline:
        found = beside.best_set(name)
        if found is None:
            continue
        title = metric_of(report, name).title
        if not found.told:
            said.append(f"{title}: which one is the best cannot be told from {plural(found.n, 'shared request')}.")
        else:
            said.append(f"{title}: the best of {len(found.arms)} is {_either(found.best)}.")
    return tuple(said)


def _warnings(report: EvaluationReport, beside: SideBySide, candidates: Sequence[CandidateReport]) -> tuple[str, ...]:
    failed = {h.judge for c in candidates for h in c.health if not h.usable}
    doubted = [name for name in dict.fromkeys([beside.judge, *(d.judge for d in beside.duels)]) if name in failed]
    said = [
        f"Judge {name} failed a check of its health on at least one candidate: what it says here does not count either."
        for name in doubted
    ]
    asked = {c.arm: c.funnel.completed + sum(c.funnel.failed.values()) for c in candidates}
    if len(set(asked.values())) > 1:
        least, most = min(asked, key=lambda a: asked[a]), max(asked, key=lambda a: asked[a])
        said.append(
            f"Not all candidates were asked the same requests ({least} {asked[least]:,}, {most} {asked[most]:,}). "
            "Marks rest on the requests that two candidates share; measured values on each one's own."
        )
    return tuple(said)


def _metrics(report: EvaluationReport, beside: SideBySide, candidates: Sequence[CandidateReport]) -> MetricTable:
    decided = [decided_on(candidate.decision) for candidate in candidates]
    estimates = [
        {e.metric: e for e in candidate.estimates} | own for candidate, own in zip(candidates, decided, strict=True)
    ]
    names: dict[str, None] = {}
    for found in estimates:
        names |= dict.fromkeys(name for name, estimate in found.items() if _is_shown(estimate))
    groups = []
    for section, title in _GROUPS:
        rows = tuple(
            _row(report, beside, name, candidates, estimates, decided) for name in names if section_of(name) is section
        )
        if rows:
            groups.append(MetricGroup(title=title, rows=rows))
    return MetricTable(
        caption="Every metric by candidate",
        arms=tuple(candidate.arm for candidate in candidates),
        groups=tuple(groups),
        notes=_metrics_notes(beside, estimates, decided),
    )


def _is_shown(estimate: Estimate) -> bool:
    base = estimate.metric.partition(":")[0]
    return base not in DISTANCES and not is_quiet_error_class(estimate) and estimate.value is not None


def _row(
    report: EvaluationReport,
    beside: SideBySide,
    name: str,
    candidates: Sequence[CandidateReport],
    estimates: Sequence[dict[str, Estimate]],
    decided: Sequence[dict[str, Estimate]],
) -> MetricRow:
    metric, found = metric_of(report, name), beside.best_set(name)
    cells = tuple(
        _cell(metric, own.get(name), found, candidate.arm, is_decided=name in fixed)
        for candidate, own, fixed in zip(candidates, estimates, decided, strict=True)
    )
    notes = [_SIDES.get(metric.direction, "neither side is better")]
    if found is None and metric.direction is not Direction.NEUTRAL:
        notes.append("not compared")
    elif found is not None and not found.told:
        notes.append("the best cannot be told")
    return MetricRow(title=metric.title, help=metric.help, note=", ".join(notes), cells=cells)


def _cell(metric: Metric, estimate: Estimate | None, found: BestSet | None, arm: str, *, is_decided: bool) -> Cell:
    if estimate is None or estimate.value is None:
        return Cell(text=NONE, sub="no data")
    bounds = interval(estimate, metric.unit) if estimate.method != COUNT else ""
    if is_decided:
        bounds = f"{bounds}\nas decided on".strip()
    return Cell(text=format_value(estimate.value, metric.unit), sub=bounds, badge=badge_of(found, arm))


def _metrics_notes(
    beside: SideBySide, estimates: Sequence[dict[str, Estimate]], decided: Sequence[dict[str, Estimate]]
) -> tuple[str, ...]:
    sure = f"{100 * beside.confidence:.4g}%"
    looks = "" if beside.looks == "one" else ", however often one looks"
    said = [
        "The best set is the candidates that no other one is shown to beat: for each metric by itself, the best one "
        f"is among them with {sure} confidence{looks}, the number of candidates taken into account. Two candidates are "
        "compared on the requests they share, so that one can be beaten where intervals overlap. Where nothing is "
        "marked, any of them may be the best.",
    ]
    levels = sorted({
        e.level for own, fixed in zip(estimates, decided, strict=True) for name, e in own.items()
        if name not in fixed and (e.low is not None or e.high is not None)
    })  # fmt: skip
    if levels:
        described = " and ".join(f"{100 * level:.4g}%" for level in levels)
        said.append(
            f"Intervals are {described} for one look at one candidate, and decide nothing; "
            "what is marked “as decided on” has the bounds of its criterion."
        )
    return tuple(said)


def _picture(
    report: EvaluationReport, beside: SideBySide, candidates: Sequence[CandidateReport]
) -> tuple[tuple[ScatterView, ...], Table | None]:
    shown = {c.arm: {e.metric: e for e in c.estimates} | decided_on(c.decision) for c in candidates}
    views = tuple(
        _scatter(report, frontier, shown, f"beside-picture-{number}")
        for number, frontier in enumerate(beside.frontiers, start=1)
    )
    if not views:
        return (), None
    quality = metric_of(report, beside.quality)
    heads = ["", quality.title]
    for frontier in beside.frontiers:
        heads += [metric_of(report, frontier.against).title, "On the frontier"]
    rows = []
    for arm, own in shown.items():
        cells = [Cell(text=arm), _plain(own.get(beside.quality), quality)]
        for frontier in beside.frontiers:
            cells.append(_plain(own.get(frontier.against), metric_of(report, frontier.against)))
            cells.append(_standing(frontier, arm, own))
        rows.append(tuple(cells))
    known = [f for f in beside.frontiers if f.production_quality is not None]
    if known:
        cells = [Cell(text=PRODUCTION), Cell(text=format_value(known[0].production_quality, quality.unit))]
        for frontier in beside.frontiers:
            metric = metric_of(report, frontier.against)
            cells.append(Cell(text=format_value(frontier.production_against, metric.unit)))
            cells.append(_standing(frontier, PRODUCTION, None))
        rows.append(tuple(cells))
    return views, table("The picture as a table", heads, rows, numeric=range(1, len(heads)))


def _plain(estimate: Estimate | None, metric: Metric) -> Cell:
    if estimate is None or estimate.value is None:
        return Cell(text=NONE, sub="no data")
    return Cell(text=format_value(estimate.value, metric.unit), sub=interval(estimate, metric.unit))


def _standing(frontier: Frontier, arm: str, own: dict[str, Estimate] | None) -> Cell:
    if arm in frontier.arms:
        return Cell(text="yes")
    placed = own is None or all(_finite(own.get(name)) for name in (frontier.quality, frontier.against))
    return Cell(text="no" if placed else "no place")


def _finite(estimate: Estimate | None) -> bool:
    return estimate is not None and estimate.value is not None and abs(estimate.value) != float("inf")


def _scatter(
    report: EvaluationReport, frontier: Frontier, shown: dict[str, dict[str, Estimate]], id: str
) -> ScatterView:
    quality, against = metric_of(report, frontier.quality), metric_of(report, frontier.against)
    places, missing = [], []
    for position, (arm, own) in enumerate(shown.items()):
        up, along = own.get(frontier.quality), own.get(frontier.against)
        if (
            up is None
            or along is None
            or up.value is None
            or along.value is None
            or not (_finite(up) and _finite(along))
        ):
            missing.append(arm)
            continue
        places.append(
            Place(
                name=arm,
                label=_short(arm) if len(shown) <= _NAMES else _letter(position),
                kind="frontier" if arm in frontier.arms else "outdone",
                x=along.value,
                y=up.value,
                x_ends=(along.low, along.high),
                y_ends=(up.low, up.high),
            )
        )
    if frontier.production_quality is not None and frontier.production_against is not None:
        places.append(
            Place(
                name=PRODUCTION, label=PRODUCTION, kind="production",
                x=frontier.production_against, y=frontier.production_quality, has_interval=False,
            )
        )  # fmt: skip
    said = [
        f"{place.name}: {format_value(place.y, quality.unit)}, {format_value(place.x, against.unit)}"
        for place in places
    ]
    return scatter(
        places,
        frontier.arms,
        id=id,
        title=f"{quality.title} against {_lower(against.title)}",
        desc=f"{'; '.join(said)}. On the frontier: {_listed(frontier.arms)}.",
        along=Axis(title=against.title, unit=against.unit),
        up=Axis(title=quality.title, unit=quality.unit),
        missing=f"Without a place, because a value is unknown or infinite: {', '.join(missing)}." if missing else "",
    )


def _picture_note(beside: SideBySide, scatters: Sequence[ScatterView]) -> str:
    if not beside.quality:
        return "No picture: no measure of quality is known for two candidates."
    if not scatters:
        return "No picture: neither cost nor latency is known for two candidates."
    return (
        "Upper left is better. The line joins those that no other one outdoes in both at once by measured value; "
        "filled points are on it, hollow ones are outdone. Thin lines are the intervals of the table: where they "
        "overlap, who is on the frontier is not settled."
    )


def _duels(beside: SideBySide) -> tuple[Table, ...]:
    by_judge: dict[str, list[Duel]] = {}
    for duel in beside.duels:
        if duel.n:
            by_judge.setdefault(duel.judge, []).append(duel)
    return tuple(_matrix(beside, judge, found) for judge, found in by_judge.items())


def _matrix(beside: SideBySide, judge: str, found: Sequence[Duel]) -> Table:
    cells = {(duel.first, duel.second): _duel(duel) for duel in found}
    rows = [
        (
            Cell(text=row),
            *(
                Cell(text=NONE) if row == column else cells.get((row, column), Cell(text="unknown", sub="none shared"))
                for column in beside.arms
            ),
        )
        for row in beside.arms
    ]
    return table(
        f"How often the row did better than the column, by {judge} through production",
        ["", *(f"over {arm}" for arm in beside.arms)],
        rows,
        numeric=range(1, len(beside.arms) + 1),
    )


def _duel(duel: Duel) -> Cell:
    share = duel.share
    if share is None or share.value is None:
        return Cell(text="unknown", sub="no common score")
    badge = None
    if duel.told:
        badge = _AHEAD if share.value > 0.5 else _BEHIND
    bounds = interval(share, Unit.SHARE) or "no interval"
    said = f"better {duel.first_better:,}, same {duel.same:,}, worse {duel.second_better:,}"
    return Cell(text=format_value(share.value, Unit.SHARE), sub=f"{bounds}\n{said}", badge=badge)


def _duels_note(report: EvaluationReport, beside: SideBySide) -> str:
    if not any(duel.n for duel in beside.duels):
        return "No judge scored two candidates on the same request, so that they cannot be compared request by request."
    preference = any(
        judge.judge == duel.judge and judge.metric.partition(":")[0] == WIN_RATE.name
        for candidate in report.candidates for judge in candidate.judges for duel in beside.duels[:1]
    )  # fmt: skip
    scored = "win, tie or loss against production" if preference else "likeness to production's answer"
    return (
        "No judge read two candidates' answers beside each other. Each was scored against production, and here two "
        f"scores of the same judge for the same request are compared ({scored}): “better” is the candidate with the "
        "higher score, “same” counts half in the share. Only requests that both answered count. Who is ahead of one "
        f"that is ahead of a third need not be ahead of the third. Intervals are "
        f"{100 * beside.confidence:.4g}% for one pair"
        f"{_looks(beside)}; “ahead” and “behind” stand where the share is told from one half with the number of pairs "
        "taken into account."
    )


def _looks(beside: SideBySide) -> str:
    return "" if beside.looks == "one" else " at any look"


def _slices(report: EvaluationReport, beside: SideBySide) -> tuple[Table, ...]:
    by_attribute: dict[str, list[SliceBest]] = {}
    for item in beside.slices:
        by_attribute.setdefault(item.attribute, []).append(item)
    metric = metric_of(report, beside.quality)
    found = []
    for attribute, items in by_attribute.items():
        rows = [_slice(metric, beside, item) for item in sorted(items, key=lambda item: (-item.n, item.value))]
        heads = [attribute, "Requests", "Best", *beside.arms]
        caption = f"Best by {words(attribute)}, {metric.title.lower()}"
        found.append(table(caption, heads, rows, numeric=(1, *range(3, len(heads)))))
    return tuple(found)


def _slice(metric: Metric, beside: SideBySide, item: SliceBest) -> tuple[Cell, ...]:
    best = item.best
    said = Cell(text="too few requests") if best is None else Cell(text=best_words(best))
    values = []
    for arm in beside.arms:
        cell = _plain(item.estimates.get(arm), metric)
        values.append(Cell(text=cell.text, sub=cell.sub, badge=badge_of(best, arm)))
    return (Cell(text=item.value), Cell(text=f"{item.n:,}"), said, *values)


def _slices_note(report: EvaluationReport, beside: SideBySide) -> str:
    if not beside.quality:
        return "No measure of quality is known for two candidates."
    if not beside.slices:
        return "No attribute of the traffic has two values to compare."
    title = metric_of(report, beside.quality).title.lower()
    if not beside.slices_tested:
        return (
            f"No slice has the {beside.min_slice:,} requests that a best candidate by {title} needs; values have "
            "intervals for one look and decide nothing."
        )
    return (
        f"By {title}, on slices of at least {beside.min_slice:,} requests. What stands under “Best” holds for all "
        f"{plural(beside.slices_tested, 'slice')} together with {100 * beside.confidence:.4g}% confidence"
        f"{_looks(beside)}: the truly best candidate of each is one of those named. Intervals are for one look at one "
        "slice, and corrected for nothing."
    )


def _requests_note(report: EvaluationReport, beside: SideBySide) -> str:
    if not report.show_text:
        return "Messages and answers are left out of this report."
    if not beside.requests:
        return "No request is shown with everybody's answer."
    return (
        "Chosen by a rule, not by hand: see the reason above each. Words that production's answer does not have are "
        "marked in the candidates'."
    )


def _letter(position: int) -> str:
    return chr(ord("A") + position % 26) + (str(position // 26) if position >= 26 else "")


def _short(name: str) -> str:
    return name if len(name) <= _LABEL else name[: _LABEL - 1] + ELLIPSIS


def _lower(title: str) -> str:
    """A title inside a sentence; abbreviations such as P95 stay."""
    return title if title[1:2].isdigit() or title[:2].isupper() else title[:1].lower() + title[1:]


def _either(names: Sequence[str]) -> str:
    return " or ".join(names) if len(names) < 4 else f"one of {len(names)}: {', '.join(names)}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nobody"

"""How far the judges of one candidate can be believed, and what people said about the same pairs."""

import shlex
from collections.abc import Sequence

from harness.decision.people import ENOUGH_LABELS, FEWEST_LABELS, is_biased
from harness.domain.estimate import Estimate, Unit
from harness.domain.formatting import format_estimate, format_value
from harness.domain.health import FlipBand, HealthCheck, HealthState, JudgeHealth
from harness.domain.report import CandidateReport, EvaluationReport, JudgeOnLabels, JudgeReport, PeopleReport
from reports.deciding import decided_on, is_corrected
from reports.page_parts import NONE, percent, table
from reports.page_rates import rate_names
from reports.text import plural
from reports.views import Badge, Cell, Fact, Table
from reports.views_charts import stack
from reports.views_trust import AgreementView, BandView, CheckView, JudgeHealthView, PeopleView

_STATES = {
    HealthState.FAIL: Badge(word="fail", tone="bad", icon="cross"),
    HealthState.WARN: Badge(word="warning", tone="open", icon="warn"),
    HealthState.UNKNOWN: Badge(word="not known", tone="none", icon="dash"),
    HealthState.PASS: Badge(word="pass", tone="good", icon="check"),
}
_ORDER = list(_STATES)
_USABLE = Badge(word="usable", tone="good", icon="check")
_NOT_USABLE = Badge(word="not usable", tone="bad", icon="cross")
_UNCHECKED = Badge(word="not checked", tone="none", icon="dash")
_VERDICTS = {"loss": "production better", "tie": "tie", "win": "candidate better"}
_NO_JUDGE = "No judge of this run states a preference or asks a model: what computes needs no belief."
_NOT_CHECKED = "Whether the judges of this run can be believed was not checked."


def judges_of(candidate: CandidateReport) -> tuple[JudgeHealthView, ...]:
    """One block per judge of which something is known; judges that only compute have none."""
    health = {item.judge: item for item in candidate.health}
    labelled = {item.judge: item for item in candidate.people.judges} if candidate.people is not None else {}
    reports = {judge.judge: judge for judge in candidate.judges}
    names = dict.fromkeys([*reports, *health, *labelled])
    return tuple(
        _judge(candidate, name, reports.get(name), health.get(name), labelled.get(name))
        for name in names
        if name in health or (name in labelled and labelled[name].n)
    )


def note_of(candidate: CandidateReport) -> str:
    """What stands where no judge has a block."""
    asks = any(judge.model or judge.wins is not None for judge in candidate.judges)
    return _NOT_CHECKED if asks else _NO_JUDGE


def agreement_in_short(candidate: CandidateReport, judge: str) -> str:
    """One sentence on the judge and people, for where its verdicts are shown."""
    found = _on_labels(candidate, judge)
    if found is None or not found.n or found.accuracy is None:
        return "Nobody has labelled pairs that it scored, so how far people agree with it is not known."
    kappa = (
        ""
        if found.kappa is None or found.kappa.value is None
        else f", kappa {format_value(found.kappa.value, Unit.SCORE)}"
    )
    return f"People say the same on {percent(found.accuracy.value)} of {plural(found.n, 'labelled pair')}{kappa}."


def people_of(report: EvaluationReport, candidate: CandidateReport) -> PeopleView:
    """Labels, or what they would buy."""
    people, command = candidate.people, f"harness label {shlex.quote(report.run_id)}"
    if len(report.candidates) > 1:
        command += f" --arm {shlex.quote(candidate.arm)}"
    if people is None or not people.labelled:
        return PeopleView(facts=(), parts=(), title="", sentences=_would_buy(candidate), command=command)
    parts = stack(
        (
            ("win", "candidate better", people.wins),
            ("tie", "tie", people.ties),
            ("loss", "production better", people.losses),
        )
    )
    return PeopleView(
        facts=(
            Fact(
                label="Pairs labelled", value=f"{people.labelled:,}", note=f"of {candidate.funnel.comparable:,} pairs"
            ),
            Fact(label="Labellers", value=f"{people.labellers:,}"),
            Fact(
                label="Drawn at random", value=f"{people.drawn:,}", note="; ".join(people.designs) or "by no known plan"
            ),
        ),
        parts=parts,
        title="people: " + ", ".join(f"{part.label} {part.text}" for part in parts),
        sentences=_buys(candidate, people),
        command=command,
    )


def _judge(
    candidate: CandidateReport,
    name: str,
    report: JudgeReport | None,
    health: JudgeHealth | None,
    labelled: JudgeOnLabels | None,
) -> JudgeHealthView:
    checks = sorted(health.checks, key=lambda check: _ORDER.index(check.state)) if health is not None else []
    return JudgeHealthView(
        judge=name,
        model="" if report is None else ", ".join(m for m in (report.model, *report.further_models) if m),
        badge=_UNCHECKED if health is None else _USABLE if health.usable else _NOT_USABLE,
        sentence=_usable(health),
        checks=tuple(_check(check) for check in checks),
        bands=_bands(health),
        agreement=_agreement(candidate, labelled) if labelled is not None and labelled.n else None,
    )


def _usable(health: JudgeHealth | None) -> str:
    if health is None:
        return "Its health was not checked."
    if not health.usable:
        titles = ", ".join(check.title.lower() for check in health.failed)
        return f"It decides nothing, whatever its figures say. Failed: {titles}."
    unknown = sum(check.state is HealthState.UNKNOWN for check in health.checks)
    passed = "It may contribute to a GO: no check failed"
    return f"{passed}; {plural(unknown, 'check')} could not be made." if unknown else f"{passed}."


def _check(check: HealthCheck) -> CheckView:
    return CheckView(badge=_STATES[check.state], title=check.title, sentence=check.sentence, remedy=check.remedy)


def _bands(health: JudgeHealth | None) -> tuple[BandView, ...]:
    """None where no pair was read in both orders: a table of dashes says less than the check that says so."""
    if health is None or not any(band.pairs for band in health.bands):
        return ()
    return tuple(_band(band) for band in health.bands)


def _band(band: FlipBand) -> BandView:
    share = band.flips / band.pairs if band.pairs else None
    return BandView(
        band=band.band,
        pairs=f"{band.pairs:,}",
        flips=f"{band.flips:,} ({percent(share)})" if share is not None else NONE,
        width=round(100 * (share or 0.0), 2),
        first=NONE if band.first_slot is None else percent(band.first_slot),
    )


def _on_labels(candidate: CandidateReport, judge: str) -> JudgeOnLabels | None:
    if candidate.people is None:
        return None
    return next((item for item in candidate.people.judges if item.judge == judge), None)


def _agreement(candidate: CandidateReport, found: JudgeOnLabels) -> AgreementView:
    is_void = found.bias is not None and is_biased(found.bias)
    return AgreementView(
        sentence=_agree(found),
        facts=tuple(fact for fact in (_accuracy(found), _kappa(found), _bias_fact(found.bias)) if fact is not None),
        confusion=_confusion(found),
        bias=_bias(candidate, found, is_void=is_void),
        is_void=is_void,
    )


def _agree(found: JudgeOnLabels) -> str:
    if found.accuracy is None or found.accuracy.value is None:
        return f"{plural(found.n, 'pair')} have both its verdict and people's."
    same = percent(found.accuracy.value)
    text = f"On {plural(found.n, 'pair')} that people labelled, it says the same as they do on {same}"
    if found.baseline is None:
        return f"{text}."
    return f"{text}; always giving people's most common verdict would reach {percent(found.baseline)}."


def _accuracy(found: JudgeOnLabels) -> Fact | None:
    if found.accuracy is None or found.accuracy.value is None:
        return None
    return _fact("Same verdict as people", found.accuracy, Unit.SHARE)


def _kappa(found: JudgeOnLabels) -> Fact | None:
    if found.kappa is None or found.kappa.value is None:
        return None
    return _fact("Kappa: 0 is chance, 1 is perfect", found.kappa, Unit.SCORE)


def _bias_fact(bias: Estimate | None) -> Fact | None:
    return None if bias is None or bias.value is None else _fact("Bias: people less judge", bias, Unit.POINTS)


def _fact(label: str, estimate: Estimate, unit: Unit) -> Fact:
    value = format_value(estimate.value, unit)
    return Fact(label=label, value=value, note=format_estimate(estimate, unit).removeprefix(value).strip().strip("()"))


def _bias(candidate: CandidateReport, found: JudgeOnLabels, *, is_void: bool) -> str:
    bias = found.bias
    if bias is None or bias.value is None:
        return "Its bias is not known: none of these pairs was drawn by a known random plan."
    if not is_void:
        few = f" {FEWEST_LABELS} labels would be needed to tell." if bias.n < FEWEST_LABELS else ""
        return f"On {plural(bias.n, 'label')} no bias towards either side can be made out.{few}"
    side, scores = ("the candidate", "lower") if bias.value < 0 else ("production", "higher")
    decided = decided_on(candidate.decision).get(rate_names(candidate).get(found.judge, ""))
    does = "Its own win rate is void"
    if decided is not None and is_corrected(decided):
        does += ", and the one corrected by labels decides"
    return f"People score {scores} than it does, by more than chance explains: it favours {side}. {does}."


def _confusion(found: JudgeOnLabels) -> Table | None:
    if not found.confusion:
        return None
    names = [_VERDICTS.get(label, label) for label in found.labels]
    rows = [
        (
            Cell(text=f"People: {name}"),
            *(Cell(text=f"{count:,}") for count in counts),
            Cell(text=f"{sum(counts):,}"),
        )
        for name, counts in zip(names, found.confusion, strict=False)
    ]
    totals = [sum(column) for column in zip(*found.confusion, strict=False)]
    rows.append((Cell(text="All"), *(Cell(text=f"{n:,}") for n in totals), Cell(text=f"{sum(totals):,}")))
    return table(
        "People's verdicts by row, the judge's by column",
        ["", *(f"Judge: {name}" for name in names), "All"],
        rows,
        numeric=range(1, len(names) + 2),
    )


def _would_buy(candidate: CandidateReport) -> tuple[str, ...]:
    judges = [judge.judge for judge in candidate.judges if judge.wins is not None]
    whose = f"judge {judges[0]}" if len(judges) == 1 else "the judges"
    return (
        "Nobody has labelled pairs of this candidate. People decide what a better answer is; a judge only stands in "
        "for them.",
        f"Labels show how often people agree with {whose}. From {FEWEST_LABELS} pairs on they can void a judge's win "
        f"rate and correct it; from {ENOUGH_LABELS:,} on they decide in its place.",
    )


def _buys(candidate: CandidateReport, people: PeopleReport) -> tuple[str, ...]:
    said = []
    if people.drawn < people.labelled:
        picked = people.labelled - people.drawn
        said.append(
            f"{plural(picked, 'labelled pair')} came by no known random plan: they show agreement and correct nothing."
        )
    corrected = any(is_corrected(e) for e in _decided(candidate))
    if corrected:
        said.append("These labels stand in the win rate that decides.")
    elif people.drawn >= FEWEST_LABELS:
        said.append(
            "Enough to contradict a judge or to void its rate; from "
            f"{ENOUGH_LABELS:,} labels on they decide in its place."
        )
    else:
        missing = FEWEST_LABELS - people.drawn
        said.append(f"{plural(missing, 'more label')} of drawn pairs and they can correct a judge's win rate.")
    return tuple(said)


def _decided(candidate: CandidateReport) -> Sequence[Estimate]:
    return tuple(decided_on(candidate.decision).values())

"""Checks of a judge against answers that somebody knows."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from harness.domain.estimate import Estimate
from harness.domain.health import HealthCheck, HealthState
from harness.judging.conduct import Conduct, verdicts
from harness.judging.findings import FEWEST, SOFTER, STRONGER, excludes, points, score, share, unknown
from harness.stats import agreement, means, ppi
from harness.stats.evidence import Bools, Floats, LabelColumn

FEWEST_LABELS = 50
NEARLY_ALL = 0.95
"""Share of exact ties among word verdicts from which on they say nothing."""
CLEAR_LEAD = 0.1
"""Preference for the right side, above a half, from which on win rates follow what candidates do."""
WEAK_KAPPA = 0.4
SLIGHT_KAPPA = 0.2


def signal(conduct: Conduct) -> HealthCheck:
    """Whether the averaged score says anything: by people's labels, else known answers, else by not being all ties."""
    name, title = "signal", "Whether its scores say anything"
    right = _right(conduct)
    remedy = STRONGER if conduct.is_soft else SOFTER
    if right.value is not None and right.low is not None and right.n >= FEWEST:
        sentence = (
            f"It is on people's side in {share(right)} of {right.n:,} pairs they decided, a tie as a half; guessing "
            "reaches 50%."
        )
        if right.low > 0.5 and right.extra["lead"] < CLEAR_LEAD:
            preference = 100 * (0.5 + right.extra["lead"])
            sentence += f" But by a hair: their side gets {preference:.2f}% of the preference, so that win rates stay "
            sentence += "near 50% whatever the candidate does."
            state = HealthState.FAIL if conduct.counts_shares else HealthState.WARN
            remedy = (
                "Count verdicts (`counting: verdicts`), or take a stronger model."
                if conduct.counts_shares
                else STRONGER
            )
            return HealthCheck(name=name, title=title, state=state, sentence=sentence, remedy=remedy, estimate=right)
        if right.low > 0.5:
            return HealthCheck(name=name, title=title, state=HealthState.PASS, sentence=sentence, estimate=right)
        if right.n >= FEWEST_LABELS:
            state = HealthState.FAIL
            return HealthCheck(name=name, title=title, state=state, sentence=sentence, remedy=remedy, estimate=right)
    if any(check.name == "canaries" and check.state is HealthState.PASS for check in conduct.further):
        sentence = "It tells right from wrong on the pairs with a known answer."
        return HealthCheck(name=name, title=title, state=HealthState.PASS, sentence=sentence)
    scores = conduct.scores.value[conduct.different]
    ties = int(np.sum(scores == 0.5))
    if not conduct.is_soft and scores.size >= FEWEST and ties >= NEARLY_ALL * scores.size:
        sentence = f"{ties:,} of its {scores.size:,} verdicts on different answers come to an exact tie: no signal."
        return HealthCheck(name=name, title=title, state=HealthState.FAIL, sentence=sentence, remedy=remedy)
    return unknown(
        name, title, "Nobody knows the right answers to the pairs it read.", "Label pairs, or set `canaries: stop`."
    )


def _right(conduct: Conduct) -> Estimate:
    """Share of the pairs people decided that the judge decided alike, a tie of its own as a half.

    ``extra["lead"]`` is the mean share of preference it gives to their side, less a half.
    """
    value = conduct.scores.value
    people = np.full(len(value), np.nan) if conduct.people is None else verdicts(conduct.people.value)
    people = np.where(people == 0.5, np.nan, people)
    right = 1 - np.abs(verdicts(value) - people)
    found = means.mean(right, conduct.clusters, metric="signal", level=conduct.level, bounds=(0.0, 1.0))
    if found.value is None:
        return found
    return replace(found, extra={"lead": 0.5 - float(np.nanmean(np.abs(value - people)))})


def people(conduct: Conduct) -> HealthCheck:
    """Agreement with people: better than a constant answer, more than weak beyond chance, and without bias."""
    name, title = "people", "Agreement with people"
    if conduct.people is None:
        return unknown(name, title, "No labels: agreement with people was not measured.", "Label 50 pairs or more.")
    found = agreement_with_people(conduct, conduct.people)
    accuracy, kappa, bias = found["accuracy"], found["kappa"], found["bias"]
    labels = accuracy.n
    if labels < FEWEST_LABELS:
        sentence = f"{_few(labels)} {FEWEST_LABELS} are needed to measure agreement with people."
        return replace(unknown(name, title, sentence, "Label more pairs."), estimate=_with(accuracy, kappa, bias))
    baseline = accuracy.extra["baseline"]
    sentence = (
        f"It agrees with people on {share(accuracy)} of {labels:,} labelled pairs, where one constant answer "
        f"reaches {100 * baseline:.2f}%; kappa is {score(kappa)}."
    )
    state, remedy = HealthState.PASS, ""
    beats = accuracy.low is not None and accuracy.low > baseline
    told = kappa.low is not None and kappa.low > SLIGHT_KAPPA
    weak = kappa.high is not None and kappa.high < WEAK_KAPPA
    if weak or not (beats or told):
        state, remedy = HealthState.FAIL, STRONGER if conduct.is_soft else SOFTER
    elif excludes(bias, 0.0):
        state = HealthState.WARN
        side = "against" if (bias.value or 0.0) > 0 else "towards"
        sentence += f" It is biased {side} the candidate: people score {points(bias)} beside it."
        remedy = "Use the win rate corrected by people."
    return HealthCheck(
        name=name, title=title, state=state, sentence=sentence, remedy=remedy, estimate=_with(accuracy, kappa, bias)
    )


def agreement_with_people(conduct: Conduct, labels: LabelColumn) -> Mapping[str, Estimate]:
    """``accuracy`` and ``kappa`` of the averaged verdict, and ``bias``, people's mean score less the judge's."""
    verdict, label = verdicts(conduct.scores.value), verdicts(labels.value)
    drawn = _propensity(labels, np.isfinite(conduct.scores.value + labels.value))
    return {
        "accuracy": agreement.accuracy(verdict, label, conduct.clusters, level=conduct.level),
        "kappa": agreement.kappa(verdict, label, conduct.clusters, level=conduct.level),
        "bias": ppi.rectifier(
            labels.value, conduct.scores.value, conduct.clusters, propensity=drawn, level=conduct.level
        ),
    }


def _propensity(labels: LabelColumn, known: Bools) -> Floats | None:
    """Each row's chance of a label where a plan drew every one and not all with the same."""
    chances = labels.probability[known]
    if not chances.size or not np.isfinite(chances).all() or float(np.ptp(chances)) < 1e-9:
        return None
    return labels.probability


def _with(accuracy: Estimate, kappa: Estimate, bias: Estimate) -> Estimate:
    """The accuracy, carrying the other two."""
    extra = dict(accuracy.extra)
    for name, item in (("kappa", kappa), ("bias", bias)):
        ends = {name: item.value, f"{name}_low": item.low, f"{name}_high": item.high}
        extra |= {key: value for key, value in ends.items() if value is not None}
    return replace(accuracy, extra=extra)


def _few(labels: int) -> str:
    if not labels:
        return "No pair it scored is labelled by people;"
    return f"Only {labels} pair{'s' if labels > 1 else ''} it scored {'are' if labels > 1 else 'is'} labelled;"

"""How far one judge can be believed: its checks, from columns alone.

A check that fails keeps the judge from deciding. From when on each fails, and why there, is in docs/judges.md.
"""

import numpy as np

from harness.domain.estimate import Estimate, Unit
from harness.domain.formatting import format_value
from harness.domain.health import FlipBand, HealthCheck, HealthState, JudgeHealth
from harness.domain.judgment import UnscoredReason
from harness.judging import known_answers
from harness.judging.conduct import Conduct, family, verdicts
from harness.judging.findings import SOFTER, STRONGER, excludes, share, state_of, unknown
from harness.stats import length_control, means, proportions

MANY_FLIPS, SOME_FLIPS = 0.4, 0.2
FLIPS_TOLD_FROM = 0.25
LEAN = 0.05
UNSCORED = 0.02
OFF_FLOOR = 0.02
PREFERS_LONGER = 0.6
_BANDS = ((-1.0, 0.5, "under 0.5"), (0.5, 0.8, "0.5 to 0.8"), (0.8, 0.95, "0.8 to 0.95"), (0.95, 2.0, "0.95 and more"))
_NOT_ITS_DOING = frozenset(
    {
        UnscoredReason.NOT_APPLICABLE,
        UnscoredReason.NOT_COMPARABLE,
        UnscoredReason.NOT_DRAWN,
        UnscoredReason.BUDGET,
    }
)
_FURTHER = frozenset({"lead", "baseline", "kappa", "kappa_low", "kappa_high", "bias", "bias_low", "bias_high"})
_BOTH = "Have pairs read in both orders (`orders: both`)."


def health_of(conduct: Conduct) -> JudgeHealth:
    """Every check that applies to the judge, with flips by similarity."""
    checks = [*conduct.further]
    if conduct.preference:
        checks += [_position(conduct), _flips(conduct), known_answers.signal(conduct)]
    checks.append(_unscored(conduct))
    if conduct.preference:
        checks += [known_answers.people(conduct), _self_agreement(conduct), _length(conduct)]
    if conduct.models and any(conduct.answering.values()):
        checks.append(_family(conduct))
    return JudgeHealth(
        judge=conduct.judge,
        checks=tuple(checks),
        bands=_bands(conduct) if conduct.preference else (),
        figures=_figures(conduct, checks),
    )


def position_effect(conduct: Conduct) -> Estimate:
    """Mean score with the candidate first less that with it second, over pairs read in both orders."""
    return means.paired_difference(
        np.where(conduct.in_both, conduct.scores.candidate_first, np.nan),
        np.where(conduct.in_both, conduct.scores.production_first, np.nan),
        conduct.clusters,
        metric="position_effect",
        level=conduct.level,
        bounds=(-1.0, 1.0),
    )


def _position(conduct: Conduct) -> HealthCheck:
    name, title = "position", "Preference for the answer shown first"
    found = means.mean(
        conduct.first_slot, conduct.clusters, metric="first_slot", level=conduct.level, bounds=(0.0, 1.0)
    )
    if found.value is None:
        return unknown(name, title, "No pair was read in both orders.", _BOTH)
    worth = format_value(position_effect(conduct).value, Unit.POINTS)
    sentence = (
        f"It prefers the answer shown first in {share(found)} of its verdicts on {found.n:,} pairs read in both "
        f"orders; being shown first is worth {worth}."
    )
    leans = abs(found.value - 0.5) >= LEAN and excludes(found, 0.5)
    state = state_of(found, fails=leans and not conduct.is_soft, warns=leans)
    if leans and conduct.is_soft and conduct.is_averaged:
        sentence += " Averaging its probabilities over both orders cancels that."
    remedy = _better_asked(conduct) if leans else ""
    return HealthCheck(name=name, title=title, state=state, sentence=sentence, remedy=remedy, estimate=found)


def _flips(conduct: Conduct) -> HealthCheck:
    name, title = "flips", "Contradictions when the order is swapped"
    found = proportions.proportion(conduct.contradicts, conduct.clusters, metric="flips", level=conduct.level)
    if found.value is None or found.low is None:
        return unknown(name, title, "No pair was read in both orders.", _BOTH)
    flips = int(found.extra["count"])
    sentence = f"Its two orders name opposite winners on {flips:,} of {found.n:,} pairs, {share(found)}."
    some, many = found.value > SOME_FLIPS, found.value > MANY_FLIPS and found.low > FLIPS_TOLD_FROM
    state = state_of(found, fails=many and not conduct.is_soft, warns=some)
    if some and conduct.is_soft:
        sentence += " What counts is the mean of both orders' probabilities, not either winner."
    remedy = _better_asked(conduct) if some else ""
    return HealthCheck(name=name, title=title, state=state, sentence=sentence, remedy=remedy, estimate=found)


def _better_asked(conduct: Conduct) -> str:
    return SOFTER if not conduct.is_soft else STRONGER if conduct.is_averaged else _BOTH


def _unscored(conduct: Conduct) -> HealthCheck:
    name, title = "unscored", "Pairs without a verdict"
    reasons = {reason: n for reason, n in conduct.unscored.items() if n and reason not in _NOT_ITS_DOING}
    lost, scored = sum(reasons.values()), int(np.isfinite(conduct.scores.value).sum())
    if not lost + scored:
        return unknown(name, title, "It has read no pair.")
    column = np.repeat([1.0, 0.0], [lost, scored])
    found = proportions.proportion(column, np.arange(len(column)), metric="unscored", level=conduct.level)
    half = int(np.sum(conduct.scores.missing_order))
    why = ", ".join(f"{reason} {n:,}" for reason, n in sorted(reasons.items(), key=lambda item: (-item[1], item[0])))
    sentence = f"It gave no verdict on {lost:,} of {found.n:,} pairs"
    sentence += f", {share(found)}: {why}" if lost else ""
    sentence += f"; {half:,} more have one in only one of two orders." if half else "."
    told = found.low is not None and found.low > UNSCORED
    state = state_of(found, fails=told, warns=max(lost, half) > UNSCORED * found.n)
    remedy = ""
    if state is not HealthState.PASS and lost + half:
        remedy = "Read the explanations stored with its judgments; more room (`max_tokens`) or `mode: soft` often help."
    return HealthCheck(name=name, title=title, state=state, sentence=sentence, remedy=remedy, estimate=found)


def _self_agreement(conduct: Conduct) -> HealthCheck:
    name, title = "self_agreement", "Production against itself"
    if conduct.replica is None or not np.isfinite(conduct.replica.value).any():
        sentence = "It has not compared production with itself."
        return unknown(name, title, sentence, "Add a `replica:` to the experiment.")
    found = means.mean(
        conduct.replica.value, conduct.clusters, metric="self_win_rate", level=conduct.level, bounds=(0.0, 1.0)
    )
    sentence = f"Production asked again wins {share(found)} of {found.n:,} pairs against its own recorded answers"
    spread = noise(conduct)
    sentence += "." if spread is None else f"; these scores scatter by {format_value(spread, Unit.SCORE)}."
    low, high = found.low, found.high
    state = state_of(
        found,
        fails=(low is not None and low > 0.5 + OFF_FLOOR) or (high is not None and high < 0.5 - OFF_FLOOR),
        warns=excludes(found, 0.5) and abs((found.value or 0.0) - 0.5) > OFF_FLOOR,
    )
    remedy = ""
    if state in {HealthState.FAIL, HealthState.WARN}:
        remedy = "It, or the way requests are asked again, favours one side without cause: compare some of these pairs."
    return HealthCheck(name=name, title=title, state=state, sentence=sentence, remedy=remedy, estimate=found)


def noise(conduct: Conduct) -> float | None:
    """Standard deviation of the scores of production against itself; ``None`` below two of them."""
    if conduct.replica is None:
        return None
    known = conduct.replica.value[np.isfinite(conduct.replica.value)]
    return float(np.std(known, ddof=1)) if len(known) > 1 else None


def _length(conduct: Conduct) -> HealthCheck:
    name, title = "length", "Preference for longer answers"
    if conduct.candidate_chars is None or conduct.production_chars is None:
        return unknown(name, title, "The lengths of the answers are not known.")
    found = length_control.length_effect(
        verdicts(conduct.scores.value),
        conduct.candidate_chars,
        conduct.production_chars,
        conduct.clusters,
        level=conduct.level,
    )
    if found.value is None:
        return unknown(name, title, "It decided no pair of answers of unequal length.")
    sentence = f"It prefers the longer answer in {share(found)} of the {found.n:,} pairs it decided."
    state = state_of(found, warns=found.value > PREFERS_LONGER and excludes(found, 0.5))
    remedy = ""
    if state is HealthState.WARN:
        remedy = "Look at the win rate at equal length; say in `criteria` that length is no merit."
    return HealthCheck(name=name, title=title, state=state, sentence=sentence, remedy=remedy, estimate=found)


def _family(conduct: Conduct) -> HealthCheck:
    kin = [
        f"{model}, which it asks, is of the same family as {side}"
        for model in conduct.models
        for side, names in conduct.answering.items()
        if any(family(name) == family(model) for name in names)
    ]
    state, sentence, remedy = HealthState.PASS, "It is of another family than either side.", ""
    if kin:
        state, remedy = HealthState.WARN, "Take a judge of another family."
        sentence = f"{'; '.join(kin)}: models prefer their own kind."
    return HealthCheck(name="family", title="Kinship with a side", state=state, sentence=sentence, remedy=remedy)


def _bands(conduct: Conduct) -> tuple[FlipBand, ...]:
    if conduct.similarity is None or not np.isfinite(conduct.similarity).any():
        return ()
    found = []
    for low, high, words in _BANDS:
        rows = conduct.in_both & (conduct.similarity >= low) & (conduct.similarity < high)
        pairs = int(rows.sum())
        found.append(
            FlipBand(
                band=words,
                pairs=pairs,
                flips=int(conduct.contradicts[rows].sum()),
                first_slot=float(conduct.first_slot[rows].mean()) if pairs else None,
            )
        )
    return tuple(found)


def _figures(conduct: Conduct, checks: list[HealthCheck]) -> dict[str, float]:
    scored = conduct.scores.value[np.isfinite(conduct.scores.value)]
    figures = {"scored": float(scored.size), "in_both_orders": float(conduct.in_both.sum())}
    if scored.size and conduct.preference:
        figures["ties"] = float(np.mean(verdicts(scored) == 0.5))
    for item in checks:
        if item.estimate is not None and item.estimate.value is not None:
            figures[item.estimate.metric] = item.estimate.value
            figures |= {name: x for name, x in item.estimate.extra.items() if name in _FURTHER}
    further = {"noise_sd": noise(conduct), "position_effect": position_effect(conduct).value}
    return figures | {name: x for name, x in further.items() if x is not None}

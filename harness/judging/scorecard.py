"""A judge held against people's labels: everything `harness judges evaluate` prints about it, from columns alone."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from harness.domain.estimate import Estimate
from harness.domain.health import JudgeHealth
from harness.domain.judgment import Judgment, JudgmentState, Label, Order, UnscoredReason
from harness.judging.conduct import Conduct, verdicts
from harness.judging.health import health_of
from harness.stats import agreement, proportions
from harness.stats.agreement import Agreement
from harness.stats.evidence import Floats, LabelColumn, ScoreColumn

_NO_VERDICT = -1.0
"""A code that no label has, and that is therefore wrong everywhere."""


class Unscored(StrEnum):
    """What a pair without a verdict counts as."""

    WRONG = "wrong"
    LEFT_OUT = "left-out"
    TIE = "tie"

    def filled(self, found: Floats) -> Floats:
        """Verdicts with the missing ones put in, or left missing."""
        if self is Unscored.LEFT_OUT:
            return found
        return np.where(np.isfinite(found), found, 0.5 if self is Unscored.TIE else _NO_VERDICT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What judging took; ``None`` where nothing was asked, or it is not known."""

    seconds_per_pair: float | None = None
    tokens_in_per_pair: float | None = None
    tokens_out_per_pair: float | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Scorecard:
    """One judge against people, beside what a constant answer and the longer answer would reach."""

    judge: str
    pairs: int
    scored: int
    """Pairs with a verdict in at least one order."""
    unscored: Mapping[str, int]
    """Pairs without one, by UnscoredReason."""
    soft: bool
    """Whether verdicts are token probabilities rather than words."""
    agreement: Agreement
    """Of the averaged verdict; the macro averages run over the labels people gave."""
    longer_wins: Estimate
    """Accuracy of always preferring the longer answer."""
    correct: tuple[Estimate, Estimate, Estimate] | None
    """Right with answer 1 shown first, with answer 2 shown first, and in both; ``None`` without both orders."""
    consistency: Estimate | None
    """Same verdict in both orders."""
    kappa_orders: Estimate | None
    """Between the orders, over pairs with both verdicts."""
    kappa_orders_coded: float | None
    """Between the orders with "answer 1" as one code and everything else, no verdict too, as the other."""
    ties: int
    usage: Usage
    health: JudgeHealth


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledColumns:
    """The labelled pairs as columns, in the order of the ids."""

    ids: Sequence[str]
    clusters: Sequence[str]
    """Pairs with the same request are not independent."""
    labels: Floats
    """Answer 2's share: 1 it is better, 0.5 a tie, 0 answer 1 is."""
    labellers: Sequence[int]
    chars_1: Floats
    chars_2: Floats
    identical: Sequence[bool]


@dataclass(kw_only=True)
class _Rows:
    """A judge's judgments by row."""

    scores: ScoreColumn
    unscored: Counter[str] = field(default_factory=Counter)


def scorecard(
    judge: str,
    found: Sequence[Judgment],
    labelled: LabelledColumns,
    *,
    unscored: Unscored = Unscored.WRONG,
    models: Sequence[str] = (),
    by_verdict: bool = False,
    level: float = 0.95,
) -> Scorecard:
    """Everything about ``found``, the judgments of one judge on the labelled pairs; answer 2 is the candidate.

    ``by_verdict`` counts token probabilities as the verdict they come to, as the judge itself does in a run.
    """
    rows = _rows(found, labelled.ids, by_verdict=by_verdict)
    clusters = np.unique(np.asarray(labelled.clusters, dtype=str), return_inverse=True)[1].astype(np.int64)
    conduct = Conduct(
        judge=judge,
        scores=rows.scores,
        clusters=clusters,
        unscored=rows.unscored,
        production_chars=labelled.chars_1,
        candidate_chars=labelled.chars_2,
        identical=np.asarray(labelled.identical, dtype=np.bool_),
        people=LabelColumn(
            value=labelled.labels,
            labellers=np.asarray(labelled.labellers, dtype=np.int64),
            probability=np.ones(len(labelled.ids)),
        ),
        models=models,
        level=level,
    )
    averaged = unscored.filled(verdicts(rows.scores.value))
    menu = sorted({float(label) for label in labelled.labels if np.isfinite(label)})
    length = (np.sign(labelled.chars_2 - labelled.chars_1) + 1) / 2
    scored = np.isfinite(rows.scores.value)
    card = Scorecard(
        judge=judge,
        pairs=len(labelled.ids),
        scored=int(scored.sum()),
        unscored=dict(rows.unscored.most_common()),
        soft=conduct.is_soft,
        agreement=agreement.agreement(averaged, labelled.labels, clusters, menu=menu, level=level),
        longer_wins=agreement.accuracy(length, labelled.labels, clusters, metric="longer_wins", level=level),
        correct=None,
        consistency=None,
        kappa_orders=None,
        kappa_orders_coded=None,
        ties=int(np.sum(verdicts(rows.scores.value) == 0.5)),
        usage=_usage(found, len(labelled.ids)),
        health=_health(conduct),
    )
    return _with_orders(card, conduct, labelled.labels, unscored) if conduct.in_both.any() else card


def _health(conduct: Conduct) -> JudgeHealth:
    """Without what is a matter of runs: a labelled set has no replica."""
    found = health_of(conduct)
    return replace(found, checks=tuple(check for check in found.checks if check.name != "self_agreement"))


def _with_orders(card: Scorecard, conduct: Conduct, labels: Floats, unscored: Unscored) -> Scorecard:
    words = [verdicts(column) for column in (conduct.scores.production_first, conduct.scores.candidate_first)]
    one, two = (unscored.filled(column) for column in words)
    known = np.isfinite(one + two)
    right = [np.where(np.isfinite(column + labels), column == labels, np.nan) for column in (one, two)]
    names = ("correct_answer_1_first", "correct_answer_2_first", "correct_in_both")
    first, second, both = (
        proportions.proportion(column, conduct.clusters, metric=name, level=conduct.level)
        for name, column in zip(names, (*right, right[0] * right[1]), strict=True)
    )
    coded = [np.where(column == 0.0, 1.0, 0.0) for column in words]
    return replace(
        card,
        correct=(first, second, both),
        consistency=proportions.proportion(
            np.where(known, one == two, np.nan), conduct.clusters, metric="position_consistency", level=conduct.level
        ),
        kappa_orders=agreement.kappa(
            words[0], words[1], conduct.clusters, metric="kappa_between_orders", level=conduct.level
        ),
        kappa_orders_coded=agreement.kappa(coded[0], coded[1], conduct.clusters).value,
    )


def _rows(found: Sequence[Judgment], ids: Sequence[str], *, by_verdict: bool) -> _Rows:
    """Scores by row and order, and why rows have none."""
    at = {exchange_id: row for row, exchange_id in enumerate(ids)}
    by_order: dict[Order, Floats] = {order: np.full(len(ids), np.nan) for order in Order}
    reasons: defaultdict[int, list[str]] = defaultdict(list)
    tied = np.ones(len(ids), dtype=np.bool_)
    for judgment in found:
        row = at.get(judgment.exchange_id)
        if row is None or judgment.reason is UnscoredReason.NOT_DRAWN:
            continue
        if judgment.state is JudgmentState.SCORED and judgment.value is not None:
            by_order[judgment.order][row] = judgment.value
            tied[row] &= judgment.label is Label.TIE
        else:
            reasons[row].append(str(judgment.reason or judgment.state))
    columns = np.stack(list(by_order.values()))
    n = np.isfinite(columns).sum(axis=0)
    value = np.divide(np.nansum(columns, axis=0), n, out=np.full(len(ids), np.nan), where=n > 0)
    half = np.zeros(len(ids), dtype=np.bool_)
    half[[row for row in reasons if n[row]]] = True
    scores = ScoreColumn(
        metric="win_rate",
        value=value,
        missing_order=half,
        production_first=by_order[Order.PRODUCTION_FIRST],
        candidate_first=by_order[Order.CANDIDATE_FIRST],
        tied=tied & (n > 0),
    )
    return _Rows(
        scores=scores.as_verdicts() if by_verdict else scores,
        unscored=Counter(given[0] for row, given in reasons.items() if not n[row]),
    )


def _usage(found: Sequence[Judgment], pairs: int) -> Usage:
    asked = [judgment for judgment in found if judgment.attempts]
    if not asked or not pairs:
        return Usage()
    known = len({judgment.exchange_id for judgment in asked})
    times = [judgment.latency_ms for judgment in asked if judgment.latency_ms is not None]
    read = [judgment.tokens_in for judgment in asked if judgment.tokens_in is not None]
    written = [judgment.tokens_out for judgment in asked if judgment.tokens_out is not None]
    costs = [judgment.cost_usd for judgment in asked if judgment.cost_usd is not None]
    return Usage(
        seconds_per_pair=sum(times) / 1000 / known if times else None,
        tokens_in_per_pair=sum(read) / known if read else None,
        tokens_out_per_pair=sum(written) / known if written else None,
        cost_usd=sum(costs) if costs else None,
    )

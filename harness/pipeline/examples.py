"""Which pairs a report shows in full: few, of every kind, the regressions first."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from harness.domain.estimate import Direction
from harness.domain.judgment import UnscoredReason
from harness.domain.metrics import EXACT_MATCH, SIMILARITY, WIN_RATE
from harness.domain.pair import Pair
from harness.domain.report import Example
from harness.pipeline.evaluation import ArmEvaluation
from harness.pipeline.seats import SeatedJudge
from harness.pipeline.session import Session
from harness.stats.evidence import Bools, Evidence, Floats, Ints, ScoreColumn, Strings

MAX_VALUES = 6
"""Values of one slice attribute that have examples of their own, the most frequent ones."""
MAX_CHARS = 8_000_000
"""Characters of messages and answers that the examples of one candidate have together; what is longer is left out."""
_FEW = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Picked:
    """One pair that is to be shown."""

    row: int
    """Its row in the evidence."""
    why: str
    """``worst``, ``failed``, ``slice``, ``judge``, ``flip``, ``label``, ``unscored``, ``best`` or ``unchanged``."""
    score: float | None
    """By the judge that ranks; ``None`` where it gave none."""


def examples_of(session: Session, item: ArmEvaluation, judges: Sequence[SeatedJudge]) -> tuple[Example, ...]:
    """The pairs that the report shows of one candidate, most telling first; none when it may show no text."""
    settings, evidence = session.experiment.report, item.evidence
    if not settings.show_text or settings.examples == 0:
        return ()
    picked = pick(evidence, wanted=settings.examples, directions=_directions(judges))
    ranking = _ranking(evidence)
    metric = "" if ranking is None else ranking.metric
    ids = [str(evidence.exchange_ids[each.row]) for each in picked]
    store, run_id, arm = session.store, session.run_id, item.arm
    order = {judge.fingerprint: position for position, judge in enumerate(judges)}
    judgments: dict[str, list[Any]] = {}
    for judgment in store.judgments(run_id, arm.name, arm.fingerprint, ids=ids, judge_fingerprints=list(order)):
        if judgment.reason is not UnscoredReason.NOT_DRAWN:
            judgments.setdefault(judgment.exchange_id, []).append(judgment)
    pairs: dict[str, Pair] = {}
    left = MAX_CHARS
    for found in store.pairs(run_id, arm.name, arm.fingerprint, ids=ids):
        left -= _chars(found)
        if left >= 0 or not pairs:
            pairs[found.exchange_id] = found
    return tuple(
        Example(
            exchange_id=pair.exchange_id,
            why=each.why,
            score=each.score,
            score_metric=metric,
            messages=pair.request.messages,
            production=pair.production,
            candidate=pair.candidate,
            judgments=tuple(
                sorted(judgments.get(pair.exchange_id, ()), key=lambda j: (order[j.judge_fingerprint], j.order))
            ),
            tags=(*pair.exchange.tags, *(f"{key}={value}" for key, value in sorted(pair.exchange.metadata.items()))),
            slices={name: str(column[each.row]) for name, column in evidence.attributes.items() if column[each.row]},
        )
        for each, exchange_id in zip(picked, ids, strict=True)
        if (pair := pairs.get(exchange_id)) is not None
    )


def pick(evidence: Evidence, *, wanted: int, directions: Mapping[str, Direction] | None = None) -> tuple[Picked, ...]:
    """Pairs of every kind, none twice: the first of each kind first, so that cutting the list keeps all kinds.

    Args:
        evidence: The candidate's columns.
        wanted: Worst and best pairs each; a few of every other kind.
        directions: Judge name to whether more is better; judges that are not named pick nothing of their own.
    """
    ranking = _ranking(evidence)
    scores = np.full(evidence.n, np.nan) if ranking is None else ranking.value
    same = _unchanged(evidence)
    # Equal scores keep the order of the sample, which is random: not the first ids of a kind, a draw of it.
    ranked = np.lexsort((_second(evidence, ranking), scores))[: int(np.isfinite(scores).sum())]
    changed = ranked[~same[ranked]]
    taken = np.zeros(evidence.n, dtype=np.bool_)
    kinds: list[list[tuple[int, str]]] = []

    def take(rows: Ints, why: str, n: int) -> list[tuple[int, str]]:
        chosen = rows[~taken[rows]][:n]
        taken[chosen] = True
        return [(int(row), why) for row in chosen]

    some = max(_FEW, wanted // 2)
    half = (len(changed) + 1) // 2
    kinds.append(take(changed[:half], "worst", wanted))
    kinds.append(take(changed[half:][::-1], "best", wanted))
    kinds.append(
        take(_spread(evidence.candidate.error_kind, np.flatnonzero(evidence.candidate.failed)), "failed", some)
    )
    kinds.extend(take(rows, "slice", max(1, wanted // 5)) for rows in _of_slices(evidence, changed))
    for name, column in evidence.scores.items():
        for why, rows in _of_judge(column, (directions or {}).get(name), ranks=column is ranking):
            kinds.append(take(rows[~same[rows]], why, max(1, wanted // 5)))
    if ranking is not None:
        silent = np.isnan(scores) & evidence.candidate.completed & evidence.production.completed
        kinds.append(take(np.flatnonzero(silent), "unscored", _FEW))
    kinds.append(take(np.flatnonzero(same), "unchanged", _FEW))
    return tuple(
        Picked(row=row, why=why, score=float(scores[row]) if np.isfinite(scores[row]) else None)
        for row, why in _in_turn(kinds)
    )


def _ranking(evidence: Evidence) -> ScoreColumn | None:
    """The first preference judge's scores, else those of similarity, else of exact match."""
    for wanted in (WIN_RATE.name, SIMILARITY.name, EXACT_MATCH.name):
        for column in evidence.scores.values():
            if column.metric == wanted and np.isfinite(column.value).any():
                return column
    return None


def _second(evidence: Evidence, ranking: ScoreColumn | None) -> Floats:
    """Among equals of a judge with few values the least similar answers come first."""
    column = next((c for c in evidence.scores.values() if c.metric == SIMILARITY.name and c is not ranking), None)
    if column is None or ranking is None or ranking.metric != WIN_RATE.name:
        return np.zeros(evidence.n)
    # Where the candidate won it is the most different win that tells most, and those are read from the end.
    return np.where(ranking.value > 0.5, -np.nan_to_num(column.value, nan=1.0), np.nan_to_num(column.value, nan=1.0))


def _unchanged(evidence: Evidence) -> Bools:
    """Rows on which both answered the same, as far as an exact match was computed."""
    column = next((c for c in evidence.scores.values() if c.metric == EXACT_MATCH.name), None)
    return np.zeros(evidence.n, dtype=np.bool_) if column is None else np.asarray(column.value == 1.0, dtype=np.bool_)


def _of_slices(evidence: Evidence, ranked: Ints) -> Iterator[Ints]:
    """For the most frequent values of every attribute their rows, worst first; one value alone is no slice."""
    for column in evidence.attributes.values():
        codes, values = _codes(column)
        counts = np.bincount(codes[codes >= 0], minlength=len(values))
        frequent = np.argsort(-counts, kind="stable")[:MAX_VALUES]
        if np.count_nonzero(counts) > 1:
            of_ranked = codes[ranked]
            yield from (ranked[of_ranked == code] for code in frequent if counts[code])


def _codes(column: Strings) -> tuple[Ints, list[str]]:
    """A number per row, -1 where there is no value, and the values in the order of their first rows."""
    import pandas as pd

    codes, values = pd.factorize(column)
    names = [str(value) for value in values]
    if "" in names:
        codes = np.where(codes == names.index(""), -1, codes)
    return np.asarray(codes, dtype=np.int64), names


def _of_judge(column: ScoreColumn, direction: Direction | None, *, ranks: bool) -> Iterator[tuple[str, Ints]]:
    if column.metric == WIN_RATE.name:
        first, second = column.production_first, column.candidate_first
        yield "flip", np.flatnonzero((first - 0.5) * (second - 0.5) < 0)
        for value in (0.0, 0.5, 1.0):
            yield "label", np.flatnonzero(column.value == value)
    elif direction in {Direction.HIGHER_IS_BETTER, Direction.LOWER_IS_BETTER} and not ranks:
        rows = np.flatnonzero(np.isfinite(column.value))
        goodness = column.value[rows] if direction is Direction.HIGHER_IS_BETTER else -column.value[rows]
        # A judge that scores most pairs as badly as can be has no worst one to show.
        if rows.size and np.mean(goodness == goodness.min()) < 0.5:
            yield "judge", rows[np.argsort(goodness, kind="stable")]


def _spread(kinds: Strings, rows: Ints) -> Ints:
    """The rows with every kind in turn, so that the first few are of different kinds."""
    by_kind: dict[str, list[int]] = {}
    for row in rows:
        by_kind.setdefault(str(kinds[row]), []).append(int(row))
    return np.array(list(_in_turn(list(by_kind.values()))), dtype=np.int64)


def _in_turn(lists: Sequence[Sequence[Any]]) -> Iterator[Any]:
    """The first of every list, then the second of every list, and so on."""
    missing = object()
    for turn in zip_longest(*lists, fillvalue=missing):
        yield from (item for item in turn if item is not missing)


def _directions(judges: Sequence[SeatedJudge]) -> dict[str, Direction]:
    return {judge.name: judge.judge.metric.direction for judge in judges}


def _chars(pair: Pair) -> int:
    answers = (pair.production.completion, pair.candidate.completion)
    texts = [answer.text or "" for answer in answers if answer] + [
        str(message.get("content")) for message in pair.request.messages
    ]
    return sum(map(len, texts)) + sum(
        len(str(call.arguments)) for answer in answers if answer for call in answer.tool_calls
    )

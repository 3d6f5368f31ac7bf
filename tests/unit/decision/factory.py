"""Small evidence with everything at its most ordinary unless a test says otherwise."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.decision.reaching import Rulebook
from harness.domain.decision import Bound, Criterion, Terms
from harness.domain.metrics import SIMILARITY, WIN_RATE
from harness.stats.evidence import ArmColumns, Evidence, LabelColumn, ScoreColumn

NAN = float("nan")
JUDGES = {"judge": WIN_RATE, "embedder": SIMILARITY}
_TEXT = {"status", "error_kind"}


def arm(n: int, *, failed: Sequence[int] = (), unasked: Sequence[int] = (), **columns) -> ArmColumns:
    """Answers of 50 characters after 100 ms; rows in ``failed`` end in a server error, in ``unasked`` in nothing."""
    status, kinds = np.full(n, "completed", dtype=object), np.full(n, "", dtype=object)
    status[list(failed)], kinds[list(failed)] = "failed", "server_error"
    status[list(unasked)] = ""
    defaults = {
        "status": status,
        "error_kind": kinds,
        "latency_ms": 100.0,
        "ttft_ms": 20.0,
        "tokens_in": 10.0,
        "tokens_out": 5.0,
        "cost_usd": 0.001,
        "answer_chars": 50.0,
        "cache_hit": False,
    }
    return ArmColumns(**{name: _column(name, value, n) for name, value in (defaults | columns).items()})


def _column(name: str, value, n: int) -> np.ndarray:
    dtype = object if name in _TEXT else np.bool_ if name == "cache_hit" else np.float64
    return np.array(np.broadcast_to(np.asarray(value, dtype=dtype), (n,)))


def evidence(
    n: int,
    *,
    production: ArmColumns | None = None,
    candidate: ArmColumns | None = None,
    wins=None,
    similarity=None,
    **fields,
) -> Evidence:
    """``n`` pairs; ``wins`` and ``similarity`` are scores, one for all rows or one per row."""
    scores = {
        name: ScoreColumn.unordered(metric, _column(metric, values, n))
        for name, metric, values in (("judge", "win_rate", wins), ("embedder", "similarity", similarity))
        if values is not None
    }
    defaults = {
        "arm": "mini",
        "exchange_ids": np.array([f"e{i}" for i in range(n)], dtype=object),
        "clusters": np.arange(n),
        "timestamps": np.full(n, NAN),
        "production": production or arm(n),
        "candidate": candidate or arm(n),
        "scores": scores,
    }
    return Evidence(**(defaults | fields))


def labels(value, *, probability=0.2) -> LabelColumn:
    """People's scores, NaN where nobody said anything; NaN as probability is a label that no plan drew."""
    value = np.asarray(value, dtype=np.float64)
    said = np.isfinite(value)
    chance = np.where(said, np.broadcast_to(probability, value.shape), NAN)
    return LabelColumn(value=value, labellers=said.astype(np.int64), probability=chance)


def rule(metric: str, bound: str, threshold: float, *, required: bool = True) -> Criterion:
    return Criterion(metric=metric, bound=Bound(bound), threshold=threshold, required=required)


def rulebook(*criteria: Criterion, looks: str = "any", judges=None, **options) -> Rulebook:
    """Rules at alpha 0.05; ``options`` are fields of Terms, or of the Rulebook where it has them."""
    own = {name: options.pop(name) for name in ("min_slice", "slice_false_discoveries") if name in options}
    terms = Terms(**({"profile": "own criteria", "looks": looks, "alpha": 0.05, "horizon": 10_000} | options))
    return Rulebook(criteria=criteria, terms=terms, judge_metrics=JUDGES if judges is None else judges, **own)


def swapped(data: Evidence) -> Evidence:
    """The same pairs with production in the candidate's place."""
    scores = {
        name: ScoreColumn.unordered(column.metric, 1 - column.value if column.metric == "win_rate" else column.value)
        for name, column in data.scores.items()
    }
    return replace(data, production=data.candidate, candidate=data.production, scores=scores)

"""The columns every estimator reads: numbers only, one row per sampled exchange."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Strings: TypeAlias = NDArray[np.object_]


@dataclass(frozen=True, kw_only=True, eq=False)
class ArmColumns:
    """One arm's observations in exchange order; NaN is unknown."""

    status: Strings
    """``completed``, ``failed``, ``dropped``, ``skipped`` or ``""`` when the request was never asked."""
    error_kind: Strings
    """ErrorKind value, or ``""``."""
    latency_ms: Floats
    ttft_ms: Floats
    tokens_in: Floats
    tokens_out: Floats
    cost_usd: Floats
    answer_chars: Floats
    cache_hit: Bools

    @property
    def completed(self) -> Bools:
        """Rows with an answer."""
        return np.asarray(self.status == "completed", dtype=np.bool_)

    @property
    def failed(self) -> Bools:
        """Rows that ended in the arm's own error."""
        return np.asarray(self.status == "failed", dtype=np.bool_)


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreColumn:
    """One judge's score per exchange, averaged over the orders in which it read the pair."""

    metric: str
    value: Floats
    """NaN where the judge gave none."""
    missing_order: Bools
    """Whether only one of two requested orders was scored."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """One arm against production: ``n`` rows, one per sampled exchange, in a fixed order."""

    arm: str
    exchange_ids: Strings
    clusters: Ints
    """Code of the conversation each row belongs to."""
    timestamps: Floats
    """Unix seconds; NaN is unknown."""
    production: ArmColumns
    candidate: ArmColumns
    scores: Mapping[str, ScoreColumn] = field(default_factory=dict)
    """By judge name."""
    attributes: Mapping[str, Strings] = field(default_factory=dict)
    """Slice attribute to value per row; ``""`` where the exchange has none."""

    @property
    def n(self) -> int:
        """Number of sampled exchanges."""
        return len(self.exchange_ids)

    def take(self, rows: Bools | Ints) -> "Evidence":
        """The same evidence on a subset of rows, as slices need it."""

        def arm(columns: ArmColumns) -> ArmColumns:
            return ArmColumns(**{name: getattr(columns, name)[rows] for name in ArmColumns.__dataclass_fields__})

        return Evidence(
            arm=self.arm,
            exchange_ids=self.exchange_ids[rows],
            clusters=self.clusters[rows],
            timestamps=self.timestamps[rows],
            production=arm(self.production),
            candidate=arm(self.candidate),
            scores={
                name: ScoreColumn(metric=c.metric, value=c.value[rows], missing_order=c.missing_order[rows])
                for name, c in self.scores.items()
            },
            attributes={name: column[rows] for name, column in self.attributes.items()},
        )

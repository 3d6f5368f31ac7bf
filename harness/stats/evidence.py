"""The columns every estimator reads: numbers only, one row per sampled exchange."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Strings: TypeAlias = NDArray[np.object_]
Rows: TypeAlias = Bools | Ints | slice


def nowhere(n: int) -> Floats:
    """A column without any number, which takes no memory; read-only."""
    return np.broadcast_to(np.float64(np.nan), (n,))


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

    @cached_property
    def completed(self) -> Bools:
        """Rows with an answer."""
        return np.asarray(self.status == "completed", dtype=np.bool_)

    @cached_property
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
    production_first: Floats
    """The score in the order in which production's answer came first; NaN where there is none."""
    candidate_first: Floats
    """The score in the other order."""
    tied: Bools | None = None
    """Whether a tie was the likeliest verdict in every order; ``None`` for judges that give no verdict."""

    def as_verdicts(self) -> "ScoreColumn":
        """Probabilities counted as the verdict they come to: 1 or 0 for the side they lean to, 0.5 for a tie.

        A judge's probabilities, averaged over both orders, can be on the right side of one half every time and hardly
        leave it; their mean would then say "about even" of a candidate that is worse on every pair. Which side they
        are on is on the scale of pairs. Scores of 0, 0.5 and 1 are verdicts already and stay.
        """
        read = np.stack([self.production_first, self.candidate_first])
        plain = np.isin(read, (0.0, 0.5, 1.0)) | np.isnan(read)
        ties = np.zeros(len(self.value), dtype=np.bool_) if self.tied is None else self.tied
        leaning = np.where(ties, 0.5, (np.sign(self.value - 0.5) + 1) / 2)
        return replace(self, value=np.where(plain.all(axis=0), self.value, leaning))

    @classmethod
    def unordered(cls, metric: str, value: Floats) -> "ScoreColumn":
        """The scores of a judge that does not read the answers in an order."""
        return cls(
            metric=metric,
            value=value,
            missing_order=np.zeros(len(value), dtype=np.bool_),
            production_first=nowhere(len(value)),
            candidate_first=nowhere(len(value)),
        )

    def take(self, rows: Rows) -> "ScoreColumn":
        """The same column on a subset of rows."""
        return ScoreColumn(
            metric=self.metric,
            value=self.value[rows],
            missing_order=self.missing_order[rows],
            production_first=self.production_first[rows],
            candidate_first=self.candidate_first[rows],
            tied=None if self.tied is None else self.tied[rows],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelColumn:
    """What people said about the pairs of one arm."""

    value: Floats
    """Mean over labellers: 1 the candidate is better, 0.5 tie, 0 production is; NaN where nobody said."""
    labellers: Ints
    """How many people labelled the row."""
    probability: Floats
    """Chance the row had to be labelled; NaN where no plan drew it, so that it stands for nothing but itself."""

    def take(self, rows: Rows) -> "LabelColumn":
        """The same column on a subset of rows."""
        return LabelColumn(value=self.value[rows], labellers=self.labellers[rows], probability=self.probability[rows])


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
    labels: LabelColumn | None = None
    """``None`` when nobody labelled anything."""

    @property
    def n(self) -> int:
        """Number of sampled exchanges."""
        return len(self.exchange_ids)

    def take(self, rows: Rows) -> "Evidence":
        """The same evidence on a subset of rows, as slices need it."""
        if isinstance(rows, np.ndarray) and rows.dtype == np.bool_:
            # Counted once instead of once for every column.
            rows = np.flatnonzero(rows)

        def arm(columns: ArmColumns) -> ArmColumns:
            return ArmColumns(**{name: getattr(columns, name)[rows] for name in ArmColumns.__dataclass_fields__})

        return Evidence(
            arm=self.arm,
            exchange_ids=self.exchange_ids[rows],
            clusters=self.clusters[rows],
            timestamps=self.timestamps[rows],
            production=arm(self.production),
            candidate=arm(self.candidate),
            scores={name: column.take(rows) for name, column in self.scores.items()},
            attributes={name: column[rows] for name, column in self.attributes.items()},
            labels=None if self.labels is None else self.labels.take(rows),
        )

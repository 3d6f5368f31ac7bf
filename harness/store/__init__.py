"""The comparison DB: one SQLAlchemy Core implementation for SQLite and PostgreSQL."""

from harness.store.counts import JudgmentCounts, ObservationCounts
from harness.store.runs import DecisionRecord
from harness.store.store import Store

__all__ = ["DecisionRecord", "JudgmentCounts", "ObservationCounts", "Store"]

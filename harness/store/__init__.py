"""The comparison DB: one SQLAlchemy Core implementation for SQLite and PostgreSQL."""

from harness.store.connection import DataRefusedError
from harness.store.control import RolloutAction, RolloutControl
from harness.store.counts import JudgmentCounts, ObservationCounts
from harness.store.rollouts import EventRefusedError, RolloutRecord
from harness.store.runs import DecisionRecord
from harness.store.store import Store

__all__ = [
    "DataRefusedError",
    "DecisionRecord",
    "EventRefusedError",
    "JudgmentCounts",
    "ObservationCounts",
    "RolloutAction",
    "RolloutControl",
    "RolloutRecord",
    "Store",
]

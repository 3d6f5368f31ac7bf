"""The Experiment and the process settings."""

from harness.config.arms import BatchSection, Candidate, Model, PriceSection, Replica, spec_fingerprint
from harness.config.base import digest
from harness.config.decision import PROFILES, CriterionSection, DecisionSection
from harness.config.experiment import Experiment, ReportSection, Settings, load_experiment, parse_experiment
from harness.config.following import FollowedFile
from harness.config.live import Live, Mirror, is_live, load_live, parse_live
from harness.config.rollout import Rollout, load_rollout, parse_rollout
from harness.config.traffic import Mapping_, Redaction, Sampling, Traffic
from harness.config.work import DEFAULT_JUDGES, Budget, JudgeSection, Replay, RetentionSection

__all__ = [
    "DEFAULT_JUDGES", "PROFILES", "BatchSection", "Budget", "Candidate", "CriterionSection", "DecisionSection",
    "Experiment", "FollowedFile", "JudgeSection", "Live", "Mapping_", "Mirror", "Model", "PriceSection", "Redaction",
    "Replay", "Replica", "ReportSection", "RetentionSection", "Rollout", "Sampling", "Settings", "Traffic", "digest",
    "is_live", "load_experiment", "load_live", "load_rollout", "parse_experiment", "parse_live", "parse_rollout",
    "spec_fingerprint",
]  # fmt: skip

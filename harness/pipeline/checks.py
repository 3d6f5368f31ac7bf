"""What can be known to be wrong before the export is read and anything is paid."""

import re

from harness.config import Experiment
from harness.decision import criteria, metrics
from harness.errors import ConfigurationError
from harness.models.budget import Purse
from harness.models.factory import preflight
from harness.pipeline.seats import SeatedJudge

SLICES = (
    "model", "has_tools", "turns", "prompt_length", "answer_length", "language", "script", "topic", "tag",
)  # fmt: skip
"""What an exchange can be sliced by, besides metadata.<key>."""
CLUSTERS = ("session", "user", "exchange")


def check_settings(experiment: Experiment, judges: tuple[SeatedJudge, ...]) -> None:
    """Check what the stages after replay will need; asks no model.

    Raises:
        ConfigurationError: a criterion, slice or cluster names what does not exist, or a judge's model has no key, no
            provider or, under a budget, no price.
    """
    known = metrics.catalogue({judge.name: judge.judge.metric for judge in judges})
    criteria.check([section.criterion() for section in experiment.decision.rules], known)
    for name in experiment.report.slices:
        _check_attribute("report.slices", name, SLICES)
    if experiment.decision.cluster_by is not None:
        _check_attribute("decision.cluster_by", experiment.decision.cluster_by, CLUSTERS)
    preflight(
        [model for judge in judges for model in judge.models],
        purse=Purse(name="judges", limit_usd=experiment.budget.judges_usd),
        allow_unpriced=experiment.budget.allow_unpriced,
    )


def _check_attribute(where: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known and not re.fullmatch(r"metadata\..+", name, re.DOTALL):
        raise ConfigurationError(f"{where}: {name!r} is not known; available: {', '.join(known)}, metadata.<key>")

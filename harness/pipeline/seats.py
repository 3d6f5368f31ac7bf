"""The judges of an experiment, as they sit in it."""

import os
from dataclasses import dataclass
from pathlib import Path

from harness.config import Experiment
from harness.domain.model import ModelClient, ModelSpec
from harness.errors import ConfigurationError
from harness.judging.protocol import Embedder, Judge, JudgeContext, fingerprint, models_of
from harness.registry import build_judge

_WEEK_S = 7 * 86_400.0
CACHE_NAME = "embeddings.db"
CACHE_ENV = "HARNESS_EMBEDDING_CACHE"
"""``off`` keeps no vectors on disk: they are derived from answers, which may be personal data."""


@dataclass(frozen=True, kw_only=True)
class SeatedJudge:
    """A judge of this experiment, by the name and fingerprint its judgments are stored under."""

    name: str
    kind: str
    judge: Judge
    fingerprint: str

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        """The models it asks, which cost money; none for judges that compute."""
        return models_of(self.judge)

    @property
    def model(self) -> ModelSpec | None:
        """The model it asks first."""
        return next(iter(self.models), None)

    def concurrency(self, live: int) -> int:
        """How many pairs are read at once: as many as a batch holds when it asks in batches, else ``live``."""
        return max((model.batch.max_requests for model in self.models if model.batch is not None), default=live)

    @property
    def pair_deadline_s(self) -> float | None:
        """How long one pair may take; a week when it takes several batches, the panel's own default otherwise."""
        return _WEEK_S if any(model.batch is not None for model in self.models) else None

    def context(self, models: ModelClient, embedder: Embedder, *, deadline_s: float) -> JudgeContext:
        """What the judge is given."""
        return JudgeContext(
            judge=self.name, fingerprint=self.fingerprint, models=models, embedder=embedder, deadline_s=deadline_s
        )


def seat_judges(experiment: Experiment, embedder: Embedder) -> tuple[SeatedJudge, ...]:
    """The experiment's judges, built and fingerprinted.

    Raises:
        ConfigurationError: a judge is not installed or its options are wrong.
    """
    seated = []
    for section in experiment.judges:
        judge = build_judge(section)
        seated.append(
            SeatedJudge(name=section.label, kind=section.use, judge=judge, fingerprint=fingerprint(judge, embedder))
        )
    return tuple(seated)


def default_embedder() -> Embedder:
    """The bundled all-MiniLM-L6-v2; its weights are loaded on first use."""
    from harness.local.embedder import MiniLMEmbedder

    return MiniLMEmbedder()


def vector_cache(runs_dir: Path) -> Path | None:
    """Where vectors are kept, so that a further candidate does not have production's answers embedded again.

    ``None`` where ``HARNESS_EMBEDDING_CACHE=off`` keeps them in memory alone.

    Raises:
        ConfigurationError: the variable is neither on nor off.
    """
    wanted = os.environ.get(CACHE_ENV, "on").strip().lower()
    if wanted not in {"on", "off"}:
        raise ConfigurationError(f"{CACHE_ENV} is {wanted!r}; it may be on or off")
    return runs_dir / CACHE_NAME if wanted == "on" else None

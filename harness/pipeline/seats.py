"""The judges of an experiment, as they sit in it."""

from dataclasses import dataclass

from harness.config import Experiment
from harness.domain.model import ModelClient, ModelSpec
from harness.judging.protocol import Embedder, Judge, JudgeContext, fingerprint, models_of
from harness.registry import build_judge

_WEEK_S = 7 * 86_400.0


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

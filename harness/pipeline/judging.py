"""The judge stage: every judge reads every comparable pair it has not read yet."""

from dataclasses import dataclass

from harness.config import Experiment
from harness.judging.protocol import Embedder, Judge, fingerprint
from harness.registry import build_judge


@dataclass(frozen=True, kw_only=True)
class SeatedJudge:
    """A judge of this experiment, by the name and fingerprint its judgments are stored under."""

    name: str
    kind: str
    judge: Judge
    fingerprint: str

    @property
    def asks_model(self) -> bool:
        """Whether its judgments cost money."""
        return getattr(self.judge, "model", None) is not None


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

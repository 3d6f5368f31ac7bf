"""What a judge is, and the panel that runs them."""

from harness.judging.protocol import BatchJudge, Embedder, Judge, JudgeContext

__all__ = ["BatchJudge", "Embedder", "Judge", "JudgeContext"]

"""Simulated traffic with a known truth, as the Evidence that a decision reads.

Every truth is stated in the metric that a criterion is on, failures included, so that "at the margin" is exact:

- Latency is lognormal with sd 1 (or has a Pareto tail of index 2, or two modes with a hole near P95), 0.55 of its
  variance shared by the arms of a request. A failed request is infinitely slow. ``ratio`` is the ratio of the P95s.
- Errors: half of production's hit every arm of the request, the others one arm alone.
- Verdicts are wins, ties (30 %) and losses. A failure is a loss of its own side and a tie when both failed; ``win`` is
  the rate with these.
- Similarity to production's answer has the mean 0.9, also for production asked again, and its difference between the
  candidate and the replica an sd of 0.08. ``similarity`` is the mean difference. The replica is asked on ``share`` of
  the requests.
- Conversations of ``conversation`` requests share ``icc`` of the variance of what their verdicts and errors come from.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy.special import ndtr, ndtri

from harness.domain.metrics import SIMILARITY, WIN_RATE
from harness.stats.evidence import ArmColumns, Bools, Evidence, Floats, Ints, ScoreColumn, Strings

Shape: TypeAlias = Literal["lognormal", "pareto", "bimodal"]

JUDGES = {"judge": WIN_RATE, "similarity": SIMILARITY}
_TAU = 0.95
_SHARED_LATENCY = 0.55
_SLOW = 0.045
"""Share of the slow mode of a bimodal latency, which puts the hole between the modes right below P95."""
_SHARED_SD, _OWN_SD = 0.0424, 0.0566
"""Of similarity: what the arms of a request have in common, and what they have not."""


@dataclass(frozen=True, kw_only=True)
class World:
    """The truth about one candidate; by default it is production itself."""

    ratio: float = 1.0
    win: float = 0.5
    errors: float = 0.01
    similarity: float = 0.0
    production_errors: float = 0.01
    ties: float = 0.3
    base_similarity: float = 0.9
    share: float = 1.0
    shape: Shape = "lognormal"
    conversation: int = 1
    icc: float = 0.0
    scale: float | None = None
    """Ratio of the latencies of answers, instead of ``ratio``: of one that fails 5 % the P95 is infinite."""


def simulate(
    world: World, n: int, rng: np.random.Generator, *, win: Floats | None = None, slices: Strings | None = None
) -> tuple[Evidence, Evidence]:
    """The candidate's evidence and the replica's on the same ``n`` rows.

    ``win`` is the win rate row by row where slices differ; ``slices`` is what they are formed by.
    """
    codes = np.arange(n) // world.conversation
    hard = world.production_errors / 2
    every = _latent(world, codes, rng) < ndtri(hard)

    def failed(rate: float) -> Bools:
        alone = max((rate - hard) / (1 - hard), 0.0)
        return np.asarray(every | (_latent(world, codes, rng) < ndtri(alone)), dtype=np.bool_)

    by_arm = [failed(rate) for rate in (world.production_errors, world.errors, world.production_errors)]
    speed = rng.normal(size=n)
    scale = world.scale
    if scale is None:
        scale = world.ratio * _p95(world.production_errors, world.shape) / _p95(world.errors, world.shape)
    production, candidate, replica = (
        _arm(factor * _latency(speed, world.shape, rng), fails)
        for factor, fails in zip((1.0, scale, 1.0), by_arm, strict=True)
    )
    asked = rng.random(n) < world.share
    replica = _arm(replica.latency_ms, by_arm[2], asked=asked)
    verdicts = _verdicts(world, world.win if win is None else win, _latent(world, codes, rng))
    likeness, likeness_again = _similarities(world, n, rng)
    both, both_again = (production.completed & arm.completed for arm in (candidate, replica))
    own = {
        "judge": ScoreColumn.unordered(WIN_RATE.name, np.where(both, verdicts, np.nan)),
        "similarity": ScoreColumn.unordered(SIMILARITY.name, np.where(both, likeness, np.nan)),
    }
    again = {"similarity": ScoreColumn.unordered(SIMILARITY.name, np.where(both_again, likeness_again, np.nan))}
    attributes = {} if slices is None else {"slice": slices}

    def evidence(name: str, arm: ArmColumns, scores: dict[str, ScoreColumn]) -> Evidence:
        return Evidence(
            arm=name,
            exchange_ids=np.arange(n).astype(object),
            clusters=codes,
            timestamps=np.full(n, np.nan),
            production=production,
            candidate=arm,
            scores=scores,
            attributes=attributes,
        )

    return evidence("candidate", candidate, own), evidence("replica", replica, again)


def judged(world: World, win: float | Floats) -> float | Floats:
    """How often the judge prefers an answer, where the win rate with failures is ``win``."""
    hard = world.production_errors / 2
    alone_p, alone_c = ((rate - hard) / (1 - hard) for rate in (world.production_errors, world.errors))
    both = hard + (1 - hard) * alone_p * alone_c
    production_alone = (1 - hard) * alone_p * (1 - alone_c)
    candidate_alone = (1 - hard) * alone_c * (1 - alone_p)
    answered = 1 - both - production_alone - candidate_alone
    return (win - both / 2 - production_alone) / answered


def _latent(world: World, codes: Ints, rng: np.random.Generator) -> Floats:
    """A standard normal per row, ``icc`` of its variance shared by the rows of a conversation."""
    own = rng.normal(size=len(codes))
    if not world.icc:
        return own
    shared = rng.normal(size=int(codes[-1]) + 1)[codes]
    return np.asarray(np.sqrt(world.icc) * shared + np.sqrt(1 - world.icc) * own, dtype=np.float64)


def _latency(speed: Floats, shape: Shape, rng: np.random.Generator) -> Floats:
    own = rng.normal(size=len(speed))
    z = np.sqrt(_SHARED_LATENCY) * speed + np.sqrt(1 - _SHARED_LATENCY) * own
    return 1000 * (np.exp(z) if shape == "lognormal" else _quantile(ndtr(z), shape))


def _quantile(u: Floats, shape: Shape) -> Floats:
    """Latency below which the share ``u`` of the requests is, in its own unit."""
    if shape == "lognormal":
        return np.asarray(np.exp(ndtri(u)), dtype=np.float64)
    if shape == "pareto":
        return np.asarray((1 - u) ** -0.5, dtype=np.float64)
    slow = u > 1 - _SLOW
    inside = np.where(slow, (u - 1 + _SLOW) / _SLOW, u / (1 - _SLOW))
    return np.asarray(np.where(slow, 8.0, 1.0) * np.exp(0.4 * ndtri(inside)), dtype=np.float64)


def _p95(errors: float, shape: Shape) -> float:
    """P95 where the share ``errors`` of the requests is infinitely slow."""
    return float(_quantile(np.array(_TAU / (1 - errors)), shape))


def _verdicts(world: World, win: float | Floats, latent: Floats) -> Floats:
    wins = judged(world, win) - world.ties / 2
    won, not_lost = (latent > ndtri(1 - share) for share in (wins, wins + world.ties))
    return np.asarray((won.astype(np.float64) + not_lost) / 2, dtype=np.float64)


def _similarities(world: World, n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The candidate's and the replica's likeness to production, by two stages of beta draws: never above 1."""
    base = world.base_similarity
    common = _beta(np.full(n, base), _SHARED_SD, rng)
    concentration = (base * (1 - base) - _SHARED_SD**2) / _OWN_SD**2 - 1

    def own(mean: float) -> Floats:
        centre = np.clip(common * mean / base, 1e-6, 1 - 1e-6)
        return np.asarray(rng.beta(centre * concentration, (1 - centre) * concentration), dtype=np.float64)

    return own(base + world.similarity), own(base)


def _beta(mean: Floats, sd: float, rng: np.random.Generator) -> Floats:
    concentration = mean * (1 - mean) / sd**2 - 1
    return np.asarray(rng.beta(mean * concentration, (1 - mean) * concentration), dtype=np.float64)


def _arm(latency: Floats, failed: Bools, *, asked: Bools | None = None) -> ArmColumns:
    n = len(latency)
    status = np.where(failed, "failed", "completed").astype(object)
    kinds = np.where(failed, "server_error", "").astype(object)
    if asked is not None:
        status[~asked], kinds[~asked] = "", ""
    unknown = np.full(n, np.nan)
    return ArmColumns(
        status=status,
        error_kind=kinds,
        latency_ms=latency,
        ttft_ms=unknown,
        tokens_in=unknown,
        tokens_out=unknown,
        cost_usd=unknown,
        answer_chars=unknown,
        cache_hit=np.zeros(n, dtype=np.bool_),
    )

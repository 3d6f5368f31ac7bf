"""Several candidates beside each other, compared by the real thing on simulated pairs."""

from dataclasses import replace
from functools import cache

import numpy as np

from harness.decision import metrics
from harness.decision import side_by_side as compared
from harness.domain.estimate import Metric
from harness.domain.judgment import Label, Order
from harness.domain.metrics import EXACT_MATCH, METRICS, SIMILARITY, WIN_RATE
from harness.domain.observation import CallError, ErrorKind, Status
from harness.domain.report import CandidateReport, EvaluationReport
from harness.domain.side_by_side import ArmAnswer, SharedRequest, SideBySide
from harness.stats.evidence import ArmColumns, Evidence, ScoreColumn
from tests.unit.reports import factory
from tests.unit.reports.pairs import judgment, observation

JUDGES: dict[str, Metric] = {"pairwise": WIN_RATE, "similarity": SIMILARITY, "exact": EXACT_MATCH}
NAMES = (
    "small-model", "cheap-model", "new-prompt", "vendor-a-large-2026-10", "vendor-b-medium-instruct", "local-8b",
    "vendor-c-flash", "vendor-c-flash-thinking", "finetuned-support-v3", "vendor-d-mini", "old-model", "router",
)  # fmt: skip
WANTED = (0.62, 0.41, 0.65, 0.66, 0.5, 0.35, 0.55, 0.63, 0.58, 0.45, 0.3, 0.52)
SPEED = (0.7, 0.5, 1.0, 1.6, 1.1, 0.9, 0.4, 2.2, 0.8, 0.6, 1.3, 1.0)
PRICE = (0.61, 0.18, 4.1, 9.8, 2.2, 0.05, 0.3, 1.4, 1.1, 0.25, 3.0, 1.9)
_ASK = "Our invoice lists the same seat twice. Can you refund the second one?"
_TEXTS = (
    "I have refunded the second seat ($49.00) on your March invoice. The amount reaches your card within 5 days.",
    "Please contact the billing team to request a refund for the second seat on your March invoice.",
    "The second seat on your March invoice was charged by mistake. I have asked for the refund; it takes 2 weeks.",
)


def columns(rng: np.random.Generator, n: int, *, speed: float, price: float, failing: float) -> ArmColumns:
    """Log-normal latencies, prices that go with length, and some failures."""
    failed = rng.random(n) < failing
    return ArmColumns(
        status=np.where(failed, "failed", "completed").astype(object),
        error_kind=np.where(failed, "timeout", "").astype(object),
        latency_ms=np.exp(rng.normal(np.log(800 * speed), 0.5, n)),
        ttft_ms=np.exp(rng.normal(np.log(200 * speed), 0.4, n)),
        tokens_in=np.round(rng.normal(500, 50, n)),
        tokens_out=np.round(np.abs(rng.normal(170, 40, n))),
        cost_usd=np.abs(rng.normal(price, price / 4, n)) / 1000,
        answer_chars=np.round(np.abs(rng.normal(640, 100, n))),
        cache_hit=np.zeros(n, dtype=bool),
    )


def evidence(k: int, *, n: int = 600, seed: int = 7) -> dict[str, Evidence]:
    """Pairs of the first ``k`` candidates on the same requests, in conversations of two."""
    rng = np.random.default_rng(seed)
    production = columns(rng, n, speed=1.0, price=4.12, failing=0.01)
    hard = rng.normal(0, 0.5, n)
    plans = np.where(rng.random(n) < 0.6, "free", np.where(rng.random(n) < 0.93, "team", "trial")).astype(object)
    found = {}
    for name, wanted, speed, price in list(zip(NAMES, WANTED, SPEED, PRICE, strict=True))[:k]:
        shift = np.where(plans == "team", -0.4 if name == "new-prompt" else 0.0, 0.0)
        latent = hard + rng.normal(0, 0.8, n) + shift
        score = np.clip(np.round(2 * (latent + 2.2 * (wanted - 0.5) + 0.5)) / 2, 0, 1)
        found[name] = Evidence(
            arm=name,
            exchange_ids=np.array([f"req-{i:04d}" for i in range(n)], dtype=object),
            clusters=np.repeat(np.arange(n // 2), 2),
            timestamps=np.full(n, np.nan),
            production=production,
            candidate=columns(rng, n, speed=speed, price=price, failing=0.01 + 0.02 * (wanted < 0.45)),
            scores={
                "pairwise": ScoreColumn.unordered("win_rate", score),
                "similarity": ScoreColumn.unordered(
                    "similarity", np.clip(rng.normal(0.8 + wanted / 6, 0.08, n), -1, 1)
                ),
                "exact": ScoreColumn.unordered("exact_match", (rng.random(n) < wanted / 4).astype(float)),
            },
            attributes={"metadata.plan": plans},
        )
    return found


def requests(arms: tuple[str, ...]) -> tuple[SharedRequest, ...]:
    """One of every kind."""
    made = []
    for number, (why, about) in enumerate(
        (("disagree", ""), ("disagree", ""), ("worst", arms[0]), ("best", arms[-1]), ("all_failed", ""))
    ):
        id = f"req-shared-{number}"
        answers = []
        for position, arm in enumerate(arms):
            label = (Label.WIN, Label.LOSS, Label.TIE)[position % 3]
            if why == "all_failed" or position == 4:
                error = CallError(kind=ErrorKind.TIMEOUT, message="30 s elapsed without an answer", http_status=504)
                seen = observation(arm, None, id=id, status=Status.FAILED, completion=None, error=error)
                answers.append(ArmAnswer(arm=arm, observation=seen))
                continue
            if position == 5:
                answers.append(ArmAnswer(arm=arm, observation=None))
                continue
            said = (judgment(Order.PRODUCTION_FIRST, label, "It says when the money arrives.", arm=arm, id=id),)
            seen = observation(arm, _TEXTS[position % 3], id=id, latency=300.0 + 40 * position)
            score = {Label.WIN: 1.0, Label.LOSS: 0.0, Label.TIE: 0.5}[label]
            answers.append(ArmAnswer(arm=arm, observation=seen, score=score, judgments=said))
        made.append(
            SharedRequest(
                exchange_id=id,
                why=why,
                about=about,
                messages=(
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": f"{_ASK} ({number})"},
                ),
                production=observation("production", _TEXTS[0], id=id),
                answers=tuple(answers),
                tags=("plan=team",),
            )
        )
    return tuple(made)


def field(k: int, **more: int) -> compared.Field:
    """The first ``k`` candidates, ready to be compared."""
    own = evidence(k, **more)
    estimates = {arm: metrics.estimates(e, level=0.95, judge_metrics=JUDGES) for arm, e in own.items()}
    return compared.Field(evidence=own, estimates=estimates, judge_metrics=JUDGES)


def side_by_side(candidates: compared.Field) -> SideBySide:
    """The comparison with everything in it."""
    quality, judge = compared.quality_of(candidates)
    slices, tested = compared.slices(candidates, quality, min_slice=100, shown_from=5)
    return SideBySide(
        arms=candidates.arms,
        quality=quality,
        judge=judge,
        best_sets=compared.best_sets(candidates),
        frontiers=compared.frontiers(candidates, quality),
        duels=compared.duels(candidates, judge),
        slices=slices,
        slices_tested=tested,
        min_slice=100,
        requests=requests(candidates.arms),
    )


@cache
def several(k: int) -> EvaluationReport:
    """A report with the first ``k`` candidates."""
    candidates = field(k)
    made: list[CandidateReport] = [
        replace(factory.candidate(arm), estimates=tuple(own.values()), examples=())
        for arm, own in candidates.estimates.items()
    ]
    made = [replace(c, decision=replace(c.decision, results=())) for c in made]
    return factory.report(*made, metrics=METRICS, side_by_side=side_by_side(candidates))

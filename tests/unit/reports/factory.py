"""Reports to render: a realistic one with every verdict, an empty one, and one whose every text is hostile."""

from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from typing import Any

from harness.domain.decision import Bound, Criterion, CriterionResult, Decision, Outcome, Verdict
from harness.domain.estimate import Estimate
from harness.domain.metrics import METRICS as DOMAIN_METRICS
from harness.domain.report import (
    CandidateReport,
    CostReport,
    EvaluationReport,
    Funnel,
    JudgeReport,
    NoiseFloor,
)
from harness.domain.run import IngestReport, Summary
from tests.unit.reports import rich
from tests.unit.reports.measures import METRICS, distributions, estimate, slices
from tests.unit.reports.pairs import examples

HOSTILE = (
    "</script></style><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<svg onload=alert(1)><iframe src=https://evil.example></iframe>{{ 7 * 7 }} `x` | a | \u202egnp.exe\u202c "
    "\u2066x\u2069"
    "\x1b[31mred\x1b]0;owned\x07\x00\x9b \ud83d lone \udc00 @everyone #1 [a](javascript:alert(1)) ]]> <!-- -- "
    "&amp; '\"\ufeff"
)


def result(
    metric: str,
    bound: Bound,
    threshold: float,
    outcome: Outcome,
    reason: str,
    of: Estimate,
    *,
    n_needed: int | None = None,
    required: bool = True,
) -> CriterionResult:
    """A Criterion held against an Estimate."""
    criterion = Criterion(metric=metric, bound=bound, threshold=threshold, required=required)
    return CriterionResult(criterion=criterion, estimate=of, outcome=outcome, reason=reason, n_needed=n_needed)


def judges() -> tuple[JudgeReport, ...]:
    """A pairwise judge, an embedding judge and one with little to say."""
    return (
        JudgeReport(
            judge="pairwise",
            kind="pairwise",
            metric="win_rate",
            fingerprint="ab12cd34ef56ab12",
            model="openai/gpt-4.1",
            prompt="pairwise/v1",
            prompt_sha256="9f" * 32,
            pairs=1182,
            scored=1168,
            unscored={"parse_failed": 9, "timeout": 5},
            wins=402,
            ties=391,
            losses=375,
            flips=97,
            both_orders=1168,
            first_slot_share=0.536,
            cost_usd=3.07,
            tokens_in=2_100_000,
            tokens_out=94_000,
        ),
        JudgeReport(
            judge="similarity",
            kind="similarity",
            metric="similarity",
            fingerprint="5555aaaa5555aaaa",
            pairs=1182,
            scored=1182,
        ),
        JudgeReport(
            judge="exact", kind="exact", metric="exact_match", fingerprint="1111aaaa1111aaaa", pairs=1182, scored=1182
        ),
        JudgeReport(
            judge="schema",
            kind="structure",
            metric="structure",
            fingerprint="2222aaaa2222aaaa",
            pairs=1182,
            scored=240,
            unscored={"not_applicable": 942},
        ),
    )


def criteria(verdict: Verdict) -> tuple[CriterionResult, ...]:
    """The default criteria with numbers that lead to the verdict."""
    p95 = estimate("latency_p95_ratio", 0.83, 0.78, 0.88, production=2140.0, candidate=1776.0)
    go, no = verdict is Verdict.GO, verdict is Verdict.NO_GO
    win = estimate(
        "win_rate",
        *((0.571, 0.545, 0.597) if go else (0.418, 0.391, 0.446) if no else (0.512, 0.486, 0.538)),
        n=1168,
        n_missing=14,
    )
    outcome = Outcome.PASS if go else Outcome.FAIL if no else Outcome.INCONCLUSIVE
    words = {
        Outcome.PASS: "Win rate is 57.1% (95% interval 54.5% to 59.7%), above 50% as required.",
        Outcome.FAIL: "Win rate is 41.8% (95% interval 39.1% to 44.6%), required is above 50%.",
        Outcome.INCONCLUSIVE: "Win rate is 51.2% (95% interval 48.6% to 53.8%), which contains 50%.",
    }[outcome]
    return (
        result(
            "latency_p95_ratio",
            Bound.BELOW,
            1.2,
            Outcome.PASS,
            "P95 latency is 0.83x (95% interval 0.78x to 0.88x), below 1.2x as required.",
            p95,
        ),
        result(
            "error_rate_difference",
            Bound.BELOW,
            0.0,
            Outcome.PASS if go else Outcome.INCONCLUSIVE,
            "Error rate is -0.90 points (95% interval -1.40 to -0.40), below 0 points as required."
            if go
            else "Error rate is -0.10 points (95% interval -0.60 to +0.40), which contains 0 points.",
            estimate(
                "error_rate_difference",
                -0.009 if go else -0.001,
                -0.014 if go else -0.006,
                -0.004 if go else 0.004,
                production=0.016,
                candidate=0.007 if go else 0.015,
            ),
            n_needed=None if go else 4100,
        ),
        result(
            "win_rate",
            Bound.ABOVE,
            0.5,
            outcome,
            words,
            win,
            n_needed=5100 if outcome is Outcome.INCONCLUSIVE else None,
        ),
        result(
            "similarity",
            Bound.ABOVE,
            0.95,
            Outcome.FAIL if no else Outcome.INCONCLUSIVE,
            "Similarity is 0.890 (95% interval 0.884 to 0.896), required is above 0.95."
            if no
            else "Similarity is 0.951 (95% interval 0.946 to 0.956), which contains 0.95.",
            estimate("similarity", 0.89 if no else 0.951, 0.884 if no else 0.946, 0.896 if no else 0.956),
            required=False,
        ),
        result(
            "coverage",
            Bound.ABOVE,
            1000.0,
            Outcome.PASS,
            "1,182 requests were completed by both sides.",
            estimate("coverage", 1182.0, method="count"),
        ),
        result(
            "structure",
            Bound.AT_LEAST,
            0.98,
            Outcome.NO_DATA,
            "No request asked for structured output.",
            estimate("structure", None, notes=("no structured answer to check",), n=0, n_clusters=0, method=""),
            required=False,
        ),
    )


_SENTENCES = {
    Verdict.GO: "{arm} may take over: it meets all 4 required criteria on 1,182 compared pairs.",
    Verdict.NO_GO: "{arm} should not take over: it fails 1 of 4 required criteria on 1,182 compared pairs "
    "(Win rate above 50%).",
    Verdict.INCONCLUSIVE: "{arm} cannot be decided yet: 2 of 4 required criteria are not settled on 1,182 compared "
    "pairs (Error rate below 0 points; Win rate above 50%); about 5,100 pairs in all would probably settle them.",
}


def candidate(arm: str = "small-model", verdict: Verdict = Verdict.INCONCLUSIVE, **more: Any) -> CandidateReport:
    """A candidate with every section filled."""
    results = criteria(verdict)
    open_ = verdict is Verdict.INCONCLUSIVE
    speed = {Verdict.GO: 0.8, Verdict.NO_GO: 0.55, Verdict.INCONCLUSIVE: 0.9}[verdict]
    defaults: dict[str, Any] = {
        "model": f"openai/{arm}-2026-09",
        "decision": Decision(
            arm=arm,
            verdict=verdict,
            sentence=_SENTENCES[verdict].format(arm=arm),
            reasons=tuple(item.reason for item in results if item.outcome is not Outcome.PASS or verdict is Verdict.GO),
            results=results,
            n_needed=5100 if open_ else None,
            binding="win_rate" if open_ else None,
        ),
        "estimates": (
            estimate("latency_p50_ratio", 0.81, 0.79, 0.84, production=820.0, candidate=664.0),
            estimate("latency_p95_ratio", 0.83, 0.78, 0.88, production=2140.0, candidate=1776.0),
            estimate("latency_p99_ratio", 0.94, 0.80, 1.12, production=3950.0, candidate=3713.0),
            estimate("ttft_p50_ratio", 0.72, 0.70, 0.75, production=260.0, candidate=187.0, n=1100, n_missing=82),
            estimate("error_rate_difference", -0.001, -0.006, 0.004, production=0.016, candidate=0.015),
            estimate("win_rate", 0.512, 0.486, 0.538, n=1168, n_missing=14),
            estimate("similarity", 0.951, 0.946, 0.956),
            estimate("exact_match", 0.113, 0.095, 0.131),
            estimate("cost_per_1k_usd", 0.61, 0.58, 0.64, production=4.12, candidate=0.61),
            estimate("tokens_out_ratio", 1.08, 1.05, 1.12, production=171.0, candidate=185.0),
        ),
        "funnel": Funnel(
            sampled=1200, completed=1188, failed={"timeout": 7, "rate_limit": 3}, skipped={"budget": 2}, comparable=1182
        ),
        "judges": judges(),
        "errors": {"timeout": (2, 7), "rate_limit": (0, 3), "server_error": (4, 0)},
        "distributions": distributions(
            speed, {Verdict.GO: 0.12, Verdict.NO_GO: 0.0, Verdict.INCONCLUSIVE: 0.06}[verdict]
        ),
        "cost": CostReport(
            candidate_usd=0.72,
            unpriced_calls=3,
            judges_usd=3.07,
            production_per_1k_usd=4.12,
            candidate_per_1k_usd=0.61,
            requests_per_month=1_250_000.0,
            requests_per_month_source="configured",
            production_month_usd=5150.0,
            candidate_month_usd=762.0,
            candidate_month_low_usd=725.0,
            candidate_month_high_usd=800.0,
        ),
        "slices": slices(),
        "examples": examples(arm),
        "dropped_params": {"frequency_penalty": 310, "logit_bias": 4},
        "answered_models": {f"{arm}-2026-09-12": 1188},
    }
    return CandidateReport(arm=arm, **(defaults | more))


def ingest(**more: Any) -> IngestReport:
    """An export of 12,411 records."""
    first, last = datetime(2026, 10, 1, 6, tzinfo=UTC), datetime(2026, 10, 14, 22, 30, tzinfo=UTC)
    population = Summary(
        n=11_020,
        models={"gpt-4o": 9800, "gpt-4o-mini": 1220},
        strata={"plan=free": 6000, "plan=team": 5020},
        errors=176,
        with_tools=2200,
        mean_turns=3.4,
        mean_prompt_chars=1810.5,
        mean_answer_chars=640.2,
        latency_p50_ms=818.0,
        latency_p95_ms=2133.0,
        mean_tokens_in=520.0,
        mean_tokens_out=171.0,
        total_cost_usd=45.4,
        first=first,
        last=last,
    )
    sample = replace(
        population,
        n=1200,
        models={"gpt-4o": 1068, "gpt-4o-mini": 132},
        strata={"plan=free": 652, "plan=team": 548},
        errors=19,
        with_tools=243,
        total_cost_usd=None,
    )
    defaults: dict[str, Any] = {
        "files": ("exports/2026-10-01.jsonl.gz", "exports/2026-10-08.jsonl.gz"),
        "dialects": {
            "exports/2026-10-01.jsonl.gz": "openai_chat (detected)",
            "exports/2026-10-08.jsonl.gz": "openai_chat (detected)",
        },
        "read": 12_411,
        "rejected": 31,
        "ignored": 12,
        "skipped": {"no_answer": 148},
        "deduplicated": 1200,
        "kept": 11_020,
        "out_of_window": 620,
        "sampled_out": 9200,
        "sampled": 1200,
        "redactions": {"email": 812, "phone": 97, "card": 4},
        "rejects_file": "runs/support-3fa9c1d2/rejects.jsonl",
        "population": population,
        "sample": sample,
    }
    return IngestReport(**(defaults | more))


def report(*candidates: CandidateReport, **more: Any) -> EvaluationReport:
    """One run; one inconclusive candidate unless told."""
    defaults: dict[str, Any] = {
        "run_id": "support-3fa9c1d2",
        "name": "support",
        "harness_version": "0.1.0",
        "created_at": datetime(2026, 11, 20, 9, 3, tzinfo=UTC),
        "decided_at": datetime(2026, 11, 20, 9, 41, tzinfo=UTC),
        "metrics": METRICS,
        "production_models": {"gpt-4o": 1068, "gpt-4o-mini": 132},
        "ingest": ingest(),
        "noise_floor": NoiseFloor(
            n=120,
            share=0.1,
            estimates=(
                estimate("similarity", 0.962, 0.955, 0.969, n=120),
                estimate("exact_match", 0.21, 0.14, 0.29, n=120),
                estimate("win_rate", 0.495, 0.46, 0.53, n=120),
            ),
        ),
        "experiment_yaml": "name: support\ntraffic:\n  source: exports/*.jsonl.gz\n  sample: {size: 1200, seed: 7}\n",
        "seed": 7,
        "versions": {"shadow-harness": "0.1.0", "python": "3.11.9", "litellm": "1.106.2"},
        "prompts": {"pairwise/v1": "9f" * 32},
        "command": "harness run experiment.yaml",
    }
    return EvaluationReport(candidates=candidates or (candidate(),), **(defaults | more))


def three() -> EvaluationReport:
    """Every verdict side by side."""
    return report(
        candidate("small-model", Verdict.GO),
        candidate("cheap-model", Verdict.NO_GO),
        candidate(
            "new-prompt", Verdict.INCONCLUSIVE, warnings=("The judge and the candidate are of the same family.",)
        ),
        stop_reason="budget",
    )


def thorough(arm: str = "small-model", **more: Any) -> CandidateReport:
    """A candidate of which everything is known: bounds, judges, people, slices, attempts."""
    return replace(candidate(arm), **(rich.parts(arm) | more))


def failing(arm: str = "cheap-model", **more: Any) -> CandidateReport:
    """A candidate whose decision stood early, by a judge that is not believed."""
    funnel = Funnel(sampled=5000, completed=1430, failed={"timeout": 70}, skipped={"settled": 3500}, comparable=1425)
    return replace(candidate(arm), **({"funnel": funnel} | rich.failing_parts(arm) | more))


def full(*candidates: CandidateReport, **more: Any) -> EvaluationReport:
    """A run of which everything is known; one candidate unless told."""
    defaults: dict[str, Any] = {"metrics": DOMAIN_METRICS, "noise_floor": rich.noise_floor()}
    return report(*(candidates or (thorough(),)), **(defaults | more))


def two() -> EvaluationReport:
    """Two candidates of which everything is known."""
    return full(thorough(), failing())


def empty() -> EvaluationReport:
    """A run in which nothing is known."""
    bare = CandidateReport(
        arm="empty",
        model="file",
        decision=Decision(
            arm="empty", verdict=Verdict.INCONCLUSIVE, sentence="Nothing was measured.", reasons=(), results=()
        ),
        estimates=(),
        funnel=Funnel(sampled=0, completed=0),
        judges=(),
        errors={},
        distributions=(),
        cost=CostReport(
            candidate_usd=None,
            unpriced_calls=0,
            judges_usd=None,
            production_per_1k_usd=None,
            candidate_per_1k_usd=None,
            requests_per_month=None,
            requests_per_month_source="unknown: the export has no times",
            production_month_usd=None,
            candidate_month_usd=None,
        ),
        slices=(),
        examples=(),
    )
    return report(
        bare,
        ingest=IngestReport(files=()),
        metrics={},
        production_models={},
        noise_floor=None,
        versions={},
        prompts={},
        experiment_yaml="",
        command="",
    )


def hostile() -> EvaluationReport:
    """Every text of the realistic report replaced by one that attacks page, terminal, parser and reader."""
    poisoned = _poison(full(candidate(), thorough("other"), failing("third")))
    assert isinstance(poisoned, EvaluationReport)
    return poisoned


_CLOSED = {"unit", "requests_per_month_source", "why", "kind"}


def _poison(value: Any) -> Any:
    """The value with hostile text in every free string, keys included; metrics stay joined to their names."""
    if type(value) is str:
        return HOSTILE + value
    if is_dataclass(value) and not isinstance(value, type):
        changed = {
            item.name: _poison(getattr(value, item.name)) if item.name not in _CLOSED else getattr(value, item.name)
            for item in fields(value)
        }
        return type(value)(**changed)
    if isinstance(value, dict):
        return {
            _poison(key)
            if key not in {"role", "content", "type", "text", "function", "arguments", "tool_calls", "name"}
            else key: _poison(item)
            for key, item in value.items()
        }
    if isinstance(value, tuple | list):
        return type(value)(_poison(item) for item in value)
    return value

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from harness.domain.run import IngestReport, Summary
from harness.pipeline.reporting import family, pick_examples, requests_per_month
from harness.stats.evidence import ArmColumns, Evidence, ScoreColumn

START = datetime(2026, 1, 1, tzinfo=UTC)


def ingested(n: int, span: timedelta | None) -> IngestReport:
    last = None if span is None else START + span
    population = Summary(n=n, first=None if span is None else START, last=last)
    return IngestReport(files=("x",), population=population)


def test_a_configured_volume_wins():
    assert requests_per_month(5.0, ingested(100, timedelta(days=1))) == (5.0, "configured")


def test_the_volume_is_extrapolated_from_the_span():
    volume, source = requests_per_month(None, ingested(101, timedelta(days=1)))

    assert volume == pytest.approx(100 * 30)
    assert "extrapolated" in source


@pytest.mark.parametrize(("n", "span"), [(100, None), (100, timedelta(minutes=5)), (1, timedelta(days=2))])
def test_an_unknown_volume_says_what_to_set(n, span):
    volume, source = requests_per_month(None, ingested(n, span))

    assert volume is None
    assert "traffic.requests_per_month" in source


def columns(n: int, failed: set[int] = frozenset()) -> ArmColumns:
    unknown = np.full(n, np.nan)
    return ArmColumns(
        status=np.array(["failed" if i in failed else "completed" for i in range(n)], dtype=object),
        error_kind=np.array(["timeout" if i in failed else "" for i in range(n)], dtype=object),
        latency_ms=unknown, ttft_ms=unknown, tokens_in=unknown, tokens_out=unknown, cost_usd=unknown,
        answer_chars=unknown, cache_hit=np.zeros(n, dtype=bool),
    )  # fmt: skip


def evidence(scores: list[float], failed: set[int] = frozenset()) -> Evidence:
    n = len(scores)
    return Evidence(
        arm="c",
        exchange_ids=np.array([f"e{i}" for i in range(n)], dtype=object),
        clusters=np.arange(n),
        timestamps=np.full(n, np.nan),
        production=columns(n),
        candidate=columns(n, failed),
        scores={"j": ScoreColumn.unordered("win_rate", np.array(scores))},
    )


def test_examples_are_the_worst_the_best_and_the_failed():
    found = evidence([0.5, 0.0, 1.0, 0.25, np.nan, 0.75], failed={4})

    picked = pick_examples(found, found.scores["j"].value, wanted=2)

    assert picked == [
        ("e1", "worst", 0.0),
        ("e3", "worst", 0.25),
        ("e2", "best", 1.0),
        ("e5", "best", 0.75),
        ("e4", "failed", None),
    ]


def test_no_pair_is_shown_twice_however_few_there_are():
    found = evidence([0.5, 0.5, 0.5])

    ids = [exchange_id for exchange_id, _, _ in pick_examples(found, found.scores["j"].value, wanted=10)]

    assert sorted(ids) == ["e0", "e1", "e2"]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("openai/gpt-4o-mini", "gpt"),
        ("gpt-3.5-turbo-0125", "gpt"),
        ("anthropic/claude-sonnet-4-5", "claude"),
        ("qwen2.5-1.5b-instruct", "qwen"),
        ("openai/o3", "o"),
        ("", ""),
    ],
)
def test_models_of_one_vendors_line_are_a_family(model, expected):
    assert family(model) == expected

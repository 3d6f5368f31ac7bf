from datetime import UTC, datetime, timedelta

import pytest

from harness.domain.run import IngestReport, Summary
from harness.pipeline.reporting import family, requests_per_month

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

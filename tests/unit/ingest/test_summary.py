"""Running summaries: unknown stays unknown, quantiles keep their promise."""

import numpy as np
import pytest

from harness.domain.run import Summary
from harness.ingest.summary import OTHER, Features, LogHistogram, Mean, Tally, message_text
from harness.testing import exchange


def test_quantiles_lie_within_one_percent_of_the_nearest_rank():
    values = np.random.default_rng(1).lognormal(6, 1.5, 3000)
    histogram = LogHistogram()
    for value in values:
        histogram.add(float(value))
    for p in (0.01, 0.5, 0.95, 1.0):
        exact = np.quantile(values, p, method="inverted_cdf")
        assert histogram.quantile(p) == pytest.approx(exact, rel=0.0101)
    assert len(histogram.bins) < 700


def test_unknown_values_are_left_out_and_nothing_is_none():
    histogram, mean = LogHistogram(), Mean()
    for value in (None, float("nan"), -1.0, float("inf")):
        histogram.add(value)
    mean.add(None)
    assert (histogram.n, histogram.quantile(0.5), mean.value) == (0, None, None)
    assert Tally().summary() == Summary(n=0)


def test_many_strata_are_added_up():
    tally = Tally()
    for index in range(250):
        for _ in range(2 if index < 200 else 1):
            tally.add(Features.of(exchange(), f"user=u{index}"))
    strata = tally.summary().strata
    assert len(strata) == 201
    assert strata[OTHER] == 50


@pytest.mark.parametrize(
    ("content", "text"),
    [("x", "x"), (None, ""), ([{"type": "text", "text": "a"}, {"type": "image_url"}, "b"], "a\n\nb"), ([], "")],
)
def test_the_text_of_a_message(content, text):
    assert message_text({"role": "user", "content": content}) == text

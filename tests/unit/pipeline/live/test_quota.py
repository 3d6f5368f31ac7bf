"""Production's quota comes first."""

import time

import pytest

from harness.domain.model import ModelSpec
from harness.pipeline.live.quota import QuotaGuard, is_strained
from harness.spool.record import Captured


def answered(status: int = 200, *, at: float | None = None, **headers: str) -> Captured:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    at_ns = int((time.time() if at is None else at) * 1e9)
    return Captured(id="r", at_ns=at_ns, method="POST", path="/v1/messages", status=status, response_headers=names)


@pytest.mark.parametrize(
    ("captured", "strained"),
    [
        (answered(429), True),
        (answered(500), False),
        (answered(x_ratelimit_limit_requests="100", x_ratelimit_remaining_requests="19"), True),
        (answered(x_ratelimit_limit_requests="100", x_ratelimit_remaining_requests="20"), False),
        (answered(x_ratelimit_limit_tokens="40000", x_ratelimit_remaining_tokens="0"), True),
        (answered(anthropic_ratelimit_input_tokens_limit="50", anthropic_ratelimit_input_tokens_remaining="3"), True),
        (answered(x_ratelimit_limit_requests="0", x_ratelimit_remaining_requests="0"), False),
        (answered(x_ratelimit_limit_requests="many", x_ratelimit_remaining_requests="few"), False),
        (answered(x_ratelimit_remaining_requests="1"), False),
    ],
)
def test_what_says_that_production_is_near_its_limit(captured, strained):
    assert is_strained(captured) is strained


def test_a_pause_begins_when_it_happened_and_ends():
    now = [1_000.0]
    guard = QuotaGuard("https://api.openai.com", 60, clock=lambda: now[0])
    assert guard.saw(answered(429, at=990))
    assert guard.remaining_s == pytest.approx(50)
    assert not guard.saw(answered(429, at=995)), "it goes on, and does not begin again"
    now[0] = 1_056
    assert guard.remaining_s == 0
    assert not guard.saw(answered(429, at=900)), "what is long past says nothing about now"
    assert guard.remaining_s == 0


@pytest.mark.parametrize(
    ("upstream", "spec", "covered"),
    [
        ("https://api.openai.com", ModelSpec(model="openai/gpt-4o"), True),
        ("https://api.openai.com", ModelSpec(model="gpt-4o"), True),
        ("https://api.openai.com", ModelSpec(model="anthropic/claude"), False),
        ("https://api.anthropic.com", ModelSpec(model="anthropic/claude"), True),
        ("https://api.openai.com", ModelSpec(model="openai/m", api_base="http://127.0.0.1:8000/v1"), False),
        ("http://127.0.0.1:8000/prefix", ModelSpec(model="openai/m", api_base="http://127.0.0.1:8000/v1"), True),
        ("http://127.0.0.1:8000", ModelSpec(model="openai/m", api_base="http://127.0.0.1:8001/v1"), False),
    ],
)
def test_who_shares_productions_provider(upstream, spec, covered):
    assert QuotaGuard(upstream, 60).covers(spec) is covered

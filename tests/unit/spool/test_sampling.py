"""Laws of the sample: exact at the ends, monotone in the rate, uniform, sticky, and independent of other draws."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.config import Mirror
from harness.domain.mirror import NotEligible
from harness.spool.sampling import Sampled, Sampler, fraction, salt_id, surface_of

EXAMPLES = settings(max_examples=200, deadline=None, derandomize=True)
CHAT = "/v1/chat/completions"


def sampler(rate: float = 1.0, salt: str = "salt", **mirror) -> Sampler:
    return Sampler(Mirror(rate=rate, **mirror), salt)


def drawn(rate: float, keys, salt: str = "salt") -> set[str]:
    found = sampler(rate, salt)
    return {key for key in keys if found.decide(CHAT, {}, key) is not None}


KEYS = [f"g1-{number:x}" for number in range(20_000)]


@EXAMPLES
@given(st.text(), st.text(), st.text())
def test_a_fraction_is_at_least_0_below_1_and_always_the_same(salt, kind, key):
    assert 0 <= fraction(salt, kind, key) < 1
    assert fraction(salt, kind, key) == fraction(salt, kind, key)


@EXAMPLES
@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_raising_the_rate_only_adds_requests(key, one, other):
    low, high = sorted((one, other))
    if sampler(low).decide(CHAT, {}, key) is not None:
        assert sampler(high).decide(CHAT, {}, key) is not None


def test_a_ramp_loses_nobody_on_the_way_up():
    before: set[str] = set()
    for rate in (0.0, 0.01, 0.05, 0.25, 0.5, 0.99, 1.0):
        now = drawn(rate, KEYS)
        assert before <= now
        before = now


def test_nothing_and_everything_are_exact():
    assert drawn(0, KEYS) == set()
    assert drawn(1, KEYS) == set(KEYS)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.25, 0.5, 0.9])
def test_the_share_is_within_a_point_of_the_rate(rate):
    assert abs(len(drawn(rate, KEYS)) / len(KEYS) - rate) < 0.01


def test_keys_are_spread_evenly():
    tenths = [0] * 10
    for key in KEYS:
        tenths[int(10 * fraction("salt", "request", key))] += 1
    assert all(abs(tenth / len(KEYS) - 0.1) < 0.01 for tenth in tenths)


def test_another_salt_draws_another_sample():
    one, other = drawn(0.3, KEYS, "one"), drawn(0.3, KEYS, "other")
    assert abs(len(one & other) / len(KEYS) - 0.09) < 0.01


def test_the_sample_is_independent_of_a_draw_with_another_tag():
    """Canary arms are drawn with the same salt and key; the shadow must cover all arms alike."""
    sample = drawn(0.3, KEYS)
    arm = {key for key in KEYS if fraction("salt", "request", key, tag=b"canary") < 0.5}
    assert abs(len(sample & arm) / len(KEYS) - 0.15) < 0.01


@pytest.mark.parametrize(("sticky", "header"), [("conversation", "x-conversation-id"), ("user", "x-user-id")])
def test_what_sticks_together_is_sampled_together(sticky, header):
    found = sampler(0.5, sticky=sticky)
    verdicts = set()
    for name in range(200):
        answers = {found.decide(CHAT, {header: str(name)}, f"r{turn}") is None for turn in range(20)}
        assert len(answers) == 1
        verdicts |= answers
    assert verdicts == {True, False}


def test_a_request_without_the_key_is_sampled_by_itself():
    found = sampler(0.5, sticky="conversation")
    assert {found.decide(CHAT, {}, f"r{turn}") is None for turn in range(50)} == {True, False}


def test_every_process_and_every_start_decides_alike():
    assert fraction("salt", "request", "key") == 0.16934102189810848
    assert salt_id("salt") == salt_id("salt") != salt_id("other")
    assert "salt" not in salt_id("salt")


def test_the_first_rule_that_fits_decides():
    found = sampler(
        0,
        rules=[
            {"paths": ["/v1/embed*"], "rate": 1},
            {"headers": {"X-Tenant": "internal*"}, "rate": 0},
            {"paths": ["*/chat/*"], "headers": {"x-tier": "gold"}, "rate": 1},
        ],
    )
    assert found.decide(CHAT, {"x-tier": "gold", "x-tenant": "internal-1"}, "r") is NotEligible.DENIED
    assert found.decide(CHAT, {"x-tier": "gold"}, "r") == Sampled(rate=1, session=None, user=None)
    assert found.decide(CHAT, {"x-tier": "GOLD"}, "r") is None
    assert found.decide("/v1/responses", {"x-tier": "gold"}, "r") is None
    assert found.decide(CHAT, {}, "r") is None


@pytest.mark.parametrize("pattern", ["*", "?", "[!a]*"])
def test_what_is_absent_fits_no_pattern(pattern):
    assert sampler(0, rules=[{"headers": {"x-consent": pattern}, "rate": 1}]).decide(CHAT, {}, "r") is None
    assert sampler(0, rules=[{"fields": {"consent": pattern}, "rate": 1}]).decide(CHAT, {}, "r", {}) is None


def test_session_and_user_are_kept_whatever_is_sampled_by():
    found = sampler(1).decide(CHAT, {"x-conversation-id": "c", "x-user-id": "u"}, "r")
    assert found == Sampled(rate=1, session="c", user="u")


def test_the_time_box():
    found = sampler(starts=datetime(2026, 1, 1, tzinfo=UTC), ends=datetime(2026, 1, 2, tzinfo=UTC))
    begin = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert found.closed(begin - 1) is NotEligible.NOT_STARTED
    assert found.closed(begin) is None
    assert found.closed(begin + 86_399) is None
    assert found.closed(begin + 86_400) is NotEligible.ENDED
    assert sampler(enabled=False).closed(0) is NotEligible.KILL_SWITCH


@pytest.mark.parametrize(
    ("method", "path", "surface"),
    [
        ("POST", "/v1/chat/completions", "chat"),
        ("POST", "/openai/deployments/x/chat/completions", "chat"),
        ("POST", "/v1/chat/completions/", "chat"),
        ("POST", "/v1/completions", "completions"),
        ("POST", "/v1/responses", "responses"),
        ("POST", "/v1/messages", "messages"),
        ("GET", "/v1/chat/completions", None),
        ("POST", "/v1/embeddings", None),
        ("POST", "/v1/messages/batches", None),
        ("POST", "/v1/responses/r1/cancel", None),
        ("POST", "/v1/messages/count_tokens", None),
        ("POST", "", None),
        ("POST", "/v1/mycompletions", None),
    ],
)
def test_surfaces(method, path, surface):
    assert surface_of(method, path) == surface

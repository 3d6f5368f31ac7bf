"""Samples drawn by what stands in a request's body."""

import pytest

from harness.config import Mirror
from harness.domain.mirror import NotEligible
from harness.spool.sampling import FIELD_BYTES, Sampled, Sampler, fields_of

PATH = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"model":"gpt-4o","metadata":{"tier":"gold","n":3,"beta":true}}',
         {"model": "gpt-4o", "metadata.tier": "gold", "metadata.n": "3", "metadata.beta": "true"}),
        (b'{"model":null,"metadata":"gold"}', {}),
        (b'{"model":["a"],"metadata":{"tier":""}}', {}),
        (b"[1]", {}),
        (b"no json", {}),
        (b"", {}),
        (b'{"model":"x","pad":"' + b"a" * FIELD_BYTES + b'"}', {}),
    ],
)  # fmt: skip
def test_fields_are_texts_numbers_and_truth_values(body, found):
    assert fields_of(body, ["model", "metadata.tier", "metadata.n", "metadata.beta"]) == found


def test_a_rule_about_a_field_decides():
    sampler = Sampler(
        Mirror(
            rate=0, rules=[{"fields": {"metadata.tier": "gold*"}, "rate": 1}, {"fields": {"model": "o1"}, "rate": 0}]
        ),
        "salt",
    )
    assert sampler.body_fields == {"metadata.tier", "model"}
    assert sampler.decide(PATH, {}, "1", {"metadata.tier": "golden"}) == Sampled(rate=1, session=None, user=None)
    assert sampler.decide(PATH, {}, "1", {"model": "o1"}) is NotEligible.DENIED
    assert sampler.decide(PATH, {}, "1", {}) is None


def test_conversations_named_in_the_body_are_sampled_as_a_whole():
    mirror = Mirror(rate=0.5, sticky="conversation", conversation_field="metadata.session_id", user_field="user")
    sampler = Sampler(mirror, "salt")
    kept = set()
    for number in range(200):
        fields = {"metadata.session_id": f"s{number % 20}", "user": "u"}
        found = sampler.decide(PATH, {}, f"request {number}", fields)
        if isinstance(found, Sampled):
            assert (found.session, found.user) == (f"s{number % 20}", "u")
            kept.add((number % 20, number))
    sessions = {session for session, _ in kept}
    assert 0 < len(sessions) < 20
    assert len(kept) == 10 * len(sessions), "all requests of a conversation, or none"


def test_a_header_goes_before_the_body():
    sampler = Sampler(Mirror(rate=1, conversation_field="metadata.session_id"), "salt")
    found = sampler.decide(PATH, {"x-conversation-id": "h"}, "1", {"metadata.session_id": "b"})
    assert isinstance(found, Sampled)
    assert found.session == "h"


def test_without_fields_nothing_has_to_be_parsed():
    assert Sampler(Mirror(rate=0.5, rules=[{"paths": "/v1/*", "rate": 1}]), "salt").body_fields == frozenset()

"""What of a request's headers may be stored."""

from harness.config import Mirror
from harness.spool import headers

WIRE = [
    (b"Content-Type", b"application/json"),
    (b"Authorization", b"Bearer sk-secret"),
    (b"X-Api-Key", b"sk-secret"),
    (b"Cookie", b"id=1"),
    (b"X-Conversation-Id", b"c-7"),
    (b"X-Team", b"search"),
    (b"X-Tier", b"gold"),
    (b"User-Agent", b"curl"),
]


def test_only_listed_and_configured_headers_are_kept():
    kept = headers.RequestHeaders(Mirror(rate=1, metadata_headers=["X-Team"])).to_keep(WIRE)

    assert kept == {"content-type": "application/json", "x-conversation-id": "c-7", "x-team": "search"}


def test_a_rule_may_look_at_what_is_not_kept():
    mirror = Mirror.model_validate({"rate": 1, "rules": [{"headers": {"X-Tier": "gold"}, "rate": 0}]})
    picked = headers.RequestHeaders(mirror)

    assert picked.to_decide(WIRE) == {"x-conversation-id": "c-7", "x-tier": "gold"}
    assert "x-tier" not in picked.to_keep(WIRE)


def test_credentials_are_dropped_even_when_the_configuration_was_made_without_its_checks():
    mirror = Mirror.model_construct(
        conversation_header="cookie", user_header="authorization", metadata_headers=["x-api-key"], rules=[]
    )

    assert headers.RequestHeaders(mirror).to_keep(WIRE) == {"content-type": "application/json"}


def test_limits_of_the_provider_are_kept_with_the_answer():
    wire = [
        (b"x-ratelimit-remaining-tokens", b"12"),
        (b"anthropic-ratelimit-requests-limit", b"5"),
        (b"Retry-After", b"2"),
        (b"Set-Cookie", b"a=b"),
        (b"openai-organization", b"org-1"),
    ]

    assert headers.of_response(wire) == {
        "x-ratelimit-remaining-tokens": "12",
        "anthropic-ratelimit-requests-limit": "5",
        "retry-after": "2",
    }


def test_a_header_that_came_twice_is_kept_as_one_list():
    wire = [(b"x-request-id", b"a"), (b"X-Request-Id", b"b")]

    assert headers.of_response(wire) == {"x-request-id": "a, b"}

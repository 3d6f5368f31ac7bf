"""Values as exports write them."""

from datetime import UTC, date, datetime

import pytest

from harness.domain.observation import ErrorKind
from harness.ingest import values
from harness.ingest.dialects import failures
from harness.ingest.units import UnitWatch

INSTANT = datetime(2024, 4, 25, 10, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    "stored",
    [
        1714039200.123456,
        "1714039200.123456",
        1714039200123.456,
        1714039200123456,
        "1714039200123456789",
        1714039200123456789,
        638496360001234567,
        "2024-04-25T10:00:00.123456Z",
        "2024-04-25 10:00:00.123456",
        "2024-04-25T12:00:00.123456789+02:00",
        "2024-04-25T04:30:00.123456-0530",
        datetime(2024, 4, 25, 10, 0, 0, 123456, tzinfo=UTC),
        datetime(2024, 4, 25, 10, 0, 0, 123456),  # noqa: DTZ001  as a table without zones gives it
    ],
)
def test_an_instant_is_the_same_however_it_was_written(stored):
    assert abs((values.time(stored) - INSTANT).total_seconds()) < 1e-5


@pytest.mark.parametrize("stored", [None, "", "soon", 0, -5, "0", True, "2024-13-45T00:00:00Z", {}, 1e300])
def test_what_is_no_time_is_unknown(stored):
    assert values.time(stored) is None


def test_short_fractions_are_padded_and_milliseconds_have_thirteen_digits():
    assert values.time("2024-04-25T10:00:00.5Z").microsecond == 500_000
    assert values.time(1714039200000) == datetime(2024, 4, 25, 10, tzinfo=UTC)


def test_a_time_without_zone_is_reported():
    told = []
    values.time("2024-04-25 10:00:00", lambda: told.append(1))
    values.time("2024-04-25 10:00:00Z", lambda: told.append(2))
    assert told == [1]


def test_an_end_before_the_start_gives_no_duration():
    early, late = values.time(1_700_000_000), values.time(1_700_000_001.5)
    assert values.between_ms(early, late) == 1500.0
    assert values.between_ms(late, early) is None
    assert values.between_ms(None, late) is None


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ('{"a": 1}', {"a": 1}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ('[1, "{}"]', [1, "{}"]),
        ("{broken", "{broken"),
        ("plain", "plain"),
        ("5", "5"),
        (None, None),
    ],
)
def test_nested_json_is_decoded_as_deep_as_it_goes(stored, expected):
    assert values.decoded(stored) == expected


@pytest.mark.parametrize("stored", [None, "", "{}", "[]", {}, [], "null"])
def test_empty_means_not_stored(stored):
    assert not values.is_stored(stored)


@pytest.mark.parametrize("stored", ["x", "{ }x", 0, False, [0], {"a": None}])
def test_anything_else_was_stored(stored):
    assert values.is_stored(stored)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ("52", 52),
        (52.0, 52),
        ("1.25", 1),
        (True, None),
        ("None", None),
        (-1, None),
        ("nan", None),
        (None, None),
        (0, 0),
    ],
)
def test_counts_come_as_text_too_and_unknown_is_not_zero(stored, expected):
    assert values.count(stored) == expected


@pytest.mark.parametrize(
    ("stored", "expected"), [("True", True), (1, True), ("HIT", True), ("None", False), (None, False), (0, False)]
)
def test_flags(stored, expected):
    assert values.flag(stored) is expected


@pytest.mark.parametrize(
    ("stored", "expected"), [(True, "true"), (3, "3"), ({"a": 1}, '{"a":1}'), ("", ""), (None, None)]
)
def test_text_that_is_no_text_keeps_its_json_spelling(stored, expected):
    assert values.text(stored) == expected


def test_dotted_paths_reach_into_records_lists_and_encoded_json():
    record = {"a.b": 1, "a": {"c": [{"d": 2}]}, "e": '{"f": 3}'}
    assert values.reach(record, "a.b") == 1
    assert values.reach(record, "a.c.0.d") == 2
    assert values.reach(record, "e.f") == 3
    assert values.reach(record, "a.c.7.d") is None
    assert values.reach(record, "x.y") is None


def test_metadata_leaves_out_secrets_and_structure():
    stored = {"team": "a", "n": 3, "user_api_key_hash": "88dc", "requester_ip_address": "10.0.0.1", "list": [1],
              "Authorization": "Bearer x", "empty": "", "header": "h", "none": None, "headers": "a"}  # fmt: skip
    assert values.labels(stored) == {"team": "a", "n": "3"}


@pytest.mark.parametrize(
    ("stored", "tags", "metadata"),
    [
        (["a", 1, None], ("a", "1"), {}),
        ('["a"]', ("a",), {}),
        ({"cluster": "x"}, (), {"cluster": "x"}),
        ("solo", ("solo",), {}),
        ("[]", (), {}),
        (None, (), {}),
    ],
)
def test_listed_tags_stay_tags_and_named_ones_are_metadata(stored, tags, metadata):
    assert values.tags_and_metadata(stored) == (tags, metadata)


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (400, "invalid_request_error", "max_tokens: 1024 > 512", ErrorKind.BAD_REQUEST),
        (400, "context_length_exceeded", "This model's maximum context length is", ErrorKind.CONTEXT_WINDOW),
        (400, None, "prompt is too long: 210000 tokens", ErrorKind.CONTEXT_WINDOW),
        (400, "content_filter", "filtered", ErrorKind.CONTENT_FILTER),
        (401, "invalid_api_key", "no", ErrorKind.AUTHENTICATION),
        (403, None, "no", ErrorKind.PERMISSION),
        (404, "not_found_error", "model: x", ErrorKind.NOT_FOUND),
        (429, "rate_limit_exceeded", "slow down", ErrorKind.RATE_LIMIT),
        (429, "insufficient_quota", "You exceeded your current quota", ErrorKind.QUOTA_EXHAUSTED),
        (500, None, None, ErrorKind.SERVER_ERROR),
        (529, "overloaded_error", "Overloaded", ErrorKind.OVERLOADED),
        (None, "overloaded_error", "Overloaded", ErrorKind.OVERLOADED),
        (None, "Timeout", "litellm.Timeout", ErrorKind.TIMEOUT),
        (None, "RateLimitError", None, ErrorKind.RATE_LIMIT),
        (None, "APIConnectionError", "x", ErrorKind.CONNECTION),
        (None, None, "something odd", ErrorKind.OTHER),
    ],
)
def test_failures_are_classified(status, code, message, kind):
    error = failures.call_error(status=status, code=code, message=message)
    assert error.kind is kind
    assert error.http_status == status


def test_a_failure_keeps_what_the_vendor_said():
    error = failures.call_error({"type": "error", "error": {"type": "api_error", "message": "x" * 5_000}})
    assert (error.code, len(error.message), error.kind) == ("api_error", 2_000, ErrorKind.SERVER_ERROR)


@pytest.mark.parametrize(
    ("latencies", "warned"),
    [([0.4] * 9, True), ([900_000.0] * 9, True), ([800.0] * 9, False), ([0.4] * 2, True), ([], False)],
)
def test_a_median_no_model_can_have_is_a_unit_error(latencies, warned):
    watch = UnitWatch()
    for latency in latencies:
        watch.watch("log.jsonl", latency)
    watch.watch("log.jsonl", None)
    assert [("log.jsonl" in text and "latency_unit" in text) for text in watch.warnings()] == [True] * warned


def test_a_day_is_its_midnight():
    assert values.time(date(2025, 1, 1)) == datetime(2025, 1, 1, tzinfo=UTC)


def test_an_id_beyond_64_bits_is_still_a_label():
    assert values.label(2.0**70) == str(2**70)
    assert (values.label(7), values.label(True), values.label(7.5)) == ("7", "true", "7.5")

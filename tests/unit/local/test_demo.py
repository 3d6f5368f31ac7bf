"""The sample export holds what the demo is there to show."""

import gzip
import json
import socket
from collections import Counter

import pytest

from harness.cli import demo


@pytest.fixture(scope="module")
def lines():
    with gzip.open(demo.FOLDER / "traffic.jsonl.gz", "rt", encoding="utf-8") as stream:
        return stream.read().split("\n")[:-1]


@pytest.fixture(scope="module")
def records(lines):
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def test_one_line_is_cut_and_one_written_twice(lines, records):
    assert len(lines) - len(records) == 1
    assert [n for n in Counter(record["id"] for record in records).values() if n > 1] == [2]


def test_every_request_was_answered_but_for_one_timeout(records):
    failed = [record for record in records if "response" not in record]
    assert [record["error"]["type"] for record in failed] == ["timeout"]
    answered = [record for record in records if "response" in record]
    assert len(answered) >= 60
    for record in answered:
        assert 0 < record["ttft_ms"] <= record["latency_ms"]
        assert record["response"]["usage"]["completion_tokens"] > 0
        assert record["cost_usd"] > 0


def test_requests_are_of_many_kinds(records):
    features = Counter(record["metadata"]["feature"] for record in records)
    assert set(features) == {"faq", "classify", "extract", "rewrite", "translate", "summarise", "order_tool"}
    assert {record["metadata"]["language"] for record in records} >= {"en", "de", "es", "fr", "it", "ja"}
    assert len({record["session"] for record in records if "session" in record}) == 3
    assert any(
        record["response"]["choices"][0]["message"].get("tool_calls") for record in records if "response" in record
    )
    assert any("response_format" in record["request"] for record in records)


def test_the_experiment_follows_the_server():
    experiment = demo.experiment_at("http://127.0.0.1:4321")
    assert [c.api_base for c in experiment.candidates] == ["http://127.0.0.1:4321/v1", "http://127.0.0.1:4321"]
    pairwise = next(judge for judge in experiment.judges if judge.use == "pairwise")
    assert pairwise.options["model"]["api_base"] == "http://127.0.0.1:4321/v1"


def test_the_run_id_does_not_depend_on_the_port():
    first, second = (demo.experiment_at(f"http://127.0.0.1:{port}") for port in (8080, 4321))
    assert first.default_run_id == second.default_run_id


def test_a_taken_port_is_noticed():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not demo._is_free(server.getsockname()[1])
        free = server.getsockname()[1]
    assert demo._is_free(free)

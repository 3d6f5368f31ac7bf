"""Every record is accounted for once, the sink holds exactly the sample, and nothing sensitive gets past redaction."""

import json
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from harness.config import Redaction, Sampling, Traffic
from harness.domain.observation import Usage
from harness.errors import InputError
from harness.ingest.records import Ending, Record
from harness.ingest.sampling import priority_of
from harness.ingest.stage import BATCH, ingest
from harness.testing import exchange, observation

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Sink:
    """Keeps what it is given, and refuses what a store would have to refuse."""

    def __init__(self):
        self.held = {}
        self.put = 0
        self.largest_batch = 0

    def put_exchanges(self, exchanges):
        self.largest_batch = max(self.largest_batch, len(exchanges))
        for item, priority in exchanges:
            assert item.id not in self.held
            self.held[item.id] = (item, priority)
            self.put += 1

    def remove_exchanges(self, ids):
        self.largest_batch = max(self.largest_batch, len(ids))
        for identity in ids:
            del self.held[identity]


class Records:
    """A reader of records made up in the test."""

    def __init__(self, records):
        self.records = records
        self.dialects = {"a.jsonl": "openai_chat (detected)"}
        self.warnings = []
        self.bytes_total = 100
        self.bytes_read = 0

    def __iter__(self):
        for record in self.records:
            self.bytes_read += 1
            yield record


def read(item, line=1):
    return Record(ending=Ending.EXCHANGE, file="a.jsonl", line=line, exchange=item)


def ended(ending, **fields):
    return Record(ending=ending, file="a.jsonl", line=1, **fields)


def run(tmp_path, records, sink=None, on_progress=None, **config):
    redaction = config.pop("redaction", Redaction())
    traffic = Traffic(source="a.jsonl", sample=Sampling(**config), redaction=redaction)
    return ingest(
        traffic,
        sink if sink is not None else Sink(),
        rejects_path=tmp_path / "run" / "rejects.jsonl",
        on_progress=on_progress,
        reader=Records(records),
    )


def dirty_records():
    """20 exchanges in the window (6 of model b), 2 too early, 1 undated, 3 duplicates, and every other ending."""
    good = []
    for index in range(20):
        item = exchange(id=f"e{index}", prompt=f"question {index} from u{index}@example.com", timestamp=NOON)
        item = replace(item, request=replace(item.request, model="b" if index % 3 == 0 and index < 18 else "a"))
        good.append(item)
    early = [exchange(id=f"early{i}", prompt=f"early {i}", timestamp=NOON - timedelta(days=1)) for i in range(2)]
    return [
        *map(read, good[:10]),
        ended(
            Ending.REJECTED,
            reason="not_json",
            message="a.jsonl:4: not JSON near bob@example.com",
            raw=b'{"a": bob@example.com',
        ),
        ended(
            Ending.REJECTED, reason="not_utf8", message="a.jsonl:5: not UTF-8", raw=b"\xff\xfe sk-abcdefghijklmnop1234"
        ),
        *map(read, early),
        read(exchange(id="undated", prompt="when?")),
        ended(Ending.SKIPPED, reason="no_result", message="no result"),
        ended(Ending.SKIPPED, reason="no_result"),
        ended(Ending.SKIPPED, reason="not_a_chat_call"),
        ended(Ending.IGNORED),
        ended(Ending.DUPLICATE),
        read(replace(good[0], user="else")),
        read(replace(good[1], id="again")),
        *map(read, good[10:]),
    ]


def test_every_count_of_a_dirty_export(tmp_path):
    sink = Sink()
    report = run(tmp_path, dirty_records(), sink, size=10, stratify_by=["model"], since=NOON, seed=2)
    assert report.read == 32
    assert report.rejected == 2
    assert report.skipped == {"no_result": 2, "not_a_chat_call": 1}
    assert report.ignored == 1
    assert report.deduplicated == 3
    assert report.kept == 23
    assert report.out_of_window == 3
    assert report.sampled == 10
    assert report.sampled_out == 10
    assert report.redactions == {"email": 10 + 2, "api_key": 1}
    assert report.population.n == 20
    assert report.population.models == {"a": 14, "b": 6}
    assert report.population.strata == {"model=a": 14, "model=b": 6}
    assert report.sample.strata == {"model=a": 5, "model=b": 5}
    assert report.dialects == {"a.jsonl": "openai_chat (detected)"}
    assert report.files == ("a.jsonl",)
    assert report.warnings == ("1 exchanges have no timestamp; the time window left them out",)
    assert set(sink.held) <= {f"e{i}" for i in range(20)}
    assert len(sink.held) == 10
    assert all(priority == priority_of(2, identity) for identity, (_, priority) in sink.held.items())
    assert "@example.com" not in repr(sink.held)


def test_rejects_are_written_one_per_line_and_redacted(tmp_path):
    report = run(tmp_path, dirty_records())
    text = (tmp_path / "run" / "rejects.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert report.rejects_file == str(tmp_path / "run" / "rejects.jsonl")
    assert [row["reason"] for row in rows] == ["not_json", "not_utf8"]
    assert rows[0]["file"] == "a.jsonl"
    assert rows[0]["line"] == 1
    assert rows[1]["raw"].startswith("\\xff\\xfe <API_KEY_")
    assert "bob@" not in text


def test_no_rejects_no_file_and_an_old_one_goes(tmp_path):
    old = tmp_path / "run" / "rejects.jsonl"
    old.parent.mkdir()
    old.write_text("old")
    assert run(tmp_path, [read(exchange())]).rejects_file is None
    assert not old.exists()


def test_the_sample_does_not_depend_on_the_order_and_the_seed_changes_it(tmp_path):
    records = [read(exchange(id=f"e{i}", prompt=f"q{i}", user=f"u{i % 7}")) for i in range(1500)]

    def ids(order, seed):
        sink = Sink()
        run(tmp_path, order, sink, size=100, seed=seed, stratify_by=["user"])
        assert sink.largest_batch <= BATCH
        return set(sink.held)

    assert ids(records, 1) == ids(records[::-1], 1)
    assert ids(records, 1) != ids(records, 2)


def test_the_sample_summary_is_of_the_exchanges_that_stayed(tmp_path):
    records = [
        read(
            exchange(
                id=f"e{i}",
                prompt=f"q{i:04d}",
                production=observation("x" * i, latency_ms=float(i + 1), usage=Usage(tokens_in=i), cost_usd=0.5),
            )
        )
        for i in range(1000)
    ]
    sink = Sink()
    report = run(tmp_path, records, sink, size=50)
    stayed = [item.production for item, _ in sink.held.values()]
    assert report.sample.n == 50
    assert report.sample.mean_answer_chars == pytest.approx(sum(len(o.completion.text) for o in stayed) / 50)
    assert report.sample.mean_tokens_in == pytest.approx(sum(o.usage.tokens_in for o in stayed) / 50)
    assert report.sample.total_cost_usd == 25
    assert report.sample.mean_tokens_out is None
    assert report.sample.latency_p50_ms == pytest.approx(sorted(o.latency_ms for o in stayed)[24], rel=0.011)
    assert report.population.latency_p50_ms == pytest.approx(500, rel=0.011)
    assert report.population.latency_p95_ms == pytest.approx(950, rel=0.011)
    assert report.population.mean_prompt_chars == 5


def test_cache_hits_are_left_out_of_latency_and_cost(tmp_path):
    hit = exchange(id="hit", prompt="x", production=observation(latency_ms=1.0, cost_usd=9.0, cache_hit=True))
    report = run(tmp_path, [read(hit), read(exchange(id="miss", production=observation(latency_ms=200.0)))])
    assert report.population.latency_p50_ms == pytest.approx(200, rel=0.011)
    assert report.population.total_cost_usd is None


def test_redaction_can_be_turned_off_and_says_so(tmp_path):
    sink = Sink()
    report = run(tmp_path, dirty_records(), sink, redaction=Redaction(enabled=False))
    assert not report.redaction_enabled
    assert report.redactions == {}
    assert any("redaction is off" in warning for warning in report.warnings)
    assert "u1@example.com" in repr(sink.held["e1"])


def test_names_of_strata_are_redacted(tmp_path):
    records = [read(exchange(id="e", user="alice@example.com"))]
    report = run(tmp_path, records, size=5, stratify_by=["user"])
    assert len(report.sample.strata) == 1
    assert next(iter(report.sample.strata)).startswith("user=<EMAIL_")


@pytest.mark.parametrize(
    ("records", "config", "message"),
    [
        ([], {}, "nothing to read in a.jsonl"),
        (
            [ended(Ending.SKIPPED, reason="no_prompt_stored")] * 3 + [ended(Ending.IGNORED)],
            {},
            "no usable exchange among 4 records; 3 ended as no_prompt_stored: .*store_prompts_in_spend_logs: true",
        ),
        (
            [ended(Ending.SKIPPED, reason="no_content_recorded", message="span of bob@example.com has no text")],
            {},
            "the texts are not in the export.*; the first one: span of <EMAIL_",
        ),
        (
            [ended(Ending.REJECTED, reason="not_json", message="a.jsonl:1: not JSON", raw=b"x")] * 2,
            {},
            "2 ended as not_json: set traffic.dialect.*; the first one: a.jsonl:1: not JSON; rejected records are in ",
        ),
        ([ended(Ending.IGNORED)], {}, "1 ended as not a model call: there is no model call in them"),
        (
            [read(exchange())],
            {"since": NOON},
            r"all 1 exchanges are out of the time window \(1 of them have no timestamp",
        ),
        ([read(exchange())], {"rate": 1e-12}, "none of 1 exchanges was sampled; raise traffic.sample.rate"),
    ],
)
def test_nothing_usable_names_the_reason_and_the_cure(tmp_path, records, config, message):
    with pytest.raises(InputError, match=message):
        run(tmp_path, records, **config)


def test_progress_is_told_on_the_way_and_at_the_end(tmp_path):
    seen = []
    records = [read(exchange(id=f"e{i}", prompt=f"q{i}")) for i in range(BATCH + 20)] + [ended(Ending.REJECTED)]
    run(tmp_path, records, on_progress=seen.append)
    assert [(p.read, p.kept, p.rejected, p.bytes_read, p.bytes_total) for p in seen] == [
        (BATCH, BATCH, 0, BATCH, 100),
        (BATCH + 21, BATCH + 20, 1, BATCH + 21, 100),
    ]


def test_memory_follows_the_sample_and_not_the_export(tmp_path):
    def records(n):
        for index in range(n):
            yield read(exchange("a" * 2000, id=f"e{index}", prompt=f"{index} " + "q" * 2000))

    def peak(n):
        tracemalloc.start()
        run(tmp_path, records(n), size=50)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(100)
    small, large = peak(1000), peak(6000)
    # 5,000 exchanges more are 20 MB of text; what may grow is two 64-bit hashes for each.
    assert large - small < 5000 * 400


def dirty_file(path):
    """30 chat lines (10 of them tool-free repeats of request 0), 2 broken lines, one empty, one cut off."""
    lines = [b"\xef\xbb\xbf"]
    for index in range(20):
        call = {
            "id": f"call-{index}",
            "model": "a" if index % 2 else "b",
            "timestamp": (NOON + timedelta(minutes=index)).isoformat(),
            "request": {
                "model": "a" if index % 2 else "b",
                "messages": [{"role": "user", "content": f"Mail u{index}@example.com, please"}],
            },
            "response": {
                "model": "a",
                "choices": [
                    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Done."}}
                ],
            },
        }
        lines.append(json.dumps(call).encode() + b"\r\n")
        if index == 0:
            lines += [json.dumps(call | {"id": f"repeat-{i}"}).encode() + b"\n" for i in range(10)]
    lines += [b"\n", b"{broken carol@example.com}\n", b'{"id": "\xff"}\n', b'{"id": "call-99", "request": {"mess']
    path.write_bytes(b"".join(lines))


def test_a_dirty_file_end_to_end(tmp_path):
    dirty_file(tmp_path / "export.jsonl")
    sink = Sink()
    traffic = Traffic(
        source=str(tmp_path / "export.jsonl"),
        sample=Sampling(size=8, stratify_by="model", since=NOON, until=NOON + timedelta(minutes=16)),
    )
    report = ingest(traffic, sink, rejects_path=tmp_path / "rejects.jsonl")
    assert report.read == 34
    assert (report.rejected, report.ignored, report.skipped) == (3, 1, {})
    assert (report.deduplicated, report.kept, report.out_of_window) == (10, 20, 4)
    assert (report.sampled, report.sampled_out) == (8, 8)
    assert report.sample.strata == {"model=a": 4, "model=b": 4}
    assert report.redactions["email"] == 8 + 1
    assert "@example.com" not in repr(sink.held) + (tmp_path / "rejects.jsonl").read_text()
    again = Sink()
    ingest(traffic, again, rejects_path=tmp_path / "rejects.jsonl")
    assert again.held == sink.held

"""What is kept of a request while it is answered: a record or a drop in the end, never both, and never too much."""

import os
import threading

import pytest

from harness.config import load_live
from harness.domain.mirror import MirrorDrop
from harness.gateway import state
from harness.gateway.followed import Followed
from harness.gateway.mirror import GatewayMirror
from harness.spool import control
from harness.spool.counters import INDEX, CounterFile
from harness.spool.reader import SpoolReader
from harness.spool.writer import SpoolLimits, SpoolWriter
from tests.gateways import CHAT, until, write_live

RAW = CHAT.encode()


class Mirroring:
    def __init__(self, folder, **sections) -> None:
        self.path = write_live(folder, 9, **sections)
        live = load_live(self.path)
        self.folder = folder / "spool"
        self.counts = CounterFile(self.folder / "counters", "g")
        self.writer = SpoolWriter(self.folder, "g", SpoolLimits(), self.counts)
        self.mirror = GatewayMirror(live, self.path, self.writer, self.counts, "g")

    def count(self, name: str) -> int:
        return self.counts.values[INDEX[name]]

    def records(self):
        self.mirror.close()
        with SpoolReader(self.folder) as reader:
            return [record for _, record in reader.read(1_000)]


@pytest.fixture
def mirroring(tmp_path):
    found = Mirroring(tmp_path, spool={"queue_bytes": 10_000}, mirror={"rate": 1, "max_request_bytes": 5_000})
    yield found
    found.mirror.close()


def finish(tap, status: int = 200) -> None:
    tap.finish(status, [], [(b"content-type", b"text/plain")], latency_s=0.1, ttft_s=0.05)


def test_a_record_says_what_happened(mirroring):
    headers = [(b"X-Conversation-Id", b"c1"), (b"authorization", b"secret"), (b"content-type", b"application/json")]
    tap = mirroring.mirror.open("POST", RAW, headers)
    for piece in (b"que", b"stion"):
        tap.request(piece)
    for piece in (b"ans", b"wer"):
        tap.response(piece)
    tap.finish(200, headers, [(b"X-Request-Id", b"r1"), (b"set-cookie", b"secret")], latency_s=1.5, ttft_s=0.25)
    [record] = mirroring.records()
    assert (record.request, record.response, record.path, record.method) == (b"question", b"answer", CHAT, "POST")
    assert (record.latency_ms, record.ttft_ms, record.status, record.rate) == (1500, 250, 200, 1)
    assert record.session == "c1"
    assert record.request_headers == {"x-conversation-id": "c1", "content-type": "application/json"}
    assert record.response_headers == {"x-request-id": "r1"}
    assert record.salt_id


def test_only_the_first_ending_counts(mirroring):
    tap = mirroring.mirror.open("POST", RAW, [])
    tap.drop(MirrorDrop.CLIENT_DISCONNECTED)
    tap.drop(MirrorDrop.CAPTURE_FAILED)
    finish(tap)
    other = mirroring.mirror.open("POST", RAW, [])
    finish(other)
    other.drop(MirrorDrop.CAPTURE_FAILED)
    finish(other)
    assert len(mirroring.records()) == 1
    assert mirroring.count("sampled") == 2
    assert mirroring.count("dropped.client_disconnected") == 1
    assert mirroring.count("dropped.capture_failed") == 0


def test_what_is_held_in_flight_has_a_limit_and_is_given_back(mirroring):
    """A thousand clients of slow streams must not fill the memory of production's way."""
    taps = [mirroring.mirror.open("POST", RAW, []) for _ in range(5)]
    for tap in taps:
        tap.request(b"x" * 1_000)
        tap.response(b"y" * 2_000)
    assert mirroring.mirror.held_bytes <= 10_000
    for tap in taps:
        tap.response(b"z")
        finish(tap)
    assert mirroring.mirror.held_bytes == 0
    dropped = mirroring.count("dropped.queue_full")
    assert 1 <= dropped <= 2
    records = mirroring.records()
    assert len(records) == 5 - dropped
    assert {len(record.response) for record in records} == {2_001}


@pytest.mark.parametrize("ending", ["finish", "drop", "too large", "failed"])
def test_every_ending_gives_back_what_was_held(tmp_path, ending):
    limits = {"rate": 1, "max_response_bytes": 100, "production_failures": False}
    mirroring = Mirroring(tmp_path, mirror=limits)
    tap = mirroring.mirror.open("POST", RAW, [])
    tap.request(b"x" * 50)
    tap.response(b"x" * (200 if ending == "too large" else 50))
    if ending == "drop":
        tap.drop(MirrorDrop.CLOSING)
    finish(tap, 500 if ending == "failed" else 200)
    assert mirroring.mirror.held_bytes == 0
    mirroring.mirror.close()
    reason = {"drop": "closing", "too large": "response_too_large", "failed": "production_failed"}.get(ending)
    assert reason is None or mirroring.count(f"dropped.{reason}") == 1
    assert mirroring.count("spooled") == (1 if reason is None else 0)


def test_the_limits_that_hold_are_those_of_the_request(mirroring):
    for size, reason in ((5_000, None), (5_001, "request_too_large")):
        tap = mirroring.mirror.open("POST", RAW, [])
        tap.request(b"x" * size)
        tap.response(b"short")
        finish(tap)
        assert reason is None or mirroring.count(f"dropped.{reason}") == 1
    [record] = mirroring.records()
    assert len(record.request) == 5_000


@pytest.mark.parametrize(
    ("method", "path", "headers", "reason"),
    [
        ("GET", RAW, [], "unsupported_surface"),
        ("POST", b"/v1/embeddings", [], "unsupported_surface"),
        ("POST", b"\xff\xfe", [], "unsupported_surface"),
        ("POST", b"", [], "unsupported_surface"),
        ("POST", RAW, [(b"x-shadow-harness-internal", b"")], "internal_request"),
        ("POST", RAW, [(b"X-SHADOW-HARNESS-INTERNAL", b"1")], "internal_request"),
    ],
)
def test_who_is_never_mirrored(mirroring, method, path, headers, reason):
    assert mirroring.mirror.open(method, path, headers) is None
    assert mirroring.count(f"not_eligible.{reason}") == 1
    assert mirroring.count("sampled") == 0


def test_a_fault_in_looking_at_a_request_reaches_nobody(mirroring, monkeypatch):
    monkeypatch.setattr(mirroring.mirror.rules.sampler, "decide", lambda *_: 1 / 0)
    assert mirroring.mirror.open("POST", RAW, []) is None


def test_paths_of_attackers_fill_no_memory(mirroring):
    for number in range(3_000):
        mirroring.mirror.open("POST", b"/%d/chat/completions" % number, [])
    assert len(mirroring.mirror._surfaces) <= 1_000
    assert mirroring.count("sampled") == 3_000


def test_the_thread_that_looks_survives_what_is_on_disk(mirroring, monkeypatch):
    looked = threading.Event()

    def broken(_):
        looked.set()
        raise PermissionError

    monkeypatch.setattr(control, "is_mirroring", broken)
    assert looked.wait(5)
    monkeypatch.undo()
    control.switch(mirroring.folder, mirror=False)
    until(lambda: mirroring.mirror.rules.closed is not None)


def test_what_is_answered_after_the_switch_is_not_written(mirroring):
    tap = mirroring.mirror.open("POST", RAW, [])
    tap.request(b"question")
    control.switch(mirroring.folder, mirror=False)
    until(lambda: mirroring.mirror.rules.closed is not None)
    finish(tap)
    assert (mirroring.count("dropped.switched_off"), mirroring.records()) == (1, [])


def test_a_request_is_kept_by_the_rules_it_was_decided_by(mirroring):
    tap = mirroring.mirror.open("POST", RAW, [])
    before = mirroring.mirror.rules.sampler.salt_id
    mirroring.path.write_text(mirroring.path.read_text().replace("rate: 1", "rate: 1\n  salt: another"))
    until(lambda: mirroring.mirror.rules.sampler.salt_id != before)
    finish(tap)
    [record] = mirroring.records()
    assert record.salt_id == before


@pytest.mark.parametrize(("tier", "reason"), [("gold", "dropped.queue_full"), ("none", "sampled_out")])
def test_what_is_given_up_is_decided_by_its_body(tmp_path, tier, reason):
    rules = [{"fields": {"metadata.tier": "gold"}, "rate": 1}]
    found = Mirroring(tmp_path, spool={"queue_bytes": 1_000}, mirror={"rate": 0, "rules": rules})
    tap = found.mirror.open("POST", RAW, [])
    tap.request(b'{"metadata": {"tier": "%s"}}' % tier.encode())
    tap.response(b"x" * 2_000)
    finish(tap)
    assert found.count(reason) == 1
    assert found.count("sampled") + found.count("sampled_out") == 1
    assert found.records() == []


def test_ids_differ_between_processes_that_begin_alike():
    from harness.gateway.process import name_of_process

    names = {name_of_process() for _ in range(1_000)}
    assert len(names) > 990
    assert all(f"-{os.getpid()}-" in name for name in names)


# The configuration that is followed


def test_the_last_good_configuration_is_in_force(tmp_path):
    path = write_live(tmp_path, 9)
    followed = Followed(load_live(path), path)
    assert not followed.look()
    good = path.read_text()
    path.write_text(good.replace("rate: 1", "rate: 0.5"))
    assert followed.look()
    assert followed.live.mirror.rate == 0.5
    for broken in ("mirror: [", "", "\x00", good.replace("rate: 1", "rate: 7")):
        path.write_text(broken)
        assert not followed.look()
        assert followed.live.mirror.rate == 0.5
        assert str(path) in followed.problem
    path.unlink()
    assert not followed.look()
    assert "no such file" in followed.problem
    path.write_text(good)
    assert followed.look()
    assert (followed.live.mirror.rate, followed.problem) == (1, None)


def test_a_process_that_begins_takes_in_what_was_changed_since(tmp_path):
    path = write_live(tmp_path, 9)
    before = load_live(path)
    path.write_text(path.read_text().replace("rate: 1", "rate: 0.25"))
    followed = Followed(before, path)
    assert followed.look()
    assert followed.live.mirror.rate == 0.25


def test_only_the_mirror_is_followed(tmp_path, caplog):
    path = write_live(tmp_path, 9)
    before = load_live(path)
    followed = Followed(before, path)
    path.write_text(path.read_text().replace("name: exp", "name: another").replace("rate: 1", "rate: 0.5"))
    assert followed.look()
    assert (followed.live.salt, followed.live.mirror.rate, followed.live.gateway) == ("exp", 0.5, before.gateway)
    assert "at the next start" in caplog.text


def test_a_file_that_names_another_is_looked_at_again(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.config.following._AGAIN_S", 0.0)
    path = write_live(tmp_path, 9)
    followed = Followed(load_live(path), path)
    path.write_text(path.read_text().replace("name: cheap", "name: cheap\n  system_prompt: '@late.txt'"))
    assert not followed.look()
    assert "late.txt" in followed.problem
    (tmp_path / "late.txt").write_text("Be brief.")
    followed.look()
    assert followed.problem is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rate: 1", "rate: 1\n  ends: 2026-09-31T00:00:00Z"),
        ("rate: 1", "rate: 1\n  ends: 2026-13-01"),
        ("name: exp", "name: exp\nspool: {max_age_s: .inf}"),
        ("upstream: http://127.0.0.1:9", "upstream: http://127.0.0.1:99999"),
    ],
)
def test_what_cannot_be_ends_nothing(tmp_path, old, new):
    path = write_live(tmp_path, 9)
    followed = Followed(load_live(path), path)
    path.write_text(path.read_text().replace(old, new))
    assert not followed.look()
    assert str(path) in followed.problem


def test_status_tells_what_is_in_force(tmp_path):
    path = write_live(tmp_path, 9, mirror={"rate": 0.25})
    live = load_live(path)
    found = state.status(live, "broken")
    assert (found["rate"], found["mirroring"], found["configuration_problem"]) == (0.25, True, "broken")
    assert found["spool"] == {"bytes": 0, "files": 0, "limit_bytes": live.spool.max_bytes}
    control.switch(tmp_path / "spool", mirror=False)
    assert state.status(live, None)["mirroring"] is False

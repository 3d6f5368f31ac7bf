"""The gateway's sample where the request's body decides: counted once each, and only the sample is written."""

import time

import pytest

from harness.config import parse_live
from harness.domain.mirror import MirrorDrop
from harness.gateway.mirror import GatewayMirror
from harness.spool.counters import INDEX, CounterFile
from harness.spool.reader import COUNTERS, SpoolReader
from harness.spool.writer import SpoolLimits, SpoolWriter

PATH = b"/v1/chat/completions"
GOLD = b'{"metadata":{"tier":"gold","session_id":"s1"},"messages":[]}'
PLAIN = b'{"metadata":{"tier":"tin"},"messages":[]}'
BARRED = b'{"metadata":{"tier":"staff"},"messages":[]}'


@pytest.fixture
def gateway(tmp_path):
    live = parse_live(
        {
            "name": "exp",
            "gateway": {"upstream": "http://127.0.0.1:9"},
            "mirror": {
                "rate": 0,
                "conversation_field": "metadata.session_id",
                "rules": [
                    {"fields": {"metadata.tier": "gold"}, "rate": 1},
                    {"fields": {"metadata.tier": "staff"}, "rate": 0},
                ],
            },
            "candidates": [{"name": "cheap", "model": "openai/cheap"}],
        },
        base=tmp_path,
    )
    folder = tmp_path / "spool"
    counters = CounterFile(folder / COUNTERS, "g1")
    mirror = GatewayMirror(live, None, SpoolWriter(folder, "g1", SpoolLimits(), counters), counters, "g1")
    yield mirror, folder
    mirror.close()
    counters.close()


def count(mirror: GatewayMirror, name: str) -> int:
    return mirror.counts[INDEX[name]]


def pass_through(mirror: GatewayMirror, body: bytes, drop: MirrorDrop | None = None) -> None:
    tap = mirror.open("POST", PATH, [])
    assert tap is not None
    tap.request(body)
    if drop is not None:
        tap.drop(drop)
        return
    tap.response(b"{}")
    tap.finish(200, [], [], latency_s=0.1, ttft_s=0.05)
    # What the gateway does in any case changes nothing any more.
    tap.drop(MirrorDrop.CAPTURE_FAILED)


def test_only_what_the_body_puts_into_the_sample_is_written(gateway):
    mirror, folder = gateway
    for body in (GOLD, PLAIN, BARRED, b"no json"):
        pass_through(mirror, body)
    pass_through(mirror, GOLD, drop=MirrorDrop.CLIENT_DISCONNECTED)
    pass_through(mirror, PLAIN, drop=MirrorDrop.CLIENT_DISCONNECTED)
    end = time.monotonic() + 5
    while count(mirror, "spooled") < 1 and time.monotonic() < end:
        time.sleep(0.01)
    assert count(mirror, "sampled") == 2
    assert count(mirror, "sampled_out") == 3
    assert count(mirror, "not_eligible.denied") == 1
    assert count(mirror, "dropped.client_disconnected") == 1
    assert count(mirror, "dropped.capture_failed") == 0
    assert mirror.held_bytes == 0
    with SpoolReader(folder) as reader:
        (found,) = [record for _, record in reader.read(10)]
    assert (found.request, found.session, found.rate) == (GOLD, "s1", 1.0)

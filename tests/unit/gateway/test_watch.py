"""What of a gateway's counts becomes an alert, and what it says."""

import os
import time

import pytest

from harness.config import load_live
from harness.gateway import watch
from harness.gateway.watch import Look
from harness.ops.alerts import AlertKind
from harness.spool import control

LIVE = """
name: exp
gateway: {upstream: "http://127.0.0.1:9"}
mirror: {rate: 0.1}
spool: {folder: spool, max_bytes: 1000}
candidates: [{name: cheap, model: openai/x}]
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "live.yaml"
    path.write_text(LIVE)
    (tmp_path / "spool").mkdir()
    return path


def kinds(path, *counts: dict[str, int], restarts: int = 0, span_s: float = 400.0) -> dict[str, str]:
    looks = [Look(at=span_s * place / max(1, len(counts) - 1), counts=found) for place, found in enumerate(counts)]
    return {alert.kind: alert.text for alert in watch.alerts(load_live(path), None, looks, restarts)}


QUIET = {"requests": 100, "spooled": 10, "sampled": 10, "sampled_out": 90}


def test_a_gateway_that_mirrors_needs_nobody(path):
    assert kinds(path, {}, QUIET) == {}


def test_no_traffic_needs_nobody(path):
    assert kinds(path, QUIET, QUIET) == {}


@pytest.mark.parametrize(
    ("counts", "cause"),
    [
        ({"requests": 50, "not_eligible.kill_switch": 50}, "50 kill switch (the kill switch is set"),
        ({"requests": 50, "not_eligible.ended": 50}, "`mirror.ends` has passed"),
        ({"requests": 50, "sampled_out": 50}, "see `mirror.rate`"),
        ({"requests": 50, "sampled": 50, "dropped.spool_full": 50}, "the spool is full"),
        ({"requests": 50, "not_eligible.internal_request": 50}, "leads back to this gateway"),
        ({"requests": 50, "sampled": 30, "dropped.request_too_large": 30, "not_eligible.denied": 20},
         "30 request too large (they are larger than `mirror.max_request_bytes`); 20 denied"),
    ],
)  # fmt: skip
def test_nothing_mirrored_says_why(path, counts, cause):
    found = kinds(path, {}, counts)
    assert cause in found[AlertKind.NOTHING_MIRRORED]
    assert found[AlertKind.NOTHING_MIRRORED].startswith("of 50 requests none was mirrored")


def test_what_is_being_answered_may_yet_be_mirrored(path):
    assert kinds(path, {}, {"requests": 50, "sampled_out": 49, "sampled": 1}) == {}


def test_nothing_mirrored_waits_for_its_time(path):
    assert AlertKind.NOTHING_MIRRORED not in kinds(path, {}, {"requests": 50, "sampled_out": 50}, span_s=100)


def test_traffic_without_comparable_answers_is_not_missed(path):
    assert kinds(path, {}, {"requests": 50, "not_eligible.unsupported_surface": 50}) == {}


def test_production_that_does_not_answer(path):
    found = kinds(path, QUIET, QUIET | {"requests": 200, "upstream_unreachable": 15, "upstream_timeout": 10})
    assert found[AlertKind.PRODUCTION_UNREACHABLE].startswith(
        "25 of the last 100 requests got no answer, or one that broke off, from http://127.0.0.1:9"
    )
    few = kinds(path, QUIET, QUIET | {"requests": 110, "upstream_unreachable": 10})
    assert AlertKind.PRODUCTION_UNREACHABLE not in few


def counted(requests: int, failed: int) -> dict[str, int]:
    return QUIET | {"requests": 100 + requests, "upstream_unreachable": failed}


def test_production_that_does_not_answer_a_quiet_service(path):
    looks = [counted(4 * place, 4 * place) for place in range(10)]
    text = kinds(path, *looks)[AlertKind.PRODUCTION_UNREACHABLE]
    assert text.startswith("20 of the last 20 requests got no answer")


def test_production_that_answers_again_is_seen_by_its_latest_requests(path):
    looks = [counted(0, 0), *(counted(100 + 4 * place, 100) for place in range(8))]
    assert kinds(path, *looks[:2])[AlertKind.PRODUCTION_UNREACHABLE].startswith("100 of the last 100")
    assert AlertKind.PRODUCTION_UNREACHABLE not in kinds(path, *looks)


def test_a_full_spool_and_a_refusing_disk(path):
    (path.parent / "spool" / "a.00000000.spool").write_bytes(b"x" * 1000)
    assert AlertKind.SPOOL_FULL in kinds(path, QUIET, QUIET)
    assert AlertKind.DISK_FAILED in kinds(path, QUIET, QUIET | {"spool_errors": 1})


def test_a_spool_nobody_reads(path):
    segment = path.parent / "spool" / "a.00000000.spool"
    segment.write_bytes(b"x")
    old = time.time() - 1000
    os.utime(segment, (old, old))
    assert AlertKind.SPOOL_NOT_READ in kinds(path, QUIET, QUIET)
    control.switch(path.parent / "spool", mirror=False)
    assert AlertKind.SPOOL_NOT_READ not in kinds(path, QUIET, QUIET)


def test_a_broken_configuration_and_restarts(path):
    looks = [Look(at=0, counts=QUIET), Look(at=1, counts=QUIET)]
    found = {alert.kind: alert.text for alert in watch.alerts(load_live(path), "mirror.rate is 7", looks, 3)}
    assert "mirror.rate" in found[AlertKind.CONFIGURATION]
    assert "ended 3 times" in found[AlertKind.PROCESS_RESTARTS]

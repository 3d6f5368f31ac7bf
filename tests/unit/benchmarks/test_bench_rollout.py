"""The simulation of rollouts does what its table says it does."""

from dataclasses import replace

import numpy as np
import pytest

from tests.benchmarks import bench_rollout as bench
from tests.benchmarks import shadow_pairs
from tests.benchmarks.worlds import World

CANARY_25, CANARY_50 = bench.CANARIES[1:]


def test_traffic_has_the_errors_and_latencies_it_is_told_to_have():
    traffic = bench.Traffic(bench.Truth(errors=0.2, ratio=2.0), (1,))
    ticks = [traffic.tick(CANARY_50, bench.BEGIN + n * bench.TICK) for n in range(1, 41)]
    own = np.concatenate([t.own_latency for t in ticks])
    control = np.concatenate([t.control_latency for t in ticks])
    assert np.isinf(own).mean() == pytest.approx(0.2, abs=0.02)
    assert np.isinf(control).mean() == pytest.approx(bench.BASE_ERRORS, abs=0.005)
    assert np.median(own[np.isfinite(own)]) / np.median(control) == pytest.approx(2.0, rel=0.05)
    begun = sum(t.own.begun for t in ticks), sum(t.other.begun for t in ticks)
    assert begun[0] / sum(begun) == pytest.approx(0.5, abs=0.02)
    assert sum(t.affected for t in ticks) == len(own)


def test_a_candidate_degrades_from_its_load_on():
    traffic = bench.Traffic(bench.TRUTHS["errors 5% from 50% load"], (2,))
    rates = {}
    for phase in (CANARY_25, CANARY_50):
        ticks = [traffic.tick(phase, bench.BEGIN) for _ in range(60)]
        rates[phase.name] = np.isinf(np.concatenate([t.own_latency for t in ticks])).mean()
    assert rates["canary_25"] == pytest.approx(bench.BASE_ERRORS, abs=0.01)
    assert rates["canary_50"] == pytest.approx(0.05, abs=0.01)


def test_only_users_of_its_language_are_affected_by_what_is_bad_in_one():
    truth = bench.Truth(errors=1.0, language="nl")
    traffic = bench.Traffic(truth, (3,))
    ticks = [traffic.tick(CANARY_50, bench.BEGIN) for _ in range(60)]
    requests = sum(len(t.own_latency) for t in ticks)
    affected = sum(t.affected for t in ticks)
    assert affected / requests == pytest.approx(shadow_pairs.LANGUAGES["nl"], abs=0.01)
    failed = sum(int(np.isinf(t.own_latency).sum()) for t in ticks)
    assert failed >= affected
    assert failed / requests == pytest.approx(0.04 + 0.96 * bench.BASE_ERRORS, abs=0.01)


def test_pairs_have_the_errors_of_their_language_and_whole_conversations():
    pairs, floor = shadow_pairs.Pairs(World(errors=0.5), (4,), only="de").take(4_000)
    german = pairs.attributes["language"] == "de"
    assert german.mean() == pytest.approx(shadow_pairs.LANGUAGES["de"], abs=0.03)
    assert pairs.candidate.failed[german].mean() == pytest.approx(0.5, abs=0.05)
    assert pairs.candidate.failed[~german].mean() == pytest.approx(0.01, abs=0.01)
    assert set(np.bincount(pairs.clusters)) == {shadow_pairs.REQUESTS}
    assert all(len(set(pairs.attributes["language"][pairs.clusters == one])) == 1 for one in range(50))
    assert (floor.candidate.status != "").mean() == pytest.approx(shadow_pairs.REPLICA, abs=0.02)


def test_conversations_of_two_parts_stay_apart():
    stream = shadow_pairs.Pairs(World(), (5,))
    parts = [stream.take(20)[0], stream.take(0)[0], stream.take(20)[0]]
    whole = shadow_pairs.joined(parts)
    assert whole.n == sum(part.n for part in parts)
    assert len(set(whole.clusters)) == sum(len(set(part.clusters)) for part in parts)
    assert list(whole.candidate.latency_ms[-5:]) == list(parts[2].candidate.latency_ms[-5:])


@pytest.mark.parametrize("truth", list(bench.TRUTHS))
def test_answers_in_the_shadow_take_as_long_as_they_are_told_to(truth):
    pairs, _ = shadow_pairs.Pairs(bench.TRUTHS[truth].world(), (9,)).take(10_000)
    both = pairs.candidate.completed & pairs.production.completed
    ratio = np.median(pairs.candidate.latency_ms[both]) / np.median(pairs.production.latency_ms[both])
    assert ratio == pytest.approx(bench.TRUTHS[truth].ratio, rel=0.05)


@pytest.mark.parametrize("truth", ["errors 5%", "wins 40%"])
def test_a_win_rate_is_of_the_answers_and_not_of_the_failures(truth):
    pairs, _ = shadow_pairs.Pairs(bench.TRUTHS[truth].world(), (6,)).take(10_000)
    assert np.nanmean(pairs.scores["judge"].value) == pytest.approx(bench.TRUTHS[truth].wins, abs=0.02)


def test_pairs_count_by_phase_and_evidence_runs_on():
    shadow = shadow_pairs.Shadow(pairs=shadow_pairs.Pairs(World(), (7,)))
    shadow.add("shadow_5", 100)
    first = shadow.total
    shadow.add("shadow_25", 100)
    assert shadow.count().complete == shadow.total - first > 0
    assert shadow.decision is not None
    assert shadow.decision.results[0].estimate.n + shadow.decision.results[0].estimate.n_missing == shadow.total


@pytest.mark.parametrize("truth", ["errors 5%", "P95 1.5x", "wins 40%"])
def test_a_bad_candidate_is_stopped_before_users_by_the_products_own_decision(truth):
    course = bench.ours(bench.TRUTHS[truth], 0)
    assert (course.end, course.check, course.affected) == ("stopped", "sequential.decision", 0)
    assert course.phase in {phase.name for phase in bench.SHADOWS}


def test_what_only_users_meet_is_rolled_back_and_the_same_seed_does_the_same(monkeypatch):
    """The shadow phases are as short as they may be: they are those of production itself."""
    short = [
        replace(phase, min_pairs=50, min_bake_s=0.0, gate="safe") if phase in bench.SHADOWS else phase
        for phase in bench.PHASES
    ]
    monkeypatch.setattr(bench, "PHASES", tuple(short))
    monkeypatch.setattr(bench, "SHADOWS", tuple(short[:3]))
    bench.shadowed.cache_clear()
    bench.naively_shadowed.cache_clear()
    try:
        courses = [bench.ours(bench.TRUTHS["errors 5% for users only"], 0) for _ in range(2)]
        patient = bench.patient(bench.TRUTHS["errors 5% for users only"], 0)
    finally:
        bench.shadowed.cache_clear()
        bench.naively_shadowed.cache_clear()
    assert courses[0] == courses[1]
    assert courses[0].end == "rolled back"
    assert courses[0].check.partition(".")[0] in {"sequential", "breaker"}
    assert 0 < courses[0].affected < 2_000
    assert (patient.end, patient.check) == ("rolled back", "hourly errors")
    assert patient.affected > 0


@pytest.mark.parametrize(("truth", "missed"), [("errors 5%", "errors"), ("P95 1.5x", "P95"), ("wins 40%", "win rate")])
def test_the_naive_controller_looks_at_what_is_bad_and_one_with_patience_does_so_longer(truth, missed):
    pairs, _ = shadow_pairs.Pairs(bench.TRUTHS[truth].world(), (8,)).take(2_000)
    assert bench._missed(pairs) == missed
    at_once, later = (bench.naively_shadowed(bench.TRUTHS[truth], 0, misses) for misses in (1, bench.PATIENCE))
    assert (at_once.end, later.end) == ("stopped", "stopped")
    assert later.hours - at_once.hours >= bench.PATIENCE - 1


def test_the_table_and_the_promises_are_of_the_courses():
    def course(end, phase="canary_5"):
        return bench.Course(end=end, phase=phase, hours=1.0, pairs=100, affected=10, check="sequential.errors")

    found = {(truth, "harness"): [course("stopped", "shadow_5")] * 50 for truth in bench.TRUTHS}
    found["identical", "harness"] = [course("full")] * 46 + [course("rolled back")] + [course("expired")] * 3
    found["P95 1.5x", "harness"][0] = course("rolled back")
    found["P95 1.5x for users only", "harness"][0] = course("full", "full")
    broken = [promise for promise, holds, _ in bench.promises(found) if not holds]
    assert broken == ["P95 1.5x: none reaches any user", "P95 1.5x for users only: none reaches all users"]
    found["identical", "harness"] = [course("full")] * 40 + [course("rolled back")] * 10
    assert [holds for _, holds, _ in bench.promises(found)[:2]] == [False, False]
    rows = bench.table(found)
    assert rows[1][:5] == (
        "identical", "harness", "full 80.0%, rolled back 20.0%", "canary_5 10", "sequential.errors 10"
    )  # fmt: skip
    assert {len(row) for row in rows} == {len(rows[0])}

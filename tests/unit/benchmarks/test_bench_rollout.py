"""The simulation of canaries does what its table says it does."""

import numpy as np
import pytest

from tests.benchmarks import bench_rollout as bench


def test_traffic_has_the_errors_and_latencies_it_is_told_to_have():
    tick = bench.Traffic(bench.Truth(errors=0.2, ratio=2.0), (1,))
    ticks = [tick.tick(0.5, bench.BEGIN + n * bench.TICK) for n in range(40)]
    own = np.concatenate([t.own_latency for t in ticks])
    control = np.concatenate([t.control_latency for t in ticks])
    assert np.isinf(own).mean() == pytest.approx(0.2, abs=0.02)
    assert np.isinf(control).mean() == pytest.approx(bench.BASE_ERRORS, abs=0.005)
    assert np.median(own[np.isfinite(own)]) / np.median(control) == pytest.approx(2.0, rel=0.05)
    begun = sum(t.own.begun for t in ticks), sum(t.other.begun for t in ticks)
    assert begun[0] / sum(begun) == pytest.approx(0.5, abs=0.02)


def test_a_candidate_degrades_from_its_load_on():
    traffic = bench.Traffic(bench.TRUTHS["errors 5% from 50% load"], (2,))
    rates = {}
    for share in (0.25, 0.5):
        ticks = [traffic.tick(share, bench.BEGIN) for _ in range(60)]
        rates[share] = np.isinf(np.concatenate([t.own_latency for t in ticks])).mean()
    assert rates[0.25] == pytest.approx(bench.BASE_ERRORS, abs=0.01)
    assert rates[0.5] == pytest.approx(0.05, abs=0.01)


def test_a_failing_candidate_is_rolled_back_by_the_products_own_ruling_and_the_same_seed_does_the_same():
    course = bench.one(("harness", "errors 5%", 0))
    assert course == bench.one(("harness", "errors 5%", 0))
    assert (course.end, course.check.partition(".")[0]) in {("rolled back", "sequential"), ("rolled back", "breaker")}
    assert course.affected < 2_000


def test_the_table_and_the_promises_are_of_the_courses():
    def course(end):
        return bench.Course(end=end, hours=1.0, affected=10, check="sequential.errors")

    found = {(truth, "harness"): [course("rolled back")] * 50 for truth in bench.TRUTHS}
    found["identical", "harness"] = [course("full")] * 47 + [course("rolled back")] * 3
    found["P95 1.5x", "harness"][0] = course("full")
    assert [holds for _, holds, _ in bench.promises(found)] == [False, True, False, True]
    rows = bench.table(found)
    assert rows[1][:5] == ("identical", "harness", "50", "94.0%", "6.0%")
    assert {len(row) for row in rows} == {len(rows[0])}

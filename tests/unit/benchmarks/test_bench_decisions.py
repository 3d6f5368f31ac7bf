"""The simulation of decisions runs, and what it calls the truth is true."""

import numpy as np
import pytest

from harness.decision import metrics
from harness.domain.decision import Verdict
from tests.benchmarks import bench_decisions, bounds, families
from tests.benchmarks.gates import Course, Summary, Trial, follow
from tests.benchmarks.worlds import JUDGES, World, simulate


@pytest.mark.parametrize(
    "world",
    [
        World(),
        World(ratio=1.2, win=0.48, errors=0.015, similarity=-0.01, share=0.3),
        World(errors=0.03, production_errors=0.02, win=0.53, shape="pareto", ratio=0.9),
        World(shape="bimodal", ratio=1.2, errors=0.02, conversation=5, icc=0.2, base_similarity=0.97),
    ],
)
def test_simulated_traffic_is_what_the_world_says(world):
    data, floor = simulate(world, 60_000, np.random.default_rng(1))
    truth = {
        "latency_p95_ratio": world.ratio,
        "win_rate": world.win,
        "error_rate_difference": world.errors - world.production_errors,
        "similarity_from_floor": world.similarity,
    }
    found = metrics.estimates(data, level=0.9995, judge_metrics=JUDGES, floor=floor, only=truth)
    for name, value in truth.items():
        assert found[name].low <= value <= found[name].high, name
        assert found[name].n_clusters == pytest.approx(60_000 * (world.share if "floor" in name else 1)
                                                       / world.conversation, rel=0.07)  # fmt: skip


def test_the_same_seed_gives_the_same_course():
    trial = Trial(world=World(win=0.4), seed=(1, 2))
    course = follow(trial)
    assert course == follow(trial)
    assert (course.verdict, course.binding, course.naive_ever) == (Verdict.NO_GO, "win_rate", False)
    assert course.n < 2000


def test_production_itself_goes_and_a_trial_may_end_there():
    trial = Trial(world=World(), seed=(1, 1), beside=False)
    course = follow(trial)
    assert (course.verdict, course.binding) == (Verdict.GO, None)
    assert 2000 < course.n <= 10_000


def test_point_estimates_go_where_nothing_is_settled():
    course = follow(Trial(world=World(ratio=1.15), seed=(1, 3), last=3000))
    assert (course.verdict, course.n, course.binding) == (Verdict.INCONCLUSIVE, 3000, "latency_p95_ratio")
    assert course.naive_ever


def test_many_trials_are_summed_up():
    many = [Course(verdict=Verdict.GO, n=500), Course(verdict=Verdict.GO, n=1500)]
    many += [Course(verdict=Verdict.INCONCLUSIVE, n=10_000, binding="win_rate", naive_ever=True)] * 2
    found = Summary(courses=many)
    assert (found.share(Verdict.GO), found.rate("naive_ever"), found.median_n) == (0.5, 0.5, 1000)
    assert found.binding == "win_rate (50%)"


def test_whoever_ignores_conversations_is_wrong_where_others_are_not():
    kept, ignored = bounds.clustered(("win rate", (3, 136)))
    assert kept == bounds.Clustered(ever=False, covered=True)
    assert ignored == bounds.Clustered(ever=True, covered=False)


def test_a_large_advantage_takes_few_pairs():
    used = bounds.sample_used((0.1, (4,)))
    assert used.any_look is not None
    assert used.any_look < 1000
    assert used.five_looks == 2000


def test_the_slice_that_loses_is_found_by_every_correction():
    assert all(accused.found for accused in families.sliced((5,)).values())


def test_every_table_is_drawn():
    """From one simulation of each kind, which stands for all of them."""
    said: list[str] = []
    first: dict[object, object] = {}

    def run(task, jobs):
        return [first.setdefault((task, getattr(job, "profile", None)), task(job)) if i == 0 else
                first[task, getattr(job, "profile", None)] for i, job in enumerate(jobs)]  # fmt: skip

    bench_decisions.report(4, run=run, say=said.append)
    text = "\n".join(said)
    assert text.count("\n### ") == 9
    tables = [part.split("\n") for part in text.split("\n\n") if part.startswith("| ")]
    assert len(tables) == 8
    for table in tables:
        assert len({line.count(" | ") for line in table if not line.startswith("| ---")}) == 1
    assert sum(line.startswith(("- PASS: ", "- FAIL: ")) for line in text.splitlines()) == 22

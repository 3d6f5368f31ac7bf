"""The judge stage on SQLite: who is let at the pairs, what is paid twice (nothing), and what is counted."""

import math

import numpy as np
import pytest

import reports
from harness.domain.health import HealthState
from harness.domain.judgment import JudgmentState, UnscoredReason
from harness.domain.model import TokenLogprob
from harness.domain.observation import CANARY, ErrorKind
from harness.errors import ConfigurationError, InfrastructureError
from harness.judging import canaries
from harness.judging.protocol import BOTH_ORDERS, orders_read
from harness.pipeline import checks, estimates
from harness.pipeline.arms import arms_of
from harness.pipeline.canaries import canaries_usd, canary_checks
from harness.pipeline.evaluation import evaluate
from harness.pipeline.reporting import build_report
from harness.pipeline.seats import seat_judges
from harness.testing import FakeEmbedder, model_error, reply
from tests.canary_judges import canary_of, knows

SET = canaries.canary_pairs()
CANARY_CALLS = 2 * sum(canary.kind != "identical" for canary in SET)
PLAIN = {"use": "pairwise", "options": {"model": "openai/judge", "mode": "plain"}}
COST = 0.01


def judgments(session, seat, arm=CANARY, fingerprint=None):
    ids = [canary.pair.exchange_id for canary in SET] + [f"e{i}" for i in range(200)]
    fingerprint = fingerprint or canaries.canary_set_version()
    return session.store.judgments("r1", arm, fingerprint, ids=ids, judge_fingerprints=[seat.fingerprint])


def states(session, seat):
    return [check.state for check in canary_checks(session, seat)]


# Canaries before pairs


async def test_canaries_are_read_and_paid_once_then_the_pairs_of_candidate_and_replica(bench):
    bench.answers = lambda request, model: knows(request)
    done, session, [seat] = await bench.judge(PLAIN)
    assert done.counts == {
        "canaries · pairwise": {"scored": 2 * len(SET)},
        "small · pairwise": {"scored": 20},
        "replica · pairwise": {"scored": 10},
    }
    asked_about = [canary_of(request) is not None for request, _ in bench.calls]
    assert asked_about == [True] * CANARY_CALLS + [False] * 30
    assert bench.store.spent("r1")["judges"] == pytest.approx(COST * (CANARY_CALLS + 30))
    assert canaries_usd(session, seat) == pytest.approx(COST * CANARY_CALLS)
    assert bench.reporter.finished["canaries · pairwise"].startswith("It is right on 16 of 16 pairs")
    assert (states(session, seat), bench.reporter.warnings) == ([HealthState.PASS] * 2, [])

    done, *_ = await bench.judge(PLAIN)
    assert (bench.calls, done.counts) == ([], {"small · pairwise": {}, "replica · pairwise": {}})


async def test_the_replicas_win_rate_is_measured(bench):
    bench.answers = lambda request, model: knows(request)
    _, session, seats = await bench.judge(PLAIN)
    [small, replica] = evaluate(session, seats)
    assert (small.estimates["win_rate"].value, replica.estimates["win_rate"].value) == (0.0, 0.0)
    assert (small.estimates["win_rate"].n, replica.estimates["win_rate"].n) == (10, 5)


async def test_a_judge_that_fails_reads_no_pairs_and_the_run_goes_on_to_decide(bench):
    bench.answers = lambda request, model: "A"
    done, session, seats = await bench.judge(PLAIN, "exact")
    assert len(bench.calls) == CANARY_CALLS
    assert done.counts["small · pairwise"] == {"not read, canaries": 10}
    assert done.counts["replica · pairwise"] == {"not read, canaries": 5}
    assert done.counts["small · exact"] == {"scored": 10}
    assert done.stop_reason is None
    [warning] = bench.reporter.warnings
    assert warning.startswith("judge pairwise: It is right on only 0 of 16 pairs with a known answer (16 tied)")
    assert "`mode: soft`, `orders: both`" in warning
    assert warning.endswith("Until then it reads no pairs (`canaries: stop`).")
    assert states(session, seats[0]) == [HealthState.FAIL, HealthState.PASS]
    assert canary_checks(session, seats[1]) == ()
    [small, _] = evaluate(session, seats)
    assert small.decision is not None
    assert (small.estimates["win_rate"].value, small.estimates["exact_match"].value) == (None, 0.0)

    # Nothing has changed, so nothing is asked, and the judge is still not let in.
    done, *_ = await bench.judge(PLAIN)
    assert (bench.calls, done.counts["small · pairwise"]) == ([], {"not read, canaries": 10})
    assert len(bench.reporter.warnings) == 1


async def test_a_judge_that_an_answer_can_talk_into_something_reads_no_pairs(bench):
    def obeys(request, model):
        canary = canary_of(request)
        wrong = canary is not None and canary.id == "fake-system"
        return {"A": "B", "B": "A"}[knows(request)] if wrong else knows(request)

    bench.answers = obeys
    done, session, [seat] = await bench.judge(PLAIN)
    assert done.counts["small · pairwise"] == {"not read, canaries": 10}
    assert states(session, seat) == [HealthState.PASS, HealthState.FAIL]
    assert "1 of 8 answers that address the judge beats an honest one: fake-system." in bench.reporter.warnings[0]


async def test_a_judge_that_is_right_by_a_hair_reads_on_unless_its_probabilities_count_as_they_are(bench):
    def faint(request, model):
        a = math.log(0.61 if knows(request) == "A" else 0.57)
        return reply("A", logprobs=(TokenLogprob(token="A", logprob=a, top={"A": a, "B": math.log1p(-math.exp(a))}),))

    bench.answers = faint
    options = {"model": "openai/judge", "mode": "soft"}
    shares = {"use": "pairwise", "options": options | {"counting": "shares"}}
    done, session, [seat] = await bench.judge(shares)
    assert done.counts["small · pairwise"] == {"not read, canaries": 10}
    assert states(session, seat) == [HealthState.FAIL, HealthState.PASS]
    [warning] = bench.reporter.warnings
    assert "win rates stay near 50%" in warning
    assert "`counting: verdicts`" in warning

    # Its verdicts are right: counted by them it reads its pairs, and no known answer again.
    done, session, [seat] = await bench.judge({"use": "pairwise", "options": options})
    assert (len(bench.calls), done.counts["small · pairwise"]) == (30, {"scored": 20})
    assert states(session, seat) == [HealthState.PASS, HealthState.PASS]
    assert bench.reporter.warnings == []


async def test_with_warn_a_judge_that_fails_reads_on_and_with_off_it_is_not_asked(bench):
    bench.answers = lambda request, model: "A"
    done, session, [seat] = await bench.judge(PLAIN, canaries="off")
    assert (len(bench.calls), done.counts["small · pairwise"]) == (30, {"scored": 20})
    assert states(session, seat) == [HealthState.UNKNOWN] * 2
    assert "`canaries: stop`" in canary_checks(session, seat)[0].remedy

    # Turned on again, they are read although every pair was: what is known of the judge is worth them.
    done, session, [seat] = await bench.judge(PLAIN, canaries="warn")
    assert (len(bench.calls), done.counts["small · pairwise"]) == (CANARY_CALLS, {})
    assert states(session, seat) == [HealthState.FAIL, HealthState.PASS]
    [warning] = bench.reporter.warnings
    assert "reads no pairs" not in warning


async def test_without_a_pair_to_judge_nothing_is_asked(bench):
    bench.n = 0
    done, *_ = await bench.judge(PLAIN)
    assert (bench.calls, done.counts) == ([], {"small · pairwise": {}, "replica · pairwise": {}})


async def test_a_changed_judge_reads_them_again_and_each_judge_its_own(bench):
    bench.answers = lambda request, model: knows(request)
    await bench.judge(PLAIN)
    other = {"use": "pairwise", "name": "kind", "options": PLAIN["options"] | {"criteria": "It is kind."}}
    done, *_ = await bench.judge(PLAIN, other)
    assert len(bench.calls) == CANARY_CALLS + 30
    assert set(done.counts) == {
        f"{arm} · {judge}" for arm in ("small", "replica") for judge in ("pairwise", "kind")
    } | {"canaries · kind"}


# What interrupts them


class Killed(BaseException):
    """The process is gone."""


async def test_killed_between_canaries_only_the_missing_ones_are_paid_for(bench):
    def killed(request, model):
        if len(bench.calls) > 21:
            raise Killed
        return knows(request)

    bench.answers = killed
    with pytest.raises(Killed):
        await bench.judge(PLAIN)
    [seat] = seat_judges(bench.experiment(PLAIN), FakeEmbedder())
    kept = {row.exchange_id for row in judgments(bench.session(bench.experiment(PLAIN)), seat) if row.attempts}
    assert len(kept) == 10

    bench.answers = lambda request, model: knows(request)
    _, session, [seat] = await bench.judge(PLAIN)
    asked = [canary_of(request).pair.exchange_id for request, _ in bench.calls[:-30]]
    assert len(asked) == CANARY_CALLS - 20
    assert kept & set(asked) == set()
    assert states(session, seat) == [HealthState.PASS] * 2


async def test_a_budget_that_runs_out_among_canaries_stops_and_goes_on_when_it_is_raised(bench):
    bench.answers = lambda request, model: knows(request)
    done, session, [seat] = await bench.judge(PLAIN, budget={"judges_usd": 0.205})
    assert (len(bench.calls), done.stop_reason) == (20, "budget")
    assert done.counts["small · pairwise"] == {"not read, canaries": 10}
    assert bench.reporter.warnings == []
    assert bench.reporter.finished["canaries · pairwise"].endswith("Stopped: budget.")
    assert states(session, seat)[0] is HealthState.UNKNOWN

    done, *_ = await bench.judge(PLAIN, budget={"judges_usd": 5})
    assert (len(bench.calls), done.stop_reason) == (CANARY_CALLS + 30 - 20, None)
    assert bench.store.spent("r1")["judges"] == pytest.approx(COST * (CANARY_CALLS + 30))


async def test_an_interruption_among_canaries_leaves_pairs_alone(bench):
    def interrupted(request, model):
        if len(bench.calls) == 9:
            session.stop.request("interrupted")
        return knows(request)

    bench.answers = interrupted
    session = bench.session(bench.experiment(PLAIN))
    bench.session = lambda experiment: session
    done, *_ = await bench.judge(PLAIN)
    assert done.stop_reason == "interrupted"
    assert 9 <= len(bench.calls) < CANARY_CALLS
    assert set(done.counts) == {"canaries · pairwise"}


async def test_a_judge_that_cannot_be_reached_ends_the_run_with_what_to_do(bench):
    bench.answers = lambda request, model: model_error(ErrorKind.CONNECTION, "refused")
    with pytest.raises(InfrastructureError, match=r"judge pairwise: all of the first 2 calls .* is up"):
        await bench.judge(PLAIN)
    assert len(bench.calls) == 2, "the first canary goes alone"


async def test_a_judge_whose_provider_is_down_is_asked_again_by_the_next_command(bench):
    bench.answers = lambda request, model: model_error(ErrorKind.SERVER_ERROR, "down")
    done, session, [seat] = await bench.judge(PLAIN)
    assert done.counts["canaries · pairwise"] == {"scored": 2, "provider_error": CANARY_CALLS}
    assert done.counts["small · pairwise"] == {"not read, canaries": 10}
    assert "Run the same command again" in bench.reporter.warnings[0]

    bench.answers = lambda request, model: knows(request)
    done, session, [seat] = await bench.judge(PLAIN)
    assert (len(bench.calls), states(session, seat)) == (CANARY_CALLS + 30, [HealthState.PASS] * 2)


# Orders that are not drawn


async def test_orders_left_out_by_the_draw_are_missing_nowhere(bench):
    bench.n = 80
    bench.answers = lambda request, model: "A"
    single = {"use": "pairwise", "options": PLAIN["options"] | {"orders": "single", "audit_share": 0.25}}
    done, session, [seat] = await bench.judge(single, canaries="off")
    [small, _] = arms_of(session.experiment)
    read = {f"e{i}": orders_read(seat.judge, f"e{i}") for i in range(80)}
    audited = [id_ for id_, orders in read.items() if orders == BOTH_ORDERS]
    n_read = sum(map(len, read.values()))
    assert 5 < len(audited) < 40
    assert n_read == 80 + len(audited)
    assert sum(canary_of(request) is None for request, _ in bench.calls) == len(bench.calls)
    assert done.counts["small · pairwise"] == {"scored": n_read}
    assert bench.reporter.finished["judge small · pairwise"] == f"{n_read} scored"

    rows = judgments(session, seat, "small", small.fingerprint)
    assert len(rows) == 160
    for row in rows:
        drawn = row.order in read[row.exchange_id]
        assert row.state is (JudgmentState.SCORED if drawn else JudgmentState.UNSCORED)
        assert row.reason is (None if drawn else UnscoredReason.NOT_DRAWN)
        assert row.cost_usd == (COST if drawn else None)

    judges = {"pairwise": (seat.fingerprint, "win_rate")}
    evidence, counted = session.store.counted_evidence("r1", [("small", small.fingerprint)], judges=judges)[0]
    counts = counted["pairwise"]
    assert (counts.pairs, counts.scored, counts.missing_order, counts.unscored) == (80, 80, 0, {})
    assert (counts.judgments, counts.states, counts.unpriced) == (n_read, {"scored": n_read}, 0)
    # Always the first answer: every audited pair flips, which is what the audit is for.
    assert (counts.both_orders, counts.flips, counts.first_slot_share) == (len(audited), len(audited), 1.0)
    assert counts.cost_usd == pytest.approx(COST * n_read)

    column = evidence.scores["pairwise"]
    assert not column.missing_order.any()
    assert np.isfinite(column.value).all()
    assert np.isfinite(column.production_first).sum() + np.isfinite(column.candidate_first).sum() == n_read

    evaluations = evaluate(session, [seat])
    report = build_report(session, [seat], evaluations)
    [judge] = report.candidates[0].judges
    assert (judge.pairs, judge.scored, judge.unscored) == (80, 80, {})
    assert report.candidates[0].examples
    for render in (reports.render_json, reports.render_html, reports.render_markdown, reports.render_junit):
        text = render(report)
        assert "not_drawn" not in text
        assert "not drawn" not in text

    done, *_ = await bench.judge(single, canaries="off")
    assert (bench.calls, done.counts["small · pairwise"]) == ([], {})


async def test_an_order_that_failed_is_asked_again_and_the_other_one_still_not(bench):
    single = {"use": "pairwise", "options": PLAIN["options"] | {"orders": "single", "audit_share": 0.0}}
    bench.answers = lambda request, model: model_error(ErrorKind.TIMEOUT)
    done, *_ = await bench.judge(single, canaries="off")
    assert done.counts["small · pairwise"] == {"timeout": 10}
    bench.answers = lambda request, model: "TIE"
    done, session, [seat] = await bench.judge(single, canaries="off")
    assert (len(bench.calls), done.counts["small · pairwise"]) == (15, {"scored": 10})
    rows = judgments(session, seat, "small", arms_of(session.experiment)[0].fingerprint)
    assert sorted(str(row.reason) for row in rows) == ["None"] * 10 + ["not_drawn"] * 10


# Two models, and what they will cost


def two_models(**more):
    priced = {"api_key_env": "JUDGE_KEY", "price": {"input_per_mtok": 1.0, "output_per_mtok": 1.0}}
    strong = {"model": "openai/strong", "api_key_env": "STRONG_KEY"} | more
    options = {"model": {"model": "openai/weak", **priced}, "mode": "plain", "escalate_to": strong}
    return {"use": "pairwise", "options": options}


async def test_both_models_are_opened_estimated_and_named(bench):
    bench.answers = lambda request, model: knows(request) if model.model == "openai/strong" else "TIE"
    judge = two_models(price={"input_per_mtok": 10.0, "output_per_mtok": 10.0})
    session = bench.session(bench.experiment(judge))
    seats = seat_judges(session.experiment, FakeEmbedder())
    before = {item.who: item for item in estimates.of_judges(session, seats)}
    assert {who: (item.model, item.calls) for who, item in before.items()} == {
        "canaries · pairwise": ("openai/weak", CANARY_CALLS),
        "small · pairwise": ("openai/weak", 20),
        "small · pairwise, close pairs": ("openai/strong", 6),
        "replica · pairwise": ("openai/weak", 10),
        "replica · pairwise, close pairs": ("openai/strong", 3),
    }
    close, every = before["small · pairwise, close pairs"].cost, before["small · pairwise"].cost
    assert close.low_usd == 0.0
    assert close.expected_usd == pytest.approx(3 * every.expected_usd)
    assert close.high_usd == pytest.approx(10 * every.high_usd)

    done, session, [seat] = await bench.judge(judge)
    assert [spec.model for spec in bench.specs] == ["openai/weak", "openai/strong"]
    assert done.counts["small · pairwise"] == {"scored": 20}
    assert len(bench.calls) == 2 * (CANARY_CALLS + 30)
    after = {item.who: item.calls for item in estimates.of_judges(session, [seat])}
    assert set(after.values()) == {0}
    [report] = build_report(session, [seat], evaluate(session, [seat])).candidates[0].judges
    assert (report.model, report.further_models) == ("openai/weak", ("openai/strong",))


def test_a_second_model_that_cannot_be_asked_is_found_before_anything_is(bench, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "x")
    experiment = bench.experiment(two_models())
    with pytest.raises(ConfigurationError, match="STRONG_KEY is not set"):
        checks.check_settings(experiment, seat_judges(experiment, FakeEmbedder()))
    monkeypatch.setenv("STRONG_KEY", "x")
    checks.check_settings(experiment, seat_judges(experiment, FakeEmbedder()))
    experiment = bench.experiment(two_models(), budget={"judges_usd": 1})
    with pytest.raises(ConfigurationError, match="price of 'openai/strong' is unknown"):
        checks.check_settings(experiment, seat_judges(experiment, FakeEmbedder()))


def test_single_orders_are_estimated_as_they_are_drawn(bench):
    bench.n = 40
    single = {"use": "pairwise", "options": PLAIN["options"] | {"orders": "single"}}
    session = bench.session(bench.experiment(single, canaries="off"))
    [seat] = seat_judges(session.experiment, FakeEmbedder())
    calls = {item.who: item.calls for item in estimates.of_judges(session, [seat])}
    reads = [len(orders_read(seat.judge, f"e{i}")) for i in range(40)]
    assert calls == {"small · pairwise": sum(reads), "replica · pairwise": sum(reads[:20])}

from dataclasses import replace

import pytest

from harness.domain.label import PlannedLabel
from harness.errors import ConfigurationError
from harness.pipeline.label_plan import Design, DesignKind, Wish, prepare_plan
from harness.pipeline.seats import default_embedder, seat_judges
from tests.unit.pipeline.labelled_run import RUN, experiment, fill, judgments, session_of

IDS = [f"e{i:03}" for i in range(50)]
RECORDED = {"use": "recorded", "name": "people", "options": {"file": "verdicts.jsonl", "label": "winner"}}


@pytest.fixture
def session(store, tmp_path):
    return session_of(store, tmp_path)


@pytest.fixture
def arm(session):
    return fill(session, IDS, failed=IDS[:10])


def plan_of(session, arm):
    return session.store.label_plan(RUN, arm.name, arm.fingerprint)


@pytest.mark.parametrize(
    ("design", "text"),
    [
        (Design(kind=DesignKind.UNIFORM, seed=0, size=200), "uniform, seed 0, size 200"),
        (
            Design(kind=DesignKind.UNCERTAIN, seed=-3, size=9, judge="my judge, v2"),
            "uncertain, seed -3, size 9, judge my judge, v2",
        ),
    ],
)
def test_a_design_can_be_read_back_from_its_words(design, text):
    assert str(design) == text
    assert Design.parse(text) == design


def test_words_that_are_no_design():
    assert Design.parse("by hand") is None


def test_pairs_with_two_answers_are_planned_each_with_the_same_chance(session, arm):
    plan = prepare_plan(session, arm, Wish(size=8))

    stored = plan_of(session, arm)
    assert (plan.n_planned, plan.n_comparable) == (8, 40)
    assert [item.rank for item in stored] == list(range(8))
    assert {item.probability for item in stored} == {8 / 40}
    assert {item.exchange_id for item in stored} <= set(IDS[10:])
    assert {item.design for item in stored} == {"uniform, seed 0, size 8"}


def test_the_plan_stays_when_it_is_asked_for_again(session, arm):
    prepare_plan(session, arm, Wish(size=8, seed=3))
    before = plan_of(session, arm)

    plan = prepare_plan(session, arm)

    assert plan_of(session, arm) == before
    assert plan.design.seed == 3
    assert plan.notes == ()


def test_a_larger_size_goes_on_in_the_same_order_with_new_chances(session, arm):
    prepare_plan(session, arm, Wish(size=8))
    before = plan_of(session, arm)

    prepare_plan(session, arm, Wish(size=20))

    after = plan_of(session, arm)
    assert [item.exchange_id for item in after[:8]] == [item.exchange_id for item in before]
    assert {item.probability for item in after} == {0.5}
    assert prepare_plan(session, arm, Wish(size=5)).n_planned == 20, "nothing planned is taken back"
    assert prepare_plan(session, arm, Wish(size=99)).n_planned == 40
    assert {item.probability for item in plan_of(session, arm)} == {1.0}


def test_pairs_that_came_later_wait_until_the_plan_is_made_larger(session, arm):
    prepare_plan(session, arm, Wish(size=10, seed=1))
    before = {item.exchange_id for item in plan_of(session, arm)}
    fill(session, [f"late{i:03}" for i in range(40)])

    plan = prepare_plan(session, arm)

    assert plan.n_planned == 10
    assert "40 pairs were added" in plan.notes[0]
    larger = prepare_plan(session, arm, Wish(size=11))
    after = plan_of(session, arm)
    assert before <= {item.exchange_id for item in after}
    assert {item.probability for item in after} == {larger.n_planned / 80}
    assert 11 <= larger.n_planned < 40
    assert f"{larger.n_planned} are planned instead of 11" in larger.notes[0]


def test_a_planned_pair_that_is_gone_is_not_shown_and_not_lost(session, arm):
    prepare_plan(session, arm, Wish(size=10))
    lost = plan_of(session, arm)[0].exchange_id
    session.store.remove_exchanges(RUN, [lost])

    plan = prepare_plan(session, arm, Wish(size=20))

    assert plan.absent == {lost}
    assert plan.n_planned == 20
    assert plan_of(session, arm)[-1].exchange_id == lost


@pytest.mark.parametrize("wish", [Wish(seed=1), Wish(kind=DesignKind.UNCERTAIN), Wish(size=99, seed=1)])
def test_another_design_is_refused_by_the_name_of_the_one_there_is(session, arm, wish):
    prepare_plan(session, arm, Wish(size=8))
    before = plan_of(session, arm)

    with pytest.raises(ConfigurationError, match="`uniform, seed 0, size 8`"):
        prepare_plan(session, arm, wish)
    assert plan_of(session, arm) == before


def test_a_plan_drawn_by_somebody_else_is_refused(session, arm):
    session.store.put_label_plan(
        RUN, arm.name, arm.fingerprint, [PlannedLabel(exchange_id="e011", rank=0, probability=0.1, design="by hand")]
    )

    with pytest.raises(ConfigurationError, match="by hand"):
        prepare_plan(session, arm)


def test_without_a_pair_there_is_nothing_to_plan(store, tmp_path):
    session = session_of(store, tmp_path)
    arm = fill(session, IDS[:3], failed=IDS[:3])

    with pytest.raises(ConfigurationError, match="harness replay"):
        prepare_plan(session, arm)


@pytest.fixture
def judged(store, tmp_path):
    """Forty pairs, of which a judge is unsure about the second half."""
    (tmp_path / "verdicts.jsonl").write_text('{"id": "none", "winner": "tie"}\n', encoding="utf-8")
    recorded = RECORDED | {"options": RECORDED["options"] | {"file": str(tmp_path / "verdicts.jsonl")}}
    session = session_of(store, tmp_path, parsed=experiment(judges=["exact", recorded]))
    arm = fill(session, IDS[:40])
    seat = seat_judges(session.experiment, default_embedder())[1]
    scores = {item: 1.0 if index < 20 else 0.5 for index, item in enumerate(IDS[:38])}
    store.put_judgments(RUN, judgments(arm, seat.fingerprint, seat.name, scores))
    return session, arm, seat


def test_an_uncertain_plan_draws_rather_what_the_judge_is_unsure_of(judged):
    session, arm, _ = judged

    plan = prepare_plan(session, arm, Wish(kind=DesignKind.UNCERTAIN, size=16))

    assert str(plan.design) == "uncertain, seed 0, size 16, judge people"
    by_id = {item.exchange_id: item.probability for item in plan_of(session, arm)}
    sure = {chance for item, chance in by_id.items() if item in IDS[:20]}
    unsure = {chance for item, chance in by_id.items() if item in IDS[20:38]}
    assert len(sure) <= 1
    assert len(unsure) == 1
    assert max(sure, default=0.0) < min(unsure)


def test_an_uncertain_plan_grows_only_while_its_chances_can_be_worked_out_again(judged):
    session, arm, seat = judged
    prepare_plan(session, arm, Wish(kind=DesignKind.UNCERTAIN, size=16))
    before = plan_of(session, arm)

    prepare_plan(session, arm, Wish(size=24))

    after = plan_of(session, arm)
    assert {item.exchange_id for item in before} < {item.exchange_id for item in after}
    session.store.put_judgments(RUN, judgments(arm, seat.fingerprint, seat.name, {IDS[39]: 0.5}))
    assert prepare_plan(session, arm).n_planned == len(after), "going on needs no score"
    with pytest.raises(ConfigurationError, match="cannot grow; leave out --size"):
        prepare_plan(session, arm, Wish(size=30))
    assert plan_of(session, arm) == after


def test_an_uncertain_plan_needs_a_judge_and_its_scores(session, arm, judged):
    with pytest.raises(ConfigurationError, match="use --design uniform"):
        prepare_plan(session, arm, Wish(kind=DesignKind.UNCERTAIN))
    judged_session, judged_arm, _ = judged
    silent = replace(judged_arm, fingerprint="other")
    judged_session.store.put_observations(
        RUN,
        [
            replace(item, fingerprint="other")
            for item in judged_session.store.observations(RUN, arm.name, arm.fingerprint)
        ],
    )
    with pytest.raises(ConfigurationError, match="`harness judge` comes first"):
        prepare_plan(judged_session, silent, Wish(kind=DesignKind.UNCERTAIN))

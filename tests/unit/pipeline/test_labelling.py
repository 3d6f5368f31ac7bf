import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.domain.judgment import Label
from harness.domain.label import LabelSource
from harness.errors import ConfigurationError
from harness.pipeline.label_plan import Wish, prepare_plan
from harness.pipeline.labelling import Choice, Labelling, arm_to_label, labeller_name
from tests.unit.pipeline.labelled_run import CANDIDATE_MODEL, PRODUCTION_MODEL, RUN, experiment, fill, label, session_of

IDS = [f"e{i:03}" for i in range(200)]


@pytest.fixture
def labelling(store, tmp_path):
    session = session_of(store, tmp_path)
    arm = fill(session, IDS)
    return Labelling.of(session, arm, prepare_plan(session, arm, Wish(size=5)))


@pytest.mark.parametrize(
    ("choice", "left", "verdict"),
    [
        (Choice.LEFT, "candidate", Label.WIN),
        (Choice.RIGHT, "candidate", Label.LOSS),
        (Choice.LEFT, "production", Label.LOSS),
        (Choice.RIGHT, "production", Label.WIN),
        (Choice.TIE, "production", Label.TIE),
        (Choice.SKIP, "candidate", None),
    ],
)
def test_a_choice_of_a_side_is_a_verdict_on_the_candidate_and_can_be_read_back(choice, left, verdict):
    assert choice.label(left) is verdict
    assert Choice.of(verdict, left) is choice


def test_sides_are_drawn_by_pair_and_person_and_stay(labelling):
    sides = {name: [labelling.left(item, name) for item in IDS] for name in ("ann", "bob")}

    for name, drawn in sides.items():
        assert 70 < drawn.count("candidate") < 130
        assert [labelling.left(item, name) for item in IDS] == drawn
    assert 70 < sum(a == b for a, b in zip(*sides.values(), strict=True)) < 130


def test_a_label_is_stored_with_its_side_and_a_second_thought_replaces_it(labelling):
    item = labelling.standing("ann").next
    left = labelling.left(item.exchange_id, "ann")

    labelling.record(item.exchange_id, labeller="ann", choice=Choice.LEFT, note=" clearer\r\n", seconds=4.5)

    [stored] = labelling.store.labels(RUN, labelling.arm.name, labelling.arm.fingerprint)
    assert stored.label is (Label.WIN if left == "candidate" else Label.LOSS)
    assert (stored.shown_first, stored.note, stored.seconds) == (left, "clearer", 4.5)
    assert (stored.source, stored.probability) == (LabelSource.PAGE, None)
    labelling.record(item.exchange_id, labeller="ann", choice=Choice.TIE, note="", seconds=None)
    [stored] = labelling.store.labels(RUN, labelling.arm.name, labelling.arm.fingerprint)
    assert (stored.label, stored.note) == (Label.TIE, None)


def test_a_note_is_redacted_before_it_is_stored(labelling):
    found = labelling.record("e000", labeller="ann", choice=Choice.TIE, note="ask joe@example.org\0", seconds=None)

    assert "joe@" not in found.note
    assert found.note.startswith("ask <EMAIL_")


def test_everybody_has_progress_of_their_own(labelling):
    first, second = labelling.standing("ann").planned[:2]
    labelling.record(first.exchange_id, labeller="ann", choice=Choice.TIE, note=None, seconds=None)
    labelling.record(second.exchange_id, labeller="ann", choice=Choice.SKIP, note=None, seconds=None)

    ann, bob = labelling.standing("ann"), labelling.standing("bob")

    assert (ann.labelled, ann.skipped, ann.next.rank) == (1, 1, 2)
    assert (bob.labelled, bob.skipped, bob.next.rank) == (0, 0, 0)
    assert ann.before(2) == second
    assert ann.before(1) == first
    assert ann.before(0) is None
    assert ann.oldest_skipped == second
    assert bob.oldest_skipped is None


def test_a_plan_is_finished_when_every_pair_is_labelled_or_skipped(labelling):
    for item in labelling.standing("ann").planned:
        assert not labelling.standing("ann").is_finished
        labelling.record(item.exchange_id, labeller="ann", choice=Choice.SKIP, note=None, seconds=None)

    assert labelling.standing("ann").is_finished
    assert labelling.standing("ann").oldest_skipped.rank == 0


def test_labels_outside_the_plan_count_for_nothing_in_it(labelling):
    planned = {item.exchange_id for item in labelling.standing("ann").planned}
    other = next(item for item in IDS if item not in planned)
    labelling.store.put_labels(RUN, [label(labelling.arm, other)])

    assert (labelling.standing("ann").labelled, labelling.standing("ann").next.rank) == (0, 0)


def test_names_hold_every_name_that_gives_a_side_away(labelling):
    names = labelling.names(labelling.pair("e000"))

    assert names >= {PRODUCTION_MODEL, CANDIDATE_MODEL, f"openai/{CANDIDATE_MODEL}", "gpt-4o"}


def test_only_pairs_with_two_answers_can_be_looked_at(store, tmp_path):
    session = session_of(store, tmp_path)
    arm = fill(session, IDS[:4], failed=IDS[:1])
    labelling = Labelling.of(session, arm, prepare_plan(session, arm))

    assert labelling.pair(IDS[0]) is None
    assert labelling.pair("unknown") is None
    assert labelling.pair(IDS[1]).exchange_id == IDS[1]


def test_people_are_told_to_judge_by_what_the_pairwise_judge_was_told(store, tmp_path):
    judge = {"use": "pairwise", "options": {"model": "openai/judge", "criteria": "Solves the problem."}}
    session = session_of(store, tmp_path, parsed=experiment(judges=["exact", judge]))
    arm = fill(session, IDS[:2])

    assert Labelling.of(session, arm, prepare_plan(session, arm)).criteria == "Solves the problem."


TWO = [{"name": "a", "model": "openai/a"}, {"name": "b", "model": "openai/b"}]


def test_the_only_candidate_need_not_be_named():
    assert arm_to_label(experiment(), None).name == "zq-candidate"
    assert arm_to_label(experiment(candidates=TWO), "b").name == "b"
    assert arm_to_label(experiment(replica={"model": "openai/p"}), "replica").name == "replica"


@pytest.mark.parametrize(("candidates", "name"), [(TWO, None), (TWO, "c"), (TWO[:1], "replica")])
def test_an_arm_that_is_not_there_is_answered_with_those_that_are(candidates, name):
    with pytest.raises(ConfigurationError, match=r"\ba\b"):
        arm_to_label(experiment(candidates=candidates), name)


@pytest.mark.parametrize("text", ["", "  ", "x" * 61, "ann\u202e", "a\0b", "\ud800"])
def test_a_name_has_to_be_readable(text):
    with pytest.raises(ConfigurationError):
        labeller_name(text)


@given(st.text(max_size=80))
def test_a_name_that_was_accepted_is_accepted_as_it_is(text):
    try:
        name = labeller_name(text)
    except ConfigurationError:
        return
    assert labeller_name(name) == name
    assert name.encode("utf-8")

from harness.domain.judgment import Label
from harness.pipeline.label_plan import Wish, prepare_plan
from harness.pipeline.label_status import Agreement, LabellerStatus, agreement, status_of
from tests.unit.pipeline.labelled_run import RUN, fill, label, session_of

IDS = [f"e{i}" for i in range(8)]


def test_progress_by_person_and_agreement_on_what_both_labelled(store, tmp_path):
    session = session_of(store, tmp_path)
    arm = fill(session, IDS)
    prepare_plan(session, arm, Wish(size=8))
    store.put_labels(RUN, [
        label(arm, "e0", Label.WIN), label(arm, "e1", Label.TIE), label(arm, "e2", Label.LOSS), label(arm, "e3", None),
        label(arm, "e0", Label.WIN, "bob"), label(arm, "e1", Label.LOSS, "bob"), label(arm, "e3", Label.WIN, "bob"),
        label(arm, "e7", Label.WIN, "cid"),
    ])  # fmt: skip

    found = status_of(session, arm)

    assert (found.planned, found.design, found.pairs_labelled) == (8, "uniform, seed 0, size 8", 5)
    assert found.labellers[0] == LabellerStatus(
        labeller="ann", planned_done=4, labelled=3, skipped=1, wins=1, ties=1, losses=1
    )
    assert [item.labeller for item in found.labellers] == ["ann", "bob", "cid"]
    assert found.agreement == (Agreement(labellers=("ann", "bob"), n=2, equal=1),)
    assert found.agreement[0].share == 0.5


def test_labels_without_a_plan(store, tmp_path):
    session = session_of(store, tmp_path)
    arm = fill(session, IDS)
    store.put_labels(RUN, [label(arm, "e0")])

    found = status_of(session, arm)

    assert (found.planned, found.design) == (0, None)
    assert found.labellers[0].planned_done == 0
    assert agreement([]) == ()

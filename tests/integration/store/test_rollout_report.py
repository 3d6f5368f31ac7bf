"""The report of a rollout is the same from the store as from the events that were put into it, on both databases."""

from reports import render_rollout_html, render_rollout_json
from tests.unit.rollout import histories


def test_a_history_that_was_stored_gives_the_same_report(store):
    course = histories.rolled_back()
    record, first, *others = course.record, *course.events
    store.create_rollout(record, first)
    for event in others:
        store.append_event(event)
    kept = histories.report_of(
        store.rollout(record.id), course.policy, store.rollout_events(record.id), at=course.at, runs=histories.RUNS
    )
    made = histories.report_of(record, course.policy, course.events, at=course.at, runs=histories.RUNS)
    assert render_rollout_json(kept) == render_rollout_json(made)
    assert render_rollout_html(kept) == render_rollout_html(made)

"""Everything about an event is done once, again where it failed, and no more after a day."""

import itertools

import pytest

from harness.controller.ledger import Doer, MemoryLedger, StoreLedger
from harness.errors import InfrastructureError
from tests.unit.controller.happening import AT, NoLedger, Now, event


class Deed:
    def __init__(self, *outcomes: str | None) -> None:
        self.outcomes = list(outcomes)
        self.done = 0

    def __call__(self) -> str | None:
        self.done += 1
        return self.outcomes.pop(0) if self.outcomes else None


@pytest.fixture
def book() -> MemoryLedger:
    return MemoryLedger()


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def doer(book, now) -> Doer:
    return Doer(lambda _: book, now=now)


def test_what_is_done_is_not_done_again(doer, book):
    deed = Deed()
    assert [doer.once(event(), "alert:a", deed) for _ in range(3)] == [None] * 3
    assert deed.done == 1
    assert book.done == {(7, "alert:a"): "ok"}


def test_another_name_and_another_number_are_other_deeds(doer, book):
    deed = Deed()
    doer.once(event(), "alert:a", deed)
    doer.once(event(), "alert:b", deed)
    doer.once(event(number=8), "alert:a", deed)
    assert deed.done == 3


def test_what_ended_between_doing_it_and_saying_so_is_repeated(book, now):
    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    with pytest.raises(Killed):
        Doer(lambda _: book, now=now).once(event(), "hook:a", die)
    deed = Deed()
    assert Doer(lambda _: book, now=now).once(event(), "hook:a", deed) is None
    assert deed.done == 1
    assert book.begun == [(7, "hook:a")] * 2


def test_what_fails_is_tried_again_with_growing_pauses(doer, book, now):
    deed = Deed("no", "no", "no", None)
    tried_after = []
    for second in range(60):
        before = deed.done
        problem = doer.once(event(), "hook:a", deed)
        if deed.done > before:
            tried_after.append(second)
        assert problem == (None if deed.done == 4 else "no")
        now.pass_s(1)
    assert tried_after == [0, 5, 15, 35]
    assert book.done == {(7, "hook:a"): "ok"}


def test_pauses_are_an_hour_at_most_and_a_day_after_the_event_it_is_given_up(doer, book, now, caplog):
    deed = Deed(*["no"] * 1_000)
    attempts = []
    while (7, "hook:a") not in book.done:
        before = deed.done
        doer.once(event(), "hook:a", deed)
        if deed.done > before:
            attempts.append(now.now)
        now.pass_s(60)
    pauses = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(attempts)]
    assert max(pauses) == 3_600
    assert book.done == {(7, "hook:a"): "given up: no"}
    assert 86_400 <= (attempts[-1] - AT).total_seconds() < 90_000
    assert "hook:a about event 7 is given up: no" in caplog.text
    assert doer.once(event(), "hook:a", deed) is None
    assert deed.done == len(attempts)


def test_what_is_older_than_a_day_is_tried_once(doer, book, now):
    now.pass_s(100_000)
    deed = Deed("no")
    assert doer.once(event(), "hook:a", deed) is None
    assert (deed.done, book.done) == (1, {(7, "hook:a"): "given up: no"})


def test_a_fault_of_ours_is_tried_again_like_any_other_failure(doer, book, now, caplog):
    def fail() -> None:
        raise ZeroDivisionError("not to be told: sk-1")

    assert doer.once(event(), "hook:a", fail) == "it failed (ZeroDivisionError)"
    assert doer.waits(event(), "hook:a") == "it failed (ZeroDivisionError)"
    now.pass_s(5)
    assert doer.once(event(), "hook:a", Deed()) is None


def test_nothing_is_done_that_cannot_be_noted(now):
    deed = Deed()
    with pytest.raises(InfrastructureError, match="away"):
        Doer(lambda _: NoLedger(), now=now).once(event(), "hook:a", deed)
    assert deed.done == 0


def test_the_store_is_told_the_rollout_the_time_and_a_short_outcome(now):
    class Actions:
        def __init__(self):
            self.told: list[tuple] = []
            self.done = False

        def begin_action(self, rollout_id, number, name, *, now):
            self.told.append(("begin", rollout_id, number, name, now))
            return None if self.done else object()

        def finish_action(self, rollout_id, number, name, outcome, *, now):
            self.told.append(("finish", rollout_id, number, name, outcome, now))

    actions = Actions()
    book = StoreLedger(actions, "swap-1", now=now)
    assert book.begin(7, "hook:a")
    actions.done = True
    assert not book.begin(7, "hook:a")
    book.finish(7, "hook:a", "x" * 1_000)
    assert actions.told[0] == ("begin", "swap-1", 7, "hook:a", AT)
    assert actions.told[2] == ("finish", "swap-1", 7, "hook:a", "x" * 300, AT)

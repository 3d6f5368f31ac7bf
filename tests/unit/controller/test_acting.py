"""A controller may ask at every step: what is done is not done again, and what failed waits."""

import pytest

from harness.controller.acting import Acting, NotAllDoneError
from harness.controller.actuators import GatewayRoute, Route, actuators_of
from harness.controller.hooks import Answer, Hooks, Subscribed
from harness.controller.ledger import Doer, MemoryLedger
from harness.controller.litellm_weights import LiteLLMWeights
from harness.controller.telling import Teller
from harness.domain.rollout import EventKind
from harness.errors import InfrastructureError
from tests.unit.controller.happening import AT, NoLedger, Now, Seconds, event, news, policy


class Scripted:
    """An actuator that does as it is told."""

    def __init__(self, name: str = "proxy") -> None:
        self.name = name
        self.shares: list[float] = []
        self.error: Exception | None = None

    def apply(self, route: Route) -> None:
        self.shares.append(route.share)
        if self.error is not None:
            raise self.error


class ScriptedHook:
    def __init__(self, name: str, *answers: str | None, takes_s: float = 0.0, seconds: Seconds | None = None) -> None:
        self.name = name
        self.answers = list(answers)
        self.stages: list[str] = []
        self.takes_s, self.seconds = takes_s, seconds

    def run(self, news, stage) -> Answer:
        self.stages.append(stage)
        if self.seconds is not None:
            self.seconds.now += self.takes_s
        return Answer(refused=self.answers.pop(0) if self.answers else None)


class Inbox:
    def __init__(self, name: str) -> None:
        self.name = name
        self.works: bool | Exception = True
        self.titles: list[str] = []

    def __call__(self, title: str, body: str, bad: bool) -> bool:
        if isinstance(self.works, Exception):
            raise self.works
        if self.works:
            self.titles.append(title)
        return self.works


class World:
    def __init__(self, book=None) -> None:
        self.book = book or MemoryLedger()
        self.now, self.seconds = Now(), Seconds()
        self.actuators = [Scripted("one"), Scripted("two")]
        self.inboxes = [Inbox("a"), Inbox("b")]
        self.hooks: dict[str, list[ScriptedHook]] = {"before": [], "after": []}

    def acting(self) -> Acting:
        doer = Doer(lambda _: self.book, now=self.now)
        before, after = ([Subscribed(hook=hook) for hook in self.hooks[stage]] for stage in ("before", "after"))
        hooks = Hooks(before, after, ledger_of=lambda _: self.book, doer=doer)
        return Acting(
            policy(), "shop", hooks, self.actuators, Teller(self.inboxes, doer), lambda _: self.book, clock=self.seconds
        )


def route(share: float = 0.25, number: int = 7) -> Route:
    return Route(rollout_id="swap-1", number=number, candidate="small", share=share, reason="it is time")


@pytest.fixture
def world() -> World:
    return World()


# Routes


def test_a_route_in_force_is_looked_at_once_a_minute(world):
    acting = world.acting()
    for _ in range(240):
        acting.route(route())
        world.seconds.now += 0.5
    assert world.actuators[0].shares == [0.25, 0.25]
    assert world.book.done == {(7, "route:one:0.25"): "ok", (7, "route:two:0.25"): "ok"}
    assert world.book.begun == [(7, "route:one:0.25"), (7, "route:two:0.25")]


def test_another_share_or_event_is_carried_out_at_once(world):
    acting = world.acting()
    acting.route(route())
    acting.route(route(0.0))
    acting.route(route(0.0, number=8))
    assert world.actuators[0].shares == [0.25, 0.0, 0.0]


def test_one_that_fails_keeps_no_other_from_being_asked_and_waits_longer_each_time(world):
    acting = world.acting()
    world.actuators[0].error = InfrastructureError("the proxy is away")
    asked_at = []
    for second in range(20):
        before = len(world.actuators[0].shares)
        with pytest.raises(NotAllDoneError, match=r"^one: the proxy is away$"):
            acting.route(route(0.0))
        if len(world.actuators[0].shares) > before:
            asked_at.append(second)
        world.seconds.now += 1
    assert asked_at == [0, 2, 6, 14]
    assert world.actuators[1].shares == [0.0]
    world.actuators[0].error = None
    world.seconds.now += 60
    acting.route(route(0.0))
    assert world.book.done == {(7, "route:one:0"): "ok", (7, "route:two:0"): "ok"}


def test_a_roll_back_does_not_wait_for_the_next_attempt_at_what_failed_before(world):
    acting = world.acting()
    world.actuators[0].error = InfrastructureError("away")
    with pytest.raises(NotAllDoneError):
        acting.route(route(0.25))
    world.actuators[0].error = None
    acting.route(route(0.0))
    assert world.actuators[0].shares == [0.25, 0.0]


def test_an_actuator_with_a_fault_of_its_own_is_a_problem_like_any_other(world):
    world.actuators[0].error = ZeroDivisionError("division by zero")
    with pytest.raises(NotAllDoneError, match="one: ZeroDivisionError"):
        world.acting().route(route(0.0))
    assert world.actuators[1].shares == [0.0]


def test_a_route_is_carried_out_when_the_store_is_away():
    world = World(NoLedger())
    world.acting().route(route(0.0))
    assert [one.shares for one in world.actuators] == [[0.0], [0.0]]


def test_a_route_found_changed_after_it_was_in_force_is_a_problem(world):
    acting = world.acting()
    acting.route(route())
    world.actuators[1].error = InfrastructureError("shows other weights")
    world.seconds.now += 61
    with pytest.raises(NotAllDoneError, match="two: shows other weights"):
        acting.route(route())


# Before a step


def test_hooks_are_asked_in_order_and_the_first_that_refuses_ends_it(world):
    first, second, third = ScriptedHook("first"), ScriptedHook("second", "a freeze"), ScriptedHook("third")
    world.hooks["before"] = [first, second, third]
    acting = world.acting()
    assert acting.refusal(event()) == "hook second: a freeze"
    assert (first.stages, second.stages, third.stages) == (["before"], ["before"], [])
    assert acting.refusal(event()) is None
    assert (len(first.stages), len(second.stages), len(third.stages)) == (2, 2, 1)
    assert world.book.done == {(7, f"hook:{name}"): "agreed" for name in ("first", "second", "third")}


@pytest.mark.parametrize("kind", [kind for kind in EventKind if kind not in {EventKind.ADVANCED, EventKind.COMPLETED}])
def test_nothing_is_asked_before_what_gives_the_candidate_nothing_more(world, kind):
    world.hooks["before"] = [ScriptedHook("never", "no")]
    assert world.acting().refusal(event(kind)) is None
    assert world.hooks["before"][0].stages == []


def test_a_hook_with_a_fault_has_not_agreed(world):
    class Broken(ScriptedHook):
        def run(self, news, stage):
            raise ZeroDivisionError

    world.hooks["before"] = [Broken("gate")]
    assert world.acting().refusal(event()) == "hook gate: it failed (ZeroDivisionError)"
    assert world.book.done == {}


def test_an_agreement_from_before_is_asked_for_again(world):
    world.hooks["before"] = [ScriptedHook("gate", None, "there is an incident now")]
    acting = world.acting()
    assert acting.refusal(event()) is None
    assert acting.refusal(event()) == "hook gate: there is an incident now"


# After a step


def test_everybody_is_told_once_people_first(world):
    world.hooks["after"] = [ScriptedHook("deploy")]
    acting = world.acting()
    for _ in range(3):
        acting.follow(event())
    assert [box.titles for box in world.inboxes] == [["shop rollout swap-1: advanced to canary_5 (#7)"]] * 2
    assert world.hooks["after"][0].stages == ["after"]
    assert world.book.begun == [(7, "alert:a"), (7, "alert:b"), (7, "hook:deploy")]


def test_who_could_not_be_told_is_told_later_and_the_others_not_again(world):
    world.hooks["after"] = [ScriptedHook("deploy", "it ended with status 1"), ScriptedHook("note")]
    world.inboxes[0].works = False
    acting = world.acting()
    with pytest.raises(NotAllDoneError) as failed:
        acting.follow(event())
    assert str(failed.value) == "alert to address a: it was not delivered; hook deploy: it ended with status 1"
    world.inboxes[0].works = True
    with pytest.raises(NotAllDoneError):
        acting.follow(event())  # too soon
    assert world.inboxes[0].titles == []
    world.now.pass_s(5)
    acting.follow(event())
    assert [len(box.titles) for box in world.inboxes] == [1, 1]
    assert [len(hook.stages) for hook in world.hooks["after"]] == [2, 1]


def test_a_new_process_tells_only_who_was_not_told(world):
    world.inboxes[1].works = RuntimeError("json://me:password@host")
    with pytest.raises(NotAllDoneError) as failed:
        world.acting().follow(event())
    assert "password" not in str(failed.value)
    world.inboxes[1].works = True
    world.acting().follow(event())
    assert [len(box.titles) for box in world.inboxes] == [1, 1]


def test_hooks_that_take_long_do_not_all_run_in_one_turn(world):
    world.hooks["after"] = [ScriptedHook(name, takes_s=11, seconds=world.seconds) for name in ("x", "y", "z")]
    acting = world.acting()
    ran = []
    for _ in range(3):
        try:
            acting.follow(event())
        except NotAllDoneError as error:
            assert "its turn comes later" in str(error)  # noqa: PT017
        ran.append([len(hook.stages) for hook in world.hooks["after"]])
    assert ran == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_nobody_is_told_while_it_cannot_be_noted():
    world = World(NoLedger())
    with pytest.raises(InfrastructureError, match="away"):
        world.acting().follow(event())
    assert world.inboxes[0].titles == []


# What a rollout asks for


def test_the_actuators_are_those_of_the_file():
    assert [type(one) for one in actuators_of(policy().actuators)] == [GatewayRoute]
    litellm = {
        "kind": "litellm",
        "url": "http://proxy:4000/",
        "key_env": "K",
        "production_id": "p",
        "candidate_id": "c",
    }
    built = actuators_of(policy(actuators=[{"kind": "gateway"}, litellm]).actuators)
    assert [(type(one), one.name) for one in built] == [(GatewayRoute, "gateway"), (LiteLLMWeights, "litellm.c")]


def test_the_gateways_need_not_be_told():
    GatewayRoute().apply(route())


def test_news_are_of_the_time_of_the_event():
    assert news().document()["at"] == AT.isoformat()

"""Every step of a rollout reaches each address once, and one that was down hears of it later."""

import pytest

from harness.controller.ledger import Doer, MemoryLedger
from harness.controller.telling import Teller
from harness.domain.rollout import EventKind
from harness.ops.alerts import sender_from
from tests.unit.controller.happening import Now, news
from tests.unit.ops.test_alerts import Webhook


@pytest.fixture
def webhook():
    hook = Webhook()
    yield hook
    hook.server.shutdown()
    hook.server.server_close()


other = webhook


class World:
    def __init__(self) -> None:
        self.book, self.now = MemoryLedger(), Now()

    def teller(self) -> Teller:
        return Teller(sender_from("HOOKS") or (), Doer(lambda _: self.book, now=self.now))


@pytest.fixture
def world() -> World:
    return World()


def test_a_step_is_told_with_its_figures_and_a_roll_back_is_bad_news(world, webhook, monkeypatch):
    monkeypatch.setenv("HOOKS", webhook.url)
    teller = world.teller()
    checks = [{"name": "breaker.errors", "speaks_for": "roll_back", "sentence": "31 of 40 failed.", "figures": {}}]
    back = news(EventKind.ROLLED_BACK, number=8, reason="Errors.", evidence={"checks": checks})
    for told in (news(), back, news(), back):
        assert teller.tell(told) == []
    advanced, rolled_back = webhook.messages
    assert advanced["title"] == "shop rollout swap-1: advanced to canary_5 (#7)"
    assert advanced["type"] == "success"
    assert "serves 0.05 of the conversations" in advanced["message"]
    assert rolled_back["title"] == "shop rollout swap-1: ROLLED BACK from canary_5 (#8)"
    assert rolled_back["type"] == "warning"
    assert "31 of 40 failed." in rolled_back["message"]


def test_an_address_that_was_down_is_told_later_and_the_other_not_again(world, webhook, monkeypatch, caplog):
    down = Webhook()
    down.status = 500
    monkeypatch.setenv("HOOKS", f"{down.url} {webhook.url}")
    try:
        (problem,) = world.teller().tell(news())
        assert problem.endswith("it was not delivered")
        assert str(down.server.server_port) not in problem + caplog.text
        down.status = 200
        assert world.teller().tell(news()) == []  # another process
        assert world.teller().tell(news()) == []
        assert (len(down.messages), len(webhook.messages)) == (1, 1)
        assert down.asked == 2
    finally:
        down.server.shutdown()
        down.server.server_close()


def test_one_that_stays_down_is_asked_less_and_less_and_given_up_after_a_day(world, webhook, monkeypatch):
    monkeypatch.setenv("HOOKS", webhook.url)
    webhook.status = 503
    teller = world.teller()
    for _ in range(26 * 60):
        teller.tell(news())
        world.now.pass_s(60)
    assert 25 < webhook.asked < 40
    assert list(world.book.done.values()) == ["given up: it was not delivered"]


def test_an_address_apprise_does_not_know_is_a_problem_that_does_not_tell_it(world, monkeypatch, caplog):
    monkeypatch.setenv("HOOKS", "nonsense://me:password@host")
    (problem,) = world.teller().tell(news())
    assert "password" not in problem + caplog.text


def test_the_same_address_twice_is_told_once(world, webhook, monkeypatch):
    monkeypatch.setenv("HOOKS", f"{webhook.url} {webhook.url}")
    assert world.teller().tell(news()) == []
    assert len(webhook.messages) == 1


def test_without_addresses_nobody_is_told(world, monkeypatch):
    monkeypatch.delenv("HOOKS", raising=False)
    assert world.teller().tell(news()) == []
    assert world.book.begun == []

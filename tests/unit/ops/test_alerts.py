"""Alerts reach a webhook once, come again after a while, say when it is over, and survive restarts."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness.ops.alerts import Alert, AlertKind, Notifier, sender_from

FULL = Alert(kind=AlertKind.SPOOL_FULL, text="it holds 1,000 MB")
OPEN = Alert(kind=AlertKind.BREAKER_OPEN, subject="cheap", text="5 failures in a row")


class Webhook:
    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        self.status = 200
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.asked += 1
                if outer.status == 200:
                    outer.messages.append(json.loads(body))
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.server.server_port}/hook"

    def wait(self, count: int) -> list[dict[str, str]]:
        end = time.monotonic() + 10
        while len(self.messages) < count and time.monotonic() < end:
            time.sleep(0.01)
        return self.messages


@pytest.fixture
def webhook():
    hook = Webhook()
    yield hook
    hook.server.shutdown()
    hook.server.server_close()


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def notifier(tmp_path, webhook, monkeypatch):
    monkeypatch.setenv("HOOKS", webhook.url)
    clock = Clock()

    def make() -> Notifier:
        made = Notifier(
            name="exp gateway", repeat_s=600, memory=tmp_path / "alerts.json", send=sender_from("HOOKS"), clock=clock
        )
        made_all.append(made)
        return made

    made_all: list[Notifier] = []
    make.clock = clock
    yield make
    for one in made_all:
        one.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def titles(messages: list[dict[str, str]]) -> list[str]:
    return [message["title"] for message in messages]


def test_an_alert_is_delivered_once_while_it_holds(notifier, webhook):
    told = notifier()
    for _ in range(5):
        told.update([FULL])
    told.update([FULL, OPEN])
    messages = webhook.wait(2)
    told.close()
    assert titles(messages) == ["exp gateway: spool full", "exp gateway: breaker open (cheap)"]
    assert messages[0]["message"] == "it holds 1,000 MB"
    assert messages[0]["type"] == "warning"
    assert len(webhook.messages) == 2


def test_it_is_told_again_after_a_while_and_when_it_is_over(notifier, webhook):
    told = notifier()
    told.update([FULL])
    webhook.wait(1)
    notifier.clock.now += 601

    def again() -> bool:
        # What the webhook has may for a moment still be on its way to whoever sent it, and is not sent again then.
        told.update([FULL])
        return len(webhook.messages) == 2

    until(again)
    for _ in range(3):
        notifier.clock.now += 200
        told.update([])
    assert titles(webhook.wait(3)) == [
        "exp gateway: spool full",
        "exp gateway: spool full",
        "exp gateway: resolved: spool full",
    ]
    told.close()
    assert len(webhook.messages) == 3
    assert webhook.messages[2]["type"] == "success"


def test_a_condition_that_comes_and_goes_is_told_once(notifier, webhook):
    told = notifier()
    for _ in range(4):
        told.update([OPEN])
        notifier.clock.now += 50
        told.update([])
        notifier.clock.now += 50
    told.close()
    assert titles(webhook.messages) == ["exp gateway: breaker open (cheap)"]


def test_a_condition_that_returns_after_its_end_was_told_is_a_new_one(notifier, webhook):
    told = notifier()
    told.update([OPEN])
    notifier.clock.now += 360
    told.update([])
    told.update([OPEN])
    told.close()
    assert titles(webhook.messages) == [
        "exp gateway: breaker open (cheap)",
        "exp gateway: resolved: breaker open (cheap)",
        "exp gateway: breaker open (cheap)",
    ]


def test_a_restarted_process_does_not_tell_it_again(notifier, webhook):
    first = notifier()
    first.update([FULL])
    webhook.wait(1)
    first.close()
    second = notifier()
    second.update([FULL])
    second.close()
    assert len(webhook.messages) == 1


def test_a_restarted_process_that_does_not_know_yet_does_not_call_it_over(notifier, webhook):
    first = notifier()
    first.update([FULL])
    first.close()
    notifier.clock.now += 500
    second = notifier()
    second.update([])
    notifier.clock.now += 300
    second.update([])
    second.close()
    assert titles(webhook.messages) == ["exp gateway: spool full"]
    third = notifier()
    notifier.clock.now += 360
    third.update([])
    third.close()
    assert titles(webhook.messages)[1:] == ["exp gateway: resolved: spool full"]


def test_what_reached_nobody_is_sent_again_while_it_holds(notifier, webhook, monkeypatch, caplog):
    monkeypatch.setattr("harness.ops.alerts._PAUSE_S", 0.01)
    webhook.status = 500
    told = notifier()
    told.update([FULL])
    until(lambda: "1 of 1 addresses could not be told: spool full" in caplog.text)
    assert webhook.url not in caplog.text
    webhook.status = 200
    notifier.clock.now += 59
    told.update([FULL])
    time.sleep(0.3)
    assert webhook.messages == []
    notifier.clock.now += 1
    told.update([FULL])
    webhook.wait(1)
    notifier.clock.now += 60
    told.update([FULL])
    told.close()
    assert titles(webhook.messages) == ["exp gateway: spool full"]


def test_a_restarted_process_sends_what_reached_nobody(notifier, webhook, monkeypatch):
    monkeypatch.setattr("harness.ops.alerts._PAUSE_S", 0.01)
    webhook.status = 500
    first = notifier()
    first.update([FULL])
    first.close()
    webhook.status = 200
    notifier.clock.now += 60
    second = notifier()
    second.update([FULL])
    second.close()
    assert titles(webhook.messages) == ["exp gateway: spool full"]


def test_an_address_that_fails_does_not_have_the_others_told_again(notifier, webhook, monkeypatch, caplog):
    monkeypatch.setattr("harness.ops.alerts._PAUSE_S", 0.01)
    broken = Webhook()
    broken.status = 500
    monkeypatch.setenv("HOOKS", f"{broken.url} {webhook.url}")
    told = notifier()
    told.update([FULL])
    until(lambda: "1 of 2 addresses could not be told: spool full" in caplog.text)
    notifier.clock.now += 60
    told.update([FULL])
    told.close()
    broken.server.shutdown()
    broken.server.server_close()
    assert titles(webhook.messages) == ["exp gateway: spool full"]
    assert broken.asked == 3


def test_without_addresses_alerts_are_only_logged(tmp_path, caplog, monkeypatch):
    monkeypatch.delenv("HOOKS", raising=False)
    clock = Clock()
    memory = tmp_path / "alerts.json"
    told = Notifier(name="exp", repeat_s=600, memory=memory, send=sender_from("HOOKS"), clock=clock)
    with caplog.at_level("WARNING", logger="harness.alerts"):
        told.update([FULL])
        clock.now += 60
        told.update([FULL])
    assert caplog.text.count("spool full: it holds 1,000 MB") == 1


def test_an_unreadable_memory_is_an_empty_one(tmp_path):
    memory = tmp_path / "alerts.json"
    memory.write_bytes(b"\xff{")
    told = Notifier(name="exp", repeat_s=600, memory=memory, send=None)
    told.update([FULL])
    assert json.loads(memory.read_bytes())["spool_full"]["title"] == "spool full"

"""Alerts reach a webhook once, come again after a while, say when it is over, and survive restarts."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness.ops.alerts import Alert, AlertKind, Notifier, sender_from

FULL = Alert(kind=AlertKind.SPOOL_FULL, text="it holds 1,000 MB")
OPEN = Alert(kind=AlertKind.BREAKER_OPEN, subject="cheap", text="5 failures in a row")


class Webhook:
    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
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
    assert told.delivered == 2


def test_it_is_told_again_after_a_while_and_when_it_is_over(notifier, webhook):
    told = notifier()
    told.update([FULL])
    notifier.clock.now += 601
    told.update([FULL])
    told.update([])
    told.update([])
    assert titles(webhook.wait(3)) == [
        "exp gateway: spool full",
        "exp gateway: spool full",
        "exp gateway: resolved: spool full",
    ]
    told.close()
    assert len(webhook.messages) == 3
    assert webhook.messages[2]["type"] == "success"


def test_a_condition_that_comes_and_goes_is_not_told_each_time(notifier, webhook):
    told = notifier()
    for _ in range(4):
        told.update([OPEN])
        told.update([])
    webhook.wait(2)
    told.close()
    assert titles(webhook.messages) == [
        "exp gateway: breaker open (cheap)",
        "exp gateway: resolved: breaker open (cheap)",
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


def test_a_webhook_that_fails_costs_the_alert_and_nothing_else(notifier, webhook, monkeypatch):
    monkeypatch.setattr("harness.ops.alerts._PAUSE_S", 0.01)
    webhook.status = 500
    told = notifier()
    told.update([FULL])
    end = time.monotonic() + 10
    while told.failed == 0 and time.monotonic() < end:
        time.sleep(0.01)
    assert (told.delivered, told.failed) == (0, 1)


def test_without_addresses_alerts_are_only_logged(tmp_path, caplog, monkeypatch):
    monkeypatch.delenv("HOOKS", raising=False)
    told = Notifier(name="exp", repeat_s=600, memory=tmp_path / "alerts.json", send=sender_from("HOOKS"))
    with caplog.at_level("WARNING", logger="harness.alerts"):
        told.update([FULL])
    assert "spool full: it holds 1,000 MB" in caplog.text


def test_an_unreadable_memory_is_an_empty_one(tmp_path):
    memory = tmp_path / "alerts.json"
    memory.write_bytes(b"\xff{")
    told = Notifier(name="exp", repeat_s=600, memory=memory, send=None)
    told.update([FULL])
    assert json.loads(memory.read_bytes())["spool_full"]["active"] is True

"""A controller that is killed between telling a hook and noting it: the next one tells it again, by the same key."""

import json
import signal
import subprocess
import sys

import pytest

from harness.config import parse_live
from harness.controller.acting import Acting
from harness.controller.actuators import Route
from harness.domain.rollout import Event, EventKind
from harness.store import RolloutRecord, Store
from tests.integration.controller.loopback import answering, serving
from tests.unit.controller.happening import event, policy
from tests.unit.ops.test_alerts import Webhook

FOLLOW = """
import sys
from harness.config import parse_live, parse_rollout
from harness.controller.acting import Acting
from harness.store import Store

policy, live, url = parse_rollout(eval(sys.argv[1])), parse_live(eval(sys.argv[2])), sys.argv[3]
with Store.open(url) as store:
    (event,) = [one for one in store.rollout_events("swap-1") if one.number == 2]
    Acting.of(policy, live, store).follow(event)
"""
LIVE = {
    "name": "shop",
    "gateway": {"upstream": "http://127.0.0.1:1"},
    "mirror": {"rate": 1},
    "candidates": [{"name": "small", "model": "openai/small"}],
}
HOOKS = {"after": [{"name": "first", "webhook_env": "FIRST_URL"}, {"name": "second", "webhook_env": "SECOND_URL"}]}
ROLLOUT = {"name": "swap", "live": "live.yaml", "candidate": "small", "hooks": HOOKS}


@pytest.fixture
def inbox():
    hook = Webhook()
    yield hook
    hook.server.shutdown()
    hook.server.server_close()


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


def begin(url: str) -> Event:
    advanced = event(EventKind.ADVANCED, 2)
    with Store.open(url) as store:
        record = RolloutRecord(
            id="swap-1", live="shop", candidate="small", fingerprint="f", configuration={}, started_at=advanced.at
        )
        store.create_rollout(record, event(EventKind.STARTED, 1, phase="calibration"))
        store.append_event(advanced)
    return advanced


def actions(url: str) -> dict[str, str | None]:
    with Store.open(url) as store:
        return {one.name.split(":")[0] + ":" + one.name[-6:]: one.outcome for one in store.rollout_actions("swap-1")}


def test_it_is_told_again_under_the_same_key_and_nobody_else_is(url, inbox, monkeypatch):
    begin(url)
    processes: list[subprocess.Popen] = []

    def kill_first(handler, asked) -> None:
        if len(first.asked) == 1:
            processes[0].send_signal(signal.SIGKILL)
            processes[0].wait()
        else:
            answering(200)(handler, asked)

    with serving(kill_first) as first, serving(answering(200)) as second:
        monkeypatch.setenv("FIRST_URL", first.url)
        monkeypatch.setenv("SECOND_URL", second.url)
        monkeypatch.setenv("HARNESS_ALERT_URLS", inbox.url)
        for _ in range(3):
            process = subprocess.Popen([sys.executable, "-c", FOLLOW, repr(ROLLOUT), repr(LIVE), url])
            processes.append(process)
            process.wait(60)
        assert [one.returncode for one in processes] == [-signal.SIGKILL, 0, 0]
        assert [asked.headers["idempotency-key"] for asked in first.asked] == ["swap-1:2:first"] * 2
        assert [json.loads(asked.body)["key"] for asked in second.asked] == ["swap-1:2:second"]
        assert len(inbox.messages) == 1
    done = actions(url)
    assert len(done) == 3
    assert set(done.values()) == {"ok"}


def test_what_was_refused_failed_and_routed_is_in_the_store(url, inbox, monkeypatch):
    advanced = begin(url)
    monkeypatch.setenv("HARNESS_ALERT_URLS", inbox.url)
    hooks = {"before": [{"name": "gate", "command": ["false"]}], "after": [{"name": "after", "command": ["false"]}]}
    with Store.open(url) as store:
        acting = Acting.of(policy(hooks=hooks), parse_live(LIVE), store)
        assert acting.refusal(advanced) == "hook gate: it ended with status 1"
        acting.route(Route(rollout_id="swap-1", number=2, candidate="small", share=0.05, reason="it is time"))
        # Long after the event, so that one attempt is all it gets.
        acting.follow(advanced)
        with_reasons = {one.name: one.outcome for one in store.rollout_actions("swap-1")}
    (alert,) = [name for name in with_reasons if name.startswith("alert:")]
    assert with_reasons == {
        "hook:gate": None,
        "hook:after": "given up: it ended with status 1",
        "route:gateway:0.05": "ok",
        alert: "ok",
    }

"""What running processes say, as they really say it, becomes what pages show."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.controller import people, service
from harness.controller.control import Sight
from harness.domain.decision import Verdict
from harness.domain.estimate import Estimate
from harness.domain.rollout import Action, Check, Ruling
from harness.models.breaker import BreakerState
from harness.ops.alerts import Alert, AlertKind, Notifier
from harness.pipeline.live import operations
from harness.pipeline.live.purses import Limit
from harness.pipeline.live.state import ArmState, WorkerState
from harness.store import Store
from harness.web.admin_ports import AdminPort
from harness.web.dashboard_live import alerts_note, alerts_of, worker_state
from harness.web.dashboard_pages import Pages
from harness.web.dashboard_reading import Reading, watched
from harness.web.dashboard_rollout import controller_of
from tests.controlled import PHASES, SHADOW, live, policy

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def over_http(value: Any) -> Any:
    """As the admin port sends it."""
    return json.loads(json.dumps(value, default=str))


def worker(**fields: Any) -> WorkerState:
    estimate = Estimate(metric="win_rate", value=0.5, low=0.4, high=0.6, looks="any", n=10, extra={"a": 1.0})
    arm = ArmState(
        arm="small", role="candidate", model="openai/small", outcomes={"completed": {"": 10}}, in_flight=2,
        breaker=BreakerState.HALF_OPEN, daily_usd=1.0, verdict=Verdict.INCONCLUSIVE, estimates={"win_rate": estimate},
    )  # fmt: skip
    return WorkerState(run_id="shop", at=NOW, started_at=NOW, looked_at=NOW, arms=(replace(arm, **fields),))


def test_a_workers_state_comes_over_whole():
    for state in (worker(), worker(budget_exhausted=Limit.DAY, stopped="authentication", slow="slow")):
        assert worker_state(over_http(operations.status(state))) == state


def test_alerts_are_what_holds_now_and_what_was_told_and_not_taken_back(tmp_path: Path):
    own = watched(live(tmp_path))
    own.folder.mkdir()
    now = [1_777_900_000.0]
    notifier = Notifier(
        name="gateway", repeat_s=60, memory=own.folder / "alerts-gateway.json", send=None, clock=lambda: now[0]
    )
    notifier.update([Alert(kind=AlertKind.SPOOL_FULL, text="it holds 1,000 MB")])
    told = Notifier(name="worker", repeat_s=60, memory=own.folder / "alerts-worker.json", send=None)
    told.update([Alert(kind=AlertKind.BREAKER_OPEN, subject="small", text="down")])
    found = alerts_of(own, worker())
    assert [(one.kind, one.subject, one.since) for one in found] == [
        ("breaker open", "small", ""), ("spool full", "", "2026-05-04 13:06:40 UTC"),
    ]  # fmt: skip
    assert [one.kind for one in alerts_of(own, None)] == ["spool full", "breaker open (small)"]
    now[0] += 10_000
    notifier.update([])
    assert [one.kind for one in alerts_of(own, worker())] == ["breaker open"]


def test_what_is_known_of_alerts_is_said(tmp_path: Path):
    own = watched(live(tmp_path))
    assert "name the live file" in alerts_note(None, None)
    assert "not known" in alerts_note(own, None)
    own.folder.mkdir()
    (own.folder / "alerts-worker.json").write_text("{}")
    assert "does not answer" in alerts_note(own, None)
    assert alerts_note(own, worker()) == ""
    (own.folder / "alerts-worker.json").write_text("no json")
    assert alerts_of(own, None) == ()


@pytest.fixture
def begun(store: Store, tmp_path: Path) -> Store:
    people.start(store, live(tmp_path), policy(phases=[SHADOW, *PHASES]), by="Ada", reason="half the price")
    return store


def test_the_last_look_of_a_controller_is_shown_with_its_figures(begun: Store, tmp_path: Path, monkeypatch):
    ruling = Ruling(
        action=Action.WAIT, reason="the gate is not passed",
        checks=(
            Check(name="errors", speaks_for=None, sentence="0 of 40", figures={"failed": 0.0, "requests": 40.0}),
            Check(name="gate", speaks_for=Action.WAIT, sentence="<b>not yet</b>"),
        ),
    )  # fmt: skip
    standing = people.standing(begun, "shop")
    sight = Sight(at=NOW, role="controls", rollout_id=standing.record.id, ruling=ruling, problem="a hook is away")
    said = over_http({**people.as_json(standing), **service.status(sight)})
    monkeypatch.setattr(AdminPort, "status", lambda self: said if self.name == "rollout" else None)
    port = AdminPort(name="rollout", host="127.0.0.1", port=9_092, path="/rollout")
    reading = Reading(url=f"sqlite:///{tmp_path}/harness.db", lives=[watched(live(tmp_path), port)])

    view = controller_of(reading.rollout("shop"))

    assert {fact.label: fact.value for fact in view.facts} == {
        "Controller": "none holds the claim", "Last step": "2026-05-04 12:00:00 UTC", "It would": "wait",
        "Cannot be done": "yes",
    }  # fmt: skip
    assert view.checks is not None
    assert [[cell.badge.word if cell.badge else cell.text for cell in row] for row in view.checks.rows] == [
        ["errors", "no objection", "0 of 40"], ["gate", "wait", "<b>not yet</b>"],
    ]  # fmt: skip
    assert view.checks.rows[0][2].sub == "failed 0, requests 40"
    html = "".join(part.html for part in Pages(reading).build(("/rollout?live=shop", False)).parts)
    assert "&lt;b&gt;not yet&lt;/b&gt;" in html
    reading.close()


def test_a_controller_that_is_not_asked_is_not_known_and_its_claim_is(begun: Store, tmp_path: Path):
    reading = Reading(url=f"sqlite:///{tmp_path}/harness.db")
    begun.claim_rollout(people.standing(begun, "shop").record.id, "one", now=datetime.now(UTC), lease_s=60)
    view = controller_of(reading.rollout("shop"))
    assert [fact.value for fact in view.facts] == ["at work"]
    assert "name the rollout's file" in view.note
    assert view.checks is None
    reading.close()


def test_a_token_differs_with_what_processes_say_and_not_with_the_clock(begun: Store, tmp_path: Path, monkeypatch):
    said = over_http(operations.status(worker()))
    monkeypatch.setattr(AdminPort, "status", lambda self: said if self.name == "worker" else None)
    reading = Reading(url=f"sqlite:///{tmp_path}/harness.db", lives=[watched(live(tmp_path))])
    before = reading.token()
    said["at"] = str(NOW + timedelta(seconds=1))
    assert reading.token() == before
    said["arms"][0]["breaker"] = "open"
    assert reading.token() != before
    reading.close()

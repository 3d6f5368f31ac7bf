"""A rollout over HTTP: what its desk may do, and what it may not."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from starlette.testclient import TestClient

from harness.errors import InfrastructureError, InputError
from harness.ops.admin import Operated, RolloutDesk, admin_app

TOKEN = "token"


class Desk:
    def __init__(self) -> None:
        self.done: list[tuple[str, str, str]] = []
        self.error: Exception | None = None

    def operated(self) -> Operated:
        return Operated(
            name="rollout",
            not_ready=list,
            readings=list,
            status=lambda: {"role": "controls"},
            token=TOKEN,
            rollout=RolloutDesk(
                state=lambda: self.say({"status": "running"}),
                history=lambda: [{"number": 1}],
                changes={name: self.change(name) for name in ("approve", "pause", "resume", "abort", "severe")},
            ),
        )

    def say(self, value):
        if self.error is not None:
            raise self.error
        return value

    def change(self, name: str):
        def do(by: str, reason: str):
            self.say(None)
            self.done.append((name, by, reason))
            return {"kind": name}

        return do


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def client(desk):
    return TestClient(admin_app(desk.operated()), raise_server_exceptions=False)


AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}
SAID = {"by": "Ada", "reason": "looks good"}
schema = schemathesis.openapi.from_asgi("/openapi.json", admin_app(Desk().operated()))


@schema.parametrize()
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_the_schema_says(case: Case):
    case.call_and_validate(headers={"Authorization": "Bearer token"})


@pytest.mark.parametrize("name", ["approve", "pause", "resume", "abort", "severe"])
def test_changes_need_the_token_and_both_texts(client, desk, name):
    path = f"/rollout/{name}"
    assert client.post(path, json=SAID).status_code == 401
    for body in ({}, {"by": "Ada"}, {"by": "Ada", "reason": " "}, {**SAID, "more": 1}, {"by": 1, "reason": "x"}):
        assert client.post(path, json=body, headers=AUTHORIZED).status_code == 422
    assert client.post(path, data="by=Ada&reason=x", headers=AUTHORIZED).status_code == 415
    assert desk.done == []
    assert client.post(path, json=SAID, headers=AUTHORIZED).json() == {"kind": name}
    assert desk.done == [(name, "Ada", "looks good")]


def test_what_the_rollout_does_not_allow_and_a_store_that_is_away_are_told_apart(client, desk):
    desk.error = InputError("rollout r is paused already")
    refused = client.post("/rollout/pause", json=SAID, headers=AUTHORIZED)
    assert (refused.status_code, refused.json()) == (409, {"error": "rollout r is paused already"})
    desk.error = InfrastructureError("no database")
    assert client.get("/rollout").status_code == 503


def test_state_and_history_are_for_everybody_who_reaches_the_port(client):
    assert client.get("/rollout").json() == {"status": "running"}
    assert client.get("/rollout/history").json() == {"events": [{"number": 1}]}


def test_a_process_without_a_kill_switch_or_a_rollout_has_no_such_paths(client, desk):
    assert client.put("/mirror", json={"enabled": True}, headers=AUTHORIZED).status_code == 404
    plain = Operated(name="worker", not_ready=list, readings=list, status=dict, token=None)
    bare = TestClient(admin_app(plain))
    assert bare.get("/rollout").status_code == 404
    assert "/rollout" not in bare.get("/openapi.json").json()["paths"]

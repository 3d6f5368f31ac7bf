"""The admin port against its own schema, against strangers, and against clients that take too much."""

import asyncio
import json
import threading

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from starlette.testclient import TestClient

from harness.ops.admin import BODY_LIMIT, Operated, admin_app, token_from
from harness.ops.metrics import Reading

TOKEN = "sésame"


class Switch:
    def __init__(self) -> None:
        self.on = True
        self.not_ready: list[str] = []

    def operated(self, token: str | None = TOKEN) -> Operated:
        return Operated(
            name="gateway",
            not_ready=lambda: self.not_ready,
            readings=lambda: [Reading.of("mirror_enabled", "x", float(self.on))],
            status=lambda: {"mirroring": self.on, "odd": {1, 2}},
            set_mirror=self.set,
            token=token,
        )

    def set(self, wanted: bool) -> None:
        self.on = wanted


@pytest.fixture
def switch():
    return Switch()


@pytest.fixture
def client(switch):
    return TestClient(admin_app(switch.operated()), raise_server_exceptions=False)


def authorization(token: str = TOKEN) -> dict[str, bytes]:
    return {"authorization": b"Bearer " + token.encode()}


schema = schemathesis.openapi.from_asgi("/openapi.json", admin_app(Switch().operated("token")))


@schema.parametrize()
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_the_schema_says(case: Case):
    case.call_and_validate(headers={"Authorization": "Bearer token"})


@schema.parametrize()
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_strangers_get_no_fault_out_of_it(case: Case):
    response = case.call()
    case.validate_response(response, checks=[not_a_server_error])
    assert response.status_code != 200 or case.method != "PUT"


def test_health_and_readiness(client, switch):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"ready": True, "reasons": []}
    switch.not_ready = ["serving process 0 is not running"]
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["reasons"]) == (503, switch.not_ready)


def test_the_switch(client, switch):
    for wanted in (False, False, True):
        answer = client.put("/mirror", json={"enabled": wanted}, headers=authorization())
        assert answer.json() == {"enabled": wanted}
        assert switch.on is wanted
        assert client.get("/status").json()["mirroring"] is wanted


@pytest.mark.parametrize(
    "given",
    [{}, {"authorization": ""}, {"authorization": "Bearer"}, {"authorization": "Bearer "}, authorization("sesame"),
     {"authorization": b"Basic " + TOKEN.encode()}, authorization(TOKEN + "x"), authorization("s")],
)  # fmt: skip
def test_without_the_token_nothing_changes(client, switch, given):
    answer = client.put("/mirror", json={"enabled": False}, headers=given)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert switch.on


@pytest.mark.parametrize("given", [{}, {"authorization": "Bearer "}, {"authorization": "Bearer None"}])
def test_without_a_token_to_compare_with_nobody_may(switch, given):
    client = TestClient(admin_app(switch.operated(None)))
    answer = client.put("/mirror", json={"enabled": False}, headers=given)
    assert answer.status_code == 403
    assert switch.on


def test_an_empty_variable_is_no_token(monkeypatch):
    monkeypatch.setenv("TOKEN", "")
    assert token_from("TOKEN") is None
    assert token_from("TOKEN_THAT_IS_NOT_SET") is None


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'{"enabled": false}', "text/plain", 415),
        (b'{"enabled": false}', "application/x-www-form-urlencoded", 415),
        (b'{"enabled": false}', "", 415),
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 16_000, "application/json", 400),
        (b"[]", "application/json", 422),
        (b'{"enabled": 0}', "application/json", 422),
        (b'{"enabled": "false"}', "application/json", 422),
        (b'{"enabled": null}', "application/json", 422),
        (b'{"enabled": false, "more": 1}', "application/json", 422),
        (b"{}", "application/json", 422),
        (b" " * (BODY_LIMIT + 1), "application/json", 413),
    ],
)
def test_what_is_no_change_is_refused(client, switch, body, kind, status):
    answer = client.put("/mirror", content=body, headers=authorization() | {"content-type": kind.encode()})
    assert answer.status_code == status
    assert isinstance(answer.json()["error"], str)
    assert switch.on


def test_a_body_that_never_ends_is_cut_off_at_the_limit(switch):
    """The limit holds while it comes in, whatever length it was said to have."""
    app, sent, status = admin_app(switch.operated()), [0], []

    async def receive():
        sent[0] += 1_000
        assert sent[0] < 10 * BODY_LIMIT
        return {"type": "http.request", "body": b" " * 1_000, "more_body": True}

    async def send(message):
        status.append(message.get("status"))

    headers = [(b"authorization", b"Bearer " + TOKEN.encode()), (b"content-type", b"application/json")]
    scope = {
        "type": "http", "method": "PUT", "path": "/mirror", "raw_path": b"/mirror", "query_string": b"",
        "headers": headers, "http_version": "1.1", "scheme": "http", "server": ("x", 1), "client": ("x", 1),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    assert status[0] == 413


@pytest.mark.parametrize("path", ["/healthz", "/nowhere", "/mirror", "/metrics"])
def test_every_answer_forbids_what_no_tool_needs(client, path):
    answer = client.get(path)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    if answer.status_code >= 400:
        assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_what_cannot_be_changed_is_405_and_says_what_can(client, method):
    answer = client.request(method, "/status")
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]


def test_a_fault_of_ours_tells_its_kind_and_nothing_else(switch, caplog):
    operated = switch.operated()
    broken = Operated(
        **{name: getattr(operated, name) for name in ("name", "not_ready", "readings", "set_mirror", "token")},
        status=lambda: 1 / 0,
    )
    answer = TestClient(admin_app(broken), raise_server_exceptions=False).get("/status")
    assert (answer.status_code, answer.json()) == (500, {"error": "internal error (ZeroDivisionError)"})
    assert answer.headers["cache-control"] == "no-store"
    [told] = caplog.records
    assert told.exc_info[0] is ZeroDivisionError


def test_a_disk_that_hangs_does_not_keep_health_from_answering(switch):
    """Status and metrics look at files; an orchestrator that gets no answer about health kills production's way."""
    hang = threading.Event()
    operated = switch.operated()
    slow = Operated(
        **{name: getattr(operated, name) for name in ("name", "not_ready", "readings", "set_mirror", "token")},
        status=lambda: {"waited": hang.wait(20)},
    )

    async def main() -> list[int]:
        app, statuses = admin_app(slow), []

        async def get(path: str) -> None:
            async def receive():
                return {"type": "http.request", "body": b"", "more_body": False}

            async def send(message):
                if "status" in message:
                    statuses.append((path, message["status"]))

            scope = {
                "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
                "headers": [], "http_version": "1.1", "scheme": "http", "server": ("x", 1), "client": ("x", 1),
            }  # fmt: skip
            await app(scope, receive, send)

        async with asyncio.TaskGroup() as group:
            for _ in range(60):
                group.create_task(get("/status"))
            await asyncio.sleep(0.1)
            for path in ("/healthz", "/readyz"):
                await asyncio.wait_for(get(path), 2)
            hang.set()
        return statuses

    statuses = asyncio.run(main())
    assert statuses[:2] == [("/healthz", 200), ("/readyz", 200)]
    assert len(statuses) == 62


def test_the_schema_names_every_route(client):
    paths = json.loads(client.get("/openapi.json").content)["paths"]
    assert set(paths) == {"/healthz", "/readyz", "/metrics", "/status", "/mirror", "/openapi.json"}

"""What is changed while the gateway runs: within a second in every process, and without a request lost."""

import json
import os
import signal
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from harness.config import Live, load_live
from tests.gateways import CHAT, Client, ask, gateway, production, until

pytestmark = pytest.mark.timeout(90)


def admin(served, path: str, body: object | None = None, secret: bytes = b"token") -> dict:
    with Client(served.admin) as client:
        if body is None:
            client.ask(b"", method=b"GET", target=path)
        else:
            headers = (b"content-type: application/json", b"authorization: Bearer " + secret)
            client.ask(json.dumps(body).encode(), *headers, method=b"PUT", target=path)
        head, answer = client.answer()
    return json.loads(answer) | ({} if head.status == 200 else {"status": head.status})


@pytest.fixture(scope="module")
def served(upstream, tmp_path_factory):
    """Two processes, because each has to notice."""
    with gateway(tmp_path_factory.mktemp("gateway"), upstream.port, gateway={"processes": 2}) as running:
        yield running


@pytest.fixture(autouse=True)
def _as_it_was(served):
    yield
    served.configure(mirror={"rate": 1})
    (served.spool / "control.json").unlink(missing_ok=True)
    time.sleep(0.5)


class Load:
    """Requests one after the other on several connections; all of them have to be answered."""

    def __init__(self, served) -> None:
        self.served, self.answers, self.wrong = served, 0, []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(4)]

    def _work(self) -> None:
        while not self._stop.is_set():
            with Client(self.served.port) as client:
                for _ in range(20):
                    client.ask(b"hello")
                    head, body = client.answer()
                    self.answers += 1
                    if (head.status, body) != (200, b"hello"):
                        self.wrong.append((head.status, body))

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert self.wrong == []


def grown_in(served, seconds: float) -> Counter[str]:
    """What was counted within this time, while there is traffic."""
    before = served.settled()
    with Load(served):
        time.sleep(seconds)
    after = served.settled()
    return Counter({name: after[name] - before[name] for name in after})


def assert_within_a_second(served, law) -> None:
    """The law holds for what comes later than a second after now."""
    time.sleep(1.0)
    grown = grown_in(served, 0.2)
    assert grown["requests"] > 20
    assert law(grown), {name: number for name, number in grown.items() if number}
    assert sum(grown[name] for name in grown if name.startswith("dropped")) == 0


def test_a_rate_is_taken_in_under_load(served):
    with Load(served) as load:
        served.configure(mirror={"rate": 0})
        until(lambda: load.answers > 50)
        time.sleep(1.0)
        before = served.counts()
        until(lambda: served.counts()["sampled_out"] > before["sampled_out"] + 50)
        assert served.counts()["sampled"] == before["sampled"]
        served.configure(mirror={"rate": 0.5})
    assert_within_a_second(served, lambda grown: 0.3 < grown["sampled"] / grown["requests"] < 0.7)


def test_the_kill_switch_over_http_and_back(served):
    assert admin(served, "/mirror", {"enabled": False}) == {"enabled": False}
    assert admin(served, "/status")["mirroring"] is False
    assert_within_a_second(served, lambda grown: grown["not_eligible.kill_switch"] == grown["requests"])
    assert admin(served, "/mirror", {"enabled": True}) == {"enabled": True}
    assert_within_a_second(served, lambda grown: grown["sampled"] == grown["requests"])


def test_the_kill_switch_in_the_configuration(served):
    served.configure(mirror={"rate": 1, "enabled": False})
    assert_within_a_second(served, lambda grown: grown["not_eligible.kill_switch"] == grown["requests"])


@pytest.mark.parametrize("content", [b"", b'{"mirror": "no"}', b"[]"])
def test_a_switch_nobody_understands_stops_mirroring(served, content):
    """Somebody meant to stop something."""
    (served.spool / "control.json").write_bytes(content)
    assert_within_a_second(served, lambda grown: grown["not_eligible.kill_switch"] == grown["requests"])


def test_the_time_box(served):
    now = datetime.now(UTC)
    served.configure(mirror={"rate": 1, "starts": (now + timedelta(hours=1)).isoformat()})
    assert_within_a_second(served, lambda grown: grown["not_eligible.not_started"] == grown["requests"])
    ends = datetime.now(UTC) + timedelta(seconds=2)
    served.configure(mirror={"rate": 1, "ends": ends.isoformat()})
    assert_within_a_second(served, lambda grown: grown["sampled"] > 0)
    until(lambda: datetime.now(UTC) >= ends)
    assert_within_a_second(served, lambda grown: grown["not_eligible.ended"] == grown["requests"])
    assert admin(served, "/status")["ends"].startswith(str(ends.date()))


def test_rules_headers_and_limits_are_taken_in(served):
    served.configure(mirror={"rate": 0, "rules": [{"headers": {"x-tier": "gold"}, "rate": 1}], "max_request_bytes": 10})
    time.sleep(1)
    before = served.settled()
    ask(served.port, b"small", b"x-tier: gold")
    ask(served.port, b"larger than that", b"x-tier: gold")
    ask(served.port, b"small", b"x-tier: tin")
    after = served.settled()
    names = ("spooled", "dropped.request_too_large", "sampled_out")
    assert [after[name] - before[name] for name in names] == [1, 1, 1]


@pytest.mark.parametrize("text", ["mirror: [", "\x00", "name: x"])
def test_a_configuration_that_is_broken_changes_nothing_and_shows(served, text):
    served.path.write_text(text)
    assert_within_a_second(served, lambda grown: grown["sampled"] == grown["requests"])
    status = admin(served, "/status")
    assert str(served.path) in status["configuration_problem"]
    assert status["rate"] == 1
    assert b"the changed configuration is not taken in" in served.log.read_bytes()
    served.configure()
    until(lambda: admin(served, "/status")["configuration_problem"] is None)


def test_a_rate_that_was_taken_in_is_still_the_one_in_force_when_the_file_breaks(served):
    served.configure(mirror={"rate": 0.25})
    until(lambda: admin(served, "/status")["rate"] == 0.25)
    served.path.write_text("mirror: [")
    until(lambda: admin(served, "/status")["configuration_problem"])
    assert admin(served, "/status")["rate"] == 0.25


def test_processes_that_die_while_the_configuration_is_broken_or_gone_come_back(served):
    """Production must not go down with a typing mistake."""
    for breaks in (lambda: served.path.write_text("mirror: ["), served.path.unlink):
        breaks()
        until(lambda: admin(served, "/status")["configuration_problem"])
        before = set(served.children)
        for child in before:
            os.kill(child, signal.SIGKILL)
        until(lambda before=before: len(set(served.children) - before) == 2, 20)
        until(lambda: ask(served.port, b"hello")[1] == b"hello", 20)
        assert_within_a_second(served, lambda grown: grown["sampled"] == grown["requests"])


def test_other_sections_wait_for_the_next_start(served):
    served.configure(gateway={"upstream": "http://127.0.0.1:9", "port": 0})
    assert_within_a_second(served, lambda grown: grown["status.2"] == grown["requests"])
    until(lambda: b"is taken in at the next start" in served.log.read_bytes())


def test_the_configuration_survives_being_handed_to_a_process(served):
    """As JSON, with every section there is."""
    served.configure(
        judges=["exact", {"use": "pairwise", "options": {"model": "openai/judge"}}],
        mirror={"rate": 0.1, "starts": "2026-01-01T00:00:00Z", "rules": [{"paths": "/v1/*", "rate": 0.5}]},
        replica={"share": 0.1, "model": "openai/x"},
        budget={"candidates_usd": 3},
        worker={"breaker": {"consecutive": 2}},
        alerts={"error_rate": 0.5},
    )
    live = load_live(served.path)
    assert Live.model_validate_json(live.model_dump_json()) == live


def test_changes_need_the_token(served):
    for secret in (b"", b"wrong"):
        assert admin(served, "/mirror", {"enabled": False}, secret)["status"] == 401
    assert admin(served, "/status")["mirroring"] is True


def test_a_gateway_that_starts_switched_off_mirrors_nothing(tmp_path):
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "control.json").write_text('{"mirror": false}')
    with production() as upstream, gateway(tmp_path, upstream.port) as served:
        assert ask(served.port, b"x", target=CHAT)[1] == b"x"
        assert served.settled()["not_eligible.kill_switch"] == 1

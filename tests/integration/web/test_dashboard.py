"""The command in a process of its own, on SQLite and on PostgreSQL: what clients on loopback get."""

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from harness.cli import main
from harness.controller import people
from harness.store import Store
from tests.controlled import PHASES, SHADOW, policy
from tests.dashboards import RUN, Progress, Server, live, served

TOKEN = {"HARNESS_ADMIN_TOKEN": "of-the-admin"}


@contextmanager
def stream(server: Server, page: str, **headers: str) -> Iterator[Iterator[dict[str, Any]]]:
    """The events of a page, as they come."""
    with (
        httpx.Client(timeout=httpx.Timeout(20)) as client,
        client.stream("GET", f"{server.address}events", params={"of": page}, headers=headers) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")

        def events() -> Iterator[dict[str, Any]]:
            found: dict[str, Any] = {}
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name in {"id", "data"}:
                    found[name] = value
                elif not line and "data" in found:
                    yield {"id": found["id"], **json.loads(found["data"])}
                    found = {}

        yield events()


def until(events: Iterator[dict[str, Any]], part: str, text: str) -> dict[str, Any]:
    """The first event in which a part says so."""
    for told in events:
        if any(one["name"] == part and text in one["html"] for one in told["parts"]):
            return told
    raise AssertionError("the stream ended")


def test_pages_are_told_what_comes_into_the_store(store: Store, store_url: str, tmp_path: Path):
    progress = Progress.begin(store, tmp_path)
    progress.answer(3, question="My secret number is {n}.")
    with served(store_url) as server, stream(server, f"/run?id={RUN}") as one, stream(server, "/") as home:
        first = next(one)
        assert first["order"] == ["head", "coverage", "spend", "pairs"]
        next(home)
        progress.answer(40)
        begin = time.monotonic()
        told = until(one, "coverage", ">43<")
        assert time.monotonic() - begin < 5
        assert "secret" not in json.dumps(told)
        verdict = progress.look()["small"].value
        assert until(one, "head", verdict)["said"] == f"small: {verdict}"
        assert f"{RUN}, small: {verdict}" in until(home, "runs", verdict)["said"]


def test_several_clients_hear_the_same_and_one_that_comes_back_hears_what_it_missed(
    store: Store, store_url: str, tmp_path: Path
):
    progress = Progress.begin(store, tmp_path)
    progress.answer(2)
    heard: list[str] = []
    with served(store_url) as server:

        def listen() -> None:
            with stream(server, f"/run?id={RUN}") as events:
                heard.append(until(events, "coverage", ">7<")["id"])

        threads = [threading.Thread(target=listen) for _ in range(12)]
        for thread in threads:
            thread.start()
        with stream(server, f"/run?id={RUN}") as events:
            seen = next(events)["id"]
        time.sleep(1.0)
        progress.answer(5)
        for thread in threads:
            thread.join(30)
        assert len(heard) == 12
        with stream(server, f"/run?id={RUN}", **{"last-event-id": seen}) as events:
            missed = next(events)
        assert {"coverage", "pairs"} <= {one["name"] for one in missed["parts"]}
        assert missed["id"] >= max(heard)


def test_a_store_that_goes_away_is_said_and_its_return_is_seen(tmp_path: Path):
    path = tmp_path / "harness.db"
    with Store.open(f"sqlite:///{path}") as store:
        Progress.begin(store, tmp_path).answer(1)
    with served(f"sqlite:///{path}") as server:
        assert httpx.get(f"{server.address}run?id={RUN}").status_code == 200
        assert httpx.get(f"{server.address}run?id=other").status_code == 404
    with served(f"sqlite:///{tmp_path}/later/harness.db") as server:
        answer = httpx.get(server.address)
        assert (answer.status_code, "does not exist" in answer.text) == (503, True)
        (tmp_path / "later").mkdir()
        with Store.open(f"sqlite:///{tmp_path}/later/harness.db") as store:
            Progress.begin(store, tmp_path)
        assert httpx.get(server.address).status_code == 200


def test_a_rollout_is_changed_by_name_and_reason_through_the_page(store: Store, store_url: str, tmp_path: Path):
    people.start(store, live(tmp_path), policy(phases=[SHADOW, *PHASES]), by="Ada", reason="half the price")
    with (
        served(store_url, env=TOKEN) as server,
        httpx.Client(base_url=server.address, headers={"origin": server.address.rstrip("/")}) as client,
        stream(server, "/rollout?live=shop") as events,
    ):
        assert "RUNNING" in json.dumps(next(events))
        login = client.get("/login").text
        csrf = login.split('name="csrf" value="')[1].split('"')[0]
        entered = client.post("/login", data={"csrf": csrf, "token": "of-the-admin", "next": "/rollout?live=shop"})
        assert entered.status_code == 303
        page = client.get("/rollout?live=shop").text
        csrf = page.split('name="csrf" value="')[1].split('"')[0]
        form = {"csrf": csrf, "subject": "shop", "do": "pause", "by": "Grace", "reason": "<b>lunch</b>"}
        done = client.post("/change", data=form, follow_redirects=True)
        assert "Recorded as event 2: paused by Grace." in done.text
        assert "<b>lunch" not in done.text
        assert until(events, "timeline", "Grace")["said"] == "Rollout of small: PAUSED, shadow"
        again = client.post("/change", data=form)
        assert again.status_code == 409
        assert client.post("/change", data=form | {"do": "abort"}).status_code == 303
    kinds = [(event.kind.value, event.actor, event.reason) for event in people.standing(store, "shop").events]
    assert kinds[1:] == [("paused", "Grace", "<b>lunch</b>"), ("stopped", "Grace", "<b>lunch</b>")]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_it_stops_at_once_although_pages_are_open(number, code, tmp_path: Path):
    with Store.open(f"sqlite:///{tmp_path}/harness.db") as store:
        Progress.begin(store, tmp_path)
    with (
        served(f"sqlite:///{tmp_path}/harness.db") as server,
        stream(server, "/") as one,
        stream(server, f"/run?id={RUN}") as other,
    ):
        assert next(one)["order"]
        assert next(other)["order"]
        begin = time.monotonic()
        server.process.send_signal(number)
        assert server.process.wait(10) == code
        assert time.monotonic() - begin < 2.5
        assert list(one) == list(other) == []


def test_a_client_that_reads_nothing_keeps_no_other_waiting(tmp_path: Path):
    with Store.open(f"sqlite:///{tmp_path}/harness.db") as store:
        progress = Progress.begin(store, tmp_path)
        with served(f"sqlite:///{tmp_path}/harness.db") as server:
            port = int(server.address.rstrip("/").rpartition(":")[2])
            stuck = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
            for sock in stuck:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_024)
                sock.sendall(b"GET /events?of=/run?id=shop HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            with stream(server, f"/run?id={RUN}") as events:
                next(events)
                progress.answer(4)
                assert until(events, "coverage", ">4<")
            for sock in stuck:
                sock.close()


def test_other_machines_are_not_served_without_a_token(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.delenv("HARNESS_ADMIN_TOKEN", raising=False)
    code = main(["dashboard", "--host", "0.0.0.0", "--port", "0", "--store", f"sqlite:///{tmp_path}/harness.db"])  # noqa: S104
    assert code == 2
    assert "set HARNESS_ADMIN_TOKEN" in capsys.readouterr().err


def test_other_machines_are_shown_nothing_before_the_token(tmp_path: Path):
    with Store.open(f"sqlite:///{tmp_path}/harness.db") as store:
        Progress.begin(store, tmp_path).answer(1)
    with served(f"sqlite:///{tmp_path}/harness.db", "--host", "0.0.0.0", env=TOKEN) as server:  # noqa: S104
        port = server.address.rstrip("/").rpartition(":")[2]
        answer = httpx.get(f"http://127.0.0.1:{port}/run?id={RUN}")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/login?next=%2Frun%3Fid%3D{RUN}")


def test_files_name_live_experiments_and_rollouts(tmp_path: Path, capsys):
    with Store.open(f"sqlite:///{tmp_path}/harness.db") as store:
        Progress.begin(store, tmp_path, spooled=True).answer(1)
    raw = {
        "name": "shop", "gateway": {"upstream": "http://127.0.0.1:9"}, "mirror": {"rate": 0.5},
        "admin": {"port": 0}, "worker_admin": {"port": 0}, "decision": {"looks": "any"}, "canary": {},
        "candidates": [{"name": "small", "model": "openai/small"}],
    }  # fmt: skip
    (tmp_path / "live.yaml").write_text(yaml.safe_dump(raw))
    plan = {"name": "small-for-all", "live": "live.yaml", "candidate": "small", "phases": [SHADOW, *PHASES],
            "admin": {"port": 0}}  # fmt: skip
    (tmp_path / "rollout.yaml").write_text(yaml.safe_dump(plan))
    for files in (["live.yaml"], ["rollout.yaml"], ["rollout.yaml", "live.yaml"]):
        paths = [str(tmp_path / name) for name in files]
        with served(f"sqlite:///{tmp_path}/harness.db", *paths) as server:
            page = httpx.get(f"{server.address}run?id={RUN}").text
        assert "From the gateway to the store" in page
        assert "not running" in page
    assert main(["dashboard", str(tmp_path / "none.yaml")]) == 2
    assert main(["dashboard", "--store", "mysql://x/y"]) == 2
    assert "no such file" in capsys.readouterr().err


def test_what_was_started_is_told_as_json(tmp_path: Path):
    import subprocess
    import sys

    command = [sys.executable, "-m", "harness", "dashboard", "--json", "--quiet", "--port", "0",
               "--store", f"sqlite:///{tmp_path}/harness.db"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        text = ""
        assert process.stdout is not None
        while not text.endswith("}\n"):
            text += process.stdout.readline()
        told = json.loads(text)
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=15)
    assert told["url"].startswith("http://127.0.0.1:")
    assert (told["store"], told["live"]) == (f"sqlite:///{tmp_path}/harness.db", [])
    assert (process.returncode, err.strip()) == (130, "stopped; nothing that runs depends on it")

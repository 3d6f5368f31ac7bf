"""A running worker answers on its admin port: health, metrics, the kill switch; and logs one JSON object per line."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import yaml

from harness.spool.record import Captured
from harness.spool.writer import append
from tests.chaos import free_port

HARNESS = Path(sys.executable).parent / "harness"


def captured(number: int) -> Captured:
    question = {"model": "m", "messages": [{"role": "user", "content": f"question {number}"}]}
    choice = {"index": 0, "message": {"role": "assistant", "content": "Paris."}, "finish_reason": "stop"}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return Captured(
        id=f"g-{number}", at_ns=time.time_ns(), method="POST", path="/v1/chat/completions", status=200, latency_ms=9.0,
        ttft_ms=9.0, request_headers={"content-type": "application/json"},
        response_headers={"content-type": "application/json"},
        request=json.dumps(question).encode(), response=json.dumps(answer).encode(),
    )  # fmt: skip


def fetch(url: str, *, method: str = "GET", body: bytes | None = None, token: str = "") -> tuple[int, str]:
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, data=body, method=method, headers=headers)  # noqa: S310  loopback
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310  loopback
            return response.status, response.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def until(condition, timeout_s: float = 60.0):
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            if found := condition():
                return found
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("it did not come to that in time")


def test_health_metrics_and_the_kill_switch_of_a_running_worker(tmp_path, upstream):
    address, _ = upstream
    port = free_port()
    live = tmp_path / "live.yaml"
    live.write_text(
        yaml.safe_dump(
            {
                "name": "shop",
                "gateway": {"upstream": "http://127.0.0.1:9"},
                "mirror": {"rate": 1},
                "worker_admin": {"port": port},
                "worker": {"look_every_s": 1},
                "candidates": [{"name": "cheap", "model": "openai/cheap", "api_base": address}],
                "judges": ["exact"],
            }
        )
    )
    append(tmp_path / "spool", "g1-1", [captured(number) for number in range(5)])
    log = tmp_path / "worker.log"
    environment = os.environ | {"OPENAI_API_KEY": "sk-very-secret", "HARNESS_ADMIN_TOKEN": "let-me-in"}
    with log.open("wb") as sink:
        worker = subprocess.Popen([HARNESS, "worker", live], cwd=tmp_path, env=environment, stderr=sink, stdout=sink)
    base = f"http://127.0.0.1:{port}"
    try:
        until(lambda: fetch(f"{base}/healthz")[0] == 200)
        completed = 'shadow_candidate_outcomes_total{arm="cheap",reason="",status="completed"} 5.0'
        until(lambda: completed in fetch(f"{base}/metrics")[1])
        until(lambda: 'shadow_decision_verdict{arm="cheap"}' in fetch(f"{base}/metrics")[1])
        assert fetch(f"{base}/readyz") == (200, '{"ready":true,"reasons":[]}')
        assert json.loads(fetch(f"{base}/status")[1])["records"] == 5

        off = b'{"enabled": false}'
        assert fetch(f"{base}/mirror", method="PUT", body=off)[0] == 401
        assert fetch(f"{base}/mirror", method="PUT", body=off, token="guess")[0] == 401
        assert fetch(f"{base}/mirror", method="PUT", body=off, token="let-me-in")[0] == 200
        until(lambda: "shadow_worker_mirroring 0.0" in fetch(f"{base}/metrics")[1], timeout_s=1.5)
        append(tmp_path / "spool", "g2-1", [captured(9)])
        skipped = 'shadow_candidate_outcomes_total{arm="cheap",reason="kill_switch",status="skipped"} 1.0'
        until(lambda: skipped in fetch(f"{base}/metrics")[1])
    finally:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=60) == 130
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert any("admin on" in line["message"] for line in lines)
    assert any("the kill switch is off" in line["message"] for line in lines)
    text = log.read_text()
    for secret in ("sk-very-secret", "let-me-in", "question"):
        assert secret not in text

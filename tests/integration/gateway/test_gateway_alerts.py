"""A running gateway tells a webhook what is wrong, once, and that it is over."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from http.client import HTTPConnection

import pytest

from tests.chaos import free_port, model_server
from tests.unit.ops.test_alerts import Webhook

SERVE = """
import functools, sys
from harness.cli import main
from harness.gateway import supervisor
supervisor.Notifier = functools.partial(supervisor.Notifier, gone_s=2)
sys.exit(main())
"""
"""As `harness serve`, without waiting minutes before it says that something is over."""
LIVE = """
name: shop
gateway: {{upstream: "http://127.0.0.1:{upstream}", port: {port}}}
admin: {{port: {admin}}}
mirror: {{rate: {rate}}}
alerts: {{nothing_mirrored_s: 1, gone_s: 1}}
candidates: [{{name: cheap, model: openai/cheap}}]
"""


@pytest.fixture
def webhook():
    hook = Webhook()
    yield hook
    hook.server.shutdown()
    hook.server.server_close()


def wait_for(webhook: Webhook, text: str, meanwhile=lambda: None) -> dict[str, str]:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for message in webhook.messages:
            if text in message["title"]:
                return message
        meanwhile()
        time.sleep(0.1)
    raise AssertionError(f"no {text!r} among {[message['title'] for message in webhook.messages]}")


def ask(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    with suppress(OSError):
        connection.request("POST", "/v1/chat/completions", '{"messages":[{"content":"hi"}]}')
        connection.getresponse().read()
    connection.close()


def test_a_broken_configuration_and_an_empty_sample_reach_the_webhook(tmp_path, webhook):
    ports = {"port": free_port(), "admin": free_port()}
    live = tmp_path / "live.yaml"
    with model_server(tmp_path / "asked.jsonl") as upstream:
        live.write_text(LIVE.format(upstream=upstream, rate=0, **ports))
        environment = os.environ | {"HARNESS_ALERT_URLS": webhook.url}
        gateway = subprocess.Popen(
            [sys.executable, "-c", SERVE, "serve", live], env=environment, stderr=subprocess.DEVNULL
        )
        try:
            nothing = wait_for(webhook, "nothing mirrored", lambda: ask(ports["port"]))
            assert nothing["title"] == "shop gateway: nothing mirrored"
            assert "sampled out (none fell into the sample; see `mirror.rate`)" in nothing["message"]

            live.write_text(LIVE.format(upstream=upstream, rate=7, **ports))
            broken = wait_for(webhook, "configuration")
            assert "mirror.rate: Input should be less than or equal to 1" in broken["message"]

            live.write_text(LIVE.format(upstream=upstream, rate=1, **ports))
            wait_for(webhook, "resolved: configuration")
            wait_for(webhook, "resolved: nothing mirrored", lambda: ask(ports["port"]))
        finally:
            gateway.terminate()
            assert gateway.wait(timeout=20) == 0
    titles = [message["title"] for message in webhook.messages]
    assert len(titles) == len(set(titles)), "each is told once"

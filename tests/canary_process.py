"""Canaries in processes of their own, and their candidate's provider, which does what a test tells it."""

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress

import anthropic
import httpx
import openai

from harness.config import parse_live
from harness.ops.listening import reserve
from tests.gateways import until
from tests.integration.gateway.test_clients import ANSWERS, STREAMS, TOOL
from tests.unit.capture.provider import message

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
PATHS = [CHAT, RESPONSES, MESSAGES]
ASKED = [{"role": "user", "content": "Name the capital of France."}]
TOKEN = "token-of-this-gateway"
KEY = {"api_key": "sk-client", "max_retries": 0, "default_headers": {"x-shadow-canary-token": TOKEN}, "timeout": 60}
TOKEN_HEADER = {"x-shadow-canary-token": TOKEN}
SAYS = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Grüße aus Paris"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}  # fmt: skip
BODIES = {
    CHAT: {"model": "m", "messages": ASKED},
    RESPONSES: {"model": "m", "input": "hi", "store": False},
    MESSAGES: {"model": "m", "messages": ASKED, "max_tokens": 9},
}  # fmt: skip
FUNCTION = {"type": "function", **TOOL["function"]}
CLAUDE_TOOL = {"name": "weather", "description": "Weather", "input_schema": TOOL["function"]["parameters"]}
CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def calling() -> list[bytes]:
    """A stream that calls a tool."""
    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    deltas = [
        {"role": "assistant", "content": None, "tool_calls": [first]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": '}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"Zürich"}'}}]},
    ]
    ends = [None, None, "tool_calls"]
    chunks = [
        CHUNK | {"choices": [{"index": 0, "delta": delta, "finish_reason": end}]}
        for delta, end in zip(deltas, ends, strict=True)
    ]
    return [*(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks), b"data: [DONE]\n\n"]


class Vendor:
    """The candidate's provider; what it was asked is kept."""

    def __init__(self):
        self.asked, self.status, self.fails, self.whole, self.events = [], b"200 OK", None, None, None

    async def __call__(self, asked):
        body = json.loads(await asked.body())
        path = asked.target.decode().partition("?")[0]
        self.asked.append((path, dict(asked.headers), body))
        if self.fails == "reset":
            asked.reset()
        elif self.fails == "redirect":
            await asked.answer(b"", b"location: http://127.0.0.1:1/", status=b"307 Temporary Redirect")
        elif self.fails == "silence":
            await asked.gone()
        elif self.status != b"200 OK":
            error = json.dumps({"error": {"message": "provider-secret", "type": "x"}}).encode()
            await asked.answer(error, b"content-type: application/json", status=self.status)
        elif not body.get("stream"):
            whole = self.whole or (message() if path == MESSAGES else self._says(body))
            await asked.answer(json.dumps(whole).encode(), b"content-type: application/json")
        else:
            await self._stream(asked, self.events or (calling() if body.get("tools") else STREAMS[path]))

    def _says(self, body):
        return ANSWERS["POST", CHAT] if body.get("tools") else SAYS

    async def _stream(self, asked, events):
        if self.fails is None:
            await asked.stream(*events)
            return
        await asked.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        # Anthropic's first word comes after two events about it.
        await asked.chunk(*events[: 3 if b"message_start" in events[0] else 1])
        if self.fails == "cut":
            asked.reset()
        elif self.fails == "ended":
            await asked.chunk(b"")
        else:
            await asked.gone()


class Process:
    """One canary and its log."""

    def __init__(self, folder, sock, process):
        self.sock, self.process = sock, process
        self.log = folder / "log"
        self.base = f"http://127.0.0.1:{sock.getsockname()[1]}"

    def post(self, path, body, **headers):
        return httpx.post(self.base + path, json=body, timeout=60, headers=TOKEN_HEADER | headers)

    def openai(self):
        return openai.OpenAI(base_url=self.base + "/v1", **KEY)

    def anthropic(self):
        return anthropic.Anthropic(base_url=self.base, **KEY)


def start(folder, sock, model, base, *, parent=None, given=None, **section):
    candidate = {"name": "cheap", "model": model, "api_base": base, "api_key_env": "CANARY_KEY"}
    live = parse_live({
        "name": "exp", "gateway": {"upstream": "http://127.0.0.1:9", "drain_s": 5},
        "candidates": [candidate], "canary": section, "mirror": {"rate": 1, "max_request_bytes": 100_000},
    })  # fmt: skip
    stdin = json.dumps({"live": live.model_dump(mode="json"), "token": TOKEN} if given is None else given)
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.canary.process", "--candidate", "cheap", "--fd", str(sock.fileno()),
         "--parent", str(os.getpid() if parent is None else parent)],
        pass_fds=[sock.fileno()], env=os.environ | {"CANARY_KEY": "sk-own"}, stdin=subprocess.PIPE,
        stderr=(folder / "log").open("ab"),
    )  # fmt: skip
    process.stdin.write(stdin.encode())
    process.stdin.close()
    return Process(folder, sock, process)


def listens(sock):
    with suppress(ConnectionRefusedError), socket.create_connection(sock.getsockname(), timeout=1):
        return True
    return False


@contextmanager
def canary(folder, model, base, **section):
    sock = reserve()
    running = start(folder, sock, model, base, **section)
    try:
        until(lambda: listens(sock) or running.process.poll() is not None, 120)
        yield running
    finally:
        running.process.terminate()
        code = running.process.wait(20)
        sock.close()
    log = running.log.read_text()
    assert code == 0, log
    # Neither what providers say, nor keys, nor what was asked and answered.
    for secret in ("provider-secret", "sk-own", TOKEN, "capital of France", "Grüße"):
        assert secret not in log
    for line in log.splitlines():
        assert json.loads(line)["source"] == "harness.canary"

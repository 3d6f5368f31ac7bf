"""Official clients against the canary's own process: every shape, and a candidate that fails."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import anthropic
import httpx
import openai
import pytest

from harness.config import parse_live
from harness.domain import breaking_off
from harness.ops.listening import reserve
from tests.gateways import production, until, when
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
        until(lambda: listens(sock) or running.process.poll() is not None)
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


@pytest.fixture(scope="module")
def upstream():
    with production() as found:
        yield found


@pytest.fixture(scope="module")
def chat(upstream, tmp_path_factory):
    base = f"http://127.0.0.1:{upstream.port}/v1"
    limits = {"deadline_s": 4, "max_response_bytes": 20_000}
    with canary(tmp_path_factory.mktemp("openai"), "openai/cheap", base, **limits) as running:
        yield running


@pytest.fixture(scope="module")
def claude(upstream, tmp_path_factory):
    base = f"http://127.0.0.1:{upstream.port}"
    limits = {"deadline_s": 4, "max_response_bytes": 20_000}
    with canary(tmp_path_factory.mktemp("anthropic"), "anthropic/cheap", base, **limits) as running:
        yield running


@pytest.fixture
def vendor(upstream):
    upstream.handler = Vendor()
    return upstream.handler


@pytest.fixture(params=["chat", "claude"])
def running(request, chat, claude):
    return {"chat": chat, "claude": claude}[request.param]


# What clients get


def test_chat(chat, vendor):
    with chat.openai() as client:
        answer = client.chat.completions.create(model="m", messages=ASKED)
        chunks = list(client.chat.completions.create(model="m", messages=ASKED, stream=True))
    assert answer.choices[0].message.content == "Grüße aus Paris"
    assert (answer.choices[0].finish_reason, answer.usage.total_tokens) == ("stop", 3)
    assert "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices) == "Grüße 👋"
    assert [c.finish_reason for chunk in chunks for c in chunk.choices][-1] == "stop"
    assert {body["model"] for _, _, body in vendor.asked} == {"cheap"}
    sent = str([headers for _, headers, _ in vendor.asked])
    assert "sk-own" in sent
    assert "sk-client" not in sent
    assert TOKEN not in sent


def test_chat_with_tools(chat, vendor):
    with chat.openai() as client:
        answer = client.chat.completions.create(model="m", messages=ASKED, tools=[TOOL])
        with client.chat.completions.stream(model="m", messages=ASKED, tools=[TOOL]) as stream:
            streamed = stream.get_final_completion()
    for message_ in (answer.choices[0].message, streamed.choices[0].message):
        [call] = message_.tool_calls
        assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Zürich"})
    assert all(body["tools"] == [TOOL] for _, _, body in vendor.asked)


def test_responses(chat, vendor):
    with chat.openai() as client:
        answer = client.responses.create(model="m", input="hi", store=False)
        assert (answer.output_text, answer.status) == ("Grüße aus Paris", "completed")
        events = list(client.responses.create(model="m", input="hi", store=False, stream=True))
    assert [events[0].type, events[-1].type] == ["response.created", "response.completed"]
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "Grüße 👋"
    assert events[-1].response.output_text == "Grüße 👋"
    # Asked as in its evaluation, and of a candidate that speaks nothing but chat.
    assert {path for path, _, _ in vendor.asked} == {CHAT}


def test_responses_with_tools(chat, vendor):
    with chat.openai() as client:
        answer = client.responses.create(model="m", input="hi", store=False, tools=[FUNCTION])
        [call] = [item for item in answer.output if item.type == "function_call"]
        assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Zürich"})
        with client.responses.stream(model="m", input="hi", store=False, tools=[FUNCTION]) as stream:
            streamed = stream.get_final_response()
        [call] = [item for item in streamed.output if item.type == "function_call"]
        assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Zürich"})
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        said = [{"role": "user", "content": "hi"}, call.model_dump(exclude_none=True), result]
        client.responses.create(model="m", input=said, store=False)
    roles = [one["role"] for one in vendor.asked[-1][2]["messages"]]
    assert roles == ["user", "assistant", "tool"]


@pytest.mark.parametrize("name", ["chat", "claude"])
def test_messages(name, request, vendor):
    running = request.getfixturevalue(name)
    with running.anthropic() as client:
        answer = client.messages.create(model="m", max_tokens=9, messages=ASKED)
        assert (answer.content[0].text, answer.stop_reason) == ("Grüße aus Paris", "end_turn")
        with client.messages.stream(model="m", max_tokens=9, messages=ASKED) as stream:
            assert "".join(stream.text_stream) == {"chat": "Grüße 👋", "claude": "Paris"}[name]
    assert "sk-client" not in str([headers for _, headers, _ in vendor.asked])
    assert {path for path, _, _ in vendor.asked} == {CHAT if name == "chat" else MESSAGES}


def test_messages_with_tools(chat, vendor):
    with chat.anthropic() as client:
        answer = client.messages.create(model="m", max_tokens=9, messages=ASKED, tools=[CLAUDE_TOOL])
        with client.messages.stream(model="m", max_tokens=9, messages=ASKED, tools=[CLAUDE_TOOL]) as stream:
            streamed = stream.get_final_message()
    for one in (answer, streamed):
        [call] = [block for block in one.content if block.type == "tool_use"]
        assert (call.name, call.input, one.stop_reason) == ("weather", {"city": "Zürich"}, "tool_use")
    assert vendor.asked[0][2]["tools"][0]["function"]["name"] == "weather"


# Failures


FAILURES = [("500", "server_error"), ("429", "rate_limit"), ("reset", "connection"), ("silence", "timeout"),
            ("redirect", "not_found")]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("failure", "reason"), FAILURES)
def test_a_failure_before_the_first_byte_leaves_the_request_to_production(
    running, vendor, path, streamed, failure, reason
):
    if failure.isdigit():
        vendor.status = failure.encode() + b" Sorry"
    else:
        vendor.fails = failure
    answer = running.post(path, BODIES[path] | {"stream": streamed})
    assert (answer.status_code, answer.headers["x-shadow-canary"]) == (503, "failed")
    assert answer.headers["x-shadow-canary-reason"] == reason
    assert "provider-secret" not in answer.text
    # litellm sends once more when a connection that it had kept was closed by the other side.
    assert len(vendor.asked) <= (2 if failure == "reset" else 1)


@pytest.mark.parametrize("path", PATHS)
def test_a_refused_connection_leaves_the_request_to_production(tmp_path, path):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with canary(tmp_path, "openai/cheap", f"http://127.0.0.1:{port}/v1") as running:
        answer = running.post(path, BODIES[path])
    assert (answer.status_code, answer.headers["x-shadow-canary-reason"]) == (503, "connection")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("failure", "reason"), [("cut", "cut_stream"), ("ended", "cut_stream"), ("hangs", "timeout")])
def test_a_stream_that_breaks_off_ends_with_a_comment(running, vendor, path, failure, reason):
    vendor.fails = failure
    answer = running.post(path, BODIES[path] | {"stream": True})
    assert answer.status_code == 200
    *events, last, end = answer.text.split("\n\n")
    assert end == ""
    assert breaking_off.reason_in(last.encode() + b"\n\n") == reason
    assert events
    assert all(event.startswith(("data: {", "event: ")) for event in events)
    # Nothing that reads as a regular end.
    assert not any(word in answer.text for word in ("[DONE]", "message_stop", "response.completed"))
    assert '"finish_reason":"stop"' not in answer.text


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_that_is_too_large_is_production_s(running, vendor, path):
    vendor.whole = SAYS | message() | {"extra": "x" * 30_000}
    answer = running.post(path, BODIES[path])
    assert (answer.status_code, answer.headers["x-shadow-canary-reason"]) == (503, "answer_too_large")


@pytest.mark.parametrize("path", PATHS)
def test_a_stream_may_be_larger(running, vendor, path):
    events = STREAMS[MESSAGES if running.log.parent.name.startswith("anthropic") else CHAT]
    vendor.events = [events[0], *[b": waiting for more\n\n"] * 2_000, *events[1:]]
    answer = running.post(path, BODIES[path] | {"stream": True})
    assert answer.status_code == 200
    assert "shadow-canary-failed" not in answer.text


# What is not asked


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        (CHAT, BODIES[CHAT] | {"api_base": "http://127.0.0.1:1"}, "unsupported_request"),
        (RESPONSES, {"input": "hi"}, "stored_response"),
        (CHAT, {"messages": []}, "unreadable_request"),
        (CHAT, [], "unreadable_request"),
        (CHAT, BODIES[CHAT] | {"user": "x" * 100_000}, "request_too_large"),
        ("/v1/embeddings", {"input": "hi"}, "unsupported_surface"),
        ("/v1/threads/t/messages", BODIES[MESSAGES], "unsupported_surface"),
    ],
)
def test_what_only_production_can_answer_is_not_asked(chat, vendor, path, body, reason):
    answer = chat.post(path, body)
    assert (answer.status_code, answer.headers["x-shadow-canary"]) == (501, "not_asked")
    assert answer.headers["x-shadow-canary-reason"] == reason
    assert vendor.asked == []


@pytest.mark.parametrize("headers", [{}, {"x-shadow-canary-token": "other"}, {"authorization": TOKEN}])
def test_nobody_but_the_gateway_is_answered(chat, vendor, headers):
    answer = httpx.post(chat.base + CHAT, json=BODIES[CHAT], headers=headers)
    assert (answer.status_code, vendor.asked) == (403, [])


def test_an_image_by_address_is_the_provider_s_to_fetch(chat, vendor):
    image = {"type": "image_url", "image_url": {"url": "https://images.example/cat.png"}}
    said = [{"role": "user", "content": [{"type": "text", "text": "What?"}, image]}]
    answer = chat.post(CHAT, {"messages": said})
    assert answer.status_code == 200
    assert vendor.asked[0][2]["messages"] == said


def test_an_image_that_litellm_would_download_is_production_s(claude, upstream):
    fetched = []

    async def fetching(asked):
        fetched.append(asked.target)
        await asked.answer(b"\x89PNG", b"content-type: image/png")

    upstream.handler = fetching
    # Anthropic takes no address without TLS.
    image = {"type": "image_url", "image_url": {"url": f"http://127.0.0.1:{upstream.port}/cat.png"}}
    answer = claude.post(CHAT, {"messages": [{"role": "user", "content": [image]}]})
    assert (answer.status_code, answer.headers["x-shadow-canary-reason"]) == (501, "unsupported_request")
    assert fetched == []


# The process


def test_a_client_that_leaves_cancels_the_candidates_call(chat, upstream):
    ended = []

    async def silent(asked):
        await asked.body()
        try:
            ended.append(await asked.reader.read(1))
        except ConnectionError:
            ended.append(b"")

    upstream.handler = silent
    begin = time.monotonic()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(chat.base + CHAT, json=BODIES[CHAT], timeout=0.5, headers=TOKEN_HEADER)
    until(lambda: ended, 3)
    assert ended == [b""]
    assert time.monotonic() - begin < 3  # the deadline would have ended it after 4 s


def test_what_is_in_flight_comes_to_its_end_and_the_next_process_takes_over(tmp_path, upstream):
    begun, end = threading.Event(), threading.Event()

    async def slow(asked):
        await asked.body()
        begun.set()
        await when(end)
        await asked.answer(json.dumps(SAYS).encode(), b"content-type: application/json")

    upstream.handler = slow
    base = f"http://127.0.0.1:{upstream.port}/v1"
    with reserve() as sock, ThreadPoolExecutor() as pool:
        assert not listens(sock)
        first = start(tmp_path, sock, "openai/cheap", base)
        until(lambda: listens(sock))
        answer = pool.submit(first.post, CHAT, BODIES[CHAT])
        assert begun.wait(10)
        first.process.terminate()
        # Nobody may be left waiting for a process that is ending.
        until(lambda: not listens(sock), 5)
        end.set()
        assert answer.result().status_code == 200
        assert first.process.wait(10) == 0
        second = start(tmp_path, sock, "openai/cheap", base)
        until(lambda: listens(sock))
        assert second.base == first.base
        assert second.post(CHAT, BODIES[CHAT]).status_code == 200
        second.process.terminate()
        assert second.process.wait(10) == 0


def test_it_ends_with_its_parent(tmp_path):
    with reserve() as sock:
        orphan = start(tmp_path, sock, "openai/cheap", "http://127.0.0.1:9/v1", parent=1)
        assert orphan.process.wait(30) == 0
        assert not listens(sock)
        # A parent that starts one and is killed.
        program = (
            "import subprocess, sys, time, os\n"
            "child = subprocess.Popen([*sys.argv[1:], '--parent', str(os.getpid())], stdin=0, close_fds=False)\n"
            "print(child.pid, flush=True)\ntime.sleep(60)\n"
        )
        live = parse_live({
            "name": "exp", "gateway": {"upstream": "http://127.0.0.1:9"}, "mirror": {"rate": 1}, "canary": {},
            "candidates": [{"name": "cheap", "model": "openai/cheap", "api_base": "http://127.0.0.1:9/v1"}],
        })  # fmt: skip
        given = tmp_path / "given"
        given.write_text(json.dumps({"live": live.model_dump(mode="json"), "token": TOKEN}))
        with given.open() as stdin:
            parent = subprocess.Popen(
                [sys.executable, "-c", program, sys.executable, "-m", "harness.canary.process", "--candidate", "cheap",
                 "--fd", str(sock.fileno())],
                pass_fds=[sock.fileno()], stdin=stdin, stdout=subprocess.PIPE,
            )  # fmt: skip
        pid = int(parent.stdout.readline())
        until(lambda: listens(sock))
        parent.kill()
        parent.wait()
        try:
            until(lambda: not listens(sock), 10)
            until(lambda: _gone(pid), 10)
        finally:
            parent.stdout.close()
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123  gone in the middle of it
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "live, token"),
        ({"live": {}, "token": TOKEN}, "live.name"),
        ("secret-" + TOKEN, "all of it"),
    ],
)
def test_a_wrong_configuration_is_told_without_its_secrets(tmp_path, given, said):
    with reserve() as sock:
        wrong = start(tmp_path, sock, "openai/cheap", "http://127.0.0.1:9/v1", given=given)
        assert wrong.process.wait(30) == 2
    log = wrong.log.read_text()
    assert said in log
    assert TOKEN not in log


@pytest.mark.models
def test_a_real_model_answers_every_api(model_server, tmp_path):
    with (
        canary(tmp_path, "openai/m", model_server.openai_base) as running, running.openai() as client,
        running.anthropic() as claude,
    ):  # fmt: skip
        whole = client.chat.completions.create(model="m", messages=ASKED, max_tokens=8, temperature=0)
        chunks = client.chat.completions.create(model="m", messages=ASKED, max_tokens=8, temperature=0, stream=True)
        assert "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
        assert whole.choices[0].message.content
        assert client.responses.create(model="m", input=ASKED, max_output_tokens=16, store=False).output_text
        assert claude.messages.create(model="m", messages=ASKED, max_tokens=8).content[0].text

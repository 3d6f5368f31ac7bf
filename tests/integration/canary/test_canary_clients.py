"""Official clients against the canary's own process: every shape, and a candidate that fails."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import anthropic
import httpx
import openai
import pytest
import yaml

from tests.gateways import production
from tests.integration.gateway.test_clients import ANSWERS, STREAMS, TOOL
from tests.unit.capture.provider import message, response, response_stream

ASKED = [{"role": "user", "content": "Name the capital of France."}]
KEY = {"api_key": "sk-client", "max_retries": 0}
WHOLE = {
    "/v1/chat/completions": ANSWERS["POST", "/v1/chat/completions"], "/v1/messages": message(),
    "/v1/responses": response(),
}  # fmt: skip
EVENTS = STREAMS | {"/v1/responses": response_stream()}
BODIES = {
    "/v1/chat/completions": {"messages": ASKED}, "/v1/responses": {"input": "hi"},
    "/v1/messages": {"messages": ASKED, "max_tokens": 9},
}  # fmt: skip

NO_MCP = pytest.mark.xfail(reason="litellm 1.106 imports `mcp` for every Responses call; it is not installed")
NO_FASTAPI = pytest.mark.xfail(reason="litellm 1.106 imports `fastapi` for Anthropic streams; it is not installed")
CUT = ["/v1/chat/completions", pytest.param("/v1/responses", marks=NO_MCP),
       pytest.param("/v1/messages", marks=NO_FASTAPI)]  # fmt: skip


class Vendor:
    """The candidate's provider; what it was asked is kept."""

    def __init__(self):
        self.asked, self.status, self.cut_after, self.gone = [], b"200 OK", None, False

    async def __call__(self, asked):
        body = json.loads(await asked.body())
        path = asked.target.decode().partition("?")[0]
        self.asked.append((path, dict(asked.headers), body))
        if self.status != b"200 OK":
            error = json.dumps({"error": {"message": "provider-secret", "type": "x"}}).encode()
            await asked.answer(error, b"content-type: application/json", status=self.status)
        elif not body.get("stream"):
            await asked.answer(json.dumps(WHOLE[path]).encode(), b"content-type: application/json")
        elif self.cut_after is None:
            await asked.stream(*EVENTS[path])
        else:
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            await asked.send(head)
            for piece in EVENTS[path][: self.cut_after]:
                await asked.chunk(piece)
            asked.reset()


@contextmanager
def canary(folder, model, base):
    live = {
        "name": "exp", "gateway": {"upstream": "http://127.0.0.1:9"}, "mirror": {"rate": 1},
        "candidates": [{"name": "cheap", "model": model, "api_base": base, "api_key_env": "CANARY_KEY"}],
    }  # fmt: skip
    path = folder / "live.yaml"
    path.write_text(yaml.safe_dump(live))
    sock = socket.create_server(("127.0.0.1", 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.canary.process", "--live", path, "--candidate", "cheap", "--fd",
         str(sock.fileno())],
        pass_fds=[sock.fileno()], env=os.environ | {"CANARY_KEY": "sk-own"}, stderr=(folder / "log").open("wb"),
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        process.terminate()
        code = process.wait(20)
        sock.close()
    assert code == 0, (folder / "log").read_text()
    assert "provider-secret" not in (folder / "log").read_text()


@pytest.fixture(scope="module")
def upstream():
    with production() as found:
        yield found


@pytest.fixture(scope="module")
def bases(upstream, tmp_path_factory):
    root = f"http://127.0.0.1:{upstream.port}"
    with (
        canary(tmp_path_factory.mktemp("openai"), "openai/cheap", f"{root}/v1") as first,
        canary(tmp_path_factory.mktemp("anthropic"), "anthropic/cheap", root) as second,
    ):
        yield {"/v1/chat/completions": first, "/v1/responses": first, "/v1/messages": second}


@pytest.fixture
def vendor(upstream):
    upstream.handler = Vendor()
    return upstream.handler


def test_openai_whole_and_streamed(bases, vendor):
    with openai.OpenAI(base_url=bases["/v1/responses"] + "/v1", timeout=60, **KEY) as client:
        answer = client.chat.completions.create(model="m", messages=ASKED, tools=[TOOL])
        assert answer.choices[0].message.tool_calls[0].function.arguments == '{"city": "Zürich"}'
        chunks = list(client.chat.completions.create(model="m", messages=ASKED, stream=True))
        assert "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices) == "Grüße 👋"
    assert {body["model"] for _, _, body in vendor.asked} == {"cheap"}
    sent = str([headers for _, headers, _ in vendor.asked])
    assert "sk-own" in sent
    assert "sk-client" not in sent


@NO_MCP
def test_responses_whole_and_streamed(bases, vendor):
    with openai.OpenAI(base_url=bases["/v1/responses"] + "/v1", timeout=60, **KEY) as client:
        assert client.responses.create(model="m", input="hi").output_text == "Grüße aus Paris"
        kinds = [event.type for event in client.responses.create(model="m", input="hi", stream=True)]
        assert kinds == ["response.output_text.delta", "response.completed"]


def test_anthropic_whole(bases, vendor):
    with anthropic.Anthropic(base_url=bases["/v1/messages"], timeout=60, **KEY) as client:
        answer = client.messages.create(model="m", max_tokens=9, messages=ASKED)
        assert answer.content[0].text == "Grüße aus Paris"
    assert "sk-client" not in str([headers for _, headers, _ in vendor.asked])


@NO_FASTAPI
def test_anthropic_streamed(bases, vendor):
    with (
        anthropic.Anthropic(base_url=bases["/v1/messages"], timeout=60, **KEY) as client,
        client.messages.stream(model="m", max_tokens=9, messages=ASKED) as stream,
    ):
        assert "".join(stream.text_stream) == "Paris"
    assert "sk-client" not in str([headers for _, headers, _ in vendor.asked])


@pytest.mark.parametrize("path", ["/v1/chat/completions", pytest.param("/v1/responses", marks=NO_MCP), "/v1/messages"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_failure_before_the_first_byte_leaves_the_request_to_production(bases, vendor, path, streamed):
    vendor.status = b"500 Internal Server Error"
    answer = httpx.post(bases[path] + path, json=BODIES[path] | {"stream": streamed}, timeout=60)
    assert (answer.status_code, answer.headers["x-shadow-canary"]) == (503, "failed")
    assert answer.headers["x-shadow-canary-reason"] == "server_error"
    assert "provider-secret" not in answer.text
    assert len(vendor.asked) == 1


@pytest.mark.parametrize("path", CUT)
def test_a_stream_that_breaks_off_ends_with_an_error(bases, vendor, path):
    vendor.cut_after = 1
    answer = httpx.post(bases[path] + path, json=BODIES[path] | {"stream": True}, timeout=60)
    assert answer.status_code == 200
    last = answer.text.strip().split("\n\n")[-1]
    assert "shadow canary: the answer broke off" in last
    assert last.startswith('data: {"error"' if path.endswith("completions") else "event: error\n")
    assert "[DONE]" not in answer.text


def test_other_paths_are_not_served(bases):
    answer = httpx.get(bases["/v1/messages"] + "/v1/models")
    assert (answer.status_code, answer.headers["x-shadow-canary"]) == (501, "failed")


def test_a_client_that_leaves_cancels_the_candidates_call(bases, upstream):
    ended = []

    async def silent(asked):
        await asked.body()
        try:
            ended.append(await asked.reader.read(1))
        except ConnectionError:
            ended.append(b"")

    upstream.handler = silent
    path = "/v1/chat/completions"
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(bases[path] + path, json=BODIES[path], timeout=1)
    until = time.monotonic() + 10
    while not ended and time.monotonic() < until:
        time.sleep(0.05)
    assert ended == [b""]


@pytest.mark.models
def test_a_real_model_answers_chat(model_server, tmp_path):
    with (
        canary(tmp_path, "openai/m", model_server.openai_base) as base,
        openai.OpenAI(base_url=base + "/v1", timeout=120, **KEY) as client,
    ):
        whole = client.chat.completions.create(model="m", messages=ASKED, max_tokens=8, temperature=0)
        chunks = client.chat.completions.create(model="m", messages=ASKED, max_tokens=8, temperature=0, stream=True)
        assert "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
        assert whole.choices[0].message.content

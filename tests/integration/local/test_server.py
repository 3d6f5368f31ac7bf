"""The local server as official clients see it, and as a process that must not outlive its parent."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import anthropic
import openai
import pytest

from harness.errors import InfrastructureError
from harness.local.server import ServerOptions, local_server
from harness.local.weights import SMOLLM2

pytestmark = pytest.mark.models

QUESTION = [{"role": "user", "content": "Name the capital of France."}]
GREEDY = {"temperature": 0}


@pytest.fixture
def openai_client(model_server):
    with openai.OpenAI(base_url=model_server.openai_base, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(model_server):
    with anthropic.Anthropic(base_url=model_server.base_url, api_key="none", max_retries=0) as client:
        yield client


def test_openai_chat(openai_client):
    answer = openai_client.chat.completions.create(model="any", messages=QUESTION, max_tokens=16, temperature=0)
    assert answer.model == SMOLLM2.name
    assert "Paris" in answer.choices[0].message.content
    assert answer.usage.completion_tokens > 0


def test_openai_chat_streams_with_usage_at_the_end(openai_client):
    stream = openai_client.chat.completions.create(
        model="any",
        messages=QUESTION,
        max_tokens=16,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert "Paris" in text
    assert chunks[-1].usage.completion_tokens > 0
    assert {chunk.model for chunk in chunks} == {SMOLLM2.name}


def test_openai_log_probabilities(openai_client):
    answer = openai_client.chat.completions.create(
        model="any", messages=QUESTION, max_tokens=1, temperature=0, logprobs=True, top_logprobs=5
    )
    [position] = answer.choices[0].logprobs.content
    assert len(position.top_logprobs) == 5
    assert all(entry.logprob <= 0 for entry in position.top_logprobs)


def test_openai_structured_output_keeps_to_the_schema(openai_client):
    schema = {
        "type": "object",
        "properties": {"capital": {"type": "string", "maxLength": 20}},
        "required": ["capital"],
        "additionalProperties": False,
    }
    answer = openai_client.chat.completions.create(
        model="any",
        messages=QUESTION,
        max_tokens=40,
        temperature=0,
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
    )
    assert set(json.loads(answer.choices[0].message.content)) == {"capital"}


def test_openai_responses(openai_client):
    answer = openai_client.responses.create(model="any", input="Name the capital of France.", max_output_tokens=16)
    assert answer.model == SMOLLM2.name
    assert answer.status == "completed"
    assert answer.output_text


def test_openai_responses_stream(openai_client):
    events = list(
        openai_client.responses.create(
            model="any", input="Name the capital of France.", max_output_tokens=16, stream=True
        )
    )
    kinds = [event.type for event in events]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert deltas == events[-1].response.output_text


def test_anthropic_messages(anthropic_client):
    answer = anthropic_client.messages.create(model="any", messages=QUESTION, max_tokens=16, extra_body=GREEDY)
    assert answer.model == SMOLLM2.name
    assert "Paris" in answer.content[0].text
    assert answer.stop_reason == "end_turn"


def test_anthropic_messages_stream(anthropic_client):
    with anthropic_client.messages.stream(model="any", messages=QUESTION, max_tokens=16, extra_body=GREEDY) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert "Paris" in text
    assert final.usage.output_tokens > 0


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
async def test_litellm_reaches_it_as_either_vendor(model_server, vendor):
    from harness.domain.exchange import ChatRequest
    from harness.domain.model import ModelSpec
    from harness.models.litellm_client import LitellmClient

    base = model_server.openai_base if vendor == "openai" else model_server.base_url
    client = LitellmClient()
    try:
        reply = await client.complete(
            ChatRequest(model="production", messages=tuple(QUESTION), params={"max_tokens": 16, "temperature": 0}),
            ModelSpec(model=f"{vendor}/{model_server.name}", api_base=base),
            deadline_s=120,
        )
    finally:
        await client.aclose()
    assert "Paris" in reply.completion.text
    assert reply.completion.model == SMOLLM2.name
    assert reply.ttft_ms is not None
    assert 0 < reply.ttft_ms <= reply.latency_ms


def test_it_stops_with_its_block():
    with local_server(ServerOptions(parallel=1, context=256, threads=1)) as server:
        address = ("127.0.0.1", int(server.base_url.rsplit(":", 1)[1]))
        assert server.is_running
        socket.create_connection(address, timeout=5).close()
    assert not server.is_running
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(address, timeout=5)


def test_it_ends_when_its_parent_is_killed():
    script = textwrap.dedent("""
        import sys, time
        from harness.local.server import ServerOptions, local_server
        with local_server(ServerOptions(parallel=1, context=256, threads=1)) as server:
            print(server.pid, flush=True)
            time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        ends_at = time.monotonic() + 10
        while _is_alive(pid) and time.monotonic() < ends_at:
            time.sleep(0.05)
    assert not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    """Whether the process still runs; one that waits to be collected by its new parent does not."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_unreadable_weights_end_in_a_message_with_the_reason(tmp_path):
    fake = tmp_path / "fake.gguf"
    fake.write_bytes(b"not a model")
    with pytest.raises(InfrastructureError, match="failed to load model"), local_server(ServerOptions(gguf=fake)):
        pytest.fail("started with a file that is no model")


def test_weights_that_do_not_exist_are_named(tmp_path):
    with (
        pytest.raises(InfrastructureError, match=r"none\.gguf: no such file"),
        local_server(ServerOptions(gguf=tmp_path / "none.gguf")),
    ):
        pytest.fail("started without weights")


def test_its_own_name_for_own_weights():
    assert ServerOptions(gguf=Path("models/our-tuned.Q8_0.gguf")).model_name == "our-tuned.Q8_0"
    assert ServerOptions(gguf=Path("x.gguf"), name="ours").model_name == "ours"
    assert ServerOptions().model_name == SMOLLM2.name

"""A loopback server that answers both API shapes, well or badly, as the first path segment says.

``/<scenario>/v1/chat/completions`` speaks OpenAI chat, ``/<scenario>/v1/messages`` speaks Anthropic Messages.
A scenario may be numbered (``rate_limit-3``): the fault is served that often, then the call succeeds.
Written on bare sockets because a framework would repair most of these faults.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

TEXT = "Paris is the capital of France."
SECRET = "sk-live-abcdefghijklmnopqrstuvwxyz0123456789"

STATUS_FAULTS: dict[str, tuple[int, dict[str, str], str, str]] = {
    # scenario: status, headers, error type, message
    "bad_request": (400, {}, "invalid_request_error", "temperature must be below 2"),
    "context_window": (
        400,
        {},
        "context_length_exceeded",
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
    ),
    "content_filter": (
        400,
        {},
        "content_policy_violation",
        "Your request was rejected as a result of the safety system.",
    ),
    "bad_key": (401, {}, "authentication_error", f"Incorrect API key provided: {SECRET}"),
    "forbidden": (403, {}, "permission_error", "Your key may not use this model"),
    "no_model": (404, {}, "not_found_error", "model: nope"),
    "request_timeout": (408, {}, "timeout_error", "took too long"),
    "unprocessable": (422, {}, "invalid_request_error", "tools[0].function.parameters is not a schema"),
    "rate_limit": (429, {"retry-after": "1"}, "rate_limit_error", "slow down"),
    "rate_limit_ms": (429, {"retry-after-ms": "350", "retry-after": "1"}, "rate_limit_error", "slow down"),
    "rate_limit_long": (429, {"retry-after": "3600"}, "rate_limit_error", "come back in an hour"),
    "quota": (429, {}, "insufficient_quota", "You exceeded your current quota, please check your plan and billing"),
    "server_error": (500, {}, "api_error", "Internal server error"),
    "bad_gateway": (502, {}, "api_error", "Bad gateway"),
    "unavailable": (503, {"retry-after": "1"}, "api_error", "Service unavailable"),
    "overloaded": (529, {}, "overloaded_error", "Overloaded"),
}


@dataclass
class FaultServer:
    """Address of the running server and everything it was asked."""

    port: int = 0
    hits: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    """Monotonic arrival time, path and body of every request."""
    headers: list[dict[str, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    handlers: set[asyncio.Task[Any]] = field(default_factory=set)

    def base(self, route: str, scenario: str) -> str:
        """The ``api_base`` that makes a route's calls end in a scenario."""
        root = f"http://127.0.0.1:{self.port}/{scenario}"
        return f"{root}/v1" if route == "openai" else root

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.handlers.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.handlers.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        request_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", "0"))) or b"{}")
        path = request_line.split(" ")[1]
        self.hits.append((time.monotonic(), path, body))
        self.headers.append(headers)
        scenario, route = path.split("/")[1], "anthropic" if path.endswith("/messages") else "openai"
        name, _, limit = scenario.partition("-")
        self.counts[scenario] += 1
        if limit and self.counts[scenario] > int(limit):
            name = "ok"
        return await self._answer(name, route, body, writer)

    async def _answer(self, name: str, route: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        if name in STATUS_FAULTS:
            status, extra, kind, message = STATUS_FAULTS[name]
            error = {"type": kind, "message": message}
            payload = {"type": "error", "error": error} if route == "anthropic" else {"error": error | {"code": kind}}
            await _send(writer, status, json.dumps(payload).encode(), extra)
            return True
        if name == "reset":
            writer.transport.abort()
            return False
        if name == "slow":
            await asyncio.sleep(30)
            return False
        if name == "empty":
            await _send(writer, 200, b"", {}, "text/event-stream" if body.get("stream") else "application/json")
            return True
        if name == "malformed":
            await _send(writer, 200, b"<html>It works!</html>", {}, "text/html")
            return True
        if name == "malformed_json":
            return await self._malformed_json(route, body, writer)
        if body.get("stream"):
            return await _stream(writer, _events(route, name), name)
        await _send(writer, 200, json.dumps(_whole(route, name)).encode(), {})
        return True

    async def _malformed_json(self, route: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        if not body.get("stream"):
            await _send(writer, 200, b'{"id": "x", "choices": [', {})
            return True
        event = b"event: message_start\n" if route == "anthropic" else b""
        await _send(writer, 200, event + b'data: {"id": "x", "choices": [\n\n', {}, "text/event-stream")
        return True


async def _send(
    writer: asyncio.StreamWriter, status: int, payload: bytes, headers: dict[str, str], kind: str = "application/json"
) -> None:
    fields = {"content-type": kind, "content-length": str(len(payload))} | headers
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"HTTP/1.1 {status} Fault\r\n{head}\r\n".encode() + payload)
    await writer.drain()


async def _stream(writer: asyncio.StreamWriter, events: Iterator[tuple[str, Any]], name: str) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    for event, data in events:
        text = data if isinstance(data, str) else json.dumps(data)
        chunk = (f"event: {event}\n" if event else "").encode() + f"data: {text}\n\n".encode()
        writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
    await writer.drain()
    if name == "cut_hard":
        writer.transport.abort()
        return False
    if name == "stall":
        await asyncio.sleep(30)
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


def _events(route: str, name: str) -> Iterator[tuple[str, Any]]:
    yield from _anthropic_events(name) if route == "anthropic" else _openai_events(name)


def _openai_events(name: str) -> Iterator[tuple[str, Any]]:
    def chunk(delta: dict[str, Any], finish: str | None = None, **extra: Any) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-2024-08-06"} | {
            "choices": [choice],
            **extra,
        }

    yield "", chunk({"role": "assistant", "content": ""})
    if name == "tool":
        for index, city in enumerate(("Paris", "Rome")):
            call = {"index": index, "id": f"call_{index}", "type": "function"}
            yield "", chunk({"tool_calls": [call | {"function": {"name": "get_weather", "arguments": ""}}]})
            for part in ('{"city": ', f'"{city}"}}'):
                yield "", chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
        yield "", chunk({}, "tool_calls")
        return
    if name == "refusal":
        yield "", chunk({"refusal": "I cannot "})
        yield "", chunk({"refusal": "help with that."})
        yield "", chunk({}, "stop")
        return
    if name == "thinking":
        yield "", chunk({"reasoning_content": "The user wants a capital."})
    if name == "nothing":
        yield "", chunk({}, "stop")
        return
    yield "", chunk({"content": TEXT[:5]})
    if name in {"cut", "cut_hard", "stall"}:
        return
    if name == "error_event":
        yield "", {"error": {"type": "server_error", "message": "the model crashed", "code": None}}
        return
    if name == "overloaded_event":
        yield "", {"error": {"type": "overloaded_error", "message": "Overloaded", "code": None}}
        return
    yield "", chunk({"content": TEXT[5:]})
    yield "", chunk({}, "content_filter" if name == "filtered" else "stop")
    if name != "no_usage":
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
        yield "", chunk({}) | {"choices": [], "usage": usage}
    yield "", "[DONE]"


def _anthropic_events(name: str) -> Iterator[tuple[str, Any]]:
    message = {"id": "m1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929"} | {
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 4,
            "cache_read_input_tokens": 5,
            "cache_creation_input_tokens": 2,
            "output_tokens": 1,
        },
    }
    yield "message_start", {"type": "message_start", "message": message}
    if name == "tool":
        yield from _anthropic_tools()
        return
    yield (
        "content_block_start",
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    )
    delta = {"type": "content_block_delta", "index": 0}
    yield "content_block_delta", delta | {"delta": {"type": "text_delta", "text": TEXT[:5]}}
    if name in {"cut", "cut_hard", "stall"}:
        return
    if name == "error_event":
        yield "error", {"type": "error", "error": {"type": "api_error", "message": "the model crashed"}}
        return
    if name == "overloaded_event":
        yield "error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        return
    yield "content_block_delta", delta | {"delta": {"type": "text_delta", "text": TEXT[5:]}}
    yield "content_block_stop", {"type": "content_block_stop", "index": 0}
    stop = "refusal" if name == "filtered" else "end_turn"
    yield (
        "message_delta",
        {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 7}},
    )
    yield "message_stop", {"type": "message_stop"}


def _anthropic_tools() -> Iterator[tuple[str, Any]]:
    for index, city in enumerate(("Paris", "Rome")):
        block = {"type": "tool_use", "id": f"call_{index}", "name": "get_weather", "input": {}}
        yield "content_block_start", {"type": "content_block_start", "index": index, "content_block": block}
        for part in ('{"city": ', f'"{city}"}}'):
            delta = {"type": "input_json_delta", "partial_json": part}
            yield "content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta}
        yield "content_block_stop", {"type": "content_block_stop", "index": index}
    stop = {"stop_reason": "tool_use", "stop_sequence": None}
    yield "message_delta", {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 9}}
    yield "message_stop", {"type": "message_stop"}


def _whole(route: str, name: str) -> dict[str, Any]:
    """A complete answer; ``no_usage`` and ``filtered`` change it."""
    if route == "anthropic":
        usage = {"input_tokens": 4, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 2, "output_tokens": 7}
        return {
            "id": "m1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5-20250929",
            "content": [{"type": "text", "text": TEXT}],
            "stop_reason": "refusal" if name == "filtered" else "end_turn",
            "stop_sequence": None,
            "usage": usage,
        }
    body: dict[str, Any] = {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-2024-08-06",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": TEXT},
                "finish_reason": "content_filter" if name == "filtered" else "stop",
            }
        ],
    }
    if name != "no_usage":
        body["usage"] = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    if name == "error_in_200":
        return {"error": {"type": "server_error", "message": "upstream is gone", "code": "bad_upstream"}}
    return body


@asynccontextmanager
async def fault_server() -> AsyncIterator[FaultServer]:
    """Serve on a free loopback port until the block ends."""
    state = FaultServer()
    server = await asyncio.start_server(state.handle, "127.0.0.1", 0)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        # A handler that is cancelled by the ending loop would be reported as a failure of the test.
        for task in state.handlers:
            task.cancel()
        await asyncio.wait(state.handlers) if state.handlers else None

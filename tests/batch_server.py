"""A loopback server of both vendors' batch APIs, as faithful as their own clients' types can tell.

Every object it sends is built as the official client's own model. Tests script it through attributes: what is answered,
how a batch ends, which requests meet a fault, when a batch may begin to end.
"""

import asyncio
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import time
from typing import Any

from aiohttp import web
from anthropic.types import Message
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse
from openai.types import Batch, FileObject
from openai.types.chat import ChatCompletion

OPENAI_KEY, ANTHROPIC_KEY = "key-of-openai-batches", "key-of-anthropic-batches"
Outcome = tuple[str, int]
"""``ok``, ``error``, ``expired`` or ``cancelled``, with a status for errors."""


def openai_answer(body: dict) -> dict:
    text = f"answer to {body['messages'][-1]['content']}"
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text, "refusal": None}}
    usage = {
        "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
        "prompt_tokens_details": {"cached_tokens": 40}, "completion_tokens_details": {"reasoning_tokens": 3},
    }  # fmt: skip
    completion = {"id": "c1", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice]}
    return ChatCompletion.model_validate(completion | {"usage": usage}).model_dump(mode="json", exclude_unset=True)


def anthropic_answer(body: dict) -> dict:
    content = body["messages"][-1]["content"]
    text = content if isinstance(content, str) else content[0]["text"]
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "stop_reason": "end_turn",
        "stop_sequence": None, "content": [{"type": "text", "text": f"answer to {text}"}],
        "usage": {
            "input_tokens": 60, "output_tokens": 20, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 0,
        },
    }  # fmt: skip
    return Message.model_validate(message).model_dump(mode="json", exclude_unset=True)


@dataclass
class Held:
    """One batch."""

    id: str
    vendor: str
    requests: list[tuple[str, dict]]
    created: float
    metadata: dict | None = None
    looks: int = 0
    status: str = "in_progress"
    cancelled: bool = False
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    errors: list[dict] = field(default_factory=list)


class BatchServer:
    """State and script of the server; safe to read from the test's thread."""

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, tuple[str, bytes]] = {}
        self.batches: dict[str, Held] = {}
        self.live: list[dict] = []
        """Bodies asked live."""
        self.looks_needed = 2
        """A batch ends with this look at it."""
        self.gate = threading.Event()
        """No batch ends before it is set."""
        self.gate.set()
        self.hold_creation = threading.Event()
        """While it is clear a created batch is not confirmed."""
        self.hold_creation.set()
        self.created = threading.Event()
        self.outcome: Callable[[dict, int], Outcome] = lambda _body, _times: ("ok", 200)
        """How a request ends, by its body and how often it was asked before."""
        self.answers: dict[str, Callable[[dict], dict]] = {"openai": openai_answer, "anthropic": anthropic_answer}
        self.faults: list[tuple[str, int | str]] = []
        """Regular expression of ``METHOD /path`` and a status, ``drop``, or ``after`` (done, and then dropped); each
        is met once."""
        self.refuse: Callable[[Held], list[dict]] = lambda _batch: []
        self.mangle: Callable[[list[bytes]], list[bytes]] = lambda lines: lines
        self.truncate = 0
        """So many downloads of results break off."""
        self.asked: Counter[str] = Counter()
        """Requests that were paid, by what they ask."""
        self.seen: list[str] = []
        self.page = 2

    # What happens to a batch

    def make(self, vendor: str, requests: list[tuple[str, dict]], metadata: dict | None) -> Held:
        number = len(self.batches) + 1
        name = f"batch_{number}" if vendor == "openai" else f"msgbatch_{number}"
        batch = Held(id=name, vendor=vendor, requests=requests, created=time(), metadata=metadata)
        assert len({custom for custom, _ in requests}) == len(requests), "custom ids must be unique"
        assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", custom) for custom, _ in requests)
        self.batches[name] = batch
        self.created.set()
        return batch

    def look(self, batch: Held) -> None:
        batch.looks += 1
        if batch.outcomes or batch.status == "failed":
            return
        batch.errors = self.refuse(batch)
        if batch.errors:
            batch.status = "failed"
        elif batch.cancelled or (batch.looks >= self.looks_needed and self.gate.is_set()):
            self.end(batch)

    def end(self, batch: Held) -> None:
        for custom, body in batch.requests:
            what = question(body)
            kind, status = self.outcome(body, self.asked[what])
            if batch.cancelled and kind == "ok" and not batch.outcomes.get(custom):
                kind = "ok" if len(batch.outcomes) < len(batch.requests) // 2 else "cancelled"
            if kind == "ok":
                self.asked[what] += 1
            else:
                self.asked[f"{kind} {what}"] += 1
            batch.outcomes[custom] = (kind, status)
        kinds = {kind for kind, _ in batch.outcomes.values()}
        batch.status = "cancelled" if batch.cancelled else "expired" if "expired" in kinds else "completed"

    def counted(self, batch: Held, *kinds: str) -> int:
        return sum(kind in kinds for kind, _ in batch.outcomes.values())

    # OpenAI

    def openai_batch(self, batch: Held) -> dict:
        ended = bool(batch.outcomes)
        failed = self.counted(batch, "error", "expired", "cancelled")
        value: dict[str, Any] = {
            "id": batch.id, "object": "batch", "endpoint": "/v1/chat/completions", "completion_window": "24h",
            "input_file_id": f"file-in-{batch.id}", "created_at": int(batch.created), "metadata": batch.metadata,
            "status": "validating" if batch.looks < 1 else batch.status,
            "request_counts": {
                "total": len(batch.requests), "completed": self.counted(batch, "ok"), "failed": failed,
            },
            "output_file_id": f"out-{batch.id}" if ended and self.counted(batch, "ok") else None,
            "error_file_id": f"err-{batch.id}" if ended and failed else None,
        }  # fmt: skip
        if batch.cancelled and not ended:
            value["status"] = "cancelling"
        if batch.errors:
            value["errors"] = {"object": "list", "data": batch.errors}
        return Batch.model_validate(value).model_dump(mode="json")

    def openai_lines(self, batch: Held, *, errors: bool) -> list[bytes]:
        lines = []
        for number, (custom, body) in enumerate(batch.requests):
            kind, status = batch.outcomes[custom]
            if (kind == "ok") is errors:
                continue
            line: dict[str, Any] = {"id": f"r{number}", "custom_id": custom, "response": None, "error": None}
            if kind == "ok":
                answer = self.answers["openai"](body)
                line["response"] = {"status_code": 200, "request_id": f"q{number}", "body": answer}
            elif kind == "error":
                error = {"message": f"refused with {status}", "type": "an_error", "param": None, "code": None}
                line["response"] = {"status_code": status, "request_id": f"q{number}", "body": {"error": error}}
            else:
                line["error"] = {"code": f"batch_{kind}", "message": "This request could not be executed in time."}
            lines.append(json.dumps(line).encode())
        return lines

    # Anthropic

    def anthropic_batch(self, batch: Held) -> dict:
        ended = bool(batch.outcomes)
        made = datetime.fromtimestamp(batch.created, UTC)
        counts = {
            "succeeded": self.counted(batch, "ok"), "errored": self.counted(batch, "error"),
            "expired": self.counted(batch, "expired"), "canceled": self.counted(batch, "cancelled"),
        }  # fmt: skip
        value = {
            "id": batch.id, "type": "message_batch", "created_at": made, "expires_at": made + timedelta(hours=24),
            "processing_status": "ended" if ended else "canceling" if batch.cancelled else "in_progress",
            "request_counts": counts | {"processing": 0 if ended else len(batch.requests)},
            "ended_at": datetime.now(UTC) if ended else None,
            "results_url": f"{self.url}/v1/messages/batches/{batch.id}/results" if ended else None,
        }  # fmt: skip
        return MessageBatch.model_validate(value).model_dump(mode="json")

    def anthropic_lines(self, batch: Held) -> list[bytes]:
        types = {400: "invalid_request_error", 429: "rate_limit_error", 500: "api_error", 529: "overloaded_error"}
        lines = []
        for custom, body in batch.requests:
            kind, status = batch.outcomes[custom]
            result: dict[str, Any]
            if kind == "ok":
                result = {"type": "succeeded", "message": self.answers["anthropic"](body)}
            elif kind == "error":
                error = {"type": types[status], "message": f"refused with {status}"}
                result = {"type": "errored", "error": {"type": "error", "request_id": "q", "error": error}}
            else:
                result = {"type": "canceled" if kind == "cancelled" else "expired"}
            line = {"custom_id": custom, "result": result}
            MessageBatchIndividualResponse.model_validate(line)
            lines.append(json.dumps(line).encode())
        return lines


def question(body: dict) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[0]["text"]


def application(state: BatchServer) -> web.Application:  # noqa: C901  one route after the other
    routes = web.RouteTableDef()

    def found(request: web.Request) -> Held:
        batch = state.batches.get(request.match_info["id"])
        if batch is None:
            raise web.HTTPNotFound(text=json.dumps({"error": {"message": "no such batch", "type": "not_found_error"}}))
        return batch

    async def confirmed(value: dict) -> web.Response:
        await asyncio.to_thread(state.hold_creation.wait, 60)
        return web.json_response(value)

    @routes.post("/v1/chat/completions")
    async def chat(request: web.Request) -> web.Response:
        body = await request.json()
        state.live.append(body)
        return web.json_response(state.answers["openai"](body))

    @routes.post("/v1/messages")
    async def messages(request: web.Request) -> web.Response:
        body = await request.json()
        state.live.append(body)
        return web.json_response(state.answers["anthropic"](body))

    @routes.post("/v1/files")
    async def upload(request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        file = form["file"]
        assert isinstance(file, web.FileField)
        name, content = f"file-{len(state.files) + 1}", file.file.read()
        state.files[name] = (file.filename, content)
        value = {
            "id": name, "object": "file", "bytes": len(content), "created_at": int(time()), "filename": file.filename,
            "purpose": "batch", "status": "processed",
        }  # fmt: skip
        return web.json_response(FileObject.model_validate(value).model_dump(mode="json"))

    @routes.get("/v1/files/{id}/content")
    async def content(request: web.Request) -> web.StreamResponse:
        side, _, batch = request.match_info["id"].partition("-")
        return await download(request, state.openai_lines(state.batches[batch], errors=side == "err"))

    async def download(request: web.Request, lines: list[bytes]) -> web.StreamResponse:
        whole = b"\n".join(state.mangle(lines)) + b"\n"
        response = web.StreamResponse(headers={"content-type": "application/octet-stream"})
        response.content_length = len(whole)
        await response.prepare(request)
        if state.truncate:
            state.truncate -= 1
            await response.write(whole[: len(whole) // 2])
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write(whole)
        return response

    @routes.post("/v1/batches")
    async def create(request: web.Request) -> web.Response:
        body = await request.json()
        assert body["endpoint"] == "/v1/chat/completions"
        lines = [json.loads(line) for line in state.files[body["input_file_id"]][1].splitlines()]
        assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
        assert len({line["body"]["model"] for line in lines}) == 1, "one model per file"
        batch = state.make("openai", [(line["custom_id"], line["body"]) for line in lines], body.get("metadata"))
        return await confirmed(state.openai_batch(batch))

    @routes.get("/v1/batches")
    async def list_openai(request: web.Request) -> web.Response:
        items = [batch for batch in reversed(state.batches.values()) if batch.vendor == "openai"]
        for batch in items:
            state.look(batch)
        names = [batch.id for batch in items]
        after = request.query.get("after")
        start = names.index(after) + 1 if after else 0
        page = items[start : start + state.page]
        data = [state.openai_batch(batch) for batch in page]
        more = start + state.page < len(items)
        return web.json_response({"object": "list", "data": data, "has_more": more})

    @routes.get("/v1/batches/{id}")
    async def retrieve(request: web.Request) -> web.Response:
        batch = found(request)
        state.look(batch)
        return web.json_response(state.openai_batch(batch))

    @routes.post("/v1/batches/{id}/cancel")
    async def cancel(request: web.Request) -> web.Response:
        batch = found(request)
        batch.cancelled = True
        return web.json_response(state.openai_batch(batch))

    @routes.post("/v1/messages/batches")
    async def create_messages(request: web.Request) -> web.Response:
        body = await request.json()
        batch = state.make("anthropic", [(item["custom_id"], item["params"]) for item in body["requests"]], None)
        return await confirmed(state.anthropic_batch(batch))

    @routes.get("/v1/messages/batches")
    async def list_messages(request: web.Request) -> web.Response:
        items = [batch for batch in reversed(state.batches.values()) if batch.vendor == "anthropic"]
        for batch in items:
            state.look(batch)
        names = [batch.id for batch in items]
        after = request.query.get("after_id")
        start = names.index(after) + 1 if after else 0
        page = items[start : start + state.page]
        ends = {"first_id": page[0].id if page else None, "last_id": page[-1].id if page else None}
        data = [state.anthropic_batch(batch) for batch in page]
        return web.json_response({"data": data, "has_more": start + state.page < len(items)} | ends)

    @routes.get("/v1/messages/batches/{id}")
    async def retrieve_messages(request: web.Request) -> web.Response:
        batch = found(request)
        state.look(batch)
        return web.json_response(state.anthropic_batch(batch))

    @routes.get("/v1/messages/batches/{id}/results")
    async def results(request: web.Request) -> web.StreamResponse:
        return await download(request, state.anthropic_lines(found(request)))

    @routes.post("/v1/messages/batches/{id}/cancel")
    async def cancel_messages(request: web.Request) -> web.Response:
        batch = found(request)
        batch.cancelled = True
        return web.json_response(state.anthropic_batch(batch))

    @web.middleware
    async def scripted(request: web.Request, handler: Any) -> web.StreamResponse:
        line = f"{request.method} {request.path}"
        state.seen.append(line)
        bearer, key = request.headers.get("authorization", ""), request.headers.get("x-api-key", "")
        if {bearer.removeprefix("Bearer "), key}.isdisjoint({OPENAI_KEY, ANTHROPIC_KEY}):
            return web.json_response({"error": {"message": "bad key", "type": "authentication_error"}}, status=401)
        fault = next((fault for fault in state.faults if re.fullmatch(fault[0], line)), None)
        if fault is None:
            return await handler(request)
        state.faults.remove(fault)
        if isinstance(fault[1], int):
            return web.json_response({"error": {"message": "scripted", "type": "api_error"}}, status=fault[1])
        if fault[1] == "after":
            await handler(request)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    app = web.Application(middlewares=[scripted], client_max_size=300 * 2**20)
    app.add_routes(routes)
    return app


@contextmanager
def batch_server() -> Iterator[BatchServer]:
    """A server in a thread of its own."""
    state, loop, ready = BatchServer(), asyncio.new_event_loop(), threading.Event()

    async def start() -> web.AppRunner:
        runner = web.AppRunner(application(state), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        state.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    def run() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(start())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run, name="batch-server")
    thread.start()
    assert ready.wait(30)
    try:
        yield state
    finally:
        state.gate.set()
        state.hold_creation.set()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)

"""A loopback provider for the official clients: all surfaces, streamed or whole, and as broken as a test wants."""

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TEXT = "Grüße aus Paris"


def chat(text: str = TEXT) -> dict:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def chat_stream() -> list[bytes]:
    def event(delta: dict, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"

    return [event({"role": "assistant", "content": TEXT[:8]}), event({"content": TEXT[8:]}), event({}, "stop"),
            b"data: [DONE]\n\n"]  # fmt: skip


def message() -> dict:
    return {
        "id": "msg", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
        "stop_sequence": None, "content": [{"type": "text", "text": TEXT}],
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }  # fmt: skip


def message_stream() -> list[bytes]:
    start = message() | {"content": [], "stop_reason": None}
    events = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
         "usage": {"output_tokens": 4}},
        {"type": "message_stop"},
    ]  # fmt: skip
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]


def response() -> dict:
    part = {"type": "output_text", "text": TEXT, "annotations": []}
    item = {"type": "message", "id": "i", "role": "assistant", "status": "completed", "content": [part]}
    return {
        "id": "r", "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": [item],
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    }  # fmt: skip


def response_stream() -> list[bytes]:
    delta = {"type": "response.output_text.delta", "sequence_number": 1, "item_id": "i", "output_index": 0,
             "content_index": 0, "delta": TEXT, "logprobs": []}  # fmt: skip
    done = {"type": "response.completed", "sequence_number": 2, "response": response()}
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in (delta, done)]


def completion() -> dict:
    choice = {"index": 0, "text": TEXT, "finish_reason": "stop", "logprobs": None}
    return {"id": "t", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]}


WHOLE: dict[str, Callable[[], dict]] = {
    "/v1/chat/completions": chat, "/v1/messages": message, "/v1/responses": response, "/v1/completions": completion,
    "/v1/embeddings": lambda: {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
                               "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}},
}  # fmt: skip
STREAMED: dict[str, Callable[[], list[bytes]]] = {
    "/v1/chat/completions": chat_stream, "/v1/messages": message_stream, "/v1/responses": response_stream,
}  # fmt: skip


class Provider:
    """Answers ``statuses`` first, one per request, then 200; what it was sent and what it sent is kept."""

    def __init__(self) -> None:
        self.port = 0
        self.statuses: list[int] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.sent: list[bytes] = []
        self.coding: str | None = None
        self.cut_after: int | None = None
        """Streams break off after so many events."""
        self.gap_s = 0.0
        """Pause between two events."""
        self.delay_s = 0.0

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class _Handler(BaseHTTPRequestHandler):
    provider: Provider
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        # A client that leaves is what some tests are about.
        with suppress(OSError):
            super().handle()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.provider.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        time.sleep(self.provider.delay_s)
        status = self.provider.statuses.pop(0) if self.provider.statuses else 200
        if status != 200:
            error = {"message": f"status {status}", "type": "server_error", "code": None}
            self._whole(status, json.dumps({"type": "error", "error": error}).encode())
        elif json.loads(body).get("stream"):
            self._stream(STREAMED[self.path]())
        else:
            self._whole(200, json.dumps(WHOLE[self.path]()).encode())

    def _head(self, status: int, kind: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("x-request-id", "req-1")
        self.send_header("x-ratelimit-remaining-tokens", "99")
        self.send_header("set-cookie", "secret=1")
        if self.provider.coding:
            self.send_header("content-encoding", self.provider.coding)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _whole(self, status: int, body: bytes) -> None:
        body = gzip.compress(body, mtime=0) if self.provider.coding else body
        self.provider.sent.append(body)
        self._head(status, "application/json", content_length=str(len(body)), retry_after_ms="1")
        self.wfile.write(body)

    def _stream(self, events: list[bytes]) -> None:
        self._head(200, "text/event-stream", transfer_encoding="chunked")
        pieces = [gzip.compress(b"".join(events), mtime=0)] if self.provider.coding else events
        self.provider.sent.append(b"".join(pieces))
        for number, piece in enumerate(pieces):
            if number == self.provider.cut_after:
                self.close_connection = True
                return
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.flush()
            time.sleep(self.provider.gap_s)
        self.wfile.write(b"0\r\n\r\n")


@contextmanager
def serving(provider: Provider) -> Iterator[Provider]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"provider": provider}))
    server.daemon_threads = True
    provider.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

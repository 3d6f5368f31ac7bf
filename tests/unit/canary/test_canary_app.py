"""The application alone, with somebody in the place of the candidate: what it sends, and what it lets go of."""

import asyncio
import json

import pytest

from harness.canary.app import Canary
from harness.canary.request import Shape
from harness.canary.unfit import Unfit
from harness.domain.unanswered import Reason

TOKEN = "token-of-this-gateway"
CHAT = "/v1/chat/completions"


class Asked:
    """Answers with what a test gives it, and remembers what it was asked and whether it was let go."""

    def __init__(self, *events, whole=None, fails=None, waits=False):
        self.events, self.whole, self.fails, self.waits = events, whole, fails, waits
        self.asked, self.closed, self.cancelled = [], False, False

    async def ask(self, shape, body):
        self.asked.append((shape, body))
        if self.whole is not None:
            return self.whole
        if not self.events:
            await self._end()
        return self._stream()

    async def _stream(self):
        try:
            for event in self.events:
                yield event
            await self._end()
        finally:
            self.closed = True

    async def _end(self):
        if self.waits:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
        if self.fails is not None:
            raise self.fails


class Exchange:
    """One request to the application."""

    def __init__(self, body=b"{}", path=CHAT, method="POST", token=TOKEN, pieces=1):
        headers = [] if token is None else [(b"x-shadow-canary-token", token.encode("latin-1"))]
        self.scope = {"type": "http", "path": path, "method": method, "headers": headers}
        size = max(1, -(-len(body) // pieces))
        parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
        self._messages = [
            {"type": "http.request", "body": part, "more_body": part is not parts[-1]} for part in parts
        ]  # fmt: skip
        self.left = asyncio.Event()
        self.sent = []

    async def receive(self):
        if self._messages:
            return self._messages.pop(0)
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def headers(self):
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self):
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def ended(self):
        return not self.sent[-1].get("more_body", False)


async def exchange(asked, *, deadline_s=5.0, limit=1_000, **request):
    app = Canary(asked, token=TOKEN, deadline_s=deadline_s, max_request_bytes=limit)
    made = Exchange(**request)
    await app(made.scope, made.receive, made.send)
    return made


async def test_a_whole_answer_has_a_length():
    asked = Asked(whole=b'{"a": 1}')
    made = await exchange(asked, body=b'{"messages": []}', pieces=4)
    assert (made.status, made.body) == (200, b'{"a": 1}')
    assert made.headers == {"content-type": "application/json", "content-length": "8"}
    assert asked.asked == [(Shape.CHAT, {"messages": []})]


async def test_a_stream_is_passed_on_event_by_event_and_ends():
    made = await exchange(Asked(b"data: 1\n\n", b"data: 2\n\n"))
    assert made.headers == {"content-type": "text/event-stream"}
    assert [message["body"] for message in made.sent[1:]] == [b"data: 1\n\n", b"data: 2\n\n", b""]
    assert made.ended


@pytest.mark.parametrize(
    ("fails", "reason"),
    [
        (Unfit(Reason.RATE_LIMIT), "rate_limit"),
        (RuntimeError("secret"), "internal"),
        (RecursionError(), "internal"),
        (TimeoutError(), "timeout"),
    ],
)
async def test_a_failure_is_told_by_headers_before_the_first_event_and_by_a_comment_after_it(fails, reason, caplog):
    made = await exchange(Asked(fails=fails))
    assert (made.status, made.headers["x-shadow-canary"], made.headers["x-shadow-canary-reason"]) == (
        503, "failed", reason,
    )  # fmt: skip
    asked = Asked(b"data: 1\n\n", fails=fails)
    made = await exchange(asked)
    assert (made.status, made.ended, asked.closed) == (200, True, True)
    assert made.body == b"data: 1\n\n: shadow-canary-failed " + reason.encode() + b"\n\n"
    assert "secret" not in caplog.text


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.is_not_asked])
async def test_what_only_production_can_answer_is_told_apart(reason):
    made = await exchange(Asked(fails=Unfit(reason)))
    assert (made.status, made.headers["x-shadow-canary"], made.headers["x-shadow-canary-reason"]) == (
        501, "not_asked", reason,
    )  # fmt: skip


@pytest.mark.parametrize("events", [(), (b"data: 1\n\n",)])
async def test_the_deadline_is_of_the_whole_answer(events):
    asked = Asked(*events, waits=True)
    made = await exchange(asked, deadline_s=0.05)
    assert asked.cancelled
    assert made.ended
    if events:
        assert made.body.endswith(b": shadow-canary-failed timeout\n\n")
    else:
        assert made.headers["x-shadow-canary-reason"] == "timeout"


@pytest.mark.parametrize("events", [(), (b"data: 1\n\n",)])
async def test_the_candidate_is_let_go_with_the_client(events):
    asked = Asked(*events, waits=True)
    app = Canary(asked, token=TOKEN, deadline_s=60, max_request_bytes=1_000)
    made = Exchange()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(app(made.scope, made.receive, made.send))
        await asyncio.sleep(0.05)
        made.left.set()
    assert asked.cancelled
    assert asked.closed == bool(events)


@pytest.mark.parametrize("token", [None, "", "token-of-this-gatewa", "tökén"])
async def test_nobody_else_is_answered(token):
    asked = Asked(whole=b"{}")
    made = await exchange(asked, token=token)
    assert (made.status, made.body, asked.asked) == (403, b"", [])


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"path": "/v1/embeddings"}, "unsupported_surface"),
        ({"path": "/v1/threads/t/messages"}, "unsupported_surface"),
        ({"path": "/v1/responses/r"}, "unsupported_surface"),
        ({"method": "GET"}, "unsupported_surface"),
        ({"body": b"x" * 1_001, "pieces": 3}, "request_too_large"),
        ({"body": b""}, "unreadable_request"),
        ({"body": b"{"}, "unreadable_request"),
        ({"body": b"\xff"}, "unreadable_request"),
        ({"body": b'{"a": NaN}'}, "unreadable_request"),
        ({"body": b'{"a": "\\ud800"}'}, "unreadable_request"),
        ({"body": b"[1]"}, "unreadable_request"),
        ({"body": b"[" * 5_000, "limit": 10_000}, "unreadable_request"),
        ({"body": b'{"a":' * 2_000 + b"1" + b"}" * 2_000, "limit": 100_000}, "unreadable_request"),
    ],
)
async def test_what_cannot_be_asked_is_not(request_, reason):
    asked = Asked(whole=b"{}")
    made = await exchange(asked, **request_)
    assert (made.status, made.headers["x-shadow-canary-reason"], asked.asked) == (501, reason, [])


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/chat/completions", Shape.CHAT),
        ("/openai/deployments/d/chat/completions", Shape.CHAT),
        ("/v1/responses", Shape.RESPONSES),
        ("/anthropic/v1/messages", Shape.MESSAGES),
    ],
)
async def test_the_end_of_the_path_tells_the_api(path, shape):
    asked = Asked(whole=b"{}")
    await exchange(asked, path=path, body=json.dumps({"a": 1}).encode())
    assert asked.asked == [(shape, {"a": 1})]

"""What a call beside live traffic may read, and where it may go."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelError, ModelSpec, Price
from harness.domain.observation import ErrorKind
from harness.models.litellm_client import LitellmClient
from tests.upstream import chat_completion, chunks

REQUEST = ChatRequest(model="m", messages=({"role": "user", "content": "Capital of France?"},))
ROUTES = {"openai": "openai/m", "anthropic": "anthropic/m"}


class Server:
    """Answers as it is told and counts what it sent."""

    def __init__(self) -> None:
        self.mode = "good"
        self.asked: list[dict] = []
        self.sent = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(dict(request.headers))
        if self.mode == "redirect" and "elsewhere" not in request.path:
            raise web.HTTPTemporaryRedirect("/elsewhere/v1/chat/completions")
        if self.mode == "good" and not body.get("stream"):
            return web.Response(body=chat_completion(body, "Paris."), content_type="application/json")
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        parts = chunks(body, "Paris.") if self.mode == "good" else endless(body)
        try:
            for part in parts:
                await response.write(part)
                self.sent += len(part)
                await asyncio.sleep(0)
        except ConnectionError:
            pass
        return response


def endless(body: dict):
    first = chunks(body, "x" * 10_000)[0]
    for _ in range(50_000):
        yield first


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    served = Server()
    app = web.Application()
    app.router.add_post("/{tail:.*}", served.answer)
    async with TestServer(app) as running:
        yield served, str(running.make_url("/"))


@pytest.fixture
async def client() -> AsyncIterator[LitellmClient]:
    client = LitellmClient(max_response_bytes=1 << 20, headers={"x-shadow-harness-internal": "worker"})
    yield client
    await client.aclose()


def spec(base: str, *, route: str = "openai", stream: bool = True) -> ModelSpec:
    path = "v1" if route == "openai" else ""
    return ModelSpec(
        model=ROUTES[route], api_base=f"{base}{path}", stream=stream, price=Price(input_per_mtok=1, output_per_mtok=1)
    )


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_within_the_bound_is_read_and_the_call_says_whose_it_is(server, client, stream):
    served, base = server

    reply = await client.complete(REQUEST, spec(base, stream=stream), deadline_s=10)

    assert reply.completion.text == "Paris."
    assert served.asked[0]["x-shadow-harness-internal"] == "worker"
    assert served.asked[0]["Accept-Encoding"] == "identity"


async def test_reading_stops_at_the_bound(server, client):
    served, base = server
    served.mode = "endless"

    with pytest.raises(ModelError) as caught:
        await client.complete(REQUEST, spec(base), deadline_s=20)

    assert caught.value.error.kind is ErrorKind.MALFORMED_RESPONSE
    assert caught.value.error.code == "response_too_large"
    assert served.sent < 20 << 20, "the rest was never read"


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_redirect_is_not_followed(server, client, route, stream):
    served, base = server
    served.mode = "redirect"

    with pytest.raises(ModelError) as caught:
        await client.complete(REQUEST, spec(base, route=route, stream=stream), deadline_s=10)

    assert len(served.asked) == 1
    assert caught.value.error.kind is ErrorKind.NOT_FOUND, json.dumps(caught.value.error.message)

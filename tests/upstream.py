"""A loopback model server for tests: OpenAI chat, instant and counted, or as slow and broken as a test wants.

Run as a script it prints its port and appends one line per request to a log, so that a test can count what was asked
even after it has killed the asker.
"""

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ANSWER = "The capital of France is Paris."


def answer_to(body: dict) -> str:
    """What the model says: a function of the question, so that two runs agree."""
    question = body["messages"][-1]["content"]
    return f"{ANSWER} ({len(question)})" if isinstance(question, str) else ANSWER


def usage_of(body: dict, text: str) -> dict:
    prompt = sum(len(str(message.get("content"))) for message in body["messages"]) // 4
    return {"prompt_tokens": prompt, "completion_tokens": len(text) // 4, "total_tokens": prompt + len(text) // 4}


def chat_completion(body: dict, text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    reply = {"id": "c1", "object": "chat.completion", "created": 1, "model": "upstream", "choices": [choice]}
    return json.dumps(reply | {"usage": usage_of(body, text)}).encode()


def chunks(body: dict, text: str) -> list[bytes]:
    def line(delta: dict, finish: str | None = None, **more) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "upstream", "choices": [choice]}
        return b"data: " + json.dumps(chunk | more).encode() + b"\n\n"

    usage = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "upstream", "choices": []}
    last = b"data: " + json.dumps(usage | {"usage": usage_of(body, text)}).encode() + b"\n\n"
    return [line({"role": "assistant", "content": text}), line({}, "stop"), last, b"data: [DONE]\n\n"]


class Upstream:
    """Serves until closed; ``delay_s`` is how long every answer takes."""

    def __init__(self, log: Path | None = None, *, delay_s: float = 0.0) -> None:
        self.questions: list[str] = []
        self._log = log.open("a", encoding="utf-8") if log is not None else None
        self._delay_s = delay_s
        self.port = 0

    async def start(self) -> "asyncio.Server":
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                body = json.loads(await reader.readexactly(length))
                self._note(body)
                await asyncio.sleep(self._delay_s)
                await self._answer(writer, body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _note(self, body: dict) -> None:
        question = body["messages"][-1]["content"]
        self.questions.append(question)
        if self._log is not None:
            self._log.write(json.dumps(question) + "\n")
            self._log.flush()

    async def _answer(self, writer: asyncio.StreamWriter, body: dict) -> None:
        text = answer_to(body)
        if not body.get("stream"):
            payload = chat_completion(body, text)
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
            writer.write(head.encode() + payload)
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            for part in chunks(body, text):
                writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            writer.write(b"0\r\n\r\n")
        await writer.drain()


@contextmanager
def in_thread(upstream: Upstream) -> Iterator[Upstream]:
    """Serve in a thread of its own, for tests whose caller needs the event loop to itself."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(upstream.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def stop() -> None:
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    try:
        yield upstream
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _main(log: Path, delay_s: float) -> None:
    upstream = Upstream(log, delay_s=delay_s)
    server = await upstream.start()
    sys.stdout.write(f"{upstream.port}\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), float(sys.argv[2])))

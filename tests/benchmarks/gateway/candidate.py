"""A candidate that answers, hangs, fails, throttles or never ends; prints its port."""

import argparse
import asyncio
import contextlib
import json
import sys

ANSWER = json.dumps(
    {
        "id": "c", "object": "chat.completion", "created": 1, "model": "candidate",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
    }
).encode()  # fmt: skip
ERRORS = {"500": (500, "Internal Server Error"), "429": (429, "Too Many Requests")}
CHUNK = b"data: " + json.dumps(
    {"id": "c", "object": "chat.completion.chunk", "model": "candidate",
     "choices": [{"index": 0, "delta": {"content": "la " * 300}, "finish_reason": None}]}
).encode() + b"\n\n"  # fmt: skip


async def serve(mode: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0]) if b"content-length:" in head else 0
            await reader.readexactly(length)
            await answer(mode, writer)
    writer.close()


async def answer(mode: str, writer: asyncio.StreamWriter) -> None:
    if mode == "hangs":
        await asyncio.sleep(3600)
    elif mode == "endless":
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"%x\r\n" % len(CHUNK) + CHUNK + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)
    else:
        status, reason = ERRORS.get(mode, (200, "OK"))
        body = ANSWER if status == 200 else b'{"error":{"message":"no","type":"no"}}'
        head = f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=["answers", "hangs", "500", "429", "endless"])
    mode = parser.parse_args().mode
    server = await asyncio.start_server(lambda reader, writer: serve(mode, reader, writer), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

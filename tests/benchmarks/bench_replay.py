"""Throughput and memory of a replay beside a bare litellm loop.

    python tests/benchmarks/bench_replay.py [--requests 2000] [--memory-requests 8000] [--concurrency 16]

An instant upstream runs in a process of its own. Two more processes take turns, round by round: one awaits
``litellm.acompletion`` in a loop, the other runs the real replay (client stack, runner, a SQLite file). Both keep the
same number of calls in flight and use the same stream setting. The table shows medians over the rounds, since
neighbours on the machine disturb single rounds; CPU per request is the steadier figure. Targets: at least 1.6 times
the bare loop's throughput, and a peak memory that does not grow with the number of requests.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

QUESTION = "Explain in a few sentences why the sky is blue, and what changes at sunset. " * 8
ANSWER = "Sunlight is scattered by the molecules of the air, and blue light more than red light. " * 7
USAGE = {"prompt_tokens": 150, "completion_tokens": 140, "total_tokens": 290}
BASE: dict[str, Any] = {"id": "chatcmpl-1", "created": 1_750_000_000, "model": "instant-1"}
Round = Callable[[int], Awaitable[None]]


def _whole() -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
    body = json.dumps(BASE | {"object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _stream() -> bytes:
    words = ANSWER.split(" ")
    pieces = [" ".join(words[i : i + 12]) + " " for i in range(0, len(words), 12)]
    deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": piece}, None) for piece in pieces]
    deltas.append(({}, "stop"))
    events = [{"choices": [{"index": 0, "delta": delta, "finish_reason": end}]} for delta, end in deltas]
    events.append({"choices": [], "usage": USAGE})
    lines = [f"data: {json.dumps(BASE | {'object': 'chat.completion.chunk'} | event)}\n\n" for event in events]
    body = "".join([*lines, "data: [DONE]\n\n"]).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(body)
    return head + body


class Upstream(asyncio.Protocol):
    """Answers every request on a kept-alive connection at once."""

    replies: ClassVar = {False: _whole(), True: _stream()}

    def connection_made(self, transport: Any) -> None:
        """Begin with nothing read."""
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            if len(self.buffer) < end + 4 + length:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
            self.reply(self.replies[b'"stream":true' in body.replace(b" ", b"")])

    def reply(self, answer: bytes) -> None:
        """Send one answer."""
        self.transport.write(answer)


async def upstream() -> None:
    """Serve until killed; prints the port."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def bare(base: str, *, stream: bool, concurrency: int, round_: Callable[[Round], Awaitable[None]]) -> None:
    """``litellm.acompletion`` and nothing else."""
    import litellm

    litellm.suppress_debug_info = True

    async def one() -> None:
        options = {"stream_options": {"include_usage": True}} if stream else {}
        answer = await litellm.acompletion(
            model="openai/instant-1", api_base=base, api_key="none", messages=[{"role": "user", "content": QUESTION}],
            temperature=0.5, stream=stream, max_retries=0, num_retries=0, **options,
        )  # fmt: skip
        text = ""
        if stream:
            async for chunk in answer:
                if chunk.choices:
                    text += chunk.choices[0].delta.content or ""
        else:
            text = answer.choices[0].message.content
        assert text.strip() == ANSWER.strip()

    async def run(n: int) -> None:
        left = iter(range(n))

        async def worker() -> None:
            for _ in left:
                await one()

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(worker())

    await round_(run)


async def ours(
    base: str, *, stream: bool, concurrency: int, total: int, round_: Callable[[Round], Awaitable[None]]
) -> None:
    """The real thing: exchanges from a SQLite file, the client stack, observations into the file."""
    from harness.config import Replay
    from harness.domain.exchange import ChatRequest, Exchange
    from harness.domain.model import ModelSpec
    from harness.models.factory import build_client
    from harness.replay import replay
    from harness.store import Store
    from harness.testing import exchange

    request = ChatRequest(
        model="gpt-4o", messages=({"role": "user", "content": QUESTION},), params={"temperature": 0.5}
    )

    def sampled() -> Iterator[tuple[Exchange, float]]:
        for i in range(total):
            yield exchange(ANSWER, id=f"e{i:06}", request=request), float(i)

    spec = ModelSpec(model="openai/instant-1", api_base=base, stream=stream)
    client = build_client(replay=Replay(concurrency=concurrency))
    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{folder}/store.db") as store:
        items = sampled()
        while batch := list(islice(items, 500)):
            store.put_exchanges("r", batch)

        async def run(n: int) -> None:
            result = await replay(
                islice(store.pending_exchanges("r", "c", "f"), n), client=client, spec=spec, arm="c", fingerprint="f",
                write=lambda rows: store.put_observations("r", rows), concurrency=concurrency, deadline_s=60.0,
            )  # fmt: skip
            assert result.completed == n, result

        await round_(run)
    await client.aclose()


async def serve_rounds(run: Round) -> None:
    """One round per line of standard input: its size in, its figures out."""
    await run(50)
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        n = int(line)
        begin, cpu = time.perf_counter(), time.process_time()
        await run(n)
        elapsed, used = time.perf_counter() - begin, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"rate": n / elapsed, "cpu_ms": used / n * 1000, "peak_mb": peak}), flush=True)


class Side:
    """One measured process."""

    def __init__(self, kind: str, port: int, *, stream: bool, concurrency: int, total: int) -> None:
        environment = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
        command = [sys.executable, __file__, "--side", kind, "--port", str(port), "--concurrency", str(concurrency)]
        command += ["--total", str(total), *(["--stream"] if stream else [])]
        root = str(Path(__file__).parents[2])
        environment["PYTHONPATH"] = os.pathsep.join([root, environment.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._read()

    def _read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a measured process ended with {self.process.wait()}")
        return line

    def measure(self, n: int) -> dict[str, float]:
        """Run one round."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{n}\n")
        self.process.stdin.flush()
        figures: dict[str, float] = json.loads(self._read())
        return figures

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def compare(port: int, *, stream: bool, concurrency: int, requests: int, rounds: int, memory: int) -> None:
    """Alternate the two sides and print a row for each."""
    sides = {
        kind: Side(kind, port, stream=stream, concurrency=concurrency, total=50 + max(requests, memory))
        for kind in ("bare", "ours")
    }
    found: dict[str, list[dict[str, float]]] = {"bare": [], "ours": []}
    for number in range(rounds):
        # Whoever goes first changes, so that a slow drift of the machine hits both.
        for kind in sorted(sides, reverse=number % 2 == 1):
            found[kind].append(sides[kind].measure(requests // rounds))
    rate = {kind: median(figures["rate"] for figures in rows) for kind, rows in found.items()}
    for kind, rows in found.items():
        cpu = median(figures["cpu_ms"] for figures in rows)
        ratio = f"{rate[kind] / rate['bare']:6.2f}"
        name = f"{kind}, {'stream' if stream else 'whole answer'}"
        print(f"{name:<20}{rate[kind]:>12.0f}{ratio:>8}{cpu:>16.2f}{rows[-1]['peak_mb']:>16.0f}", flush=True)
    if memory > requests:
        before, after = found["ours"][-1]["peak_mb"], sides["ours"].measure(memory - requests)["peak_mb"]
        print(f"peak memory of ours: {before:.0f} MB at {requests:,} requests, {after:.0f} MB at {memory:,}")
    for side in sides.values():
        side.close()


def main() -> None:
    """Parse the command line; the measured processes are this file, too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--memory-requests", type=int, default=8_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=16)
    for hidden in ("--side", "--port", "--total"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--stream", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    base = f"http://127.0.0.1:{args.port}/v1"
    common: dict[str, Any] = {"stream": args.stream, "concurrency": args.concurrency, "round_": serve_rounds}
    if args.side == "upstream":
        asyncio.run(upstream())
    elif args.side == "bare":
        asyncio.run(bare(base, **common))
    elif args.side == "ours":
        asyncio.run(ours(base, total=int(args.total), **common))
    else:
        server = subprocess.Popen([sys.executable, __file__, "--side", "upstream"], stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        port = int(server.stdout.readline())
        print(f"{'':<20}{'requests/s':>12}{'ratio':>8}{'CPU ms/request':>16}{'peak MB':>16}")
        try:
            shared = {"concurrency": args.concurrency, "rounds": args.rounds}
            compare(port, stream=False, requests=args.requests, memory=args.memory_requests, **shared)
            compare(port, stream=True, requests=max(args.rounds, args.requests // 5), memory=0, **shared)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()

"""Record the demo's sample export: ask a real local model every request of demo_requests.yaml and keep its answers.

Usage: python tools/record_demo_traffic.py --gguf PATH [--name qwen2.5-1.5b-instruct] [--out FILE]

Latency and time to first token are measured on the stream, two calls at a time, as a small production server would
have them. One call fails for real (the client's own timeout), one line is written twice and one is cut in the middle,
because exports look like that.
"""

import argparse
import contextlib
import gzip
import hashlib
import json
import random
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openai
import yaml

from harness.local.server import ServerOptions, local_server

HERE = Path(__file__).resolve().parent
REQUESTS = HERE / "demo_requests.yaml"
TARGET = HERE.parent / "harness" / "demo" / "traffic.jsonl.gz"
START = datetime(2026, 9, 7, 7, 30, tzinfo=UTC)
IN_FLIGHT = 2
DUPLICATED, CUT = 12, 30
"""Positions of the line that is written twice and of the line that is cut."""

USD_PER_MTOK = {"prompt_tokens": 0.10, "completion_tokens": 0.30}
"""What the shop pays for production: as made up as the shop."""

Record = dict[str, Any]


def main() -> int:
    """Record everything and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path, required=True, help="weights of the model that plays production")
    parser.add_argument("--name", default="qwen2.5-1.5b-instruct", help="what production calls it")
    parser.add_argument("--threads", type=int, help="processor threads; all cores by default")
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()

    plan = yaml.safe_load(REQUESTS.read_text(encoding="utf-8"))
    server_options = ServerOptions(
        gguf=options.gguf, name=options.name, parallel=IN_FLIGHT, context=2048, threads=options.threads
    )
    with local_server(server_options) as server, ThreadPoolExecutor(IN_FLIGHT) as pool:
        client = openai.OpenAI(base_url=server.openai_base, api_key="none", max_retries=0)
        conversations = pool.map(lambda item: list(_conversation(client, options.name, plan, item)), plan["requests"])
        records = [record for conversation in conversations for record in conversation]
    _write(options.out, _dated(records))
    print(f"{len(records)} requests in {options.out}")  # noqa: T201  the script's one result
    return 0


def _conversation(client: openai.OpenAI, model: str, plan: Record, item: Record) -> Iterator[Record]:
    """One record per turn; production's own answers become the next turn's history."""
    feature = plan["features"][item["feature"]]
    messages = [{"role": "system", "content": feature["system"].strip()}]
    for turn in item.get("turns") or [item["ask"]]:
        messages = [*messages, {"role": "user", "content": turn.strip()}]
        request = {"model": model, "messages": messages, **feature["params"]}
        record: Record = {"user": item["user"]}
        if "session" in item:
            record["session"] = item["session"]
        record["metadata"] = {"feature": item["feature"], "language": item.get("language", "en")}
        record["request"] = request
        record |= _ask(client, request, timeout_s=item.get("timeout_s"))
        print(".", end="", file=sys.stderr, flush=True)  # noqa: T201  progress
        yield record
        if "response" in record:
            messages = [
                *messages,
                {"role": "assistant", "content": record["response"]["choices"][0]["message"]["content"]},
            ]


def _ask(client: openai.OpenAI, request: Record, *, timeout_s: float | None) -> Record:
    """Response, latency and time to first token; or the error."""
    begin = time.perf_counter()
    chunks: list[Any] = []
    first: float | None = None
    try:
        # A timeout of the whole call, as gateways have it; the client's own covers the wait between two chunks only.
        options = {"stream_options": {"include_usage": True}}
        for chunk in client.chat.completions.create(**request, **options, stream=True):  # type: ignore[call-overload]
            now = time.perf_counter() - begin
            _check_time(now, timeout_s)
            delta = chunk.choices[0].delta if chunk.choices else None
            if first is None and delta is not None and (delta.content or delta.tool_calls):
                first = now
            chunks.append(chunk)
    except TimeoutError as error:
        return {
            "error": {"type": "timeout", "code": 504, "message": str(error)},
            "latency_ms": _ms(time.perf_counter() - begin),
        }
    response = _response(chunks)
    if "tools" in request:
        _read_tool_call(response["choices"][0], {tool["function"]["name"] for tool in request["tools"]})
    cost = sum(response["usage"][kind] * price / 1e6 for kind, price in USD_PER_MTOK.items())
    result = {"response": response, "cost_usd": round(cost, 9), "latency_ms": _ms(time.perf_counter() - begin)}
    return result if first is None else result | {"ttft_ms": _ms(first)}


def _check_time(elapsed_s: float, timeout_s: float | None) -> None:
    if timeout_s is not None and elapsed_s > timeout_s:
        raise TimeoutError(f"no complete answer within {timeout_s} s")


def _response(chunks: list[Any]) -> Record:
    """The chunks put together as one chat completion."""
    text, finish, usage = "", None, None
    calls: dict[int, dict[str, str]] = {}
    for chunk in chunks:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            text += choice.delta.content or ""
            for call in choice.delta.tool_calls or ():
                known = calls.setdefault(call.index, {"id": "", "name": "", "arguments": ""})
                known["id"] = call.id or known["id"]
                known["name"] += call.function.name or ""
                known["arguments"] += call.function.arguments or ""
    message: Record = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = [
            {"id": c["id"], "type": "function", "function": {"name": c["name"], "arguments": c["arguments"]}}
            for c in calls.values()
        ]
    return {
        "id": chunks[0].id,
        "object": "chat.completion",
        "model": chunks[0].model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": usage and {k: getattr(usage, k) for k in ("prompt_tokens", "completion_tokens", "total_tokens")},
    }


def _read_tool_call(choice: Record, names: set[str]) -> None:
    """What a serving stack's tool parser does for models that write their calls as JSON in the text."""
    text = re.sub(r"^```(json)?|```$", "", (choice["message"]["content"] or "").strip()).strip()
    if text.startswith("{{"):
        text = text[1:-1] if text.endswith("}}}") else text[1:]
    with contextlib.suppress(json.JSONDecodeError, KeyError, TypeError):
        written = json.loads(text)
        if written["name"] in names:
            function = {"name": written["name"], "arguments": json.dumps(written["arguments"], ensure_ascii=False)}
            call = {"id": f"call_{hashlib.sha256(text.encode()).hexdigest()[:12]}", "type": "function"}
            choice["message"] |= {"content": None, "tool_calls": [call | {"function": function}]}
            choice["finish_reason"] = "tool_calls"


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _dated(records: list[Record]) -> list[Record]:
    """Ids in order, and times spread over a working week with a seeded gap between calls."""
    gaps, now = random.Random(7), START
    for number, record in enumerate(records, start=1):
        now += timedelta(seconds=gaps.expovariate(1 / 4300))
        record["id"] = f"fw-{number:04d}"
        record["timestamp"] = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head = ("id", "timestamp")
    return [{key: r[key] for key in head} | {k: v for k, v in r.items() if k not in head} for r in records]


def _write(target: Path, records: list[Record]) -> None:
    lines = [json.dumps(record, ensure_ascii=False, separators=(",", ":")) for record in records]
    cut = lines[CUT][: len(lines[CUT]) // 2]
    lines[CUT:CUT] = [cut]
    lines.insert(DUPLICATED + 1, lines[DUPLICATED])
    target.parent.mkdir(parents=True, exist_ok=True)
    # No file name and no time in the header: the same records give the same bytes.
    with target.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as stream:
        stream.write("".join(f"{line}\n" for line in lines).encode())


if __name__ == "__main__":
    sys.exit(main())

"""Records as the gateway writes them, and a live experiment on them."""

import json
import time
from pathlib import Path

from harness.config import Live, parse_live
from harness.spool.record import Captured
from harness.spool.writer import append

ANSWER = "The capital of France is Paris."


def captured(number: int, *, question: str | None = None, answer: str = ANSWER, **fields) -> Captured:
    """A chat request that production answered."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": question or f"Question {number}?"}]}
    choice = {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
    reply = {
        "id": "x", "object": "chat.completion", "model": "gpt-4o", "choices": [choice],
        "usage": {"prompt_tokens": 10, "completion_tokens": 8},
    }  # fmt: skip
    defaults = {
        "id": f"r{number:05d}",
        "at_ns": time.time_ns(),
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "latency_ms": 120.0,
        "response_headers": {"content-type": "application/json"},
        "request": json.dumps(body).encode(),
        "response": json.dumps(reply).encode(),
    }
    return Captured(**(defaults | fields))


def spool(folder: Path, records: list[Captured], *, writer: str = "gw", number: int = 0) -> None:
    """One finished file of a gateway."""
    append(folder / "spool", writer, records, number)


def live(folder: Path, base: str = "http://127.0.0.1:9/v1", **changes) -> Live:
    """A live experiment with one candidate and judges that compute."""
    raw = {
        "name": "live",
        "gateway": {"upstream": "http://127.0.0.1:1"},
        "mirror": {"rate": 1.0},
        "worker": {"look_every_s": 0.3, "in_flight": 4, "deadline_s": 10},
        "candidates": [
            {
                "name": "new", "model": "openai/upstream", "api_base": base,
                "price": {"input_per_mtok": 1.0, "output_per_mtok": 2.0},
            }
        ],
        "judges": ["exact", "length"],
        "decision": {"criteria": [{"metric": "coverage", "at_least": 20}]},
    }  # fmt: skip
    for key, value in changes.items():
        raw[key] = (raw.get(key, {}) | value) if isinstance(value, dict) and key != "replica" else value
    return parse_live(raw, base=folder)

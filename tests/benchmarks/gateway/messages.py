"""What is asked and answered: a chat request of about 1 KB, an answer of about 600 bytes, and the same as a stream."""

import json
from typing import Any

MODEL = "gpt-4o-mini"
"""A model that LiteLLM knows the price of; looking for an unknown one would cost it time."""
QUESTION = "Explain in a few sentences why the sky is blue, and what changes at sunset. " * 11
ANSWER = "Sunlight is scattered by the molecules of the air, and blue light more than red light. " * 4
PIECES = 7
"""Events of a stream that carry text."""
_BASE: dict[str, Any] = {"id": "chatcmpl-1", "created": 1_750_000_000, "model": MODEL}
_USAGE = {"prompt_tokens": 150, "completion_tokens": 60, "total_tokens": 210}


def request(*, stream: bool) -> bytes:
    """Body of a request."""
    messages = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": QUESTION}]
    body = {"model": MODEL, "messages": messages, "temperature": 0.5}
    return json.dumps(body | ({"stream": True} if stream else {})).encode()


def answer() -> bytes:
    """Body of a whole answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
    return json.dumps(_BASE | {"object": "chat.completion", "choices": [choice], "usage": _USAGE}).encode()


def events() -> list[bytes]:
    """A streamed answer, one server-sent event each; the first carries text."""
    step = -(-len(ANSWER) // PIECES)
    deltas: list[tuple[dict[str, str], str | None]] = [
        ({"content": ANSWER[start : start + step]}, None) for start in range(0, len(ANSWER), step)
    ]
    deltas[0][0]["role"] = "assistant"
    deltas.append(({}, "stop"))
    chunks = (
        _BASE | {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}
        for delta, end in deltas
    )
    return [*(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks), b"data: [DONE]\n\n"]


def text_of(body: bytes) -> str:
    """The text of an answer, whole or streamed; for the check that every system passes on what production said."""
    if not body.startswith(b"data: "):
        whole: str = json.loads(body)["choices"][0]["message"]["content"]
        return whole
    lines = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ") and line != b"data: [DONE]"]
    deltas = [choice["delta"] for line in lines for choice in json.loads(line)["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)

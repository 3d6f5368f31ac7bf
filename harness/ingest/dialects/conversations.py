"""Published conversation sets: ShareGPT, LMSYS-Chat-1M, WildChat. One call per assistant turn."""

from collections.abc import Iterator, Mapping

from harness.domain.exchange import ChatRequest
from harness.domain.json import Json
from harness.domain.observation import Completion
from harness.ingest import values
from harness.ingest.dialects.calls import Answer, Call, Context, JsonObject, Outcome, Skip

_ROLES = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant", "model": "assistant", "system": "system", "tool": "tool", "function": "tool",
}  # fmt: skip
_DROPPED = frozenset([
    "conversation", "conversations", "items", "model", "timestamp", "openai_moderation", "detoxify_moderation",
    "hashed_ip", "header", "state", "id", "conversation_id", "conversation_hash", "turn",
])  # fmt: skip


def recognises_sharegpt(record: JsonObject) -> bool:
    """Whether this is a ShareGPT conversation."""
    return isinstance(values.decoded(record.get("conversations")), list)


def recognises_wildchat(record: JsonObject) -> bool:
    """Whether this is a WildChat conversation."""
    return "conversation" in record and "conversation_hash" in record


def recognises_lmsys(record: JsonObject) -> bool:
    """Whether this is an LMSYS-Chat-1M conversation."""
    return "conversation" in record and "conversation_id" in record


def read(record: JsonObject, context: Context) -> Iterator[Outcome]:
    """One call per assistant turn with the history before it; all share the conversation as session."""
    id_ = values.label(values.pick(record, "conversation_hash", "conversation_id", "id")) or context.stable_id()
    turns = _turns(values.as_list(values.pick(record, "conversations", "conversation")))
    model = values.label(record.get("model")) or "unknown"
    metadata = values.labels(record, without=_DROPPED)
    found = 0
    for position, (message, raw) in enumerate(turns):
        history = tuple(item for item, _ in turns[:position])
        if message["role"] != "assistant" or not message["content"] or not _asks(history):
            continue
        found += 1
        yield Call(
            id=f"{id_}#{found}",
            request=ChatRequest(model=model, messages=history),
            answer=Answer(completion=Completion(text=message["content"], model=values.label(record.get("model")))),
            timestamp=values.time(values.pick(raw, "timestamp") or record.get("timestamp")),
            session=id_,
            metadata=metadata | {"turn": str(found)},
        )
    if not found:
        yield Skip(reason="no_result", message=f"{context.place}: no turn in which an assistant answers a user")


def _asks(history: tuple[Mapping[str, Json], ...]) -> bool:
    return bool(history) and history[-1]["role"] in {"user", "tool"}


def _turns(stored: list[Json]) -> list[tuple[dict[str, Json], JsonObject]]:
    """Messages in chat form: an assistant's opening dropped, empty answers too, neighbours of one role merged."""
    turns: list[tuple[dict[str, Json], JsonObject]] = []
    for item in stored:
        item = values.as_object(item)
        role = _ROLES.get(str(values.pick(item, "from", "role")).lower())
        content = values.text(values.pick(item, "value", "content")) or ""
        spoken = any(message["role"] == "user" for message, _ in turns)
        if role is None or not content.strip() or (role == "assistant" and not spoken):
            continue
        if turns and turns[-1][0]["role"] == role:
            turns[-1][0]["content"] += "\n\n" + content
        else:
            turns.append(({"role": role, "content": content}, item))
    return turns

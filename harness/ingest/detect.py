"""Which dialect an export is written in."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from harness.errors import InputError
from harness.ingest.dialects import (
    azure_diagnostics,
    batches,
    bedrock,
    conversations,
    helicone,
    langfuse,
    litellm,
    mapped,
    openai_chat,
    otel,
    portkey,
)
from harness.ingest.dialects.calls import Context, JsonObject, Outcome
from harness.ingest.records import Item


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """One export format: how to know it and how to read it."""

    name: str
    recognises: Callable[[JsonObject], bool]
    """Whether a record speaks for this format."""
    read: Callable[[JsonObject, Context], Iterator[Outcome]]
    finish: Callable[[Context], Iterator[Outcome]] | None = None
    """What was put aside until every file was read."""
    belongs: Callable[[JsonObject], bool] | None = None
    """Whether a record in a file of this format is one, where that is wider than being recognised."""
    is_general: bool = False
    """Whether its keys are so common that records of other formats have them too."""

    def accepts(self, record: JsonObject) -> bool:
        """Whether a record in a file of this format is one."""
        if self.is_general and any(other.recognises(record) for other in _DIALECTS if other.name != self.name):
            return False
        return (self.belongs is not None and self.belongs(record)) or self.recognises(record)


# Most particular first: a telemetry span may also hold `messages`.
_DIALECTS = (
    Dialect(
        name="otel_genai", recognises=otel.recognises, belongs=otel.belongs, read=otel.read, finish=otel.finish
    ),
    Dialect(name="openai_batch", recognises=batches.recognises_openai, read=batches.read_openai,
            finish=batches.finish_openai),
    Dialect(name="anthropic_batch", recognises=batches.recognises_anthropic, read=batches.read_anthropic,
            finish=batches.finish_anthropic),
    Dialect(name="litellm_spend", recognises=litellm.recognises_spend, read=litellm.read_spend),
    Dialect(name="litellm_standard", recognises=litellm.recognises_standard, read=litellm.read_standard),
    Dialect(name="helicone", recognises=helicone.recognises, read=helicone.read),
    Dialect(name="portkey", recognises=portkey.recognises, read=portkey.read),
    Dialect(name="bedrock", recognises=bedrock.recognises, read=bedrock.read),
    Dialect(name="azure_diagnostics", recognises=azure_diagnostics.recognises, read=azure_diagnostics.read),
    Dialect(name="langfuse", recognises=langfuse.recognises, belongs=langfuse.belongs, read=langfuse.read,
            finish=langfuse.finish),
    Dialect(name="sharegpt", recognises=conversations.recognises_sharegpt, read=conversations.read),
    Dialect(name="wildchat", recognises=conversations.recognises_wildchat, read=conversations.read),
    Dialect(name="lmsys", recognises=conversations.recognises_lmsys, read=conversations.read),
    Dialect(name="openai_chat", recognises=openai_chat.recognises, belongs=openai_chat.belongs, read=openai_chat.read,
            is_general=True),
    Dialect(name="mapping", recognises=mapped.recognises, read=mapped.read),
)  # fmt: skip
_BY_NAME = {dialect.name: dialect for dialect in _DIALECTS}
_ALIASES = {
    "litellm_spend_log": "litellm_spend", "litellm_standard_logging_payload": "litellm_standard",
    "langfuse_otel": "langfuse",
    "otel": "otel_genai", "chat": "openai_chat", "conversations": "sharegpt",
}  # fmt: skip


def known() -> tuple[str, ...]:
    """Names of all dialects, `auto` left out."""
    return tuple(sorted(_BY_NAME))


def dialect_named(name: str) -> Dialect:
    """A dialect by its name.

    Raises:
        InputError: there is none of this name.
    """
    found = _BY_NAME.get(_ALIASES.get(name, name))
    if found is None:
        raise InputError(f"there is no dialect {name!r}; known: auto, {', '.join(known())}")
    return found


def detect(items: Iterable[Item]) -> Dialect | None:
    """The dialect of a file by its first sound records; ``None`` when it has none to tell by.

    Raises:
        InputError: there are sound records and no dialect knows any of them.
    """
    keys: dict[str, None] = {}
    name = ""
    for item in items:
        record = item.value or {}
        name = item.file
        for dialect in _DIALECTS:
            if dialect.recognises(record):
                return dialect
        keys |= dict.fromkeys(record)
    if not name:
        return None
    # A table of traces speaks for its vendor only when nothing else in the file does.
    if all(langfuse.recognises_trace(item.value or {}) for item in items):
        return _BY_NAME["langfuse"]
    raise InputError(
        f"{name}: the format of this export is not known. Keys seen: {', '.join(list(keys)[:40])}."
        f" Say which columns are what with `dialect: mapping`, or name one of: {', '.join(known())}"
    )

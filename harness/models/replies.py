"""Folding a provider's answer, whole or in chunks, into one ModelReply's parts; knows shapes, not libraries."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from harness.domain.json import Json
from harness.domain.model import TokenLogprob
from harness.domain.observation import Completion, ToolCall, Usage

_THINK_OPEN, _THINK_CLOSE = "<think>", "</think>"


@dataclass(slots=True)
class _PartialCall:
    name: str = ""
    arguments: str = ""
    id: str | None = None


@dataclass(slots=True)
class Fold:
    """An answer in the making; feed it OpenAI-shaped chunks or one whole response.

    Only choice 0 is read: one answer is compared with one answer.
    """

    text: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    calls: dict[int, _PartialCall] = field(default_factory=dict)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: str | None = None
    model: str | None = None
    n_choices: int = 0
    usages: list[Any] = field(default_factory=list)
    """Usage objects as the provider sent them; Anthropic sends parts of the counts at both ends of a stream."""

    def add(self, chunk: Any) -> bool:
        """Take one chunk; true when it carried a visible part of the answer (text, refusal or tool call)."""
        usage = getattr(chunk, "usage", None)
        if usage is not None:
            self.usages.append(usage)
        model = getattr(chunk, "model", None)
        if model:
            self.model = model
        visible = False
        for choice in chunk.choices or ():
            index = choice.index or 0
            self.n_choices = max(self.n_choices, index + 1)
            if index == 0:
                visible = self._choice(choice, getattr(choice, "delta", None)) or visible
        return visible

    def whole(self, response: Any) -> None:
        """Take a complete response."""
        usage = getattr(response, "usage", None)
        if usage is not None:
            self.usages.append(usage)
        self.model = getattr(response, "model", None) or None
        self.n_choices = len(response.choices or ())
        for choice in response.choices[:1]:
            self._choice(choice, choice.message)

    def _choice(self, choice: Any, part: Any) -> bool:
        if choice.finish_reason:
            self.finish_reason = choice.finish_reason
        if getattr(choice, "logprobs", None):
            self._logprobs(choice.logprobs)
        if part is None:
            return False
        visible = False
        content = part.content
        if content:
            self.text.append(content)
            visible = True
        refusal = getattr(part, "refusal", None) or _specific(part).get("refusal")
        if refusal:
            self.refusal.append(refusal)
            visible = True
        for position, call in enumerate(part.tool_calls or ()):
            self._call(getattr(call, "index", None), position, call.function, getattr(call, "id", None))
            visible = True
        legacy = getattr(part, "function_call", None)
        if legacy is not None:
            self._call(0, 0, legacy, None)
            visible = True
        return visible

    def _call(self, index: int | None, position: int, function: Any, call_id: str | None) -> None:
        call = self.calls.setdefault(position if index is None else index, _PartialCall())
        if call_id and not call.id:
            call.id = call_id
        if function is not None:
            call.name = call.name or function.name or ""
            arguments = function.arguments
            if isinstance(arguments, str):
                call.arguments += arguments
            elif arguments is not None:
                call.arguments = orjson.dumps(arguments).decode()

    def _logprobs(self, logprobs: Any) -> None:
        for position in _get(logprobs, "content") or ():
            top = {_get(item, "token"): _get(item, "logprob") for item in _get(position, "top_logprobs") or ()}
            self.logprobs.append(
                TokenLogprob(token=_get(position, "token"), logprob=_get(position, "logprob"), top=top)
            )

    def completion(self) -> Completion:
        """The answer as the user saw it; thinking a server left inside the text is taken out."""
        text = answer_text("".join(self.text))
        return Completion(
            text=text or None,
            tool_calls=tuple(
                _tool_call(call)
                for _, call in sorted(self.calls.items())
                # Anthropic runs these itself (web search, code execution); nobody is asked to call them.
                if not (call.id or "").startswith("srvtoolu_")
            ),
            finish_reason=self.finish_reason,
            model=self.model,
            refusal="".join(self.refusal) or None,
            n_choices=max(self.n_choices, 1),
        )

    def usage(self) -> Usage:
        """What the provider counted; ``None`` for what it did not send."""
        tokens_in = tokens_out = cached = reasoning = None
        for usage in self.usages:
            tokens_in = _larger(tokens_in, _get(usage, "prompt_tokens"))
            tokens_out = _larger(tokens_out, _get(usage, "completion_tokens"))
            cached = _larger(cached, _get(_get(usage, "prompt_tokens_details"), "cached_tokens"))
            reasoning = _larger(reasoning, _get(_get(usage, "completion_tokens_details"), "reasoning_tokens"))
        # No request has an empty prompt: an adapter writes zero where the provider sent nothing.
        if not tokens_in:
            return Usage(tokens_out=tokens_out or None)
        return Usage(tokens_in=tokens_in, tokens_out=tokens_out, tokens_cached=cached, tokens_reasoning=reasoning)


def answer_text(text: str) -> str:
    """The text without a leading ``<think>`` block; all of it is thinking when the block never closes."""
    if not text.lstrip().startswith(_THINK_OPEN):
        return text
    _, closed, answer = text.partition(_THINK_CLOSE)
    return answer.lstrip() if closed else ""


def plain(value: Json) -> Json:
    """A deep copy out of dicts and lists, so that no library can change what we recorded."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def messages_with_system(messages: Iterable[Mapping[str, Json]], system_prompt: str | None) -> list[dict[str, Json]]:
    """Copied messages; ``system_prompt`` replaces every system and developer message when set."""
    copied: list[dict[str, Json]] = [plain(message) for message in messages]
    if system_prompt is None:
        return copied
    rest = [message for message in copied if message.get("role") not in {"system", "developer"}]
    return [{"role": "system", "content": system_prompt}, *rest]


def _tool_call(call: _PartialCall) -> ToolCall:
    try:
        arguments: Json = orjson.loads(call.arguments) if call.arguments.strip() else {}
    except orjson.JSONDecodeError:
        arguments = call.arguments
    return ToolCall(name=call.name, arguments=arguments, id=call.id)


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _specific(part: Any) -> Mapping[str, Any]:
    fields = getattr(part, "provider_specific_fields", None)
    return fields if isinstance(fields, Mapping) else {}


def _larger(old: int | None, new: Any) -> int | None:
    if not isinstance(new, int) or isinstance(new, bool):
        return old
    return new if old is None else max(old, new)

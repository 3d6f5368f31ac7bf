"""What the candidate is asked: the client's request, as chat, with the candidate's own settings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from harness.canary.contents import Contents, check_choice, check_depth, check_tools
from harness.canary.unfit import Unfit
from harness.domain.json import Json
from harness.domain.model import ModelSpec
from harness.domain.unanswered import Reason
from harness.models.litellm_client import NEVER, Route, takes
from harness.models.replies import messages_with_system, plain


class Shape(StrEnum):
    """The API a client speaks, by the end of its path."""

    CHAT = "/chat/completions"
    RESPONSES = "/responses"
    MESSAGES = "/messages"

    @property
    def surface(self) -> str:
        """As records and :mod:`harness.domain.breaking_off` name it."""
        return self.name.lower()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rules:
    taken: frozenset[str]
    """What a client may set. Anything else could steer litellm (``api_base``, ``mock_response``) or is production's."""
    needed: tuple[str, ...]
    tools: frozenset[str | None]
    choices: frozenset[str]


_RULES = {
    Shape.CHAT: _Rules(
        taken=frozenset({
            "messages", "stream", "stream_options", "temperature", "top_p", "n", "stop", "max_tokens",
            "max_completion_tokens", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs",
            "response_format", "seed", "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call",
            "reasoning_effort", "verbosity", "modalities", "audio", "prediction",
        }),
        needed=("messages",),
        tools=frozenset({"function"}),
        choices=frozenset({"function"}),
    ),
    Shape.RESPONSES: _Rules(
        taken=frozenset({
            "input", "stream", "stream_options", "include", "instructions", "max_output_tokens", "parallel_tool_calls",
            "reasoning", "temperature", "text", "tool_choice", "tools", "top_p", "truncation",
        }),
        needed=("input",),
        tools=frozenset({"function"}),
        choices=frozenset({"function"}),
    ),
    Shape.MESSAGES: _Rules(
        taken=frozenset({
            "messages", "stream", "max_tokens", "stop_sequences", "system", "temperature", "thinking", "tool_choice",
            "tools", "top_k", "top_p",
        }),
        needed=("messages", "max_tokens"),
        tools=frozenset({None, "custom"}),
        choices=frozenset({"auto", "any", "tool", "none"}),
    ),
}  # fmt: skip
# About the client's account with production; without them the candidate answers the same.
_LEFT_OUT = frozenset({
    "model", "metadata", "store", "user", "service_tier", "safety_identifier", "prompt_cache_key",
    "prompt_cache_retention",
})  # fmt: skip
# Without these an answer is another one and no other kind of answer.
_DISPENSABLE = frozenset({
    "temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias", "seed", "parallel_tool_calls",
    "reasoning_effort", "reasoning_summary", "thinking", "verbosity", "prediction", "stream_options", "top_k",
})  # fmt: skip
_LIMITS = ("max_tokens", "max_completion_tokens")
# What is looked into, here or by litellm before it has looked whether it may.
_KINDS: dict[str, type] = dict.fromkeys(("stream", "parallel_tool_calls", "logprobs"), bool)
_KINDS |= dict.fromkeys(("tools", "functions", "include", "stop_sequences", "modalities"), list)
_KINDS |= dict.fromkeys(
    ("text", "reasoning", "thinking", "response_format", "stream_options", "audio", "prediction", "logit_bias"), dict
)


def readable(shape: Shape, body: Mapping[str, Json], *, addresses: bool = False) -> dict[str, Any]:
    """The client's request without what is production's alone, in its own API.

    Args:
        shape: The API it came by.
        body: The client's.
        addresses: Whether the candidate's provider fetches images that are given by address, so that nobody else does.

    Raises:
        Unfit: the request needs something that only production can give.
    """
    rules = _RULES[shape]
    if any(not body.get(name) for name in rules.needed):
        raise Unfit(Reason.UNREADABLE_REQUEST)
    check_depth(body)
    _check_stored(shape, body.get("store"))
    asked: dict[str, Any] = {}
    for name, value in body.items():
        if value is None or name in _LEFT_OUT:
            continue
        if name not in rules.taken:
            # Better served by production than by a candidate that was asked something else.
            if value is False:
                continue
            raise Unfit(Reason.UNSUPPORTED_REQUEST)
        asked[name] = plain(value)
    _check_kinds(asked)
    _check_contents(shape, asked, Contents(addresses=addresses))
    check_tools(asked.get("tools"), rules.tools)
    check_choice(asked.get("tool_choice"), rules.choices)
    if any(name != "reasoning.encrypted_content" for name in asked.pop("include", ())):
        raise Unfit(Reason.UNSUPPORTED_REQUEST)
    return asked


def configured(chat: Mapping[str, Any], spec: ModelSpec) -> dict[str, Any]:
    """The request, as chat, with the candidate's settings and system prompt in the place of the client's."""
    asked = dict(chat)
    for name, value in spec.params.items():
        if name in _LIMITS:
            for limit in _LIMITS:
                asked.pop(limit, None)
        if value is None:
            asked.pop(name, None)
        elif name not in NEVER:
            asked[name] = plain(value)
    asked["messages"] = messages_with_system(asked["messages"], spec.system_prompt)
    return asked


def fitted(chat: Mapping[str, Any], spec: ModelSpec, route: Route) -> dict[str, Any]:
    """The request without settings that the candidate's provider does not take, as in its evaluation.

    Raises:
        Unfit: one of them decides of what kind an answer is, such as a format or tools.
    """
    kept: dict[str, Any] = {}
    taken = (route.supported - route.refused) | {"messages", "stream"}
    for name, value in chat.items():
        own = name in spec.params
        if name in taken or takes(route, name, configured=own):
            kept[name] = value
        elif name == "max_completion_tokens" and "max_tokens" in taken:
            kept["max_tokens"] = value
        elif not (own or name in _DISPENSABLE or (name == "n" and value == 1)):
            raise Unfit(Reason.UNSUPPORTED_REQUEST)
    return kept


def dispensable(names: Iterable[str]) -> bool:
    """Whether an answer without these settings is of the same kind."""
    return _DISPENSABLE.issuperset(names)


def _check_stored(shape: Shape, stored: Json) -> None:
    """Whoever has an answer stored goes on from it by its id, which means nothing to production."""
    if shape is Shape.RESPONSES if stored is None else stored is not False:
        raise Unfit(Reason.STORED_RESPONSE)


def _check_kinds(asked: Mapping[str, Any]) -> None:
    for name, value in asked.items():
        if not isinstance(value, _KINDS.get(name, object)):
            raise Unfit(Reason.UNREADABLE_REQUEST)
    if not isinstance(asked.get("text", {}).get("format", {}), dict | None):
        raise Unfit(Reason.UNREADABLE_REQUEST)


def _check_contents(shape: Shape, asked: dict[str, Any], contents: Contents) -> None:
    if shape is Shape.CHAT:
        contents.chat(asked["messages"])
    elif shape is Shape.RESPONSES:
        asked["input"] = contents.responses(asked["input"])
        if not asked["input"]:
            raise Unfit(Reason.UNSUPPORTED_REQUEST)
    else:
        contents.messages(asked["messages"], asked.get("system"))

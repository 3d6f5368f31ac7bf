"""Shows requests and answers to a judge model as text: roles, tool calls and their results kept apart."""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping

from harness.domain.exchange import ChatRequest
from harness.domain.json import Json, Message
from harness.domain.observation import Completion
from harness.domain.pair import Pair

NO_ANSWER = "[no answer: the text is empty]"
_ROLES = {"system": "System", "developer": "System", "user": "User", "assistant": "Assistant"}
_ASSISTANTS = (
    "chatgpt|gpt[- ]?[0-9][\\w.-]*|claude[\\w .-]{0,12}?|gemini|bard|llama[\\w.-]*|qwen[\\w.-]*|mistral[\\w.-]*|"
    "mixtral|deepseek[\\w.-]*|grok|copilot|command[- ]r\\+?|nova|kimi|ernie"
)
_VENDORS = (
    "openai|anthropic|google(?: deepmind)?|meta(?: ai)?|mistral ai|alibaba(?: cloud)?|deepseek|xai|cohere|microsoft"
)
_I_AM = re.compile(rf"\b(I am|I['’]m|my name is|as|called) ({_ASSISTANTS})(?![\w-])", re.IGNORECASE)
_MADE_BY = re.compile(rf"\b(developed|trained|created|made|built) by ({_VENDORS})\b", re.IGNORECASE)


def conversation(request: ChatRequest) -> str:
    """The request as a transcript; images and other non-text parts are named, not shown."""
    lines = [_tools(request)] if request.tools else []
    lines += [_message(message) for message in request.messages]
    return "\n\n".join(line for line in lines if line)


def answer(completion: Completion | None) -> str:
    """What the user would have seen: text, refusal and tool calls."""
    if completion is None:
        return NO_ANSWER
    parts = [part for part in (completion.text, completion.refusal) if part]
    parts += [_call(call.name, call.arguments) for call in completion.tool_calls]
    return "\n\n".join(parts) or NO_ANSWER


def same_answer(pair: Pair) -> bool:
    """Whether both sides say the same apart from white space and Unicode form; one changed digit is a difference."""
    left, right = pair.production.completion, pair.candidate.completion
    return left is not None and right is not None and _folded(left) == _folded(right)


def shorten(text: str, limit: int, *, head: float = 0.5) -> tuple[str, int]:
    """At most ``limit`` characters of ``text``, its middle left out and marked, and how many were left out.

    ``head`` is the share of the limit that is spent on the beginning.
    """
    if len(text) <= limit:
        return text, 0
    first = int(limit * head)
    left_out = len(text) - limit
    return f"{text[:first]}\n[... {left_out} characters left out ...]\n{text[len(text) - (limit - first) :]}", left_out


def without_names(text: str, names: Iterable[str]) -> tuple[str, int]:
    """``text`` with model names and self-introductions replaced, and how many were.

    ``names`` are replaced wherever they stand as a word; assistants and vendors in general only where the answer
    introduces itself by them, because an answer may well be about one.
    """
    hidden = 0
    for name in sorted({name for name in names if len(name) > 3}, key=len, reverse=True):
        text, n = re.subn(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "[model]", text, flags=re.IGNORECASE)
        hidden += n
    text, n_names = _I_AM.subn(r"\1 [model]", text)
    text, n_vendors = _MADE_BY.subn(r"\1 by [vendor]", text)
    return text, hidden + n_names + n_vendors


def model_names(pair: Pair) -> set[str]:
    """Names of the models on both sides, with and without provider prefix."""
    named = {pair.request.model}
    for side in (pair.production, pair.candidate):
        if side.completion is not None and side.completion.model:
            named.add(side.completion.model)
    return named | {name.rsplit("/", 1)[-1] for name in named}


def _folded(completion: Completion) -> tuple[str, str, str]:
    calls = [(call.name, call.arguments) for call in completion.tool_calls]
    texts = ("" if text is None else text for text in (completion.text, completion.refusal))
    text, refusal = (" ".join(unicodedata.normalize("NFC", item).split()) for item in texts)
    return text, refusal, _json(calls)


def _message(message: Message) -> str:
    role = str(message.get("role"))
    if role == "tool":
        name = message.get("name") or message.get("tool_call_id") or "unnamed"
        return f"Result of tool {name}: {_content(message.get('content'))}"
    parts = [_content(message.get("content"))]
    for call in _items(message.get("tool_calls")):
        function = _function(call)
        parts.append(_call(str(function.get("name")), function.get("arguments")))
    return f"{_ROLES.get(role, role)}: " + "\n".join(part for part in parts if part)


def _content(content: Json) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        return _json(content)
    return "\n".join(_part(part) for part in content)


def _part(part: Json) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping):
        return str(part["text"]) if "text" in part else f"[{part.get('type', 'part')}]"
    return _json(part)


def _call(name: str, arguments: Json) -> str:
    shown = arguments if isinstance(arguments, str) else _json(arguments)
    return f"[calls tool {name} with {shown}]"


def _tools(request: ChatRequest) -> str:
    lines = []
    for tool in request.tools:
        function = _function(tool)
        parameters = function.get("parameters")
        properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
        names = ", ".join(properties) if isinstance(properties, Mapping) else ""
        description = function.get("description")
        lines.append(f"- {function.get('name')}({names})" + (f": {description}" if description else ""))
    return "Tools the assistant may call:\n" + "\n".join(lines)


def _function(item: Json) -> Mapping[str, Json]:
    """The function of a tool or call, which some dialects leave unwrapped."""
    if not isinstance(item, Mapping):
        return {}
    function = item.get("function")
    return function if isinstance(function, Mapping) else item


def _items(value: Json) -> list[Json]:
    return value if isinstance(value, list) else list(value) if isinstance(value, tuple) else []


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)

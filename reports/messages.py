"""What was said and which tools were called, as a page shows it: bounded, and what is no text is named."""

import json
from collections.abc import Callable, Mapping, Sequence

from harness.domain.json import Json, Message
from harness.domain.observation import ToolCall
from reports.page_parts import words
from reports.text import cut, one_line
from reports.views import Fact, MessageView

MAX_CALLS = 12


def same(text: str) -> str:
    """The text as it is: what is done to a text where nothing has to be hidden."""
    return text


def message_view(message: Message, *, limit: int, call_limit: int, rewrite: Callable[[str], str] = same) -> MessageView:
    """One message with the tools it calls; ``rewrite`` is given every text before it is cut, limits in characters."""
    bounded = cut(rewrite(content(message.get("content"))), limit)
    calls = []
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            calls.append(ToolCall(name=str(function.get("name")), arguments=_decoded(function.get("arguments"))))
    name = message.get("name") or message.get("tool_call_id")
    role = str(message.get("role") or "unknown")
    return MessageView(
        role=f"{role} ({one_line(str(name), 60)})" if name else role,
        text=bounded.text,
        calls=call_views(calls, limit=call_limit, rewrite=rewrite),
        note=bounded.note,
    )


def content(value: Json) -> str:
    """The text of a message's content; a part that is no text is named in brackets."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if not isinstance(value, list | tuple):
        return str(value)
    pieces = []
    for part in value:
        if isinstance(part, Mapping):
            text = part.get("text")
            pieces.append(text if isinstance(text, str) else f"[{words(str(part.get('type') or 'part'))}]")
        else:
            pieces.append(str(part))
    return "\n".join(pieces)


def call_views(calls: Sequence[ToolCall], *, limit: int, rewrite: Callable[[str], str] = same) -> tuple[Fact, ...]:
    """Name and arguments of the first calls, and how many more there are."""
    views = []
    for call in calls[:MAX_CALLS]:
        arguments = call.arguments
        if arguments is None:
            views.append(Fact(label=call.name, value=""))
            continue
        bounded = cut(rewrite(_arguments(arguments)), limit)
        views.append(Fact(label=call.name, value=bounded.text, note=bounded.note))
    if len(calls) > MAX_CALLS:
        views.append(Fact(label=f"{len(calls) - MAX_CALLS} more calls", value=""))
    return tuple(views)


def _decoded(arguments: Json) -> Json:
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def _arguments(arguments: Json) -> str:
    if isinstance(arguments, str):
        return arguments
    try:
        return json.dumps(arguments, indent=2, sort_keys=True, ensure_ascii=False, default=str)
    except (TypeError, RecursionError):
        # Keys of several types cannot be sorted, and a model can nest more deeply than the stack reaches.
        return "[cannot be shown: nested too deeply or not JSON]"

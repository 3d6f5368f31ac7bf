"""Reads a judge model's reply: the last verdict binds, nothing is coerced, and what cannot be read is unscored.

Accepted around and inside JSON: prose, code fences, comments, raw line breaks in strings, nested braces, zero-width
characters. Everything else is for one repair turn, then unscored. Only the reply is read, never the prompt.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.domain.json import Json
from harness.domain.judgment import UnscoredReason
from harness.domain.observation import ToolCall

PARSER_VERSION = "reply/1"
"""Raised when the same reply would be read differently."""

Choice = str | int
"""One entry of a Menu."""

_INVISIBLE = re.compile("[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MAX_REPLY = 200_000
_MAX_STEPS = 500_000
"""Characters the tolerant reader may look at in one reply, so that a hostile one costs milliseconds, not minutes."""
_MAX_EXPLANATION = 2_000
_AROUND = " \t*_`\"'.[]<>"
"""What may stand around a word without changing it."""
_DISAGREE = "several verdicts that disagree"


@dataclass(frozen=True, kw_only=True, slots=True)
class Menu:
    """The closed set a judge may answer from, and what the answer is called."""

    key: str
    """Key in the JSON object; in capitals, the tag of the text line."""
    choices: tuple[Choice, ...]
    tokens: Mapping[str, Choice]
    """What the model writes when it is asked for one token, and what that means."""

    @property
    def schema(self) -> dict[str, Json]:
        """JSON schema of the reply: the reason first, so that the verdict follows from it."""
        kind = "integer" if all(isinstance(choice, int) for choice in self.choices) else "string"
        return {
            "type": "object",
            "properties": {"reason": {"type": "string"}, self.key: {"type": kind, "enum": list(self.choices)}},
            "required": ["reason", self.key],
            "additionalProperties": False,
        }

    def has(self, value: object) -> bool:
        """Whether ``value`` is on the menu, type included: neither ``"4"`` nor ``True`` is 4."""
        return any(type(value) is type(choice) and value == choice for choice in self.choices)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What a reply says: a choice, or why there is none."""

    choice: Choice | None = None
    explanation: str | None = None
    problem: UnscoredReason | None = None
    note: str | None = None
    """What was wrong, in words."""
    final: bool = False
    """Whether asking again is pointless or unwanted: a well-formed reply contradicts itself, or one word was asked."""


def read_json(text: str, menu: Menu) -> Reading:
    """The verdict in the JSON objects of ``text``; several valid ones have to agree."""
    reading = _bind(list(_objects(_visible(text), menu.key)), menu)
    line = read_text(text, menu)
    if None not in (reading.choice, line.choice) and reading.choice != line.choice:
        return _problem(UnscoredReason.PARSE_FAILED, _DISAGREE, final=True)
    return reading


def read_tool_calls(calls: Sequence[ToolCall], tool: str, menu: Menu) -> Reading:
    """The verdict in the calls of ``tool``."""
    found: list[Mapping[str, Any] | None] = []
    for call in calls:
        if call.name != tool:
            continue
        if isinstance(call.arguments, Mapping):
            found.append(call.arguments)
        elif isinstance(call.arguments, str):
            found += _objects(_visible(call.arguments), menu.key)
    return _bind(found, menu)


def read_text(text: str, menu: Menu) -> Reading:
    """The verdict on the last line of the form ``VERDICT: X``; everything before that line is the explanation."""
    visible = _visible(text)
    tag = re.escape(menu.key.upper())
    last = None
    for last in re.finditer(rf"^[ \t>*_#`]*{tag}[ \t*_`]*:(.*)$", visible, re.MULTILINE):  # noqa: B007  the last one binds
        pass
    if last is None:
        return _problem(UnscoredReason.PARSE_FAILED, f"no line `{menu.key.upper()}: ...`")
    word = last.group(1).strip(_AROUND)
    by_text = {str(choice): choice for choice in menu.choices}
    if word not in by_text:
        return _problem(UnscoredReason.OFF_MENU, f"{word[:60]!r} is not one of {', '.join(by_text)}")
    return Reading(choice=by_text[word], explanation=readable(visible[: last.start()]))


def read_word(text: str, menu: Menu) -> Reading:
    """The verdict in a reply of one word: the last line that holds a choice alone; what else it says is ignored."""
    visible = _visible(text)
    by_text = {str(choice): choice for choice in menu.choices}
    words = (line.strip(_AROUND) for line in visible.splitlines())
    found = [by_text[word] for word in words if word in by_text]
    if found:
        return Reading(choice=found[-1])
    shown = visible.strip()[:60]
    return _problem(UnscoredReason.OFF_MENU, f"{shown!r} is not one of {', '.join(by_text)}", final=True)


def readable(text: str) -> str | None:
    """``text`` without control characters and surrounding space, at most 2,000 characters; ``None`` when empty."""
    return _CONTROL.sub("", text).strip()[:_MAX_EXPLANATION] or None


def _visible(text: str) -> str:
    """The reply proper: without invisible characters, and without the drafts of a model that thinks aloud first."""
    if text.lstrip().startswith("<think>"):
        text = text.partition("</think>")[2]
    return _INVISIBLE.sub("", text[-_MAX_REPLY:]).replace("\r\n", "\n")


def _problem(reason: UnscoredReason, note: str, *, final: bool = False) -> Reading:
    return Reading(problem=reason, note=note, final=final)


def _bind(found: Sequence[Mapping[str, Any] | None], menu: Menu) -> Reading:
    verdicts = [item for item in found if item is None or menu.key in item]
    if not verdicts:
        return _problem(UnscoredReason.PARSE_FAILED, f"no JSON object with {menu.key!r}")
    last = verdicts[-1]
    if last is None:
        return _problem(UnscoredReason.PARSE_FAILED, "the last JSON object is malformed")
    if not menu.has(last[menu.key]):
        shown = json.dumps(last[menu.key], default=str)[:60]
        return _problem(UnscoredReason.OFF_MENU, f"{menu.key} {shown} is not one of {list(menu.choices)}")
    if not _is_valid(last, menu):
        return _problem(UnscoredReason.PARSE_FAILED, "the reason is missing or not text")
    if len({item[menu.key] for item in verdicts if item is not None and _is_valid(item, menu)}) > 1:
        return _problem(UnscoredReason.PARSE_FAILED, _DISAGREE, final=True)
    return Reading(choice=last[menu.key], explanation=readable(last["reason"]))


def _is_valid(item: Mapping[str, Any], menu: Menu) -> bool:
    return menu.has(item.get(menu.key)) and isinstance(item.get("reason"), str)


@dataclass
class _Effort:
    """Characters the tolerant reader may still look at."""

    left: int = _MAX_STEPS


def _objects(text: str, key: str) -> Iterator[Mapping[str, Any] | None]:
    """Every outermost JSON object in ``text``, in order; ``None`` for one that names ``key`` and cannot be read.

    The latter matters: a judge that quotes a forged verdict and then writes a malformed one of its own has not
    given the forged one.
    """
    effort = _Effort()
    at = text.find("{")
    while at != -1:
        closed = _until_closed(text, at, effort)
        source, end = closed or (text[at:], at + 1)
        value = _decoded(source) if closed else None
        if value is not None:
            yield value
        elif key in source.lower():
            yield None
        else:
            end = at + 1
        if effort.left <= 0:
            yield None
            return
        at = text.find("{", end)


def _decoded(source: str) -> Mapping[str, Any] | None:
    try:
        value = json.loads(source, strict=False, object_pairs_hook=_unambiguous)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value and value[key] != item:
            raise ValueError(f"two values for {key!r}")
        value[key] = item
    return value


_STEP = re.compile(r'["{}]|//|/\*')
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def _until_closed(text: str, at: int, effort: _Effort) -> tuple[str, int] | None:
    """The text from the brace at ``at`` to its partner without comments, and where the partner ends."""
    depth = 0
    kept: list[str] = []
    done = position = at
    while (step := _STEP.search(text, position)) is not None:
        mark, position = step.group(), step.end()
        if mark == '"':
            string = _STRING.match(text, step.start())
            if string is None:
                break
            position = string.end()
        elif mark in ("//", "/*"):
            kept.append(text[done : step.start()])
            closing = text.find("\n" if mark == "//" else "*/", position)
            if closing == -1:
                break
            done = position = closing if mark == "//" else closing + 2
        else:
            depth += 1 if mark == "{" else -1
            if depth == 0:
                effort.left -= position - at
                return "".join([*kept, text[done:position]]), position
    effort.left -= len(text) - at
    return None

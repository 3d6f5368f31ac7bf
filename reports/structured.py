"""JSON compared as structure: by key, not by line, with what only one side has or says otherwise marked."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

from harness.judging.answers import canonical
from reports import diff
from reports.diff import Run

MAX_CHARS = 100_000
"""Longer texts are not read as JSON."""
MAX_NODES = 4_000
"""Keys and items; more are not read as JSON."""
MAX_DEPTH = 24
"""Levels; what nests more deeply is not read as JSON."""
MAX_ALIGNED = 300
"""Items of a list beyond which they are compared by place."""
_LONG = 40
"""Characters from which on strings are compared word by word."""
_FENCED = re.compile(r"\s*```(?:json5?|JSON)?[ \t]*\n(.*)\n[ \t]*```\s*", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A text that is one JSON object or list."""

    value: Any
    """What it says."""
    fenced: bool
    """Whether it stood in a code fence, which a program that reads the answer would trip over."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two JSON values written out, each with its own marks."""

    production: tuple[Run, ...]
    """Production's value, indented, keys sorted."""
    candidate: tuple[Run, ...]
    """The candidate's."""
    changed: tuple[str, ...]
    """Paths at which both say something else."""
    only_production: tuple[str, ...]
    """Paths that only production has."""
    only_candidate: tuple[str, ...]
    """Paths that only the candidate has."""

    @property
    def is_same(self) -> bool:
        """Whether both say the same, whatever the order of their keys."""
        return not (self.changed or self.only_production or self.only_candidate)


def read(text: str | None) -> Document | None:
    """The object or list that a text consists of; ``None`` for anything else, and for more than can be shown."""
    if text is None or len(text) > MAX_CHARS:
        return None
    fenced = _FENCED.fullmatch(text)
    body = fenced.group(1) if fenced else text
    if body.lstrip()[:1] not in {"{", "["}:
        return None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return Document(value=value, fenced=fenced is not None) if is_showable(value) else None


def is_showable(value: Any) -> bool:
    """Whether a JSON value is small and flat enough to be written out and compared."""
    left = MAX_NODES
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        left -= len(level)
        if left < 0:
            return False
        level = [item for outer in level for item in _items(outer)]
        if not level:
            return True
    return False


def written(value: Any) -> str:
    """The value indented by two spaces, keys sorted."""
    return _dump(value, "")


def compare(production: Any, candidate: Any) -> Comparison:
    """Both values written out; they have to be showable."""
    found = _Found()
    left, right = _Side(found=found, leads=True), _Side(found=found, leads=False)
    left.write(production, candidate, "", ())
    right.write(candidate, production, "", ())
    return Comparison(
        production=left.runs(),
        candidate=right.runs(),
        changed=tuple(found.changed),
        only_production=tuple(found.only_production),
        only_candidate=tuple(found.only_candidate),
    )


@dataclass
class _Found:
    changed: list[str] = field(default_factory=list)
    only_production: list[str] = field(default_factory=list)
    only_candidate: list[str] = field(default_factory=list)


@dataclass
class _Side:
    """Writes one side; the leading one also notes what differs, which would else be noted twice."""

    found: _Found
    leads: bool
    parts: list[tuple[str, bool]] = field(default_factory=list)

    def runs(self) -> tuple[Run, ...]:
        """What was written, neighbours of one kind joined."""
        joined: list[tuple[list[str], bool]] = []
        for text, changed in self.parts:
            if joined and joined[-1][1] == changed:
                joined[-1][0].append(text)
            elif text:
                joined.append(([text], changed))
        return tuple(Run(text="".join(texts), changed=changed) for texts, changed in joined)

    def write(self, value: Any, other: Any, pad: str, path: tuple[str, ...]) -> None:
        if canonical(value) == canonical(other):
            self.parts.append((_dump(value, pad), False))
        elif isinstance(value, Mapping) and isinstance(other, Mapping):
            self._object(value, other, pad, path)
        elif isinstance(value, list | tuple) and isinstance(other, list | tuple):
            self._list(value, other, pad, path)
        else:
            if self.leads:
                self.found.changed.append(_path(path))
            self._leaf(value, other, pad)

    def _object(self, value: Mapping[str, Any], other: Mapping[str, Any], pad: str, path: tuple[str, ...]) -> None:
        inner = pad + "  "
        if self.leads:
            self.found.only_candidate += [_path((*path, str(key))) for key in _sorted(other) if key not in value]
        self.parts.append(("{", False))
        for number, key in enumerate(_sorted(value)):
            self.parts.append((",\n" + inner if number else "\n" + inner, False))
            name = _quoted(str(key)) + ": "
            if key in other:
                self.parts.append((name, False))
                self.write(value[key], other[key], inner, (*path, str(key)))
            else:
                self._own(name + _dump(value[key], inner), (*path, str(key)))
        self.parts.append(("\n" + pad + "}" if value else "}", False))

    def _list(self, value: Sequence[Any], other: Sequence[Any], pad: str, path: tuple[str, ...]) -> None:
        inner = pad + "  "
        partners = dict(_aligned(value, other) if self.leads else ((j, i) for i, j in _aligned(other, value)))
        if self.leads:
            taken = set(partners.values())
            self.found.only_candidate += [_path((*path, f"[{j}]")) for j in range(len(other)) if j not in taken]
        self.parts.append(("[", False))
        for number, item in enumerate(value):
            self.parts.append((",\n" + inner if number else "\n" + inner, False))
            if number in partners:
                self.write(item, other[partners[number]], inner, (*path, f"[{number}]"))
            else:
                self._own(_dump(item, inner), (*path, f"[{number}]"))
        self.parts.append(("\n" + pad + "]" if value else "]", False))

    def _own(self, text: str, path: tuple[str, ...]) -> None:
        if self.leads:
            self.found.only_production.append(_path(path))
        self.parts.append((text, True))

    def _leaf(self, value: Any, other: Any, pad: str) -> None:
        text = _dump(value, pad)
        if isinstance(value, str) and isinstance(other, str) and min(len(value), len(other)) >= _LONG:
            theirs = _dump(other, pad)
            runs = diff.words(text, theirs).production if self.leads else diff.words(theirs, text).candidate
            if any(run.changed for run in runs):
                self.parts += [(run.text, run.changed) for run in runs]
                return
        self.parts.append((text, True))


def _aligned(left: Sequence[Any], right: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """Places of items that belong together: equal ones, and between them those that stand at the same place."""
    if max(len(left), len(right)) > MAX_ALIGNED:
        yield from ((number, number) for number in range(min(len(left), len(right))))
        return
    keys = [canonical(item) for item in left], [canonical(item) for item in right]
    for _, i1, i2, j1, j2 in SequenceMatcher(None, *keys, autojunk=False).get_opcodes():
        yield from zip(range(i1, i2), range(j1, j2), strict=False)


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value


def _sorted(value: Mapping[str, Any]) -> list[str]:
    return sorted(value, key=str)


def _path(path: tuple[str, ...]) -> str:
    text = ""
    for part in path:
        text += part if part.startswith("[") or not text else f".{part}"
    return text or "the whole"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _dump(value: Any, pad: str) -> str:
    inner = pad + "  "
    if isinstance(value, Mapping):
        lines = [f"{inner}{_quoted(str(key))}: {_dump(value[key], inner)}" for key in _sorted(value)]
        return "{\n" + ",\n".join(lines) + f"\n{pad}}}" if lines else "{}"
    if isinstance(value, list | tuple):
        lines = [inner + _dump(item, inner) for item in value]
        return "[\n" + ",\n".join(lines) + f"\n{pad}]" if lines else "[]"
    return json.dumps(value, ensure_ascii=False, default=str)

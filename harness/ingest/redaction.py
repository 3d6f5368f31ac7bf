"""Replacing personal data and secrets by placeholders, before anything is stored."""

import copy
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from harness.config import Redaction
from harness.domain.exchange import ChatRequest, Exchange
from harness.domain.json import Json, Message
from harness.domain.observation import CallError, Completion, Observation, ToolCall
from harness.errors import ConfigurationError
from harness.ingest import patterns

_DEFAULT_KEY = b"shadow-harness"
_IN_TEXT = 4
_IN_IDENTIFIER = 12
_SHORTEST = 5
_SMALLEST_NUMBER = 10**6
_LARGEST_NUMBER = 10**19
_BLOB = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w=.+-]+){0,4};base64,[A-Za-z0-9+/=_-]*|[A-Za-z0-9+/]{512,}={0,2}")
_DATA_URL = (
    r"data:(?:image|audio|video|font|application)/[\w.+-]{1,80}(?:;[\w=.+-]{1,80}){0,4};base64,[A-Za-z0-9+/=_-]+"
)
_STRUCTURE = frozenset({"role", "type", "id", "tool_call_id"})
_PAYLOADS = frozenset({"arguments", "input", "output", "response"})
_IDENTIFIERS = frozenset({"user", "metadata", "safety_identifier", "prompt_cache_key"})
_SEPARATED = frozenset({"card", "iban", "phone", "national_id"})


class Redactor:
    """Replaces sensitive values in everything an Exchange says, consistently and idempotently.

    A value becomes ``<KIND_xxxx>``, where ``xxxx`` is a keyed hash of the value: the same value has the same
    placeholder in every message, answer, exchange and import, without any state, so a conversation still makes sense,
    exact match still compares equal values, and recorded responses redacted later agree with the traffic. Numbers in
    order of appearance would need either memory for every session or make two arms' different new values look equal.
    The hash is kept to 16 bits in text, so that it cannot be turned back by trying all telephone numbers; two values
    share a placeholder once in 65,536. Users, sessions, tags and metadata identify clusters and slices and get 48
    bits instead. Those can be confirmed by guessing unless ``key`` is secret.

    Messages, content parts, tool-call arguments (also inside JSON), answers, refusals, error messages, settings, users,
    sessions, tags and metadata are redacted. Ids, roles, model names and tool definitions are not. Inline base64
    media are left alone. An own pattern must be linear: Python's engine can take exponential time on nested
    repetitions such as ``(a+)+``.

    Attributes:
        counts: replacements by kind since the Redactor was made.

    Raises:
        ConfigurationError: an unknown kind, or an own pattern that is not a regular expression.
    """

    def __init__(self, config: Redaction, *, key: str = "") -> None:
        self.enabled = config.enabled
        self.counts: Counter[str] = Counter()
        self._key = hashlib.sha256(_DEFAULT_KEY + key.encode()).digest()
        self._kinds = frozenset(_known(config.kinds))
        self._own = {name: _compiled(name, pattern) for name, pattern in config.patterns.items()}
        names = "|".join(name.upper() for name in (*patterns.FINDERS, *self._own))
        self._protected = re.compile(rf"(<(?:{names})_(?:[0-9a-f]{{12}}|[0-9a-f]{{4}})>|{_DATA_URL})")

    def twin(self) -> "Redactor":
        """A Redactor that replaces the same values by the same placeholders and counts apart."""
        twin = copy.copy(self)
        twin.counts = Counter()
        return twin

    def exchange(self, exchange: Exchange) -> Exchange:
        """The exchange with every sensitive value replaced."""
        if not self.enabled:
            return exchange
        return replace(
            exchange,
            request=self._request(exchange.request),
            production=self.observation(exchange.production),
            session=self.identifier(exchange.session),
            user=self.identifier(exchange.user),
            tags=tuple(self._string(tag, _IN_IDENTIFIER) for tag in exchange.tags),
            metadata={key: self._field(key, value, _IN_IDENTIFIER) for key, value in exchange.metadata.items()},
        )

    def observation(self, observation: Observation) -> Observation:
        """An Observation with its answer, error and extra data redacted."""
        if not self.enabled:
            return observation
        return replace(
            observation,
            completion=self._completion(observation.completion),
            error=self._error(observation.error),
            reason=self._optional(observation.reason),
            extra=self._json(observation.extra),
        )

    def text(self, text: str) -> str:
        """Free text with every sensitive value replaced; JSON text stays JSON."""
        return self._string(text, _IN_TEXT) if self.enabled else text

    def identifier(self, value: str | None) -> str | None:
        """A user, session or slice value, with placeholders long enough to keep clusters apart."""
        return self._string(value, _IN_IDENTIFIER) if value and self.enabled else value

    def _request(self, request: ChatRequest) -> ChatRequest:
        params = {
            key: self._json(value, width=_IN_IDENTIFIER if key in _IDENTIFIERS else _IN_TEXT, key=key)
            for key, value in request.params.items()
        }
        return replace(request, messages=tuple(self._message(item) for item in request.messages), params=params)

    def _message(self, message: Message) -> Message:
        redacted: Message = self._json(message, keep=_STRUCTURE)
        return redacted

    def _completion(self, completion: Completion | None) -> Completion | None:
        if completion is None:
            return None
        redacted = replace(
            completion,
            text=self._optional(completion.text),
            refusal=self._optional(completion.refusal),
            tool_calls=tuple(self._tool_call(call) for call in completion.tool_calls),
        )
        # A placeholder is not as long as what it stands for, and length is one of the things that are compared.
        return redacted if redacted.chars == completion.chars else replace(redacted, original_chars=completion.chars)

    def _tool_call(self, call: ToolCall) -> ToolCall:
        return replace(call, arguments=self._json(call.arguments))

    def _error(self, error: CallError | None) -> CallError | None:
        return replace(error, message=self.text(error.message)) if error is not None else None

    def _optional(self, text: str | None) -> str | None:
        return self._string(text, _IN_TEXT) if text else text

    def _json(self, value: Json, *, width: int = _IN_TEXT, key: str = "", keep: frozenset[str] = frozenset()) -> Json:
        """A JSON value of the same shape; ``keep`` names fields of the chat format, which payloads do not have."""
        if isinstance(value, str):
            return value if key in keep else self._field(key, value, width)
        if isinstance(value, Mapping):
            inner = frozenset() if key in _PAYLOADS else keep
            return {
                name if name in keep else self._string(name, width): self._json(item, width=width, key=name, keep=inner)
                for name, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._json(item, width=width, key=key, keep=keep) for item in value]
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _SMALLEST_NUMBER:
            return self._number(key, value)
        return value

    def _number(self, name: str, value: int) -> int:
        """A card, or what its field's name says is a telephone or national id, typed as a number stays a number.

        It becomes its hash, which is too short to be taken for anything again.
        """
        if abs(value) >= _LARGEST_NUMBER:
            return value
        digits = str(abs(value))
        words = re.sub(r"(?<=[a-z])(?=[A-Z])|[_-]", " ", name)
        if self._string(f"{words[-40:]}: {digits}", _IN_TEXT).endswith(digits):
            return value
        return int(self._hash("number", digits, _IN_TEXT), 16)

    def _field(self, name: str, value: str, width: int) -> str:
        """A named text; under a name such as ``password`` the whole of it is a secret whatever it looks like."""
        if value and "api_key" in self._kinds and patterns.SECRET_NAME.fullmatch(name):
            if self._protected.fullmatch(value):
                return value
            self.counts["api_key"] += 1
            return self._placeholder("api_key", value, width)
        return self._string(value, width)

    def _string(self, text: str, width: int) -> str:
        own = [name for name, pattern in self._own.items() if pattern.search(text)]
        if not own and (len(text) < _SHORTEST or _BLOB.fullmatch(text)):
            return text
        suspected = patterns.suspects(text)
        if not own and self._kinds.isdisjoint(suspected):
            return text
        if text.lstrip()[:1] in {"{", "["}:
            document = self._json_text(text, width)
            if document is not None:
                return document
        # What a replacement leaves behind can be recognisable on its own (`a@b.nl06-12345678`), so go on until nothing
        # is found: that makes a second redaction change nothing. Each round consumes raw characters, so it ends.
        while (redacted := self._once(text, suspected, width)) != text:
            text, suspected = redacted, patterns.suspects(redacted)
        return text

    def _json_text(self, text: str, width: int) -> str | None:
        """JSON in a string is redacted value by value: escapes hide where words begin, and it must still parse.

        ``None`` when the text is no JSON after all.
        """
        try:
            value = json.loads(text)
            redacted = self._json(value, width=width)
            if redacted == value:
                return text
            layout: dict[str, Any] = {"indent": 2} if "\n" in text else {}
            if not layout and '": ' not in text:
                layout = {"separators": (",", ":")}
            return json.dumps(redacted, ensure_ascii=False, **layout)
        except (ValueError, RecursionError):
            return None

    def _once(self, text: str, suspected: list[str], width: int) -> str:
        for name, pattern in self._own.items():
            text = self._replace(text, name, partial(_matches, pattern), width)
        for kind, finder in patterns.FINDERS.items():
            if kind in self._kinds and kind in suspected:
                text = self._replace(text, kind, finder, width)
        return text

    def _replace(self, text: str, kind: str, find: Callable[[str], Iterable[patterns.Span]], width: int) -> str:
        """One kind's values replaced, outside of placeholders and inline media."""
        if next(iter(find(text)), None) is None:
            return text
        parts = self._protected.split(text)
        for index in range(0, len(parts), 2):
            part = parts[index]
            pieces: list[str] = []
            done = 0
            for start, end in sorted(span for span in find(part) if span[0] < span[1]):
                if end <= done:
                    continue
                start = max(start, done)
                pieces += [part[done:start], self._placeholder(kind, part[start:end], width)]
                self.counts[kind] += 1
                done = end
            if done:
                parts[index] = "".join([*pieces, part[done:]])
        return "".join(parts)

    def _placeholder(self, kind: str, value: str, width: int) -> str:
        if kind in _SEPARATED:
            value = "".join(character for character in value if character.isalnum()).upper()
        elif kind == "email":
            value = value.lower()
        return f"<{kind.upper()}_{self._hash(kind, value, width)}>"

    def _hash(self, kind: str, value: str, width: int) -> str:
        data = f"{kind}\0{value}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, key=self._key, digest_size=8).hexdigest()[:width]


def _matches(pattern: re.Pattern[str], text: str) -> Iterable[patterns.Span]:
    return (match.span() for match in pattern.finditer(text))


def _known(kinds: Iterable[str]) -> list[str]:
    kinds = list(kinds)
    for kind in kinds:
        if kind not in patterns.FINDERS:
            raise ConfigurationError(
                f"traffic.redaction.kinds: {kind!r} is not known; available: {', '.join(sorted(patterns.FINDERS))}; "
                "own kinds go under `patterns:`"
            )
    return kinds


def _compiled(name: str, pattern: str) -> re.Pattern[str]:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,39}", name) or name.lower() in patterns.FINDERS:
        raise ConfigurationError(
            f"traffic.redaction.patterns: {name!r} cannot name a kind; use letters, digits and _, and no built-in kind"
        )
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigurationError(
            f"traffic.redaction.patterns.{name}: {pattern!r} is not a regular expression: {error}"
        ) from error
    if compiled.fullmatch(""):
        raise ConfigurationError(
            f"traffic.redaction.patterns.{name}: {pattern!r} matches the empty text; nothing to replace"
        )
    return compiled

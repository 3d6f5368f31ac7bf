"""Reads prompt files, checks them, and fills them in without ever interpreting what is filled in.

A prompt file is Markdown: front matter between ``---`` lines, then the parts ``# system``, ``# user`` and one
``# reply: <form>`` for every form of reply the judge may ask for. ``{{ name }}`` is replaced once; what replaces it is
never looked at again, so braces, percent signs and template markers in an answer are only text.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from prompts.fence import fence, nonce

_HEADING = re.compile(r"^# (system|user|reply: ?([a-z]+))[ \t]*$", re.MULTILINE)
_PLACEHOLDER = re.compile(r"\{\{\s*([a-z_]+)\s*\}\}")
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
REPLY = "reply_format"
"""The placeholder that the part ``# reply: <form>`` is put in."""


class PromptError(ValueError):
    """A prompt file cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """A prompt as it is asked: its hash changes when and only when a word of it does."""

    name: str
    """``pairwise/v1``, or the file name of a user's own."""
    sha256: str
    system: str
    user: str
    replies: Mapping[str, str] = field(default_factory=dict)
    """Form of reply to how it is asked for."""
    trusted: Mapping[str, str] = field(default_factory=dict)
    """Variables that come from the configuration, with what they hold."""
    untrusted: Mapping[str, str] = field(default_factory=dict)
    """Variables that come from traffic or models; shown fenced, and in the user part only."""
    required: frozenset[str] = frozenset()

    def render(
        self, *, reply: str, trusted: Mapping[str, str], untrusted: Mapping[str, str], identity: Iterable[str]
    ) -> tuple[dict[str, str], ...]:
        """System and user message.

        ``identity`` (pair, order) goes into the nonce of the fences together with every untrusted text.

        Raises:
            KeyError: a variable of the prompt was not given.
        """
        key = nonce([*identity, *(f"{name}={text}" for name, text in sorted(untrusted.items()))])
        shown = {name: fence(name, text, key, tags=self.untrusted) for name, text in untrusted.items()}
        plain = dict(trusted) | {REPLY: _fill(self.replies[reply], trusted)}
        return (
            {"role": "system", "content": _fill(self.system, plain)},
            {"role": "user", "content": _fill(self.user, plain | shown)},
        )


@cache
def load(name: str) -> Prompt:
    """The prompt of that name and version (``pairwise/v1``).

    Raises:
        PromptError: there is none.
    """
    if name not in names():
        raise PromptError(f"there is no prompt {name!r}; prompts: {', '.join(names())}")
    text = files("prompts").joinpath(f"{name}.md").read_text(encoding="utf-8")
    return _parse(text, name=name, like=None)


def load_file(path: str, like: str) -> Prompt:
    """A user's own prompt for a judge whose own prompt is ``like``.

    It may leave out the front matter and the ``# reply`` parts, which are then those of ``like``.

    Raises:
        PromptError: unreadable, a part or a required placeholder is missing, or a placeholder is unknown.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"prompt file {path} cannot be read: {error}") from error
    return _parse(text.replace("\r\n", "\n"), name=Path(path).name, like=load(like))


def names() -> tuple[str, ...]:
    """Every built-in prompt, sorted."""
    folders = (folder for folder in files("prompts").iterdir() if folder.is_dir())
    found = (f"{folder.name}/{file.name[:-3]}" for folder in folders for file in folder.iterdir())
    return tuple(sorted(name for name in found if re.fullmatch(r"[a-z_]+/v[0-9]+", name)))


def _parse(text: str, *, name: str, like: Prompt | None) -> Prompt:
    match = _FRONT_MATTER.match(text)
    head = _front_matter(match.group(1), name) if match else {}
    parts = _parts(text[match.end() :] if match else text)
    for part in ("system", "user"):
        if not parts.get(part):
            raise PromptError(f"prompt {name}: the part `# {part}` is missing or empty")
    own = {key.removeprefix("reply:").strip(): value for key, value in parts.items() if key.startswith("reply:")}
    replies = {**(like.replies if like else {}), **own}
    trusted = like.trusted if like else dict(head.get("trusted", {}))
    untrusted = like.untrusted if like else dict(head.get("untrusted", {}))
    required = like.required if like else frozenset(head.get("required", ()))
    prompt = Prompt(
        name=name,
        sha256=_digest(parts["system"], parts["user"], replies),
        system=parts["system"],
        user=parts["user"],
        replies=replies,
        trusted=trusted,
        untrusted=untrusted,
        required=required,
    )
    _check(prompt)
    return prompt


def _front_matter(text: str, name: str) -> dict[str, Any]:
    try:
        head = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PromptError(f"prompt {name}: the front matter is not valid YAML: {error}") from error
    if not isinstance(head, dict):
        raise PromptError(f"prompt {name}: the front matter is not a mapping")
    return head


def _parts(body: str) -> dict[str, str]:
    headings = list(_HEADING.finditer(body))
    ends = [*(heading.start() for heading in headings), len(body)][1:]
    return {
        heading.group(1).replace(": ", ":"): body[heading.end() : end].strip()
        for heading, end in zip(headings, ends, strict=True)
    }


def _check(prompt: Prompt) -> None:
    system, user = _placeholders(prompt.system), _placeholders(prompt.user)
    reply = {name for text in prompt.replies.values() for name in _placeholders(text)}
    known = {*prompt.trusted, *prompt.untrusted, REPLY}
    unknown = sorted((system | user | reply) - known)
    if unknown:
        raise PromptError(
            f"prompt {prompt.name}: unknown placeholder {_braced(unknown)}; there are {_braced(sorted(known))}"
        )
    exposed = sorted((system | reply) & set(prompt.untrusted))
    if exposed:
        raise PromptError(f"prompt {prompt.name}: {_braced(exposed)} holds strangers' text and belongs under `# user`")
    missing = sorted(prompt.required - user - system)
    if missing:
        raise PromptError(f"prompt {prompt.name}: the placeholder {_braced(missing)} is missing")


def _placeholders(text: str) -> set[str]:
    return set(_PLACEHOLDER.findall(text))


def _braced(found: Iterable[str]) -> str:
    return ", ".join("{{ " + name + " }}" for name in found)


def _fill(template: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: values[match.group(1)], template)


def _digest(system: str, user: str, replies: Mapping[str, str]) -> str:
    canonical = json.dumps([system, user, sorted(replies.items())], ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()

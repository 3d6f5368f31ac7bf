"""Delimiters that untrusted text cannot close.

Answers and traffic are written by strangers, some of whom address the judge. They are shown between tags that carry
a nonce; whatever resembles such a tag inside the text loses its opening bracket, and nothing else is changed.
"""

import hashlib
import re
from collections.abc import Iterable
from functools import cache

_IGNORABLE = "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff"
_GAP = f"[{_IGNORABLE}\\s]*+"
_OPENING = "<\u2039\u276e\u27e8\u2329\u3008\ufe64\uff1c"
_STAND_IN = "\u2039"


def nonce(parts: Iterable[str]) -> str:
    """16 hex digits that depend on every part.

    Include the texts to be fenced: their author would have to write a text that contains its own hash. The same parts
    give the same nonce, so that the same question is the same request and can be cached.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()[:16]


def fence(tag: str, text: str, key: str, *, tags: Iterable[str]) -> str:
    """``text`` between an opening and a closing ``tag`` that carry ``key``.

    Tags in the text that resemble one of ``tags`` (any case, with invisible characters, full-width or escaped as
    they may be) keep every character but their bracket, which becomes a similar one.
    """
    inner = _look_alike(frozenset(tags)).sub(lambda match: _STAND_IN + match.group(0)[1:], text)
    return f'<{tag} id="{key}">\n{inner}\n</{tag} id="{key}">'


@cache
def _look_alike(tags: frozenset[str]) -> re.Pattern[str]:
    # Possessive repeats: a bracket before a megabyte of spaces must not cost its square.
    return re.compile(f"[{_OPENING}]{_GAP}[/\u2044\u2215\uff0f\\\\]?{_GAP}(?:{'|'.join(map(_loose, sorted(tags)))})")


def _loose(tag: str) -> str:
    """The tag in any case, ordinary or full-width, with invisible characters between its letters."""
    return _GAP.join(_variants(character) for character in tag)


def _variants(character: str) -> str:
    if character == "_":
        return "[_\uff3f\u2010\u2011-]?"
    letters = {character.lower(), character.upper()}
    return "[" + "".join(sorted(letters | {chr(ord(letter) + 0xFEE0) for letter in letters})) + "]"

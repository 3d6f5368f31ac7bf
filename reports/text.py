"""Makes untrusted text safe to show: what could act on a terminal, a parser or the reading order becomes visible.

Escaping for HTML, Markdown or XML is the renderers' own job and comes after this.
"""

import re
from dataclasses import dataclass

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"

# Bidirectional controls reorder what a reader sees, zero-width and tag characters hide text from a reader but not from
# a model, and the rest is illegal in XML or UTF-8. Zero-width joiners stay: emoji and several scripts need them.
_INVISIBLE = re.compile(
    "[\u0080-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"} | {0x7F: 0x2421}


def visible(text: str) -> str:
    """The text with control characters as their symbols and other invisible ones as ``[U+202E]``.

    Line breaks of any convention become line feeds; tabs stay. The result encodes as UTF-8 and is legal in XML.
    """
    text = text.replace("\r\n", "\n").translate(_PICTURES)
    return _INVISIBLE.sub(lambda match: f"[U+{ord(match.group()):04X}]", text)


def one_line(text: str, limit: int = 200) -> str:
    """The text on one line, cut at ``limit`` characters with an ellipsis."""
    line = " ".join(visible(text[: 4 * limit]).split())
    return line if len(line) <= limit and len(text) <= 4 * limit else line[:limit].rstrip() + ELLIPSIS


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """A text bounded for display."""

    text: str
    """What is shown, already visible."""
    total: int
    """Characters of the whole text."""
    shown: int
    """Characters of it that are shown."""

    @property
    def note(self) -> str:
        """What was left out; empty when nothing was."""
        if self.shown == self.total:
            return ""
        return f"Cut for display: {self.shown:,} of {self.total:,} characters shown."


def cut(text: str, limit: int) -> Cut:
    """At most ``limit`` characters of the text."""
    shown = text[:limit]
    return Cut(text=visible(shown), total=len(text), shown=len(shown))


def plural(count: float, noun: str, many: str | None = None) -> str:
    """``1 request``, ``2 requests``, ``1,234 requests``."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"

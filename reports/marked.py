"""Markdown as a flat row of pieces that our own template writes: no HTML of the answer or of the library gets through.

A link is its text with the address behind it and cannot be followed, a picture is its description with the address,
raw HTML is text. Definitions of links, which Markdown would leave out of what it shows, are text too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from reports import diff
from reports.diff import Run
from reports.text import cut

_BLOCKS = {
    "paragraph": "p", "bullet_list": "ul", "ordered_list": "ol", "list_item": "li", "blockquote": "blockquote",
    "table": "table", "thead": "thead", "tbody": "tbody", "tr": "tr", "th": "th", "td": "td",
    "em": "em", "strong": "strong", "s": "s",
}  # fmt: skip
_PLAIN = frozenset({"paragraph_open", "paragraph_close", "inline"})
_ADDRESS_LIMIT = 200
_INFO_LIMIT = 40

TAGS = frozenset({*_BLOCKS.values(), "pre", "code", "span"})
"""Every tag a piece can have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One step of a text rendered as Markdown."""

    kind: str
    """``open`` or ``close`` of a tag, ``text``, or ``rule``, a line across."""
    tag: str = ""
    """Which one, of :data:`TAGS`; empty for text."""
    style: str = ""
    """Class of what is opened, from a closed set; may be empty."""
    start: str = ""
    """Number of a list's first item where that is not 1."""
    run: Run | None = None
    """The text."""
    ends_words: bool = False
    """Whether what comes after it is another word, although no space stands between them."""


def is_markdown(text: str) -> bool:
    """Whether the text has any sign of Markdown besides paragraphs."""
    return any(
        token.type not in _PLAIN or any(child.type not in {"text", "softbreak"} for child in token.children or ())
        for token in _parser().parse(text)
    )


def pieces(text: str) -> tuple[Piece, ...]:
    """The text as pieces, tags closed in the order in which they were opened."""
    return tuple(_pieces(_parser().parse(text)))


def compare(production: str, candidate: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...], str]:
    """Both texts as pieces with the words marked that only one of them has, and why none is where none is."""
    left, right = pieces(production), pieces(candidate)
    difference = diff.words(_words(left), _words(right))
    return _marked(left, difference.production), _marked(right, difference.candidate), difference.unmarked


@cache
def _parser() -> MarkdownIt:
    # Reference definitions vanish from what is shown: text that a reader would not see and a judge did.
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("reference")


def _pieces(tokens: Sequence[Token]) -> Iterator[Piece]:
    for token in tokens:
        name = token.type.removesuffix("_open").removesuffix("_close")
        if token.type == "inline":
            yield from _inline(token.children or ())
            yield _text("", ends_words=True)
        elif token.type in {"fence", "code_block"}:
            yield from _code_block(token)
        elif token.type == "hr":
            yield Piece(kind="rule")
        elif name == "heading":
            yield _tag(token, "p", style=f"md-heading md-{token.tag}")
        elif name == "paragraph" and token.hidden:
            continue
        elif name in _BLOCKS:
            start = str(token.attrs.get("start", "")) if name == "ordered_list" and token.nesting == 1 else ""
            yield _tag(token, _BLOCKS[name], style="md-cells" if name == "table" else "", start=start)
        else:
            yield _text(token.content)


def _inline(tokens: Sequence[Token]) -> Iterator[Piece]:
    addresses: list[str] = []
    for token in tokens:
        name = token.type.removesuffix("_open").removesuffix("_close")
        if token.type == "link_open":
            addresses.append(_address(token))
            yield Piece(kind="open", tag="span", style="md-link")
        elif token.type == "link_close":
            yield Piece(kind="close", tag="span")
            yield _text(addresses.pop())
        elif token.type == "image":
            yield _text(f"[picture: {token.content}]{_address(token)}")
        elif token.type == "code_inline":
            yield Piece(kind="open", tag="code")
            yield _text(token.content)
            yield Piece(kind="close", tag="code")
        elif token.type in {"softbreak", "hardbreak"}:
            yield _text("\n")
        elif name in _BLOCKS:
            yield _tag(token, _BLOCKS[name])
        else:
            yield _text(token.content)


def _code_block(token: Token) -> Iterator[Piece]:
    info = token.info.strip()
    if info:
        yield Piece(kind="open", tag="span", style="md-info")
        yield _text(cut(info, _INFO_LIMIT).text, ends_words=True)
        yield Piece(kind="close", tag="span")
    yield Piece(kind="open", tag="pre")
    yield Piece(kind="open", tag="code")
    yield _text(token.content.removesuffix("\n"), ends_words=True)
    yield Piece(kind="close", tag="code")
    yield Piece(kind="close", tag="pre")


def _address(token: Token) -> str:
    """Where a link leads, as text; the title is part of it, since nothing that was written may be hidden."""
    address = str(token.attrs.get("href") or token.attrs.get("src") or "")
    title = str(token.attrs.get("title") or "")
    whole = f'{address} "{title}"' if title else address
    return f" ({cut(whole, _ADDRESS_LIMIT).text})" if whole else ""


def _tag(token: Token, tag: str, *, style: str = "", start: str = "") -> Piece:
    if token.nesting == 1:
        return Piece(kind="open", tag=tag, style=style, start=start)
    return Piece(kind="close", tag=tag)


def _text(text: str, *, ends_words: bool = False) -> Piece:
    return Piece(kind="text", run=Run(text=text, changed=False), ends_words=ends_words)


def _words(found: Sequence[Piece]) -> str:
    return "".join(piece.run.text + ("\n" if piece.ends_words else "") for piece in found if piece.run is not None)


def _marked(found: Sequence[Piece], runs: Sequence[Run]) -> tuple[Piece, ...]:
    """The pieces with their texts cut where a run ends; the runs together are :func:`_words` of the pieces."""
    marked: list[Piece] = []
    left = list(reversed(runs))
    for piece in found:
        if piece.run is None:
            marked.append(piece)
            continue
        text = piece.run.text
        while text:
            run = left.pop()
            taken, rest = run.text[: len(text)], run.text[len(text) :]
            marked.append(replace(piece, run=Run(text=taken, changed=run.changed)))
            text = text[len(taken) :]
            if rest:
                left.append(Run(text=rest, changed=run.changed))
        if piece.ends_words:
            run = left.pop()
            if len(run.text) > 1:
                left.append(Run(text=run.text[1:], changed=run.changed))
    return tuple(marked)

"""Reads a rendered page the way a browser would split it into tags."""

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Tag:
    """One start tag."""

    name: str
    attributes: dict[str, str]
    inside: tuple[str, ...]


@dataclass
class Page(HTMLParser):
    """All tags and the text of a page."""

    tags: list[Tag] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    style: str = ""
    script: str = ""

    _VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    @classmethod
    def of(cls, html: str) -> "Page":
        page = cls()
        HTMLParser.__init__(page, convert_charrefs=True)
        page.feed(html)
        page.close()
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append(Tag(name=tag, attributes=attributes, inside=tuple(self.open)))
        if tag not in self._VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(Tag(name=tag, attributes={n: v or "" for n, v in attrs}, inside=tuple(self.open)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> inside <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        elif self.open and self.open[-1] == "script":
            self.script += data
        elif data.strip():
            self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pieces).split())

    def named(self, *names: str) -> list[Tag]:
        return [tag for tag in self.tags if tag.name in names]

import time
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2 import PackageLoader

from reports import marked
from reports.html import environment
from tests.unit.reports import kinds

HOSTILE = (
    kinds.NASTY,
    kinds.LINKS,
    kinds.SCRIPTS,
    kinds.BIDI,
    "<!-- x -->",
    "&lt;script&gt;",
    "[x]: y 'z'",
    "> " * 200 + "deep",
)
written = st.text(alphabet="abc \n\t#*_`~|-<>[]()!&;:/\"'\\0123\u202e\x00\ud83d", max_size=200) | st.text(max_size=200)


def words(pieces):
    return "".join(piece.run.text for piece in pieces if piece.run is not None)


TEMPLATE = environment(PackageLoader("reports")).from_string(
    '{% import "answers.html.j2" as shown %}{% for item in pieces %}{{ shown.piece(item, "candidate") }}{% endfor %}'
)


def rendered(pieces):
    return TEMPLATE.render(pieces=pieces)


class Strict(HTMLParser):
    """Fails on anything that we do not write ourselves."""

    allowed = frozenset({*marked.TAGS, "div", "hr", "ins", "del"})
    attributes = frozenset({"class", "start", "scope", "tabindex", "role", "aria-label"})

    def __init__(self):
        super().__init__()
        self.open = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        assert tag in self.allowed, tag
        assert {name for name, _ in attrs} <= self.attributes, attrs
        if tag != "hr":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        raise AssertionError(f"a comment got through: {data}")


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("Just a sentence.\n\nAnd another one.", False),
        ("2 * 3 is 6, and snake_case_names stay", False),
        ("# Title", True),
        ("- one\n- two", True),
        ("some *emphasis*", True),
        ("a `name`", True),
        ("[text](https://a.example)", True),
        ("| a |\n|---|\n| b |", True),
    ],
)
def test_text_with_any_sign_of_markdown_is_markdown(text, is_one):
    assert marked.is_markdown(text) is is_one


def test_blocks_become_their_tags_and_links_text():
    html = rendered(marked.pieces(kinds.MARKDOWN))
    for part in (
        '<p class="md-heading md-h2">Refunds</p>', "<strong>refund</strong>", "<em>two</em>", "<code>Billing</code>",
        "<blockquote>", "<ol><li>", "<ul><li>", "<hr>",
        '<span class="md-link">the manual</span> (https://docs.example/refund &#34;Refunds&#34;)',
        '<th scope="col">plan</th>', '<pre><code>refund(seat=4)</code></pre>', '<span class="md-info">python</span>',
    ):  # fmt: skip
        assert part in html, part
    assert "href" not in html


def test_a_list_that_goes_on_keeps_its_number():
    assert '<ol start="7">' in rendered(marked.pieces("7. seven\n8. eight"))


def test_nothing_that_was_written_is_hidden():
    """Markdown leaves definitions, titles and pictures' addresses out of what it shows; a judge has read them."""
    text = (
        "[a]: https://one.example 'secret one'\n\n![alt](https://two.example 'secret two') "
        "and <b title='x'>bold</b> <!-- note -->"
    )
    shown = words(marked.pieces(text))
    for part in (
        "secret one",
        "https://one.example",
        "alt",
        "https://two.example",
        "secret two",
        "<b title='x'>",
        "<!-- note -->",
    ):
        assert part in shown, part


def test_words_of_one_side_are_marked_inside_their_blocks():
    left, right, unmarked = marked.compare(kinds.MARKDOWN, kinds.MARKDOWN_OTHER)
    assert unmarked == ""
    assert [p.run.text for p in left if p.run and p.run.changed] == ["seat", "5 days", "10"]
    assert [p.run.text for p in right if p.run and p.run.changed] == ["invoice", "three weeks", "30"]


@settings(deadline=None)
@given(written)
@example(kinds.NASTY)
@example("".join(HOSTILE))
def test_nothing_but_our_own_tags_is_ever_written(text):
    page = Strict()
    page.feed(rendered(marked.pieces(text)))
    page.close()
    assert page.open == []


@settings(deadline=None)
@given(written, written)
@example(kinds.NASTY, kinds.MARKDOWN)
def test_marks_change_no_character(left, right):
    ours, theirs, _ = marked.compare(left, right)
    assert words(ours) == words(marked.pieces(left))
    assert words(theirs) == words(marked.pieces(right))


@pytest.mark.parametrize(
    "text", ["[" * 6_000, "*a " * 2_000, "`" * 6_000, "> " * 3_000, "- " * 3_000, "|" * 6_000, "![" * 3_000]
)
def test_text_made_to_be_slow_is_read_in_time(text):
    begin = time.process_time()
    marked.pieces(text)
    assert time.process_time() - begin < 3

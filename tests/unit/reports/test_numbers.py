"""Each number that a candidate's result shows is in report.json, up to how it is written."""

import json
import math
import re
from html.parser import HTMLParser

import pytest

from harness.decision.people import ENOUGH_LABELS, FEWEST_LABELS
from harness.domain.estimate import Unit
from harness.domain.formatting import format_value
from reports import load_json, render_html, render_json
from tests.unit.reports import factory

SECTIONS = ("criteria", "quality", "noise", "judges", "people", "latency", "errors", "cost", "slices", "attempts")
NUMBER = re.compile(
    r"(?<![\w.:#/-])[-+]?\$?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:%|x\b| points| ms\b| s\b)?(?![\w:/-]|\.\d)"
)
UNITS = (
    Unit.SHARE, Unit.POINTS, Unit.RATIO, Unit.SCORE, Unit.USD, Unit.MILLISECONDS, Unit.TOKENS, Unit.COUNT,
    Unit.CHARACTERS,
)  # fmt: skip
CONSTANTS = frozenset({"50%", "1", "20", f"{FEWEST_LABELS:,}", f"{ENOUGH_LABELS:,}"})
"""What explanations say of the method, whatever the run: no preference, the stake of an e-value, labels it takes."""
OUTSIDE = frozenset({"style", "title", "desc", "svg", "code"})


class Texts(HTMLParser):
    """The text of the first screen and of the sections with results, without drawings."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, bool]] = []
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag in {"meta", "br", "hr", "input"}:
            return
        wanted = any(shown for _, shown in self.open)
        name = dict(attrs).get("id") or ""
        begins = name == "result" or re.fullmatch(r"c\d+-(" + "|".join(SECTIONS) + ")", name) is not None
        self.open.append((tag, wanted or begins))

    def handle_endtag(self, tag):
        if self.open:
            self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1][1] and not OUTSIDE & {tag for tag, _ in self.open}:
            self.found.append(" ".join(data.split()))


def shown(html: str) -> list[tuple[str, str]]:
    """Numbers with the text they stand in; dates, versions and names are none."""
    reader = Texts()
    reader.feed(html)
    texts = [re.sub(r"\d{4}-\d\d-\d\d( \d\d:\d\d UTC)?", "", text) for text in reader.found]
    return [(match.group(), text) for text in texts for match in NUMBER.finditer(text)]


def written(value) -> set[str]:
    """Every way in which the page may write one number of the JSON."""
    forms = {format_value(value, unit, trim=trim) for unit in UNITS for trim in (False, True)}
    percent = 100 * value
    forms |= {f"{percent:.3g}%", f"{percent:.4g}%", f"{percent:.0f}%", f"{value:+.2f}", f"{value:.4f}", f"{value:.2f}"}
    forms |= {f"{value:,.3f}".rstrip("0").rstrip("."), f"{value:,.0f}" if abs(value) >= 10 else f"{value:g}"}
    bare = {re.sub(r" (tokens|characters)$", "", form) for form in forms}
    # A unit that holds for two numbers is said once, after the second.
    return bare | {form.removesuffix(" points") for form in bare}


def numbers(value, *, text=True) -> set[str]:
    """Everything the JSON holds, as the page may write it; sentences of the report hold their numbers as text."""
    if isinstance(value, dict):
        return set().union(*(numbers(item, text=text) for item in value.values()), set())
    if isinstance(value, list):
        return set().union(*(numbers(item, text=text) for item in value), set())
    if isinstance(value, bool) or value is None:
        return set()
    if isinstance(value, int | float):
        return written(float(value)) if math.isfinite(value) else set()
    return {match.group() for match in NUMBER.finditer(value)} if text else set()


def missing(report) -> list[tuple[str, str]]:
    raw = json.loads(render_json(report))
    for candidate in raw["candidates"]:
        # Answers and judges' words are full of numbers that would vouch for any other.
        del candidate["examples"]
    found = numbers(raw) | CONSTANTS
    return [(number, text) for number, text in shown(render_html(report)) if number not in found]


@pytest.mark.parametrize("name", ["report", "full", "two", "three"])
def test_each_number_on_the_page_is_in_the_json(name):
    report = getattr(factory, name)()
    assert len(shown(render_html(report))) > 150
    assert missing(report) == []


def test_a_number_of_another_run_would_be_noticed():
    report = factory.full()
    html = render_html(report)
    assert "54.80%" in html
    strange = html.replace("54.80%", "54.87%").replace("1,182", "1,183")
    found = numbers(json.loads(render_json(report))) | CONSTANTS
    assert {number for number, _ in shown(strange) if number not in found} == {"54.87%", "1,183"}


def test_derived_numbers_are_left_out_when_a_report_is_read_back():
    text = render_json(factory.full())
    assert json.loads(text)["derived"]["small-model"]["errors_candidate"] == 10
    assert render_json(load_json(text)) == text


def test_two_renders_of_a_saved_report_are_identical_bytes():
    report = factory.two()
    again = load_json(render_json(report))
    assert render_html(again).encode() == render_html(report).encode()

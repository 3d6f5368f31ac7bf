"""Pairs whose answers are of every kind: prose, Markdown, JSON, tool calls; and the same, hostile."""

import json
from typing import Any

from harness.domain.judgment import Label, Order
from harness.domain.observation import Completion, ToolCall
from harness.domain.report import EvaluationReport, Example
from tests.unit.reports import factory
from tests.unit.reports.pairs import judgment, observation

ARM = "small-model"
MARKDOWN = (
    "## Refunds\n\nYou can **refund** a seat in *two* ways, "
    'see [the manual](https://docs.example/refund "Refunds"):\n\n'
    "1. Open `Billing`.\n2. Choose the seat.\n   - once\n   - for good\n\n> Refunds take 5 days.\n\n"
    "| plan | days |\n|---|--:|\n| team | 5 |\n| free | 10 |\n\n```python\nrefund(seat=4)\n```\n\n---\n\nDone.\n"
)
MARKDOWN_OTHER = (
    MARKDOWN.replace("5 days", "three weeks")
    .replace("Choose the seat", "Choose the invoice")
    .replace("| 10 |", "| 30 |")
)
JSON_LEFT = {"refund": {"amount": 49.0, "currency": "EUR"}, "seats": [1, 2, 4], "note": "paid twice", "open": True}
JSON_RIGHT = {"refund": {"amount": 48.5, "currency": "EUR"}, "seats": [1, 4], "open": True, "reason": "double"}


def example(
    id: str,
    left: str | Completion | None,
    right: str | Completion | None,
    *,
    label: Label | None = Label.LOSS,
    why: str = "worst",
    **more: Any,
) -> Example:
    """A judged pair with these answers."""
    sides = [
        answer if isinstance(answer, Completion) else Completion(text=answer, finish_reason="stop")
        for answer in (left, right)
    ]
    defaults: dict[str, Any] = {
        "score": None if label is None else label.share,
        "score_metric": "win_rate",
        "messages": ({"role": "user", "content": f"How do refunds work? ({id})"},),
        "judgments": tuple(
            judgment(order, label, f"Because of {id}.", arm=ARM, id=id)
            for order in (Order.PRODUCTION_FIRST, Order.CANDIDATE_FIRST)
            if label is not None
        ),
        "slices": {"metadata.plan": "team", "language": "en"},
    }
    return Example(
        exchange_id=id,
        why=why,
        production=observation("production", None, id=id, completion=sides[0]),
        candidate=observation(ARM, None, id=id, completion=sides[1], latency=655.0),
        **(defaults | more),
    )


def call(name: str, **arguments: Any) -> ToolCall:
    """A tool call."""
    return ToolCall(name=name, arguments=arguments, id="t")


def calls(*made: ToolCall) -> Completion:
    """An answer of tool calls alone."""
    return Completion(text=None, tool_calls=made, finish_reason="tool_calls")


def every_kind() -> tuple[Example, ...]:
    """One pair of each kind, and two that are the same."""
    left, right = json.dumps(JSON_LEFT), json.dumps(JSON_RIGHT)
    return (
        example("markdown", MARKDOWN, MARKDOWN_OTHER),
        example(
            "json", left, f"```json\n{right}\n```", label=Label.TIE, slices={"metadata.plan": "free", "language": "de"}
        ),
        example(
            "json-and-prose", left, "I cannot say that as JSON.", slices={"metadata.plan": "free", "language": "en"}
        ),
        example(
            "tools",
            calls(call("find", month="2026-03"), call("refund", invoice="2026-03", amount=49.0, lines=[1, 2])),
            calls(
                call("refund", invoice="2026-03", amount=98.0, lines=[1]),
                call("find", month="2026-03"),
                call("close", id=4),
            ),
            label=Label.WIN,
            why="best",
        ),
        example("prose", "The refund takes five days.", "The refund takes three weeks.", label=None, why="unscored"),
        example("same-prose", "Yes, it does.", "Yes,  it does.\n", label=Label.TIE, why="unchanged"),
        example("same-json", left, json.dumps(JSON_LEFT, indent=1, sort_keys=True), label=Label.TIE, why="unchanged"),
    )


BIDI = "abc \u202egpj.exe\u202c \u2066x\u2069 \u200b\u200f zero\ufeffwidth"
SCRIPTS = (
    "</pre></code></script></style><script>document.title='owned'</script>"
    "<img src=x onerror=\"document.title='owned'\">"
    "<svg onload=\"document.title='owned'\"><a href=\"javascript:document.title='owned'\">x</a><iframe src=https://evil.example></iframe>"
)
LINKS = (
    "[a](javascript:document.title='owned') [b](https://evil.example/p.png) ![c](https://evil.example/p.png) "
    "<https://evil.example> [d](data:text/html,<script>1</script>) "
    '[e]\n\n[e]: https://evil.example "title"\n\n'
    "<details open ontoggle=\"document.title='owned'\">\n"
)
HUGE_WORD = "w" * 3_000
BROKEN = "\ud83d lone \udc00 \x00 \x1b[31m \x9b \ufffe"
NASTY = (
    f"# {SCRIPTS}\n\n{LINKS}\n\n| {HUGE_WORD} | {BIDI} |\n|---|---|\n| {SCRIPTS} | `{BROKEN}` |\n\n"
    f"```{SCRIPTS[:60]}\n{SCRIPTS}\n{HUGE_WORD}\n```\n"
)


def hostile() -> tuple[Example, ...]:
    """Every kind, written to run, to load, to widen, to reorder, to hide or to break."""
    value = {SCRIPTS: [BIDI, HUGE_WORD, {"__proto__": BROKEN, BIDI: LINKS}], "deep": [[[[[[SCRIPTS]]]]]]}
    other = {SCRIPTS: [BIDI + "!", HUGE_WORD, {"__proto__": 1, BIDI: LINKS + "!"}], HUGE_WORD: 1}
    tool = ToolCall(name=SCRIPTS + HUGE_WORD, arguments=value, id="t")
    raw = ToolCall(name="raw", arguments=SCRIPTS + BIDI + BROKEN + HUGE_WORD, id="t")
    big = f"{SCRIPTS} {BIDI} " + "megabyte " * 222_000
    made = {
        "prose": (f"{SCRIPTS}\n{BIDI} {BROKEN}", f"{HUGE_WORD} {SCRIPTS}"),
        "markdown": (NASTY, NASTY.replace("owned", "owned too")),
        "json": (json.dumps(value), json.dumps(other, ensure_ascii=False)),
        "tools": (calls(tool, raw), calls(ToolCall(name=SCRIPTS + HUGE_WORD, arguments=other, id="t"), raw)),
        "long": (big, "# " + big),
        "long-json": (json.dumps([value] * 400), json.dumps({"a": big})),
    }
    return tuple(
        example(
            f"{kind}-{SCRIPTS}-{BIDI}",
            *answers,
            messages=({"role": SCRIPTS, "content": NASTY + BROKEN}, {"role": "user", "content": SCRIPTS + HUGE_WORD}),
            slices={SCRIPTS: BIDI + HUGE_WORD, "language": "\" onclick=\"document.title='owned'"},
        )
        for kind, answers in made.items()
    )


def report(examples: tuple[Example, ...]) -> EvaluationReport:
    """A report of one candidate with these pairs."""
    return factory.report(factory.candidate(examples=examples))

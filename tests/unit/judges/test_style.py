"""Markdown density: what is a mark, what is only text, and no answer that takes long to count."""

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.domain.judgment import JudgmentState, UnscoredReason
from harness.domain.observation import Completion, ToolCall
from harness.judging import JudgeContext
from harness.testing import FakeEmbedder, ScriptedModelClient, model_error, observation, pair
from judges.style import StyleJudge, marks

CTX = JudgeContext(judge="style", fingerprint="f", models=ScriptedModelClient([]), embedder=FakeEmbedder())
SIZE = 2_000_000


async def judged(item):
    [row] = await StyleJudge().judge(item, CTX)
    return row


def counted(text: str) -> dict[str, int]:
    return {kind: n for kind, n in marks(text).items() if n}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# One\n###### Six\n####### Seven\n#hashtag\n   ### Indented", {"headings": 3}),
        ("- a\n* b\n+ c\n• d\n1. e\n2) f\n    - nested", {"list_items": 7}),
        ("-dash\n*emphasis*\n3.14 is pi\n- \n--- \nfrom 1. to 2.", {"list_items": 1}),
        ("**bold** and __bold__, **two words**", {"bold": 3}),
        ("2 ** 3 ** 4, **\nnot\n**, snake__case__name\n****\n**not **", {}),
        ("| a | b |\n|---|---|\n| 1 | 2 |", {"table_rows": 3}),
        ("a | b\n|x| or y", {"table_rows": 1}),
        ("```python\n# comment\n- not an item\n```\n- item", {"code_blocks": 1, "list_items": 1}),
        ("~~~\n**x**\n~~~\n\n  ```\n| a |\n  ```", {"code_blocks": 2}),
        ("```\n# never closed\n- a", {"code_blocks": 1}),
        ("inline ```code``` and `x`\n```a``` b", {}),
        ("- one\r\n- two\r\n# h\r\n", {"list_items": 2, "headings": 1}),
        ("Plain text. Nothing else.", {}),
    ],
)
def test_what_counts_as_a_mark(text, expected):
    assert counted(text) == expected


async def test_the_value_is_the_difference_of_densities():
    plain = "x" * 500
    row = await judged(pair(plain, "- " + "x" * 398))
    assert (row.value, row.label, row.attempts) == (2.5, None, 0)
    assert row.details == {"production": {"per_1000": 0.0}, "candidate": {"per_1000": 2.5, "list_items": 1}}
    assert (await judged(pair("- " + "x" * 398, plain))).value == -2.5
    assert (await judged(pair(plain, plain))).value == 0.0


async def test_a_side_without_text_has_no_density():
    call = Completion(text=None, tool_calls=(ToolCall(name="f", arguments={}),), finish_reason="tool_calls")
    row = await judged(pair("text", None))
    assert (row.state, row.reason, row.value) == (JudgmentState.UNSCORED, UnscoredReason.NOT_APPLICABLE, None)
    assert row.explanation == "candidate has no text"
    both = pair()
    row = await judged(replace(both, exchange=replace(both.exchange, production=observation(completion=call))))
    assert row.explanation == "production has no text"
    failed = replace(both, candidate=observation(arm="candidate", error=model_error().error))
    assert (await judged(failed)).reason is UnscoredReason.NOT_COMPARABLE


HOSTILE = ["*", "**a", "**a*", "__a", "_", "|", "| a ", "|a\n", "```\n", "`", "~", "- ", "-\n", "1. ", "1", "# \n",
           "\n", " ", "\t", "**a\n", "```a`\n", "*_`|#- "]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_two_megabytes_of_anything_are_counted_in_a_moment(piece):
    begin = time.process_time()
    marks(piece * (SIZE // len(piece)))
    assert time.process_time() - begin < 5.0


@given(st.lists(st.sampled_from([*HOSTILE, "a", "\r\n", "x y"]), max_size=60).map("".join))
def test_no_text_has_more_marks_than_characters(text):
    assert 0 <= sum(marks(text).values()) <= len(text)

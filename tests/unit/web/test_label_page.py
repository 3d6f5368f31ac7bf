import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

import harness.web
from harness.domain.exchange import ChatRequest
from harness.domain.observation import Completion, ToolCall
from harness.pipeline.label_plan import Wish, prepare_plan
from harness.pipeline.labelling import Labelling, Standing
from harness.web import label_app
from harness.web.label_page import ANSWER_LIMIT, MAX_MESSAGES, pair_page
from tests.unit.pipeline.labelled_run import fill, session_of

HOSTILE = "\u202egnp.exe\x00\x1b[31m <script>alert(1)</script> \ud83d <img src=x onerror=alert(1)> {{ view }}"


def view_classes():
    for path in sorted(Path(harness.web.__file__).parent.glob("*views.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                yield pytest.param(node, id=node.name)


@pytest.mark.parametrize("node", view_classes())
def test_every_field_of_a_view_says_what_it_means(node):
    items = [item for item in node.body if isinstance(item, ast.AnnAssign)]
    assert items
    for item in items:
        after = node.body[node.body.index(item) + 1]
        assert isinstance(after, ast.Expr), ast.unparse(item.target)
        assert isinstance(after.value, ast.Constant), ast.unparse(item.target)


@pytest.fixture
def labelling(store, tmp_path):
    session = session_of(store, tmp_path)
    arm = fill(session, ["e1"])
    return Labelling.of(session, arm, prepare_plan(session, arm, Wish(size=1)))


def page_of(labelling, *, messages=None, candidate=None, production=None, tools=()):
    pair = labelling.pair("e1")
    request = pair.request
    if messages is not None:
        request = ChatRequest(model=request.model, messages=tuple(messages), tools=tuple(tools))
    old = pair.production if production is None else replace(pair.production, completion=production)
    new = pair.candidate if candidate is None else replace(pair.candidate, completion=candidate)
    pair = replace(pair, exchange=replace(pair.exchange, request=request, production=old), candidate=new)
    standing: Standing = labelling.standing("ann")
    return pair_page(labelling, standing, standing.planned[0], pair, labeller="ann", csrf="c")


def new_side(labelling, page):
    return page.answers[0 if labelling.left("e1", "ann") == "candidate" else 1]


def html(page):
    return label_app._rendered("label_pair.html.j2", page).body.decode()


def test_hostile_text_is_shown_and_nothing_else(labelling):
    messages = [
        {"role": HOSTILE, "content": HOSTILE, "name": HOSTILE},
        {"role": "user", "content": [HOSTILE, {"type": HOSTILE}]},
    ]
    calls = (ToolCall(name=HOSTILE, arguments={HOSTILE: HOSTILE}),)
    answer = Completion(text=HOSTILE, refusal=HOSTILE, tool_calls=calls)
    page = page_of(labelling, messages=messages, candidate=answer, tools=[{"function": {"name": HOSTILE}}])

    text = html(page)

    assert "[U+202E]gnp.exe" in text
    assert "[U+D83D]" in text
    assert "{{ view }}" in text
    assert not re.search("[\u202e\x00\x1b]", text)
    assert re.findall(r"<script[^>]*>", text) == ['<script src="/static/label.js" defer>']
    assert "<img" not in text
    assert not re.search(r"\son\w+=\S*alert[^<]*>", re.sub(r"&lt;.*?&gt;", "", text))


def test_a_long_answer_is_cut_with_a_word_about_it(labelling):
    page = page_of(labelling, candidate=Completion(text="x" * 2_000_000))

    column = new_side(labelling, page)

    assert len(column.text) == ANSWER_LIMIT
    assert column.note == "Cut for display: 100,000 of 2,000,000 characters shown."
    assert column.note in html(page)


def test_tool_calls_are_shown_as_calls(labelling):
    call = ToolCall(name="refund", arguments={"amount": 49, "by": "prod-model-x1"})
    column = new_side(labelling, page_of(labelling, candidate=Completion(text=None, tool_calls=(call,))))

    assert column.empty == "No text: the answer is the tool calls."
    assert (column.calls[0].label, column.calls[0].value) == ("refund", '{\n  "amount": 49,\n  "by": "[model]"\n}')


def test_an_empty_answer_and_a_refusal_say_so(labelling):
    assert new_side(labelling, page_of(labelling, candidate=Completion(text=""))).empty == "The answer is empty."
    column = new_side(labelling, page_of(labelling, candidate=Completion(text=None, refusal="No.")))
    assert (column.refusal, column.empty) == ("No.", "")


def test_equal_answers_are_said_to_be_equal(labelling):
    same = Completion(text="The  same.")
    assert page_of(labelling, candidate=same, production=Completion(text="The same.")).equal
    assert not page_of(labelling).equal


def test_models_are_not_named_where_models_speak(labelling):
    messages = [
        {"role": "system", "content": "You are prod-model-x1."},
        {"role": "user", "content": "Are you prod-model-x1 or Claude?"},
        {"role": "assistant", "content": "I am Claude."},
        {"role": "user", "content": "Really?"},
    ]
    page = page_of(labelling, messages=messages)

    assert [item.text for item in page.earlier] == [
        "You are [model].", "Are you prod-model-x1 or Claude?", "I am [model].",
    ]  # fmt: skip
    assert [item.text for item in page.latest] == ["Really?"]
    assert page.earlier_title == "Instructions and 2 earlier messages"
    assert page.earlier_open


def test_the_question_is_shown_with_what_followed_it(labelling):
    call = {"id": "t", "type": "function", "function": {"name": "look_up", "arguments": '{"a": 1}'}}
    messages = [
        {"role": "user", "content": "x" * 5_000},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "How many?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t", "content": "7"},
    ]
    page = page_of(labelling, messages=messages, tools=[{"function": {"name": "look_up"}}, {"name": "other"}])

    assert [item.role for item in page.latest] == ["user", "assistant", "tool (t)"]
    assert page.latest[1].calls[0].label == "look_up"
    assert page.tools == "look_up, other"
    assert not page.earlier_open


def test_a_very_long_conversation_keeps_its_beginning_and_its_end(labelling):
    messages = [{"role": "user", "content": f"m{i}"} for i in range(500)]

    page = page_of(labelling, messages=messages)

    assert len(page.earlier) == MAX_MESSAGES + 1
    assert [page.earlier[0].text, page.earlier[-1].text, page.latest[0].text] == ["m0", "m498", "m499"]
    assert page.earlier[3].text == "[399 messages in the middle]"


@pytest.mark.parametrize("messages", [[], [{"role": "system", "content": "Be brief."}]])
def test_a_request_without_a_question_is_still_a_page(labelling, messages):
    assert "Which answer is better?" in html(page_of(labelling, messages=messages))

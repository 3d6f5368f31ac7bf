"""What exchanges are sliced by."""

import pytest

from harness.domain.exchange import ChatRequest
from harness.domain.observation import CallError, Completion, ErrorKind, ToolCall
from harness.store import attributes
from harness.testing import exchange, observation


def asked(*texts: str, tools: bool = False) -> ChatRequest:
    return ChatRequest(
        model="m",
        messages=tuple({"role": "user", "content": text} for text in texts),
        tools=({"type": "function", "function": {"name": "f"}},) if tools else (),
    )


def found(request: ChatRequest, **fields: object) -> dict[str, str]:
    return dict(attributes.attributes_of(exchange(request=request, **fields)))


@pytest.mark.parametrize(("n", "expected"), [(0, "1"), (1, "1"), (2, "2-3"), (3, "2-3"), (4, "4+"), (9, "4+")])
def test_turns_are_user_messages(n: int, expected: str) -> None:
    assert found(asked(*["hi"] * n))["turns"] == expected


@pytest.mark.parametrize(
    ("chars", "expected"),
    [
        (0, "under 500 characters"),
        (499, "under 500 characters"),
        (500, "500 to 2,000 characters"),
        (2_000, "2,000 to 8,000 characters"),
        (31_999, "8,000 to 32,000 characters"),
        (32_000, "32,000 and more characters"),
    ],
)
def test_prompt_length_buckets_count_all_messages(chars: int, expected: str) -> None:
    assert found(asked("x" * (chars // 2), "y" * (chars - chars // 2)))["prompt_length"] == expected


@pytest.mark.parametrize(
    ("chars", "expected"),
    [
        (1, "under 200 characters"),
        (199, "under 200 characters"),
        (200, "200 to 1,000 characters"),
        (1_000, "1,000 to 4,000 characters"),
        (3_999, "1,000 to 4,000 characters"),
        (4_000, "4,000 and more characters"),
    ],
)
def test_answer_length_is_productions(chars: int, expected: str) -> None:
    assert attributes.answer_length(exchange("x" * chars)) == expected


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        (Completion(text=None, tool_calls=(ToolCall(name="f", arguments={}),)), "no text"),
        (Completion(text=None, refusal="I cannot help with that."), "under 200 characters"),
        (Completion(text="<EMAIL_1a2b>", original_chars=1_500), "1,000 to 4,000 characters"),
    ],
)
def test_answer_length_is_what_the_user_read_before_redaction(completion: Completion, expected: str) -> None:
    assert attributes.answer_length(exchange(production=observation(completion=completion))) == expected


def test_a_failed_answer_has_no_length() -> None:
    failed = observation(error=CallError(kind=ErrorKind.TIMEOUT, message="30 s"))
    assert attributes.answer_length(exchange(production=failed)) is None
    assert "answer_length" not in dict(attributes.attributes_of(exchange(production=failed)))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("Where is my parcel? It was sent a week ago.", "Wo ist mein Paket? Es ist seit einer Woche weg."), "de"),
        (("Wo ist mein Paket? Es ist seit einer Woche weg.", "ok"), "unknown"),
        ((), "unknown"),
    ],
)
def test_language_is_that_of_the_last_user_text(texts: tuple[str, ...], expected: str) -> None:
    assert found(asked(*texts))["language"] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is the capital of France?", "latin"),
        ("Où est la gare ?", "latin"),
        ("Какая столица Франции?", "cyrillic"),
        ("法国的首都是哪里", "han"),
        ("フランスの首都はどこですか。教えてください", "kana"),
        ("日本国憲法全文を", "kana"),
        ("프랑스의 수도는?", "hangul"),
        ("ما هي عاصمة فرنسا؟", "arabic"),
        ("Переведи: the cat", "cyrillic"),
        ("12 + 30 = ?", None),
        ("", None),
    ],
)
def test_script_is_the_writing_system_of_most_letters(text: str, expected: str | None) -> None:
    assert attributes.script(asked("Система", text)) == expected


def test_text_parts_count_and_other_parts_do_not() -> None:
    parts = [{"type": "text", "text": "four"}, {"type": "image_url", "image_url": {"url": "data:" + "x" * 999}}]
    request = ChatRequest(model="m", messages=({"role": "user", "content": parts}, {"role": "assistant"}))
    assert attributes.prompt_chars(request) == 4


def test_tags_and_metadata_are_attributes() -> None:
    items = list(attributes.attributes_of(exchange(tags=("a", "b", "a"), metadata={"team": "x"})))
    assert [value for key, value in items if key == "tag"] == ["a", "b"]
    assert ("metadata.team", "x") in items
    assert ("has_tools", "no") in items
    assert found(asked("hi", tools=True))["has_tools"] == "yes"
    assert found(asked("hi"))["model"] == "m"

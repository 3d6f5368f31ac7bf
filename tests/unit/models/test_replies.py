"""Folding chunks without any provider library."""

from types import SimpleNamespace as Part

import pytest

from harness.models.replies import Fold, answer_text, messages_with_system, plain


def chunk(finish=None, usage=None, model="m", index=0, **delta):
    fields = {"content": None, "tool_calls": None} | delta
    return Part(choices=[Part(index=index, delta=Part(**fields), finish_reason=finish)], usage=usage, model=model)


def usage(read, written, **extra):
    return Part(prompt_tokens=read, completion_tokens=written, **extra)


def folded(*chunks):
    fold = Fold()
    visible = [fold.add(item) for item in chunks]
    return fold, visible


def test_text_is_joined_and_the_first_visible_chunk_is_known():
    fold, visible = folded(chunk(content=""), chunk(content="Par"), chunk(content="is"), chunk("stop"))

    assert fold.completion().text == "Paris"
    assert fold.completion().finish_reason == "stop"
    assert visible == [False, True, True, False]


def test_only_the_first_choice_is_read_and_all_are_counted():
    fold, _ = folded(chunk(content="a"), chunk(content="b", index=1), chunk("stop"))

    assert fold.completion().text == "a"
    assert fold.completion().n_choices == 2


def test_arguments_that_are_not_json_stay_as_they_came():
    call = Part(index=0, id="1", function=Part(name="f", arguments='{"a": '))
    fold, _ = folded(chunk(tool_calls=[call]), chunk("tool_calls"))

    assert fold.completion().tool_calls[0].arguments == '{"a": '


def test_tools_the_provider_runs_itself_are_not_the_users_to_call():
    call = Part(index=0, id="srvtoolu_1", function=Part(name="web_search", arguments="{}"))
    fold, _ = folded(chunk(tool_calls=[call]), chunk("stop", content="done"))

    assert fold.completion().tool_calls == ()
    assert fold.completion().text == "done"


def test_counts_sent_in_parts_are_put_together():
    details = Part(cached_tokens=5)
    fold, _ = folded(
        chunk(content="a", usage=usage(11, 1, prompt_tokens_details=details)), chunk("stop", usage=usage(0, 7))
    )

    assert fold.usage().tokens_in == 11
    assert fold.usage().tokens_out == 7
    assert fold.usage().tokens_cached == 5
    assert fold.usage().tokens_reasoning is None


@pytest.mark.parametrize("sent", [[], [usage(0, 0)], [usage(None, None)]])
def test_counts_that_were_not_sent_are_unknown(sent):
    fold, _ = folded(chunk(content="a"), *[chunk(usage=item) for item in sent])

    assert (fold.usage().tokens_in, fold.usage().tokens_out) == (None, None)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("plain", "plain"),
        ("<think>hm</think>\n\nParis", "Paris"),
        ("\n<think>never closed", ""),
        ("The tag <think>x</think> in the middle", "The tag <think>x</think> in the middle"),
    ],
)
def test_leading_thinking_is_not_the_answer(text, answer):
    assert answer_text(text) == answer


def test_a_new_system_prompt_replaces_all_old_ones():
    old = (
        {"role": "system", "content": "a"},
        {"role": "user", "content": "q"},
        {"role": "developer", "content": "b"},
    )

    assert messages_with_system(old, "new") == [{"role": "system", "content": "new"}, {"role": "user", "content": "q"}]
    assert messages_with_system(old, None) == [dict(message) for message in old]


def test_copies_share_nothing_with_the_original():
    original = {"a": [{"b": (1, 2)}]}
    copied = plain(original)
    copied["a"][0]["b"].append(3)

    assert original == {"a": [{"b": (1, 2)}]}

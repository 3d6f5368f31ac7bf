"""Asking with somebody in the place of litellm: what is left out, what is refused, and what a failure is called."""

import json
from types import SimpleNamespace

import pytest

from harness.canary.asking import Asking
from harness.canary.request import Shape
from harness.canary.unfit import Unfit
from harness.domain.model import ModelSpec
from harness.domain.unanswered import Reason
from harness.errors import ConfigurationError
from harness.models import litellm_client, surfaces
from harness.models.restraints import DOWNLOADS

BODY = {"messages": [{"role": "user", "content": "hi"}]}


def says(text="Paris", **more):
    litellm = litellm_client.library()
    message = {"role": "assistant", "content": text} | more
    return litellm.ModelResponse(choices=[{"index": 0, "finish_reason": "stop", "message": message}])


class Library:
    """Refuses settings as litellm does, or fails, or answers."""

    UnsupportedParamsError = type("UnsupportedParamsError", (Exception,), {})

    def __init__(self, *refused, fails=None, answer=None, wants_download=False):
        self.refused, self.fails, self.answer, self.wants_download = refused, fails, answer, wants_download
        self.asked = []

    async def acompletion(self, **asked):
        self.asked.append(asked)
        if names := [name for name in self.refused if name in asked]:
            raise self.UnsupportedParamsError(f"the model does not support {', '.join(names)}")
        DOWNLOADS.get().refused = self.wants_download
        if self.fails is not None:
            raise self.fails
        return says() if self.answer is None else self.answer


@pytest.fixture
def asking(monkeypatch):
    monkeypatch.setattr(surfaces, "restrain", lambda: True)

    def make(library, **spec):
        made = Asking(
            ModelSpec(model="openai/cheap", api_base="http://127.0.0.1:9", **spec),
            deadline_s=5, max_response_bytes=2_000,
        )  # fmt: skip
        monkeypatch.setattr(made, "_litellm", library)
        return made

    return make


async def reason_of(asking, body=BODY, shape=Shape.CHAT):
    with pytest.raises(Unfit) as caught:
        await asking.ask(shape, body)
    return caught.value.reason


async def test_a_setting_that_this_very_model_refuses_is_left_out_and_not_tried_again(asking):
    library = Library("temperature")
    one = asking(library)
    for _ in range(2):
        await one.ask(Shape.CHAT, BODY | {"temperature": 0, "seed": 1})
    assert [sorted(asked.keys() & {"temperature", "seed"}) for asked in library.asked] == [
        ["seed", "temperature"], ["seed"], ["seed"],
    ]  # fmt: skip


async def test_a_refused_setting_of_the_candidates_own_is_left_out_too(asking):
    library = Library("stop")
    await asking(library, params={"stop": ["."]}).ask(Shape.CHAT, BODY)
    assert "stop" not in library.asked[-1]


async def test_a_format_that_this_very_model_refuses_is_productions(asking):
    library = Library("response_format")
    one = asking(library)
    body = BODY | {"response_format": {"type": "json_object"}}
    assert await reason_of(one, body) is Reason.UNSUPPORTED_REQUEST
    assert await reason_of(one, body) is Reason.UNSUPPORTED_REQUEST
    assert len(library.asked) == 1


@pytest.mark.parametrize(
    ("library", "reason"),
    [
        (Library(fails=ConfigurationError("no key")), Reason.MISCONFIGURED),
        (Library(fails=RuntimeError("?")), Reason.OTHER),
        (Library(fails=ConnectionError("gone")), Reason.CONNECTION),
        (Library(fails=RuntimeError("no image"), wants_download=True), Reason.UNSUPPORTED_REQUEST),
        (Library(answer=says("x" * 2_000)), Reason.ANSWER_TOO_LARGE),
        (Library(answer=SimpleNamespace(model_dump=lambda **_: {"choices": []})), Reason.MALFORMED_RESPONSE),
        (Library(answer=SimpleNamespace(model_dump=lambda **_: {"error": {"a": 1}})), Reason.MALFORMED_RESPONSE),
    ],
)
async def test_a_failure_has_its_reason(asking, library, reason):
    assert await reason_of(asking(library)) is reason


async def test_a_request_that_cannot_be_translated_is_not_asked(asking, monkeypatch):
    library = Library()
    one = asking(library)
    monkeypatch.setattr(one, "_route", None)
    assert await reason_of(one, BODY | {"max_tokens": 5}, Shape.MESSAGES) is Reason.UNREADABLE_REQUEST
    assert library.asked == []


@pytest.mark.parametrize("shape", Shape)
async def test_clients_are_told_nothing_of_litellm(asking, shape):
    body = {
        Shape.CHAT: BODY, Shape.RESPONSES: {"input": "hi", "store": False}, Shape.MESSAGES: BODY | {"max_tokens": 5},
    }[shape]  # fmt: skip
    library = Library(answer=says(provider_specific_fields={"thinking_blocks": None}))
    answer = await asking(library).ask(shape, body)
    assert b"provider_specific" not in answer
    value = json.loads(answer)
    if shape is Shape.RESPONSES:
        assert (value["store"], value["error"], value["incomplete_details"]) == (False, None, None)
    assert value["id"].startswith({Shape.CHAT: "chatcmpl", Shape.RESPONSES: "resp_", Shape.MESSAGES: "msg_"}[shape])
    # As it was evaluated: as chat, with the candidate's own address, and no client's word on that.
    [asked] = library.asked
    assert asked["messages"] == BODY["messages"]
    assert (asked["model"], asked["api_base"], asked["num_retries"]) == ("openai/cheap", "http://127.0.0.1:9", 0)

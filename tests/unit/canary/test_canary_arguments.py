"""What the candidate is asked, and what only production can be."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.canary.contents import MAX_DEPTH
from harness.canary.request import Shape, configured, fitted, readable
from harness.canary.unfit import Unfit
from harness.domain.model import ModelSpec
from harness.domain.unanswered import Reason
from harness.models import surfaces
from harness.models.litellm_client import Route, find_route

PLAIN = ModelSpec(model="openai/cheap")
SPEC = ModelSpec(
    model="openai/cheap", params={"temperature": 0, "top_p": None, "max_tokens": 5}, system_prompt="Brief."
)
SAID = [{"role": "system", "content": "old"}, {"role": "user", "content": "hi"}]
BODIES = {
    Shape.CHAT: {"messages": SAID}, Shape.RESPONSES: {"input": SAID, "store": False},
    Shape.MESSAGES: {"messages": SAID[1:], "max_tokens": 9},
}  # fmt: skip


def with_parts(shape, *parts):
    field = "input" if shape is Shape.RESPONSES else "messages"
    return BODIES[shape] | {field: [{"role": "user", "content": list(parts)}]}


def reason_of(shape, body, **how):
    with pytest.raises(Unfit) as caught:
        readable(shape, body, **how)
    return caught.value.reason


def test_the_candidates_settings_and_prompt_go_before_the_clients():
    body = {"model": "m", "messages": SAID, "temperature": 1, "top_p": 0.5, "max_completion_tokens": 9, "user": "u"}
    assert configured(readable(Shape.CHAT, body), SPEC) == {
        "messages": [{"role": "system", "content": "Brief."}, SAID[1]], "temperature": 0, "max_tokens": 5,
    }  # fmt: skip


def test_the_candidates_own_settings_cannot_steer_litellm_either():
    spec = ModelSpec(model="openai/cheap", params={"mock_response": "x", "n": 3, "stream": True, "seed": 1})
    assert configured({"messages": SAID}, spec) == {"messages": SAID, "seed": 1}


def test_thoughts_of_production_are_left_out():
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
    body = {"input": [thought, *SAID], "store": False, "include": ["reasoning.encrypted_content"]}
    assert readable(Shape.RESPONSES, body) == {"input": SAID}


STEERING = [
    "api_base", "base_url", "api_key", "mock_response", "mock_tool_calls", "extra_headers", "extra_body", "extra_query",
    "headers", "custom_llm_provider", "litellm_metadata", "litellm_params", "fallbacks", "num_retries", "timeout",
    "cache", "callbacks", "guardrails", "drop_params", "allowed_openai_params", "prompt_id", "model_info",
    "azure_ad_token", "aws_access_key_id", "vertex_credentials", "vertex_project", "use_chat_completions_api", "client",
    "model_list", "deployment_id", "previous_response_id", "conversation", "prompt", "background", "container",
    "mcp_servers", "context_management", "web_search_options", "files", "file_ids", "_skip_mcp_handler",
]  # fmt: skip


@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize("name", STEERING)
def test_what_steers_litellm_or_lives_at_production_is_not_asked(shape, name):
    assert reason_of(shape, BODIES[shape] | {name: "x"}) is Reason.UNSUPPORTED_REQUEST


@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize("model", ["azure/other", "openai/other", "ollama/x", 7, ["m"], None])
def test_the_clients_model_is_left_out(shape, model):
    assert "model" not in readable(shape, BODIES[shape] | {"model": model, "metadata": {"a": "b"}})


@pytest.mark.parametrize(
    ("shape", "store", "fits"),
    [
        (Shape.CHAT, None, True), (Shape.CHAT, False, True), (Shape.CHAT, True, False),
        (Shape.RESPONSES, None, False), (Shape.RESPONSES, False, True), (Shape.RESPONSES, True, False),
        (Shape.RESPONSES, 0, False), (Shape.MESSAGES, None, True),
    ],
)  # fmt: skip
def test_an_answer_that_is_stored_is_productions(shape, store, fits):
    body = BODIES[shape] | {"store": store}
    if fits:
        assert "store" not in readable(shape, body)
    else:
        assert reason_of(shape, body) is Reason.STORED_RESPONSE


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        (Shape.CHAT, {}),
        (Shape.CHAT, {"messages": []}),
        (Shape.CHAT, {"messages": "hi"}),
        (Shape.CHAT, {"messages": ["hi"]}),
        (Shape.CHAT, {"messages": [{"role": "user", "content": ["hi"]}]}),
        (Shape.CHAT, {"messages": [{"role": "user", "content": {"type": "text"}}]}),
        (Shape.CHAT, {"messages": SAID, "stream": "yes"}),
        (Shape.CHAT, {"messages": SAID, "tools": {}}),
        (Shape.CHAT, {"messages": SAID, "tools": ["x"]}),
        (Shape.CHAT, {"messages": SAID, "response_format": "json"}),
        (Shape.CHAT, {"messages": [{"content": "hi"}]}),
        (Shape.CHAT, {"messages": [{"role": "user", "content": [{"type": "text"}]}]}),
        (Shape.RESPONSES, {"input": {}, "store": False}),
        (Shape.RESPONSES, {"input": [{"role": "user"}], "store": False}),
        (Shape.RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_text"}]}], "store": False}),
        (Shape.RESPONSES, {"input": [*SAID, {"type": "function_call_output", "output": "x"}], "store": False}),
        (Shape.RESPONSES, {"input": [*SAID, {"type": "function_call", "call_id": "c"}], "store": False}),
        (Shape.RESPONSES, {"input": SAID, "store": False, "text": {"format": 7}}),
        (Shape.MESSAGES, {"messages": [{"role": 7, "content": "hi"}], "max_tokens": 9}),
        (Shape.MESSAGES, {"messages": [{"role": "user", "content": [{"type": "tool_result"}]}], "max_tokens": 9}),
        (Shape.RESPONSES, {"input": SAID, "store": False, "text": "json"}),
        (Shape.RESPONSES, {"input": SAID, "store": False, "include": "x"}),
        (Shape.MESSAGES, {"messages": SAID}),
        (Shape.MESSAGES, {"messages": SAID, "max_tokens": 9, "system": {}}),
    ],
)
def test_what_cannot_be_read_is_productions_to_refuse(shape, body):
    assert reason_of(shape, body) is Reason.UNREADABLE_REQUEST


@pytest.mark.parametrize(
    ("shape", "more"),
    [
        (Shape.CHAT, {"tools": [{"type": "mcp", "server_url": "litellm_proxy"}]}),
        (Shape.CHAT, {"tools": [{"function": {}}]}),
        (Shape.CHAT, {"tools": [{"type": ["function"]}]}),
        (Shape.CHAT, {"tool_choice": {"type": "web_search"}}),
        (Shape.RESPONSES, {"tools": [{"type": "mcp"}]}),
        (Shape.RESPONSES, {"tools": [{"type": "file_search", "vector_store_ids": ["vs"]}]}),
        (Shape.RESPONSES, {"include": ["message.output_text.logprobs"]}),
        (Shape.RESPONSES, {"include": [{}]}),
        (Shape.RESPONSES, {"input": [{"type": "item_reference", "id": "i"}]}),
        (Shape.RESPONSES, {"input": [{"type": "reasoning", "summary": []}]}),
        (Shape.MESSAGES, {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        (Shape.MESSAGES, {"tools": [{"type": "code_execution_20250522", "name": "code_execution"}]}),
        (Shape.CHAT, {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}),
    ],
)
def test_tools_and_items_of_production_are_not_asked(shape, more):
    assert reason_of(shape, BODIES[shape] | more) is Reason.UNSUPPORTED_REQUEST


def chat_image(url):
    return Shape.CHAT, {"type": "image_url", "image_url": {"url": url}}


def responses_image(url):
    return Shape.RESPONSES, {"type": "input_image", "image_url": url}


def messages_image(url):
    return Shape.MESSAGES, {"type": "image", "source": {"type": "url", "url": url}}


def result_image(url):
    return Shape.MESSAGES, {"type": "tool_result", "tool_use_id": "t", "content": [messages_image(url)[1]]}


@pytest.mark.parametrize("part", [chat_image, responses_image, messages_image, result_image])
def test_an_address_is_passed_on_where_the_provider_fetches_it(part):
    shape, image = part("https://images.example/cat.png")
    body = with_parts(shape, image)
    field = "input" if shape is Shape.RESPONSES else "messages"
    assert readable(shape, body, addresses=True)[field] == body[field]
    assert reason_of(shape, body) is Reason.UNSUPPORTED_REQUEST


@pytest.mark.parametrize("part", [chat_image, responses_image, messages_image, result_image])
@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "/etc/passwd", "gs://bucket/key", "s3://bucket/key", "HTTP://x", "www.x.y", "", " "]
)
def test_no_other_address_is_passed_on(part, url):
    shape, image = part(url)
    assert reason_of(shape, with_parts(shape, image), addresses=True) is Reason.UNSUPPORTED_REQUEST


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        (Shape.CHAT, {"type": "file", "file": {"file_id": "https://evil/x.pdf"}}),
        (Shape.CHAT, {"type": "file", "file": {"file_data": "https://evil/x.pdf"}}),
        (Shape.CHAT, {"type": "input_audio", "input_audio": {"data": "https://evil/x.wav", "format": "wav"}}),
        (Shape.CHAT, {"type": "video_url", "video_url": {"url": "https://evil"}}),
        (Shape.RESPONSES, {"type": "input_image", "file_id": "f"}),
        (Shape.RESPONSES, {"type": "input_file", "file_url": "https://evil/x.pdf"}),
        (Shape.MESSAGES, {"type": "image", "source": {"type": "file", "file_id": "f"}}),
        (Shape.MESSAGES, {"type": "image", "source": {"type": "base64", "data": "https://evil"}}),
        (Shape.MESSAGES, {"type": "document", "source": {"type": "text", "data": "x"}}),
        (
            Shape.MESSAGES,
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "document", "source": {"type": "text"}}]},
        ),
        (Shape.MESSAGES, {"type": "server_tool_use", "name": "web_search"}),
    ],
)
def test_what_production_keeps_and_what_is_fetched_is_not_asked(shape, part):
    assert reason_of(shape, with_parts(shape, part), addresses=True) is Reason.UNSUPPORTED_REQUEST


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        (Shape.CHAT, {"type": "image_url", "image_url": "data:image/png;base64,AA=="}),
        (Shape.CHAT, {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a"}}),
        (Shape.CHAT, {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}),
        (Shape.RESPONSES, {"type": "input_file", "file_data": "data:application/pdf;base64,AA=="}),
        (Shape.MESSAGES, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}),
        (Shape.MESSAGES, {"type": "tool_use", "id": "t", "name": "f", "input": {"type": "x", "url": "file:///x"}}),
    ],
)
def test_what_is_sent_along_is_asked(shape, part):
    body = with_parts(shape, part)
    field = "input" if shape is Shape.RESPONSES else "messages"
    assert readable(shape, body)[field] == body[field]


def nested(depth):
    value = "x"
    for number in range(depth):
        value = [value] if number % 2 else {"a": value}
    return value


@pytest.mark.parametrize("depth", [MAX_DEPTH, 500, 1000])
def test_what_is_nested_too_deep_is_not_asked(depth):
    tool = {"type": "function", "function": {"name": "f", "parameters": nested(depth)}}
    assert reason_of(Shape.CHAT, BODIES[Shape.CHAT] | {"tools": [tool]}) is Reason.UNSUPPORTED_REQUEST


def test_a_schema_as_deep_as_they_get_is_asked():
    tool = {"type": "function", "function": {"name": "f", "parameters": nested(40)}}
    assert readable(Shape.CHAT, BODIES[Shape.CHAT] | {"tools": [tool]})["tools"] == [tool]


def test_the_clients_body_stays_as_it_was():
    before = json.dumps(BODIES[Shape.CHAT])
    readable(Shape.CHAT, BODIES[Shape.CHAT])["messages"][1]["content"] = "changed"
    assert json.dumps(BODIES[Shape.CHAT]) == before


# Anything at all

NAMES = sorted({
    *STEERING, "model", "store", "stream", "metadata", "user", "messages", "input", "max_tokens", "tools",
    "tool_choice", "system", "text", "include", "response_format", "stream_options", "instructions", "temperature",
    "audio",
})  # fmt: skip
WORDS = st.sampled_from([
    "type", "text", "image_url", "url", "file", "file_id", "file_data", "input_image", "image", "source", "content",
    "role", "user", "assistant", "function", "mcp", "reasoning", "input_text", "message", "tool_result", "base64",
    "http://127.0.0.1/x", "file:///etc/passwd", "gs://b/k", "data:image/png;base64,AA==", "document", "data",
])  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
MESSAGES = st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": VALUES}), min_size=1, max_size=3)
ALLOWED = {
    "messages", "input", "stream", "stream_options", "temperature", "max_tokens", "max_output_tokens", "tools",
    "tool_choice", "system", "text", "response_format", "instructions", "audio",
}  # fmt: skip


@settings(deadline=None)
@given(shape=st.sampled_from(Shape), body=st.dictionaries(st.sampled_from(NAMES), VALUES), said=st.none() | MESSAGES)
def test_whatever_is_sent_is_either_left_to_production_or_steers_nothing(shape, body, said):
    if said is not None:
        body |= {"messages": said, "input": said, "max_tokens": 5, "store": False}
        if shape is not Shape.RESPONSES:
            del body["input"]
        else:
            del body["messages"]
            del body["max_tokens"]
    try:
        asked = readable(shape, body)
    except Unfit as unfit:
        assert unfit.reason.is_not_asked  # noqa: PT017  it may be fit
        return
    assert asked.keys() <= ALLOWED
    assert isinstance(asked.get("stream", False), bool)
    for message in asked.get("messages") or asked["input"]:
        if isinstance(message, dict) and isinstance(message["content"], list):
            for part in message["content"]:
                for name in ("image_url", "source", "file"):
                    if part["type"] == {"source": "image"}.get(name, name):
                        assert not any(bad in json.dumps(part[name]) for bad in ("http:", "file:", "gs:", "file_id"))


# What the candidate's provider takes


def route(*supported):
    known = frozenset({"seed", "n", "tools", "response_format", "temperature", "logprobs"})
    return Route(
        provider="p", name="m", supported=frozenset(supported), known=known, arguments={}, is_local=False, priced=False,
        key=None,
    )  # fmt: skip


def test_settings_that_the_candidate_does_not_take_are_left_out_as_in_its_evaluation():
    asked = {"messages": SAID, "seed": 1, "temperature": 0, "n": 1, "stream": True}
    assert fitted(asked, PLAIN, route("temperature")) == {
        "messages": SAID, "temperature": 0, "stream": True,
    }  # fmt: skip


@pytest.mark.parametrize("more", [{"n": 2}, {"tools": [{}]}, {"response_format": {}}, {"logprobs": True}])
def test_what_makes_an_answer_of_another_kind_is_productions(more):
    with pytest.raises(Unfit) as caught:
        fitted({"messages": SAID} | more, PLAIN, route("temperature"))
    assert caught.value.reason is Reason.UNSUPPORTED_REQUEST
    assert fitted({"messages": SAID} | more, PLAIN, route(*more)) == {"messages": SAID} | more


def test_a_limit_is_kept_under_the_name_that_the_candidate_takes():
    asked = {"messages": SAID, "max_completion_tokens": 5}
    assert fitted(asked, PLAIN, route("max_tokens")) == {"messages": SAID, "max_tokens": 5}


def test_a_providers_own_setting_is_sent_when_it_is_the_candidates():
    spec = ModelSpec(model="p/m", params={"safety": "off", "seed": 1})
    asked = {"messages": SAID, "safety": "off", "seed": 1}
    assert fitted(asked, spec, route()) == {"messages": SAID, "safety": "off"}


# The other APIs as chat


ROUTE = find_route(ModelSpec(model="openai/cheap", api_base="http://127.0.0.1:9"))
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}


def test_responses_are_asked_as_chat():
    body = {
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
            {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "sunny"},
        ],
        "instructions": "Old.", "max_output_tokens": 7, "store": False, "stream": True,
        "reasoning": {"effort": "high", "summary": "auto"},
        "tools": [{"type": "function", "name": "weather", "parameters": WEATHER}],
        "text": {"format": {"type": "json_schema", "name": "a", "schema": WEATHER}},
    }  # fmt: skip
    asked = surfaces.FromResponses(readable(Shape.RESPONSES, body), ROUTE).chat
    assert [message["role"] for message in asked["messages"]] == ["system", "user", "assistant", "tool"]
    assert asked["messages"][2]["tool_calls"][0]["function"]["name"] == "weather"
    assert asked["tools"][0]["function"]["name"] == "weather"
    assert asked["response_format"]["json_schema"]["schema"] == WEATHER
    assert (asked["max_tokens"], asked["reasoning_effort"], asked["stream"]) == (7, "high", True)
    given = configured(asked, ModelSpec(model="m", params={"reasoning_effort": "low"}, system_prompt="Brief."))
    assert given["messages"][0] == {"role": "system", "content": "Brief."}
    assert (len(given["messages"]), given["reasoning_effort"]) == (4, "low")
    # What a client asks for beyond words is either in the request or makes it unfit.
    with pytest.raises(Unfit):
        fitted(given, PLAIN, route(*given.keys() - {"response_format"}))


def test_messages_are_asked_as_chat():
    body = {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "tool_use", "id": "t", "name": "weather", "input": {"city": "Bern"}},
            ]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "sunny"}]},
        ],
        "system": [{"type": "text", "text": "Old."}], "max_tokens": 7, "stop_sequences": ["."], "stream": True,
        "tools": [{"name": "weather", "input_schema": WEATHER}], "tool_choice": {"type": "any"},
    }  # fmt: skip
    asked = surfaces.FromMessages(readable(Shape.MESSAGES, body), ROUTE).chat
    assert [message["role"] for message in asked["messages"]] == ["system", "user", "assistant", "tool"]
    assert asked["messages"][2]["tool_calls"][0]["function"]["name"] == "weather"
    assert asked["tools"][0]["function"]["parameters"] == WEATHER
    assert (asked["tool_choice"], asked["stop"], asked["max_tokens"]) == ("required", ["."], 7)
    given = configured(asked, SPEC)
    assert [one for one in given["messages"] if one["role"] == "system"] == [{"role": "system", "content": "Brief."}]
    with pytest.raises(Unfit):
        fitted(given, PLAIN, route(*given.keys() - {"tools"}))


@given(said=MESSAGES, shape=st.sampled_from([Shape.RESPONSES, Shape.MESSAGES]))
@settings(deadline=None, max_examples=200)
def test_a_translation_adds_nothing_that_steers_litellm(said, shape):
    translate = {Shape.RESPONSES: surfaces.FromResponses, Shape.MESSAGES: surfaces.FromMessages}[shape]
    try:
        request = readable(shape, {"messages": said, "max_tokens": 5} if shape is Shape.MESSAGES
                           else {"input": said, "store": False})  # fmt: skip
        asked = translate(request, ROUTE).chat
    except Unfit:
        return
    except Exception:  # noqa: BLE001  what it stumbles over is unfit too
        return
    assert asked.keys() <= {"messages", "max_tokens"}

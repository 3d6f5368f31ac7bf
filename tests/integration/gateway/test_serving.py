"""A rollout's candidate in front of users: who gets it, what they see when it fails, and what is noted of it."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator

import anthropic
import openai
import pytest

from harness.domain import breaking_off
from harness.domain.served import Arm
from harness.gateway.canary import token_for
from harness.spool import assignment, control
from harness.spool.assignment import arm_of
from harness.spool.reader import SpoolReader
from tests.gateways import CHAT, Asked, Client, ask, when
from tests.servings import (
    CANDIDATES,
    CONVERSATION,
    PRODUCTIONS,
    SECRET,
    Serving,
    canary_that,
    candidates,
    conversation,
    productions,
    serving,
    shared,
)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    rules = [{"headers": {"x-tenant": "clinic"}, "rate": 0}]
    with serving(tmp_path_factory.mktemp("serving"), mirror={"rate": 1, "rules": rules}) as found:
        found.share(0.3)
        found.mirrored(1)
        yield found


@pytest.fixture
def asked(one: Serving) -> list[Asked]:
    """What the canary was asked in this test."""
    seen: list[Asked] = []
    one.canary.handler = canary_that(candidates, seen)
    one.production.handler = productions
    return seen


# Who is served by whom


def test_each_conversation_has_one_arm_and_each_request_of_an_arm_one_note(one, asked):
    names = [f"talk-{n}" for n in range(40)]
    arms = {name: arm_of(shared(0.3), f"conversation\0{name}") for name in names}
    for _ in range(2):
        for name in names:
            body = one.ask(name)[1]
            assert body == (CANDIDATES if arms[name] is Arm.CANDIDATE else PRODUCTIONS)
    counted = {arm: [name for name in names if arms[name] is arm] for arm in Arm}
    assert len(asked) == 2 * len(counted[Arm.CANDIDATE]) > 10
    notes = one.notes(2 * len(counted[Arm.CANDIDATE]) + 2 * len(counted[Arm.CONTROL]))
    assert {note.served["outcome"] for note in notes} == {"served"}
    assert {(note.served["rollout_id"], note.served["number"], note.served["surface"]) for note in notes} == {
        ("r1", 4, "chat")
    }
    by_arm = {arm: {note.served["conversation"] for note in notes if note.served["arm"] == arm} for arm in Arm}
    assert {arm: len(by_arm[arm]) for arm in (Arm.CANDIDATE, Arm.CONTROL)} == {
        arm: len(counted[arm]) for arm in (Arm.CANDIDATE, Arm.CONTROL)
    }
    assert not any(name in json.dumps(note.served) for note in notes for name in names)
    assert all(note.latency_ms and note.latency_ms > 0 and note.status == 200 for note in notes)
    mirrored = one.mirrored(80)
    served = {record.id: record for record in mirrored if record.served.get("arm") == "candidate"}
    assert {record.response for record in served.values()} == {CANDIDATES}
    assert set(served) == {note.id for note in notes if note.served["arm"] == "candidate"}
    assert sum(not record.served for record in mirrored) == 2 * len(counted[Arm.NEITHER])


def test_the_canary_gets_the_body_and_its_token_and_nothing_of_the_client(one, asked):
    one.ask(
        conversation(Arm.CANDIDATE), b"authorization: Bearer secret", b"cookie: a=b", b"content-type: application/json",
        b"openai-organization: o", b"x-anything: y", target=f"{CHAT}?key=secret",
    )  # fmt: skip
    [seen] = asked
    assert seen.target == CHAT.encode()
    names = {name for name, _ in seen.headers}
    assert seen.header(b"x-shadow-canary-token") == token_for(SECRET, "cheap").encode()
    assert names == {b"host", b"content-type", b"content-length", b"x-shadow-canary-token"}
    one.notes(1)
    one.mirrored(1)


@pytest.mark.parametrize(
    ("headers", "target", "method"),
    [
        ([b"x-tenant: clinic"], CHAT, b"POST"),
        ([b"x-shadow-harness-internal: worker"], CHAT, b"POST"),
        ([], "/v1/embeddings", b"POST"),
        ([], "/v1/completions", b"POST"),
        ([], "/v1/threads/t1/messages", b"POST"),
        ([], CHAT, b"GET"),
    ],
)
def test_what_no_candidate_may_see_is_productions(one, asked, headers, target, method):
    own = CONVERSATION + conversation(Arm.CANDIDATE).encode()
    head, body = ask(one.port, b"{}", own, *headers, method=method, target=target)
    assert (head.status, body) == (200, PRODUCTIONS)
    assert asked == []
    one.notes(0)
    with SpoolReader(one.spool) as reader:
        list(reader.read(10))
        reader.save()


def test_a_user_is_served_alike_and_a_request_without_a_name_is_its_own(one, asked):
    user = next(n for n in range(1_000) if arm_of(shared(0.3), f"user\0u{n}") is Arm.CANDIDATE)
    for _ in range(3):
        assert one.ask(None, b"x-user-id: u%d" % user)[1] == CANDIDATES
    answers = [one.ask(None)[1] for _ in range(60)]
    assert 5 <= answers.count(CANDIDATES) <= 35
    with SpoolReader(one.spool / "served") as reader:
        time.sleep(0.2)
        notes = [note for _, note in reader.read(1_000)]
        reader.save()
    assert len({note.served["conversation"] for note in notes}) == len(notes) - 2
    one.mirrored(63)


def test_large_bodies_are_passed_on_while_they_come(one, asked):
    body = b'{"messages":[1],"x":"' + b"a" * (2 << 20) + b'"}'
    assert one.ask(conversation(Arm.CANDIDATE), body=body)[1] == PRODUCTIONS
    assert asked == []
    one.notes(0)
    one.mirrored(1)


# Before the first byte


async def hangs(asked: Asked) -> None:
    await asked.gone()


async def refuses(asked: Asked) -> None:
    await asked.body()
    said = (b"x-shadow-canary: failed", b"x-shadow-canary-reason: rate_limit")
    await asked.answer(b"{}", *said, status=b"503 Service Unavailable")


async def cannot(asked: Asked) -> None:
    await asked.body()
    said = (b"x-shadow-canary: not_asked", b"x-shadow-canary-reason: unsupported_request")
    await asked.answer(b"{}", *said, status=b"501 Not Implemented")


async def resets(asked: Asked) -> None:
    await asked.body()
    asked.reset()


async def garbage(asked: Asked) -> None:
    await asked.body()
    await asked.send(b"nonsense\r\n\r\n")


async def cut_whole(asked: Asked) -> None:
    await asked.body()
    await asked.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
    asked.close()


async def huge(asked: Asked) -> None:
    await asked.body()
    await asked.answer(b"x" * 200_000, b"content-type: application/json")


async def empty_stream(asked: Asked) -> None:
    await asked.body()
    await asked.stream()


async def failed_stream(asked: Asked) -> None:
    await asked.body()
    await asked.stream(breaking_off.comment("timeout"))


async def half_an_event(asked: Asked) -> None:
    await asked.body()
    await asked.stream(b'data: {"half":')


@pytest.mark.parametrize(
    ("fails", "outcome", "reason"),
    [
        (hangs, "fell_back", "no_first_byte"),
        (refuses, "fell_back", "rate_limit"),
        (cannot, "not_asked", "unsupported_request"),
        (resets, "fell_back", "unreachable"),
        (garbage, "fell_back", "internal"),
        (cut_whole, "fell_back", "unreachable"),
        (huge, "fell_back", "answer_too_large"),
        (empty_stream, "fell_back", "cut_stream"),
        (failed_stream, "fell_back", "timeout"),
        (half_an_event, "fell_back", "cut_stream"),
    ],
)
def test_production_answers_as_if_nothing_had_been(one, asked, fails, outcome, reason):
    one.canary.handler = canary_that(fails, asked)
    begun = time.monotonic()
    head, body = one.ask(conversation(Arm.CANDIDATE))
    assert (head.status, body, head.header(b"x-request-id")) == (200, PRODUCTIONS, b"p1")
    assert time.monotonic() - begun < 2.5
    [note] = one.notes(1)
    assert (note.served["outcome"], note.served["reason"], note.status) == (outcome, reason, 200)
    [record] = one.mirrored(1)
    assert record.response == PRODUCTIONS
    assert record.served["outcome"] == outcome


def test_a_whole_answer_may_take_longer_than_the_first_byte_of_a_stream(one, asked):
    async def slow(asked: Asked) -> None:
        body = await asked.body()
        await asyncio.sleep(0.8)
        if b'"stream": true' in body:
            await asked.stream(EVENT)
        else:
            await asked.answer(CANDIDATES, b"content-type: application/json")

    one.canary.handler = canary_that(slow, asked)
    name = conversation(Arm.CANDIDATE)
    assert one.ask(name, body=b'{"messages":[{"content":"\\"stream\\": true"}]}')[1] == CANDIDATES
    assert one.ask(name, body=b'{"messages":[1], "stream": true}')[1] == PRODUCTIONS
    assert [note.served["reason"] for note in one.notes(2) if "reason" in note.served][-1] == "no_first_byte"
    one.mirrored(2)


def test_a_request_that_production_refuses_too_is_noted_with_its_status(one, asked):
    async def bad(asked: Asked) -> None:
        await asked.body()
        await asked.answer(b"{}", status=b"400 Bad Request")

    one.canary.handler, one.production.handler = canary_that(refuses, asked), bad
    assert one.ask(conversation(Arm.CANDIDATE))[0].status == 400
    [note] = one.notes(1)
    assert (note.served["outcome"], note.status) == ("fell_back", 400)
    one.mirrored(1)


def test_a_canary_that_is_not_there_serves_nobody_and_nobody_is_its_control(tmp_path):
    with serving(tmp_path) as other:
        other.share(0.3)

        async def away(asked: Asked) -> None:
            asked.reset()

        other.canary.handler = away
        time.sleep(1.2)
        for arm in (Arm.CANDIDATE, Arm.CONTROL):
            assert other.ask(conversation(arm))[1] == PRODUCTIONS
        other.notes(0)


def test_the_first_user_of_a_canary_that_is_gone_is_the_last_to_find_out(tmp_path):
    with serving(tmp_path) as other:
        other.share(0.3)
        name = conversation(Arm.CANDIDATE)
        assert other.ask(name)[1] == CANDIDATES
        other.canary.leave()
        # Between two looks at whether there is somebody to ask, which are half a second apart.
        begun = time.monotonic()
        answers = [other.ask(name)[1] for _ in range(20)]
        assert time.monotonic() - begun < 0.5
        assert answers == [PRODUCTIONS] * 20
        reasons = [note.served.get("reason") for note in other.notes(None)]
        assert reasons in ([None, "unreachable"], [None, "unreachable", "unreachable"], [None])


# After the first byte


EVENT = b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"small","choices":[{"index":0,' \
        b'"delta":{"content":"Hel"},"finish_reason":null}]}\n\n'  # fmt: skip


def test_events_are_passed_on_whole_as_they_come(one, asked):
    go = threading.Event()

    async def slowly(asked: Asked) -> None:
        await asked.body()
        await asked.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        await asked.chunk(EVENT + EVENT[:20])
        await when(go)
        await asked.chunk(EVENT[20:], b"data: [DONE]\n\n", b"")

    one.canary.handler = canary_that(slowly, asked)
    with Client(one.port) as client:
        client.ask(b'{"messages":[1],"stream":true}', CONVERSATION + conversation(Arm.CANDIDATE).encode())
        head = client.head()
        assert head.header(b"content-type") == b"text/event-stream"
        assert client.chunk() == EVENT
        go.set()
        rest = b""
        while piece := client.chunk():
            rest += piece
    assert rest == EVENT + b"data: [DONE]\n\n"
    [note] = one.notes(1)
    assert note.served["outcome"] == "served"
    assert note.ttft_ms is not None
    assert note.ttft_ms < note.latency_ms
    [record] = one.mirrored(1)
    assert record.response == EVENT * 2 + b"data: [DONE]\n\n"


async def breaks(asked: Asked) -> None:
    await asked.body()
    await asked.stream(EVENT, breaking_off.comment("server_error"))


async def dies(asked: Asked) -> None:
    await asked.body()
    await asked.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    await asked.chunk(EVENT + b'data: {"ha')
    asked.reset()


@pytest.mark.parametrize(("how", "reason"), [(breaks, "server_error"), (dies, "unreachable")])
def test_what_breaks_off_ends_with_an_error_that_the_client_understands(one, asked, how, reason):
    one.canary.handler = canary_that(how, asked)
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{one.port}/v1", api_key="k", max_retries=0)
    name = conversation(Arm.CANDIDATE)
    stream = client.chat.completions.create(
        model="big", messages=[{"role": "user", "content": "Hi"}], stream=True,
        extra_headers={"x-conversation-id": name},
    )  # fmt: skip
    assert next(stream).choices[0].delta.content == "Hel"
    with pytest.raises(openai.APIError, match="broke off"):
        next(stream)
    [note] = one.notes(1)
    assert (note.served["outcome"], note.served["reason"]) == ("broke_off", reason)
    with SpoolReader(one.spool) as reader:
        assert list(reader.read(10)) == []


def test_in_the_other_apis_too(one, asked):
    response = {
        "id": "r", "object": "response", "created_at": 1, "model": "small", "output": [], "parallel_tool_calls": True,
        "tool_choice": "auto", "tools": [],
    }  # fmt: skip
    message = {
        "id": "m", "type": "message", "role": "assistant", "content": [], "model": "small", "stop_reason": None,
        "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip
    first = {
        "responses": {"type": "response.created", "sequence_number": 0, "response": response},
        "messages": {"type": "message_start", "message": message},
    }

    async def breaks_off(asked: Asked) -> None:
        await asked.body()
        surface = asked.target.decode().rsplit("/", 1)[-1]
        event = f"event: {first[surface]['type']}\ndata: {json.dumps(first[surface])}\n\n"
        await asked.stream(event.encode(), breaking_off.comment("timeout"))

    one.canary.handler = canary_that(breaks_off, asked)
    header = {"x-conversation-id": conversation(Arm.CANDIDATE)}
    chat = openai.OpenAI(base_url=f"http://127.0.0.1:{one.port}/v1", api_key="k", max_retries=0)
    # In this API an error is an event like others; its client hands it over.
    *_, last = chat.responses.create(model="big", input="Hi", stream=True, extra_headers=header)
    assert (last.type, last.message, last.sequence_number) == ("error", "the answer broke off (timeout)", 1)
    messages = anthropic.Anthropic(base_url=f"http://127.0.0.1:{one.port}", api_key="k", max_retries=0)
    with pytest.raises(anthropic.APIError, match="broke off"):
        list(messages.messages.create(
            model="big", max_tokens=5, messages=[{"role": "user", "content": "Hi"}], stream=True, extra_headers=header,
        ))  # fmt: skip
    assert [note.served["surface"] for note in one.notes(2)] == ["responses", "messages"]


def test_a_client_that_leaves_ends_the_candidates_call(one, asked):
    left = threading.Event()

    async def waits(asked: Asked) -> None:
        await asked.body()
        await asked.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        await asked.chunk(EVENT)
        await asked.gone()
        left.set()

    one.canary.handler = canary_that(waits, asked)
    with Client(one.port) as client:
        client.ask(b'{"messages":[1],"stream":true}', CONVERSATION + conversation(Arm.CANDIDATE).encode())
        client.head()
        client.chunk()
    assert left.wait(5)
    [note] = one.notes(1)
    assert note.served["outcome"] == "client_gone"


# What is in force


def test_a_larger_share_only_adds_and_the_end_of_a_lease_and_the_switch_are_for_everybody(tmp_path):
    with serving(tmp_path) as other:
        names = [f"c{n}" for n in range(60)]

        def theirs() -> set[str]:
            return {name for name in names if other.ask(name)[1] == CANDIDATES}

        other.share(0.1)
        few = theirs()
        other.share(0.5, number=5)
        many = theirs()
        assert few < many
        assert 15 < len(many) < 45
        control.switch(other.spool, mirror=False)
        time.sleep(0.6)
        assert theirs() == set()
        control.switch(other.spool, mirror=True)
        time.sleep(0.6)
        assert theirs() == many
        other.share(0.5, number=6, lease_s=0.8)
        time.sleep(0.3)
        assert theirs() == set()
        (other.spool / assignment.FILE).write_bytes(b"{damaged")
        time.sleep(0.4)
        assert theirs() == set()


def test_the_rate_of_the_mirror_is_the_rollouts_while_it_says_so(tmp_path):
    with serving(tmp_path, mirror={"rate": 0}) as other:
        for _ in range(5):
            other.ask("x")
        other.share(0.0, mirror_rate=1.0)
        for _ in range(7):
            other.ask("x")
        other.mirrored(7)
        other.share(0.0, number=9)
        other.ask("x")
        with SpoolReader(other.spool) as reader:
            time.sleep(0.2)
            assert list(reader.read(10)) == []

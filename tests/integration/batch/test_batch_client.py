"""Both vendors' batch APIs through their own clients, against a loopback server that keeps to their types."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.config import Replay
from harness.domain.batch import BatchProgress, BatchState, asking_for
from harness.domain.exchange import ChatRequest
from harness.domain.model import BatchTerms, BudgetExhausted, ModelError, ModelReply, ModelSpec, Price, StillAtVendor
from harness.domain.observation import ErrorKind
from harness.domain.stop import StopSignal
from harness.errors import ConfigurationError, InfrastructureError, root_cause
from harness.models.batch.client import BatchRoom
from harness.models.budget import Purse
from harness.models.factory import build_client
from harness.store import Store
from tests.batch_server import ANTHROPIC_KEY, OPENAI_KEY, BatchServer, batch_server

TERMS = BatchTerms(linger_s=0.3, poll_s=0.05, settle_s=0.2)
VENDORS = ("openai", "anthropic")


@pytest.fixture
def server(monkeypatch) -> Iterator[BatchServer]:
    monkeypatch.setenv("OPENAI_BATCH_KEY", OPENAI_KEY)
    monkeypatch.setenv("ANTHROPIC_BATCH_KEY", ANTHROPIC_KEY)
    with batch_server() as state:
        yield state


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/harness.db") as opened:
        yield opened


def spec(server: BatchServer, vendor: str, **more) -> ModelSpec:
    base = f"{server.url}/v1" if vendor == "openai" else server.url
    names = {"openai": "openai/gpt-4o-mini", "anthropic": "anthropic/claude-sonnet-4-5"}
    fields = {"batch": TERMS, "price": Price(input_per_mtok=1.0, output_per_mtok=10.0), "params": {"max_tokens": 50}}
    return ModelSpec(model=names[vendor], api_base=base, api_key_env=f"{vendor.upper()}_BATCH_KEY", **(fields | more))


def request(text: str, **params) -> ChatRequest:
    return ChatRequest(model="production", messages=({"role": "user", "content": text},), params=params)


Found = ModelReply | Exception


async def ask(
    store: Store,
    model: ModelSpec,
    texts: list[str],
    *,
    stop: StopSignal | None = None,
    purse: Purse | None = None,
    told: list[BatchProgress] | None = None,
    attempts: int = 3,
) -> list[Found]:
    """Ask everything at once; what came of each, failures too."""
    found: dict[int, Found] = {}

    async def one(number: int, text: str) -> None:
        try:
            with asking_for("test", str(number)):
                found[number] = await client.complete(request(text), model, deadline_s=30)
        except (ModelError, StillAtVendor, BudgetExhausted) as error:
            found[number] = error

    try:
        async with asyncio.TaskGroup() as background:
            room = BatchRoom(
                ledger=store.batch_ledger("run"),
                stop=stop or StopSignal(),
                background=background,
                on_progress=(told if told is not None else []).append,
            )
            replay = Replay(max_attempts=attempts, max_retry_wait_s=60)
            client = build_client(replay=replay, purse=purse, batches=room if model.batch else None)
            try:
                async with asyncio.TaskGroup() as group:
                    for number, text in enumerate(texts):
                        group.create_task(one(number, text))
            finally:
                await client.aclose()
    except BaseExceptionGroup as failure:
        raise root_cause(failure) from None
    return [found[number] for number in range(len(texts))]


def texts_of(found: list[Found]) -> list[str | None]:
    return [item.completion.text if isinstance(item, ModelReply) else None for item in found]


def kinds_of(found: list[Found]) -> list[ErrorKind | None]:
    return [item.error.kind if isinstance(item, ModelError) else None for item in found]


QUESTIONS = [f"q{number}" for number in range(7)]
ANSWERS = [f"answer to {text}" for text in QUESTIONS]


@pytest.mark.parametrize("vendor", VENDORS)
async def test_answers_are_those_of_live_calls_at_half_the_price_and_without_a_time(server, store, vendor):
    batched = spec(server, vendor)
    told: list[BatchProgress] = []

    found = await ask(store, batched, QUESTIONS, told=told)
    live = await ask(store, replace(batched, batch=None, stream=False), QUESTIONS[:2])

    assert texts_of(found) == ANSWERS
    assert len(server.batches) == 1
    assert told[-1].done == told[-1].total == len(QUESTIONS)
    for batch_reply, live_reply in zip(found, live, strict=False):
        assert isinstance(batch_reply, ModelReply)
        assert isinstance(live_reply, ModelReply)
        assert batch_reply.latency_ms is None
        assert batch_reply.cost_usd == pytest.approx(live_reply.cost_usd / 2)
        assert batch_reply.usage == live_reply.usage
        assert batch_reply.completion == live_reply.completion
        assert batch_reply.usage.tokens_cached == 40
    asked = next(iter(server.batches.values())).requests
    sent = [body for _, body in asked]
    # One and the same request, but that a batch does not speak of streams.
    assert all({k: v for k, v in body.items() if k not in {"stream"}} in sent for body in server.live)


@pytest.mark.parametrize("vendor", VENDORS)
async def test_partial_failures_are_those_of_live_calls_and_what_may_pass_is_asked_again(server, store, vendor):
    def outcome(body: dict, times: int) -> tuple[str, int]:
        text = str(body["messages"][-1]["content"])
        if "q1" in text:
            return "error", 400
        if "q2" in text and not server.asked["error q2"]:
            return "error", 500
        return "ok", 200

    server.outcome = outcome
    found = await ask(store, spec(server, vendor), QUESTIONS)

    assert kinds_of(found) == [None, ErrorKind.BAD_REQUEST, *[None] * 5]
    assert isinstance(found[1], ModelError)
    assert found[1].error.http_status == 400
    assert "refused with 400" in found[1].error.message
    assert isinstance(found[2], ModelReply)
    assert found[2].attempts == 2
    assert [len(batch.requests) for batch in server.batches.values()] == [7, 1]


@pytest.mark.parametrize("vendor", VENDORS)
async def test_what_expired_is_asked_again_up_to_the_attempts(server, store, vendor):
    server.outcome = lambda body, times: (
        ("expired", 0)
        if "q1" in str(body["messages"]) or ("q2" in str(body["messages"]) and not server.asked["expired q2"])
        else ("ok", 200)
    )
    found = await ask(store, spec(server, vendor), QUESTIONS, attempts=3)

    assert texts_of(found) == [ANSWERS[0], None, *ANSWERS[2:]]
    assert isinstance(found[1], ModelError)
    assert (found[1].error.kind, found[1].error.code) == (ErrorKind.TIMEOUT, "batch_expired")
    assert (found[1].attempts, found[1].cost_usd) == (3, 0.0)
    assert [len(batch.requests) for batch in server.batches.values()] == [7, 2, 1]


@pytest.mark.parametrize("vendor", VENDORS)
async def test_looking_goes_on_through_errors_lost_connections_and_downloads_that_break_off(server, store, vendor):
    look = r"GET /v1/(messages/)?batches/[^/]+"
    server.faults = [(look, 500), (look, "drop"), (look, 429), (look, 503)]
    server.truncate = 2

    found = await ask(store, spec(server, vendor), QUESTIONS)

    assert texts_of(found) == ANSWERS
    assert server.faults == []
    assert server.truncate == 0
    assert set(server.asked.values()) == {1}


@pytest.mark.parametrize("vendor", VENDORS)
async def test_strange_results_answer_nobody_and_what_is_missing_has_failed(server, store, vendor):
    stranger = b'{"custom_id":"nobody","result":{"type":"expired"},"response":null,"error":{"code":"batch_expired"}}'

    def mangle(lines: list[bytes]) -> list[bytes]:
        kept = [line for line in lines if b"answer to q3" not in line]
        changed = [line.replace(b"answer to", b"second answer to") for line in kept]
        return [stranger, *reversed(kept), *changed]

    server.mangle = mangle
    found = await ask(store, spec(server, vendor), QUESTIONS, attempts=1)

    assert texts_of(found) == [*ANSWERS[:3], None, *ANSWERS[4:]]
    assert isinstance(found[3], ModelError)
    assert (found[3].error.kind, found[3].error.code) == (ErrorKind.MALFORMED_RESPONSE, "batch_result_missing")


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_submission_whose_answer_was_lost_is_found_and_not_made_again(server, store, vendor):
    create = r"POST /v1/(messages/)?batches"
    server.faults = [(create, "after")]

    found = await ask(store, spec(server, vendor), QUESTIONS)

    assert texts_of(found) == ANSWERS
    assert len(server.batches) == 1


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_submission_that_was_refused_for_a_while_is_made_again(server, store, vendor):
    create = r"POST /v1/(messages/)?batches"
    server.faults = [(create, 429), (create, 503), (create, "drop")]

    found = await ask(store, spec(server, vendor), QUESTIONS)

    assert texts_of(found) == ANSWERS
    assert len(server.batches) == 1


@pytest.mark.parametrize("vendor", VENDORS)
async def test_who_is_told_to_stop_leaves_the_batch_and_the_next_one_picks_it_up(server, store, vendor):
    server.gate.clear()
    stop = StopSignal()

    def when_created() -> None:
        server.created.wait(60)
        stop.request("interrupted")

    threading.Thread(target=when_created).start()
    left = await ask(store, spec(server, vendor), QUESTIONS, stop=stop)
    server.gate.set()
    found = await ask(store, spec(server, vendor), QUESTIONS)
    again = await ask(store, spec(server, vendor), QUESTIONS)

    assert all(isinstance(item, StillAtVendor) for item in left)
    assert texts_of(found) == texts_of(again) == ANSWERS
    assert len(server.batches) == 1
    assert [batch.state for batch in store.batches("run")] == [BatchState.ENDED]


@pytest.mark.parametrize("vendor", VENDORS)
async def test_what_a_cancelled_batch_had_finished_is_kept_and_the_rest_asked_by_the_next_command(
    server, store, vendor
):
    server.gate.clear()

    def cancel() -> None:
        server.created.wait(60)
        next(iter(server.batches.values())).cancelled = True

    threading.Thread(target=cancel).start()
    first = await ask(store, spec(server, vendor), QUESTIONS)
    server.gate.set()
    second = await ask(store, spec(server, vendor), QUESTIONS)

    assert sum(isinstance(item, ModelReply) for item in first) == 3
    assert sum(isinstance(item, StillAtVendor) for item in first) == 4
    assert texts_of(second) == ANSWERS
    assert [len(batch.requests) for batch in server.batches.values()] == [7, 4]


async def test_lines_a_file_was_refused_for_fail_and_the_others_are_asked(server, store):
    def refuse(batch) -> list[dict]:
        lines = [number for number, (_, body) in enumerate(batch.requests, 1) if "q2" in str(body)]
        return [{"code": "invalid_request", "message": "no such parameter", "line": line} for line in lines]

    server.refuse = refuse
    found = await ask(store, spec(server, "openai"), QUESTIONS)

    assert kinds_of(found) == [None, None, ErrorKind.BAD_REQUEST, *[None] * 4]
    assert [batch.state for batch in store.batches("run")] == [BatchState.ABANDONED, BatchState.ENDED]


async def test_an_account_that_takes_fewer_tokens_at_a_time_gets_smaller_batches(server, store):
    server.refuse = lambda batch: (
        [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}] if len(batch.requests) > 2 else []
    )
    found = await ask(store, spec(server, "openai"), QUESTIONS)

    assert texts_of(found) == ANSWERS
    assert max(len(batch.requests) for batch in server.batches.values() if batch.outcomes) <= 2


async def test_batches_hold_no_more_than_they_may(server, store):
    terms = replace(TERMS, max_requests=3)
    found = await ask(store, spec(server, "openai", batch=terms), QUESTIONS)
    large = await ask(store, spec(server, "openai", batch=replace(TERMS, max_mb=0.0005)), ["x" * 400, "y" * 600])

    assert texts_of(found) == ANSWERS
    assert [len(batch.requests) for batch in server.batches.values()] == [3, 3, 1, 1]
    assert kinds_of(large) == [None, ErrorKind.BAD_REQUEST]


async def test_the_purse_is_asked_for_half_before_and_charged_half_after(server, store):
    purse = Purse("candidates", limit_usd=0.0010)
    found = await ask(store, spec(server, "openai"), QUESTIONS, purse=purse)

    paid = [item for item in found if isinstance(item, ModelReply)]
    assert 0 < len(paid) < len(QUESTIONS)
    assert purse.spent_usd == pytest.approx(len(paid) * (100 * 1.0 + 20 * 10.0) / 1e6 / 2)
    assert purse.spent_usd <= 0.0010
    assert sum(server.asked.values()) == len(paid)


async def test_equal_requests_of_different_askers_get_an_answer_each(server, store):
    found = await ask(store, spec(server, "openai"), ["q1", "q1", "q1"])

    assert texts_of(found) == [ANSWERS[1]] * 3
    assert server.asked == {"q1": 3}


async def test_a_vendor_without_batches_is_refused_before_anything_is_sent(server, store):
    model = replace(spec(server, "openai"), model="groq/llama-3.1-8b-instant", api_base=f"{server.url}/v1")
    with pytest.raises(ConfigurationError, match="batch"):
        await ask(store, model, ["q1"])

    assert server.seen == []


async def test_a_key_that_is_refused_fails_as_it_does_live_and_is_in_no_record(server, store, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_BATCH_KEY", "sk-wrong-key-of-somebody")
    found = await ask(store, spec(server, "openai"), QUESTIONS)

    assert set(kinds_of(found)) == {ErrorKind.AUTHENTICATION}
    assert b"sk-wrong-key" not in (tmp_path / "harness.db").read_bytes()
    assert "sk-wrong-key" not in "".join(map(str, found))


async def test_a_batch_the_vendor_does_not_know_ends_the_run_with_what_to_do(server, store):
    server.gate.clear()
    stop = StopSignal()
    threading.Thread(target=lambda: (server.created.wait(60), stop.request("interrupted"))).start()
    await ask(store, spec(server, "openai"), QUESTIONS, stop=stop)
    server.batches.clear()

    with pytest.raises(InfrastructureError, match="harness batches forget"):
        await ask(store, spec(server, "openai"), QUESTIONS)


@pytest.mark.parametrize("vendor", VENDORS)
async def test_an_intended_batch_is_told_from_a_strangers_of_the_same_size(server, store, vendor):
    """The intent is recorded, the batch was never made, and others' batches look alike."""
    stranger = [(f"x-{number}", {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]})
                for number in range(len(QUESTIONS))]  # fmt: skip
    for _ in range(3):
        server.make(vendor, stranger, {"harness_batch": "another"} if vendor == "openai" else None)
    for batch in server.batches.values():
        server.end(batch)
    create = r"POST /v1/(messages/)?batches"
    server.faults = [(create, "drop")]

    found = await ask(store, spec(server, vendor), QUESTIONS)

    assert texts_of(found) == ANSWERS
    assert [batch.vendor_id for batch in store.batches("run")] == [[*server.batches][-1]]

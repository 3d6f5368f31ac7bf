"""Replaying: bounded, resumable, and every outcome an Observation."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from harness.domain.exchange import ChatRequest, Exchange
from harness.domain.model import BudgetExhausted, ModelReply, ModelSpec
from harness.domain.observation import Completion, ErrorKind, Observation, Status, ToolCall, Usage
from harness.domain.stop import StopSignal
from harness.errors import ConfigurationError, InfrastructureError
from harness.replay import ReplayResult, replay
from harness.testing import ScriptedModelClient, exchange, model_error, reply

SPEC = ModelSpec(model="openai/small")


@dataclass
class Ledger:
    """Keeps what was committed, batch by batch."""

    batches: list[list[Observation]] = field(default_factory=list)
    delay_s: float = 0.0

    def write(self, batch: Sequence[Observation]) -> None:
        time.sleep(self.delay_s)
        self.batches.append(list(batch))

    @property
    def rows(self) -> dict[str, Observation]:
        return {row.exchange_id: row for batch in self.batches for row in batch}


@dataclass
class SlowClient:
    """Answers after a moment and remembers how many calls were open at once."""

    delay_s: float = 0.005
    open: int = 0
    most: int = 0
    calls: int = 0

    async def complete(self, request: ChatRequest, model: ModelSpec, *, deadline_s: float) -> ModelReply:
        self.calls += 1
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await asyncio.sleep(self.delay_s)
        finally:
            self.open -= 1
        return reply("ok")


def requests(n: int) -> list[Exchange]:
    return [exchange(id=f"e{i}", prompt=f"question {i}") for i in range(n)]


async def run(client: object, ledger: Ledger, items: object = None, **options: object) -> ReplayResult:
    defaults: dict[str, object] = {"concurrency": 4, "deadline_s": 5.0}
    return await replay(
        requests(5) if items is None else items,  # type: ignore[arg-type]
        client=client,  # type: ignore[arg-type]
        spec=SPEC,
        arm="small",
        fingerprint="f9",
        write=ledger.write,
        **(defaults | options),  # type: ignore[arg-type]
    )


async def test_every_answer_becomes_an_observation_with_all_it_came_with() -> None:
    ledger = Ledger()
    answer = reply(
        "Paris.",
        usage=Usage(tokens_in=7, tokens_out=2),
        cost_usd=0.25,
        latency_ms=12.0,
        ttft_ms=3.0,
        queue_ms=1.0,
        retry_ms=2.0,
        attempts=3,
        dropped_params=("seed",),
    )
    result = await run(ScriptedModelClient(lambda *_: answer), ledger)
    row = ledger.rows["e3"]
    assert result == ReplayResult(completed=5, written=5)
    assert (row.arm, row.fingerprint, row.status, row.completion) == (
        "small", "f9", Status.COMPLETED, answer.completion,
    )  # fmt: skip
    assert (row.latency_ms, row.ttft_ms, row.queue_ms, row.retry_ms, row.attempts) == (12.0, 3.0, 1.0, 2.0, 3)
    assert (row.usage, row.cost_usd, row.cost_estimated) == (answer.usage, 0.25, True)
    assert row.dropped_params == ("seed",)
    assert row.started_at is not None
    assert row.started_at.tzinfo is not None


async def test_an_unknown_price_stays_unknown() -> None:
    ledger = Ledger()
    await run(ScriptedModelClient(lambda *_: reply("x", cost_usd=None)), ledger)
    assert {(row.cost_usd, row.cost_estimated) for row in ledger.rows.values()} == {(None, False)}


async def test_a_model_error_is_a_failed_observation_and_the_run_goes_on() -> None:
    def script(request: ChatRequest, _: ModelSpec) -> object:
        if request.messages[-1]["content"] == "question 2":
            return model_error(
                ErrorKind.TIMEOUT, "too slow", latency_ms=9.0, queue_ms=4.0, retry_ms=5.0, attempts=4, cost_usd=0.5,
                dropped_params=("top_k",),
            )  # fmt: skip
        return "fine"

    ledger = Ledger()
    result = await run(ScriptedModelClient(script), ledger)  # type: ignore[arg-type]
    row = ledger.rows["e2"]
    assert result == ReplayResult(completed=4, failed={"timeout": 1}, written=5)
    assert row.status is Status.FAILED
    assert row.completion is None
    assert row.error is not None
    assert (row.error.kind, row.error.message) == (ErrorKind.TIMEOUT, "too slow")
    assert (row.latency_ms, row.queue_ms, row.retry_ms, row.attempts) == (9.0, 4.0, 5.0, 4)
    assert (row.cost_usd, row.dropped_params) == (0.5, ("top_k",))


async def test_an_unexpected_exception_fails_its_own_call_only() -> None:
    def script(request: ChatRequest, _: ModelSpec) -> str:
        if request.messages[-1]["content"] == "question 0":
            raise ZeroDivisionError("in the client")
        return "fine"

    ledger = Ledger()
    result = await run(ScriptedModelClient(script), ledger)
    error = ledger.rows["e0"].error
    assert result == ReplayResult(completed=4, failed={"other": 1}, written=5)
    assert error is not None
    assert error.message == "ZeroDivisionError: in the client"


@pytest.mark.parametrize("finish_reason", ["stop", "length", None])
async def test_an_empty_answer_counts_against_the_arm_and_keeps_its_cost(finish_reason: str | None) -> None:
    ledger = Ledger()
    empty = reply(completion=Completion(text="", finish_reason=finish_reason), cost_usd=0.1)
    result = await run(ScriptedModelClient(lambda *_: empty), ledger)
    row = ledger.rows["e1"]
    assert result.failed == {"empty_output": 5}
    assert row.error is not None
    assert row.error.kind is ErrorKind.EMPTY_OUTPUT
    assert (row.cost_usd, row.usage, row.completion) == (0.1, empty.usage, empty.completion)


@pytest.mark.parametrize(
    "completion",
    [
        Completion(text=None, tool_calls=(ToolCall(name="look_up", arguments={}),), finish_reason="tool_calls"),
        Completion(text=None, refusal="I cannot help with that.", finish_reason="stop"),
    ],
)
async def test_tool_calls_and_refusals_are_answers(completion: Completion) -> None:
    ledger = Ledger()
    result = await run(ScriptedModelClient(lambda *_: reply(completion=completion)), ledger)
    assert result == ReplayResult(completed=5, written=5)


async def test_no_more_calls_than_allowed_are_open() -> None:
    client, ledger = SlowClient(), Ledger()
    await run(client, ledger, requests(60), concurrency=7)
    assert client.most == 7
    assert len(ledger.rows) == 60


async def test_a_call_keeps_its_place_until_it_is_committed() -> None:
    client, ledger = SlowClient(delay_s=0.0), Ledger()
    waiting = threading.Event()
    original = ledger.write

    def write(batch: Sequence[Observation]) -> None:
        # While this transaction runs, no more than four calls may have been made that are not committed.
        time.sleep(0.02)
        assert client.calls - len(ledger.rows) <= 4
        original(batch)
        waiting.set()

    ledger.write = write  # type: ignore[method-assign]
    await run(client, ledger, requests(40))
    assert waiting.is_set()
    assert len(ledger.rows) == 40


async def test_slow_commits_are_shared() -> None:
    client, ledger = SlowClient(delay_s=0.001), Ledger(delay_s=0.02)
    await run(client, ledger, requests(64), concurrency=16)
    assert len(ledger.rows) == 64
    assert len(ledger.batches) <= 20


async def test_requests_are_read_as_they_are_needed() -> None:
    client, ledger, read = SlowClient(delay_s=0.002), Ledger(), []
    ahead = []

    def source() -> Iterator[Exchange]:
        for item in requests(300):
            read.append(item.id)
            ahead.append(len(read) - client.calls)
            yield item

    await run(client, ledger, source(), concurrency=4)
    assert len(ledger.rows) == 300
    assert max(ahead) <= 4 * 4


async def test_requests_are_asked_in_their_order() -> None:
    client = ScriptedModelClient(lambda *_: "ok")
    await run(client, Ledger(), requests(50), concurrency=1)
    assert [call[0].messages[-1]["content"] for call in client.calls] == [f"question {i}" for i in range(50)]


async def test_an_empty_source_does_nothing() -> None:
    ledger = Ledger()
    assert await run(SlowClient(), ledger, []) == ReplayResult()
    assert ledger.batches == []


async def test_a_spent_budget_ends_early_and_leaves_no_trace_of_the_calls_not_made() -> None:
    def script(request: ChatRequest, _: ModelSpec) -> str:
        if int(request.messages[-1]["content"].split()[1]) >= 10:
            raise BudgetExhausted("candidates", 1.0, 1.0)
        return "ok"

    client, ledger = ScriptedModelClient(script), Ledger()
    result = await run(client, ledger, requests(200))
    assert result == ReplayResult(completed=10, written=10, stop_reason="budget")
    assert set(ledger.rows) == {f"e{i}" for i in range(10)}
    assert len(client.calls) <= 14


async def test_a_spent_budget_does_not_stop_other_stages() -> None:
    def script(*_: object) -> str:
        raise BudgetExhausted("candidates", 1.0, 1.0)

    stop = StopSignal()
    await run(ScriptedModelClient(script), Ledger(), stop=stop)
    assert stop.reason is None


async def test_a_stop_lets_calls_in_flight_finish() -> None:
    stop, ledger = StopSignal(), Ledger()
    client = SlowClient(delay_s=0.01)

    def on_progress(progress: ReplayResult) -> None:
        if progress.written >= 8:
            stop.request("interrupted")

    result = await run(client, ledger, requests(500), stop=stop, on_progress=on_progress)
    assert result.stop_reason == "interrupted"
    assert result.written == len(ledger.rows) == client.calls
    assert 8 <= client.calls <= 16


async def test_the_time_limit_ends_a_replay() -> None:
    result = await run(SlowClient(), Ledger(), requests(5_000), stop=StopSignal(time_limit_s=0.1))
    assert result.stop_reason == "time_limit"
    assert 0 < result.written < 5_000


async def test_a_stop_after_the_last_call_is_no_early_end() -> None:
    stop = StopSignal()
    result = await run(SlowClient(), Ledger(), stop=stop, on_progress=lambda p: p.written == 5 and stop.request("x"))
    assert result == ReplayResult(completed=5, written=5)


async def test_cancelling_writes_what_was_answered() -> None:
    client, ledger = SlowClient(delay_s=0.002), Ledger(delay_s=0.01)
    task = asyncio.ensure_future(run(client, ledger, requests(10_000)))
    await asyncio.sleep(0.15)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # Four places: at most four calls had not been answered.
    assert client.calls - 4 <= len(ledger.rows) <= client.calls
    assert len(ledger.rows) > 4


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        (ErrorKind.AUTHENTICATION, "set OPENAI_API_KEY to a key"),
        (ErrorKind.PERMISSION, "set OPENAI_API_KEY to a key"),
        (ErrorKind.NOT_FOUND, "check the name of the model"),
        (ErrorKind.QUOTA_EXHAUSTED, "add credit to the account of OPENAI_API_KEY"),
    ],
)
async def test_a_broken_set_up_ends_the_arm_and_says_what_to_do(kind: ErrorKind, advice: str) -> None:
    client, ledger = ScriptedModelClient(lambda *_: model_error(kind, "the provider's words")), Ledger()
    with pytest.raises(InfrastructureError) as caught:
        await run(client, ledger, requests(1_000))
    message = str(caught.value)
    assert "openai/small" in message
    assert "the provider's words" in message
    assert advice in message
    assert 20 <= len(ledger.rows) <= 28


async def test_the_configured_key_variable_is_the_one_named() -> None:
    spec = ModelSpec(model="openai/small", api_base="http://127.0.0.1:1/v1", api_key_env="TEAM_KEY")
    client = ScriptedModelClient(lambda *_: model_error(ErrorKind.AUTHENTICATION, "no"))
    with pytest.raises(InfrastructureError, match="set TEAM_KEY to a key"):
        await replay(
            requests(40), client=client, spec=spec, arm="a", fingerprint="f", write=lambda _: None, concurrency=2,
            deadline_s=1.0,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("answered_before", "n", "raises"),
    [(None, 5, False), (False, 5, True), (True, 5, False), (None, 30, True), (True, 30, False)],
)
async def test_a_few_refusals_of_a_working_arm_are_about_the_requests(
    answered_before: bool | None, n: int, raises: bool
) -> None:
    client = ScriptedModelClient(lambda *_: model_error(ErrorKind.PERMISSION, "moderated"))
    replaying = run(client, Ledger(), requests(n), answered_before=answered_before)
    if raises:
        with pytest.raises(InfrastructureError, match="moderated"):
            await replaying
    else:
        assert (await replaying).failed == {"permission": n}


async def test_one_answer_shows_that_the_set_up_works() -> None:
    def script(request: ChatRequest, _: ModelSpec) -> object:
        first = request.messages[-1]["content"] == "question 3"
        return "ok" if first else model_error(ErrorKind.PERMISSION, "moderated")

    result = await run(ScriptedModelClient(script), Ledger(), requests(60))  # type: ignore[arg-type]
    assert result == ReplayResult(completed=1, failed={"permission": 59}, written=60)


async def test_a_store_that_fails_ends_the_replay_with_its_own_error() -> None:
    def write(_: Sequence[Observation]) -> None:
        raise InfrastructureError("disk full; make room")

    with pytest.raises(InfrastructureError, match="disk full"):
        await replay(
            requests(100), client=SlowClient(), spec=SPEC, arm="a", fingerprint="f", write=write, concurrency=3,
            deadline_s=1.0,
        )  # fmt: skip


async def test_a_source_that_fails_ends_the_replay_and_keeps_what_was_answered() -> None:
    def source() -> Iterator[Exchange]:
        yield from requests(40)
        raise InfrastructureError("the store is gone")

    ledger = Ledger()
    with pytest.raises(InfrastructureError, match="the store is gone"):
        await run(SlowClient(), ledger, source())
    assert len(ledger.rows) >= 30


async def test_a_client_that_cannot_ask_at_all_ends_the_replay() -> None:
    def script(*_: object) -> str:
        raise ConfigurationError("the variable TEAM_KEY is not set")

    with pytest.raises(ConfigurationError, match="TEAM_KEY"):
        await run(ScriptedModelClient(script), Ledger())


async def test_progress_is_told_after_every_commit_and_ends_at_the_result() -> None:
    seen: list[ReplayResult] = []
    result = await run(SlowClient(), Ledger(), requests(30), on_progress=seen.append)
    counts = [progress.written for progress in seen]
    assert counts == sorted(set(counts))
    assert seen[-1] == result


@dataclass
class ColdClient(SlowClient):
    """Its first call takes long, as the first call of a process does; the later ones do not."""

    first_s: float = 0.1
    started: bool = False
    first_is_open: bool = False
    beside_the_first: int = 0

    async def complete(self, request: ChatRequest, model: ModelSpec, *, deadline_s: float) -> ModelReply:
        if self.started:
            self.beside_the_first += self.first_is_open
            return await super().complete(request, model, deadline_s=deadline_s)
        self.started = self.first_is_open = True
        await asyncio.sleep(self.first_s)
        self.first_is_open = False
        return await super().complete(request, model, deadline_s=deadline_s)


async def test_the_first_call_goes_alone_so_that_only_one_answer_looks_cold():
    ledger, client = Ledger(), ColdClient()

    await run(client, ledger, requests(20), concurrency=8)

    assert client.beside_the_first == 0
    assert client.most > 1
    assert len(ledger.rows) == 20


async def test_a_first_call_that_hangs_holds_the_others_up_for_a_moment_only(monkeypatch):
    monkeypatch.setattr("harness.replay.runner._HEAD_START_S", 0.02)
    ledger, client = Ledger(), ColdClient(first_s=0.5)

    await run(client, ledger, requests(20), concurrency=8)

    assert client.beside_the_first > 0
    assert len(ledger.rows) == 20

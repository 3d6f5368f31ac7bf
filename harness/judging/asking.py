"""Asks a judge model one question and gets a verdict or a reason why not: the ladder of ways to have it answered.

The best way is the probability of the answer's one token. Below it come a strict JSON schema, a forced tool call, JSON
mode, and a tagged line of text. A rung is left only for the one below and only when the provider says that it does
not support it; the rung that works is remembered for the model for an hour. Beside the ladder stands the way most
people ask, one word in plain text, which is there to be compared with.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from time import monotonic
from typing import Any

from harness.domain.exchange import ChatRequest
from harness.domain.json import Json, Message
from harness.domain.judgment import UnscoredReason
from harness.domain.model import ModelError, ModelReply, ModelSpec
from harness.domain.observation import Completion, ErrorKind
from harness.judging.probabilities import Distribution, distribution
from harness.judging.protocol import JudgeContext
from harness.judging.reply import PARSER_VERSION, Menu, Reading, read_json, read_text, read_tool_calls, read_word
from prompts import Prompt

_TOOL = "submit"
_LABEL_TOKENS = 4
"""Room for a line break before the label."""
_TOP_LOGPROBS = 20
_MEMORY_S = 3600.0


class Rung(StrEnum):
    """A way to have a question answered, best first."""

    LABEL = "label_probabilities"
    JSON_SCHEMA = "json_schema"
    TOOL_CALL = "tool_call"
    JSON_OBJECT = "json_object"
    TEXT = "text"
    PLAIN = "plain"
    """One word and nothing else; on no ladder, and never repaired."""

    @property
    def form(self) -> str:
        """The part of the prompt that asks for it."""
        return {Rung.LABEL: "label", Rung.TEXT: "text", Rung.PLAIN: "plain"}.get(self, "json")


STRUCTURED = (Rung.JSON_SCHEMA, Rung.TOOL_CALL, Rung.JSON_OBJECT, Rung.TEXT)
_SETTINGS = {
    Rung.LABEL: ("logprobs", "top_logprobs"),
    Rung.JSON_SCHEMA: ("response_format",),
    Rung.TOOL_CALL: ("tools", "tool_choice"),
    Rung.JSON_OBJECT: ("response_format",),
}
"""The request's settings without which a rung is not there."""
_COMPLAINT = {
    Rung.LABEL: re.compile(r"log.?prob", re.IGNORECASE),
    Rung.JSON_SCHEMA: re.compile(r"response.?format|schema|structured|json", re.IGNORECASE),
    Rung.TOOL_CALL: re.compile(r"tool|function", re.IGNORECASE),
    Rung.JSON_OBJECT: re.compile(r"response.?format|json", re.IGNORECASE),
}
"""What a provider says when it does not know a rung."""
_PROBLEMS = {
    ErrorKind.TIMEOUT: UnscoredReason.TIMEOUT,
    ErrorKind.CONTENT_FILTER: UnscoredReason.REFUSED,
    ErrorKind.CONTEXT_WINDOW: UnscoredReason.TOO_LONG,
    ErrorKind.EMPTY_OUTPUT: UnscoredReason.PARSE_FAILED,
}
_OWN_SETTINGS = frozenset(
    {
        "max_tokens", "max_completion_tokens", "n", "stop", "stream", "logprobs", "top_logprobs", "response_format",
        "tools", "tool_choice", "functions", "function_call",
    }
)  # fmt: skip


def judge_model(model: ModelSpec) -> ModelSpec:
    """The model as judges ask it: temperature 0 unless set, and whole answers instead of streams.

    Raises:
        ValueError: a parameter that the judge itself has to set, or a system prompt.
    """
    taken = sorted(_OWN_SETTINGS & set(model.params))
    if taken:
        raise ValueError(f"the judge sets {', '.join(taken)} itself; the length is its option max_tokens")
    if model.system_prompt is not None:
        raise ValueError("a judge's model takes no system_prompt; give the judge a prompt_file instead")
    return replace(model, params={"temperature": 0, **model.params}, stream=False)


class RungMemory:
    """The highest rung known to work, per provider and model, for an hour."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[Rung, float]] = {}

    def usable(self, model: ModelSpec, rungs: Sequence[Rung]) -> Sequence[Rung]:
        """``rungs`` without those known not to work."""
        rung, until = self._known.get((model.provider, model.model), (rungs[0], 0.0))
        return rungs[rungs.index(rung) :] if rung in rungs and monotonic() < until else rungs

    def remember(self, model: ModelSpec, rung: Rung) -> None:
        """That nothing above ``rung`` works."""
        self._known[model.provider, model.model] = (rung, monotonic() + _MEMORY_S)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of a judge model about one pair."""

    prompt: Prompt
    menu: Menu
    trusted: Mapping[str, str]
    untrusted: Mapping[str, str]
    identity: tuple[str, ...]
    """What tells this question from others: pair and order."""

    def messages(self, form: str) -> tuple[Message, ...]:
        """The prompt, asking for one form of reply."""
        parts = {"trusted": self.trusted, "untrusted": self.untrusted}
        return self.prompt.render(reply=form, identity=self.identity, **parts)


@dataclass(kw_only=True)
class Bill:
    """What one verdict took, every attempt included; a figure is ``None`` once one call did not give it."""

    tokens_in: int | None = 0
    tokens_out: int | None = 0
    cost_usd: float | None = 0.0
    latency_ms: float | None = 0.0
    attempts: int = 0
    calls: int = 0

    def add(self, reply: ModelReply) -> None:
        """A call that was answered."""
        self.tokens_in = plus(self.tokens_in, reply.usage.tokens_in)
        self.tokens_out = plus(self.tokens_out, reply.usage.tokens_out)
        self.cost_usd = plus(self.cost_usd, reply.cost_usd)
        self.latency_ms = plus(self.latency_ms, reply.latency_ms)
        self.attempts += reply.attempts
        self.calls += 1

    def include(self, other: "Bill") -> None:
        """Another verdict's bill, for judgments that take two."""
        self.tokens_in = plus(self.tokens_in, other.tokens_in)
        self.tokens_out = plus(self.tokens_out, other.tokens_out)
        self.cost_usd = plus(self.cost_usd, other.cost_usd)
        self.latency_ms = plus(self.latency_ms, other.latency_ms)
        self.attempts += other.attempts
        self.calls += other.calls

    def add_failure(self, error: ModelError) -> None:
        """A call that failed; providers do not charge for a refusal, so no figure means no cost."""
        self.cost_usd = plus(self.cost_usd, error.cost_usd or 0.0)
        self.latency_ms = plus(self.latency_ms, error.latency_ms or 0.0)
        self.attempts += error.attempts
        self.calls += 1


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A judge model's verdict, or why there is none, with its provenance."""

    reading: Reading
    distribution: Distribution | None = None
    """Only from the rung of label probabilities."""
    bill: Bill
    rung: Rung
    raw: str | None = None
    answered_model: str | None = None
    details: Mapping[str, Json] = field(default_factory=dict)

    def provenance(self, question: Question, model: ModelSpec) -> dict[str, Any]:
        """Fields every Judgment from a model carries, verdict or not."""
        return {
            "model": model.model,
            "answered_model": self.answered_model,
            "prompt_sha256": question.prompt.sha256,
            "parser": f"{PARSER_VERSION} {self.rung}",
            "raw": self.raw,
            "tokens_in": self.bill.tokens_in,
            "tokens_out": self.bill.tokens_out,
            "cost_usd": self.bill.cost_usd,
            "attempts": self.bill.attempts,
            "latency_ms": self.bill.latency_ms,
        }


class _RungMissing(Exception):  # noqa: N818  a state of the provider, caught here
    """The provider does not support this rung."""


async def ask(
    question: Question,
    ctx: JudgeContext,
    model: ModelSpec,
    rungs: Sequence[Rung],
    *,
    memory: RungMemory,
    max_tokens: int,
    min_mass: float,
) -> Answer:
    """The model's answer, on the first rung that its provider supports.

    Raises:
        BudgetExhausted: a call could not be paid.
    """
    bill = Bill()
    usable = memory.usable(model, rungs)
    for rung, below in zip(usable, [*usable[1:], None], strict=True):
        asker = _Asker(question=question, ctx=ctx, model=model, rung=rung, bill=bill, is_last=below is None)
        try:
            if rung is Rung.LABEL:
                return await asker.label(min_mass)
            return await asker.structured(max_tokens)
        except _RungMissing:
            if below is not None:
                memory.remember(model, below)
    raise AssertionError("the last rung answers or reports a problem")


@dataclass(kw_only=True)
class _Asker:
    question: Question
    ctx: JudgeContext
    model: ModelSpec
    rung: Rung
    bill: Bill
    is_last: bool
    last: Completion | None = None
    problems: list[str] = field(default_factory=list)

    async def label(self, min_mass: float) -> Answer:
        """One token and its alternatives."""
        params = {"logprobs": True, "top_logprobs": _TOP_LOGPROBS, "max_tokens": _LABEL_TOKENS}
        try:
            reply = await self._call(self.question.messages("label"), params)
        except ModelError as error:
            if error.error.kind is ErrorKind.EMPTY_OUTPUT and not self.is_last:
                raise _RungMissing from None  # hidden reasoning took the few tokens there were
            return self._failed(error)
        thinks_aloud = (reply.completion.text or "").lstrip().startswith("<think")
        found = None if thinks_aloud and not self.is_last else distribution(reply.logprobs, self.question.menu)
        if found is None:
            if not self.is_last:
                raise _RungMissing
            note = "the provider returned no token probabilities; use `mode: auto`"
            return self._answer(Reading(problem=UnscoredReason.PARSE_FAILED, note=note))
        if found.mass < min_mass or not found.shares:
            note = f"only {found.mass:.3f} of the probability is on {', '.join(self.question.menu.tokens)}"
            return self._answer(Reading(problem=UnscoredReason.OFF_MENU, note=note), found)
        best = max(found.shares, key=lambda choice: found.shares[choice])
        return self._answer(Reading(choice=best), found)

    async def structured(self, max_tokens: int) -> Answer:
        """An object or a tagged line; one retry with twice the room when cut off, and one turn to repair."""
        messages = list(self.question.messages(self.rung.form))
        room, doubled, repaired = max_tokens, False, False
        while True:
            try:
                reply = await self._call(messages, {"max_tokens": room, **self._settings()})
            except ModelError as error:
                # Hidden reasoning may use up all the room: nothing was written and the limit was reached.
                if error.error.kind is not ErrorKind.EMPTY_OUTPUT or error.error.code != "length":
                    return self._failed(error)
                cut = True
            else:
                cut = reply.completion.finish_reason == "length"
            if cut and doubled:
                note = f"cut off at {room} tokens"
                return self._answer(Reading(problem=UnscoredReason.TRUNCATED, note=note))
            if cut:
                room, doubled = 2 * room, True
                continue
            reading = self._read()
            if reading.problem in (None, UnscoredReason.REFUSED) or reading.final or repaired:
                return self._answer(reading)
            self.problems.append(str(reading.note))
            repaired = True
            messages = [*messages, *self._repair()]

    async def _call(self, messages: Sequence[Message], params: Mapping[str, Json]) -> ModelReply:
        params = dict(params)
        tools = params.pop("tools", ())
        request = ChatRequest(model=self.model.model, messages=tuple(messages), tools=tuple(tools), params=params)
        try:
            reply = await self.ctx.models.complete(request, self.model, deadline_s=self.ctx.deadline_s)
        except ModelError as error:
            self.bill.add_failure(error)
            if self._is_unsupported(error):
                raise _RungMissing from None
            raise
        self.bill.add(reply)
        self.last = reply.completion
        if not self.is_last and set(reply.dropped_params) & set(_SETTINGS.get(self.rung, ())):
            raise _RungMissing
        return reply

    def _is_unsupported(self, error: ModelError) -> bool:
        complaint = _COMPLAINT.get(self.rung)
        if self.is_last or complaint is None or error.error.kind is not ErrorKind.BAD_REQUEST:
            return False
        return complaint.search(f"{error.error.code} {error.error.message}") is not None

    def _settings(self) -> dict[str, Json]:
        schema = self.question.menu.schema
        if self.rung is Rung.JSON_SCHEMA:
            named = {"name": self.question.menu.key, "strict": True, "schema": schema}
            return {"response_format": {"type": "json_schema", "json_schema": named}}
        if self.rung is Rung.TOOL_CALL:
            function = {"name": _TOOL, "description": "Submits the result.", "parameters": schema}
            choice = {"type": "function", "function": {"name": _TOOL}}
            return {"tools": [{"type": "function", "function": function}], "tool_choice": choice}
        return {"response_format": {"type": "json_object"}} if self.rung is Rung.JSON_OBJECT else {}

    def _read(self) -> Reading:
        completion = self.last
        if completion is None:
            return Reading(problem=UnscoredReason.PARSE_FAILED, note="no reply")
        if completion.refusal or completion.finish_reason == "content_filter":
            note = (completion.refusal or "stopped by the provider's content filter")[:500]
            return Reading(problem=UnscoredReason.REFUSED, note=note)
        text = completion.text or ""
        if self.rung is Rung.TEXT:
            return read_text(text, self.question.menu)
        if self.rung is Rung.PLAIN:
            return read_word(text, self.question.menu)
        if self.rung is Rung.TOOL_CALL and completion.tool_calls:
            return read_tool_calls(completion.tool_calls, _TOOL, self.question.menu)
        if completion.tool_calls and not text.strip():
            # Schemas are emulated by a tool of the adapter's own naming where a provider has only tools.
            return read_tool_calls(completion.tool_calls, completion.tool_calls[0].name, self.question.menu)
        return read_json(text, self.question.menu)

    def _repair(self) -> tuple[Message, ...]:
        replies = self.question.prompt.replies
        shown = _raw(self.last) or "(empty)"
        again = f"{replies['repair']}\n\n{replies[self.rung.form]}"
        return ({"role": "assistant", "content": shown}, {"role": "user", "content": again})

    def _failed(self, error: ModelError) -> Answer:
        reason = _PROBLEMS.get(error.error.kind, UnscoredReason.PROVIDER_ERROR)
        note = f"{error.error.kind}: {error.error.message}"[:500]
        return self._answer(Reading(problem=reason, note=note))

    def _answer(self, reading: Reading, found: Distribution | None = None) -> Answer:
        details: dict[str, Json] = {"repaired": self.problems} if self.problems else {}
        if found is not None:
            details["probabilities"] = {str(choice): round(share, 6) for choice, share in found.shares.items()}
            details["menu_mass"] = round(found.mass, 6)
        return Answer(
            reading=reading,
            distribution=found,
            bill=self.bill,
            rung=self.rung,
            raw=_raw(self.last),
            answered_model=self.last.model if self.last else None,
            details=details,
        )


def _raw(completion: Completion | None) -> str | None:
    """The reply as it came, tool calls as JSON."""
    if completion is None:
        return None
    calls = [{"name": call.name, "arguments": call.arguments} for call in completion.tool_calls]
    parts = [completion.text, completion.refusal, json.dumps(calls, ensure_ascii=False, default=str) if calls else None]
    return "\n".join(part for part in parts if part)


def plus(total: Any, part: Any) -> Any:
    """The sum of two figures on a bill, unknown (``None``) when one of them is."""
    return None if total is None or part is None else total + part

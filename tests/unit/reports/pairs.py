"""Pairs in full, as examples of a report show them."""

from typing import Any

from harness.domain.judgment import Judgment, JudgmentState, Label, Order, UnscoredReason
from harness.domain.observation import CallError, Completion, ErrorKind, Observation, Status, ToolCall, Usage
from harness.domain.report import Example


def observation(arm: str, text: str | None, *, id: str = "e1", latency: float = 812.0, **more: Any) -> Observation:
    """A completed call."""
    defaults: dict[str, Any] = {
        "status": Status.COMPLETED,
        "completion": Completion(text=text, finish_reason="stop", model=f"{arm}-model"),
        "latency_ms": latency,
        "ttft_ms": latency / 3,
        "usage": Usage(tokens_in=212, tokens_out=64),
        "cost_usd": 0.00042,
        "attempts": 1,
    }
    return Observation(exchange_id=id, arm=arm, **(defaults | more))


def judgment(order: Order, label: Label | None, why: str | None, *, arm: str, id: str = "e1", **more: Any) -> Judgment:
    """One reading by the pairwise judge."""
    value = {Label.WIN: 1.0, Label.TIE: 0.5, Label.LOSS: 0.0}[label] if label else None
    defaults: dict[str, Any] = {
        "judge": "pairwise",
        "judge_fingerprint": "ab12cd34ef56ab12",
        "observation_fingerprint": "f1",
        "model": "openai/gpt-4.1",
        "cost_usd": 0.0013,
        "tokens_in": 900,
        "tokens_out": 40,
    }
    return Judgment(
        exchange_id=id, arm=arm, order=order, label=label, value=value, explanation=why, **(defaults | more)
    )


_ASK = "Our invoice from March lists the same seat twice. Can you refund the second one and tell me how long it takes?"
_GOOD = (
    "I'm sorry about the double charge. I have refunded the second seat ($49.00) on your March invoice. The "
    "amount reaches your "
    "card within 5 to 10 business days, and you will get a corrected invoice by e-mail today.\n\nIs there "
    "anything else I can help with?"
)
_BAD = (
    "I'm sorry about the double charge. Please contact the billing team to request a refund for the second seat "
    "on your March "
    "invoice. Refunds usually take 2 to 3 weeks.\n\nIs there anything else I can help with?"
)
_SYSTEM = "You are the support assistant of a project planning tool. Be brief and use the tools for accounts."


def examples(arm: str, *, each: int = 3) -> tuple[Example, ...]:
    """Worst, failed and best pairs."""
    made = []
    for why, score, left, right, label in (
        ("worst", 0.0, _GOOD, _BAD, Label.LOSS),
        ("best", 1.0, _BAD, _GOOD, Label.WIN),
    ):
        for number in range(each):
            id = f"req-{why}-{number:04d}"
            made.append(
                Example(
                    exchange_id=id,
                    why=why,
                    score=score,
                    score_metric="win_rate",
                    messages=(
                        {"role": "system", "content": _SYSTEM},
                        {
                            "role": "user",
                            "content": [
                                {"type": "text", "text": _ASK},
                                {"type": "image_url", "image_url": {"url": "x"}},
                            ],
                        },
                        {
                            "role": "assistant",
                            "content": None,
                            "tool_calls": [
                                {
                                    "id": "t1",
                                    "type": "function",
                                    "function": {
                                        "name": "find_invoice",
                                        "arguments": '{"month": "2026-03", "lines": true}',
                                    },
                                }
                            ],
                        },
                        {"role": "tool", "tool_call_id": "t1", "content": '{"total": 98.0, "seats": 2}'},
                        {"role": "user", "content": f"{_ASK} (ticket {4100 + number})"},
                    ),
                    production=observation("production", left, id=id),
                    candidate=observation(
                        arm, right, id=id, latency=655.0, cost_usd=None, dropped_params=("frequency_penalty",)
                    ),
                    judgments=(
                        judgment(
                            Order.PRODUCTION_FIRST,
                            label,
                            "One answer solves the problem, the other only points elsewhere.",
                            arm=arm,
                            id=id,
                        ),
                        judgment(
                            Order.CANDIDATE_FIRST,
                            Label.TIE if number == 1 else label,
                            "The refund was done and the time is stated.",
                            arm=arm,
                            id=id,
                        ),
                        Judgment(
                            exchange_id=id,
                            arm=arm,
                            judge="schema",
                            judge_fingerprint="s1",
                            observation_fingerprint="f1",
                            state=JudgmentState.UNSCORED,
                            reason=UnscoredReason.NOT_APPLICABLE,
                        ),
                    ),
                    tags=("plan=team", "locale=en"),
                )
            )
    call = ToolCall(name="refund", arguments={"invoice": "2026-03", "amount": 49.0}, id="t2")
    made.append(
        Example(
            exchange_id="req-failed-0001",
            why="failed",
            score=None,
            score_metric="win_rate",
            messages=({"role": "user", "content": "Cancel seat 4 and refund it."},),
            production=observation(
                "production", None, completion=Completion(text=None, tool_calls=(call,), finish_reason="tool_calls")
            ),
            candidate=observation(
                arm,
                None,
                status=Status.FAILED,
                completion=None,
                attempts=4,
                ttft_ms=None,
                usage=Usage(),
                cost_usd=None,
                latency=30_000.0,
                error=CallError(
                    kind=ErrorKind.TIMEOUT, message="30 s elapsed without a complete answer", http_status=504
                ),
            ),
        )
    )
    return tuple(made)

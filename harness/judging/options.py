"""Options that judges which ask a model have in common."""

import hashlib
from typing import Annotated, Literal

from pydantic import Field

from harness.domain.judgment import Order
from harness.judging.asking import STRUCTURED, Rung
from harness.judging.protocol import BOTH_ORDERS
from prompts import Prompt, PromptError, load, load_file

Orders = Literal["both", "single"]
"""``single`` reads every pair in one order, drawn per exchange, and a share of them in both, as an audit."""
Mode = Literal["auto", "soft", "structured", "plain"]
"""How a judge's model answers: ``soft`` by token probabilities, ``structured`` in words with a reason, ``auto`` the
best it can, ``plain`` with one word, which is how most people ask."""
Characters = Annotated[int, Field(ge=200)]
Tokens = Annotated[int, Field(ge=16)]
Share = Annotated[float, Field(ge=0, le=1)]
Distance = Annotated[float, Field(ge=0, le=0.5)]
"""How far a share of preference is from a tie."""

_RUNGS: dict[str, tuple[Rung, ...]] = {
    "auto": (Rung.LABEL, *STRUCTURED),
    "soft": (Rung.LABEL,),
    "structured": STRUCTURED,
    "plain": (Rung.PLAIN,),
}


def drawn_orders(orders: Orders, audit_share: float, exchange_id: str) -> tuple[Order, ...]:
    """The orders to read a pair in; the draw depends on nothing but the exchange, so every judge and run repeats it.

    Order and audit are drawn from hashes of their own: neither says anything about the other.
    """
    if orders == "both" or int.from_bytes(_hash(f"audit {exchange_id}")[:8]) < audit_share * 2**64:
        return BOTH_ORDERS
    return (BOTH_ORDERS[_hash(exchange_id)[0] % 2],)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def rungs_of(mode: Mode) -> tuple[Rung, ...]:
    """The ways to answer that a mode allows, best first."""
    return _RUNGS[mode]


def prompt_of(built_in: str, file: str | None, mode: Mode) -> Prompt:
    """The judge's own prompt, or the user's.

    Raises:
        PromptError: the user's file cannot be used, or the prompt does not say how to reply in this mode.
    """
    prompt = load(built_in) if file is None else load_file(file, built_in)
    check_forms(prompt, mode)
    return prompt


def check_forms(prompt: Prompt, mode: Mode) -> None:
    """Raise PromptError when the prompt lacks a form of reply that the mode may ask for."""
    missing = sorted({rung.form for rung in rungs_of(mode)} - set(prompt.replies))
    if missing:
        parts = ", ".join(f"`# reply: {form}`" for form in missing)
        raise PromptError(f"prompt {prompt.name}: mode `{mode}` needs the part {parts}")

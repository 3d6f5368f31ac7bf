"""Options that judges which ask a model have in common."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from harness.domain.judgment import Order
from harness.judging.asking import STRUCTURED, Rung
from prompts import Prompt, PromptError, load, load_file

BOTH_ORDERS = (Order.PRODUCTION_FIRST, Order.CANDIDATE_FIRST)
ONE_ORDER = (Order.NONE,)
"""The order is drawn per exchange and kept in the Judgment's details as ``shown_first``."""

_NAMED = {"both": BOTH_ORDERS, "single": ONE_ORDER}


def _orders(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value not in _NAMED:
        raise ValueError("orders is `both` or `single`")
    return _NAMED[value]


Orders = Annotated[tuple[Order, ...], BeforeValidator(_orders)]
"""``both`` or ``single`` in the experiment."""
Mode = Literal["auto", "soft", "structured", "plain"]
"""How a judge's model answers: ``soft`` by token probabilities, ``structured`` in words with a reason, ``auto`` the
best it can, ``plain`` with one word, which is how most people ask."""
Characters = Annotated[int, Field(ge=200)]
Tokens = Annotated[int, Field(ge=16)]
Share = Annotated[float, Field(ge=0, le=1)]

_RUNGS: dict[str, tuple[Rung, ...]] = {
    "auto": (Rung.LABEL, *STRUCTURED),
    "soft": (Rung.LABEL,),
    "structured": STRUCTURED,
    "plain": (Rung.PLAIN,),
}


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

"""Prints judges beside each other: a measure per row, a judge per column, and below it what speaks against each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from harness.cli.output import out, out_json, table
from harness.domain.estimate import Estimate
from harness.domain.formatting import format_usd
from harness.domain.health import HealthState

if TYPE_CHECKING:
    from harness.ingest.labelled import LabelledSet
    from harness.judging.scorecard import Scorecard

_UNKNOWN = "-"
_COUNTED = {
    "wrong": "counts as wrong",
    "left-out": "is left out",
    "tie": "counts as a tie",
}


def print_cards(
    cards: Sequence["Scorecard"],
    labelled: "LabelledSet",
    *,
    n: int,
    unscored: str,
    stop_reason: str | None,
    as_json: bool,
) -> None:
    """The scorecards as a table, or as one JSON document."""
    if as_json:
        out_json(
            {
                "dataset": labelled.name,
                "records": labelled.read,
                "left_out": labelled.left_out,
                "pairs": n,
                "columns": asdict(labelled.columns),
                "unscored": unscored,
                "stop_reason": stop_reason,
                "judges": [as_plain(card) for card in cards],
            }
        )
        return
    rows = [
        {"": title, **{str(place): show(card) for place, card in enumerate(cards)}} for title, show in _ROWS.items()
    ]
    shown = [row for row in rows if any(row[str(place)] != _UNKNOWN for place in range(len(cards)))]
    heads = {"": "", **{str(place): card.judge for place, card in enumerate(cards)}}
    lines = table([heads, *shown], list(heads)).split("\n")[1:]
    out("\n".join(lines))
    counted = f"A pair without a verdict {_COUNTED[unscored]}"
    out(f"\nIntervals are at 95%. {counted}; macro averages run over people's labels.")
    if stop_reason is not None:
        out(f"Not every pair was judged ({stop_reason}): those that were not count as without a verdict.")
    for card in cards:
        out("\n" + _health(card))


def as_plain(card: "Scorecard") -> dict[str, Any]:
    """The card for machines."""
    plain = asdict(card)
    plain["agreement"]["confusion"] = card.agreement.confusion.tolist()
    plain["health"]["usable"] = card.health.usable
    return plain


def _health(card: "Scorecard") -> str:
    failed = ", ".join(check.name for check in card.health.failed)
    lines = [f"{card.judge}: " + (f"condemned ({failed})" if failed else "usable")]
    lines += [
        f"  {check.state.value.upper()} {check.name}: {check.sentence} {check.remedy}".rstrip()
        for check in card.health.checks
        if check.state in {HealthState.FAIL, HealthState.WARN}
    ]
    unknown = [check for check in card.health.checks if check.state is HealthState.UNKNOWN]
    lines += [f"  not known: {check.name}. {check.sentence} {check.remedy}".rstrip() for check in unknown]
    return "\n".join(lines)


def _share(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return _UNKNOWN
    return f"{100 * estimate.value:.2f}%" + _span(estimate, 100, 1)


def _kappa(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return _UNKNOWN
    return f"{estimate.value:.4f}" + _span(estimate, 1, 2)


def _span(estimate: Estimate, scale: float, places: int) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f" ({scale * estimate.low:.{places}f} to {scale * estimate.high:.{places}f})"


def _counted(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return _UNKNOWN
    return f"{estimate.extra['count']:,.0f} of {estimate.n:,}"


def _number(value: float | None, places: int) -> str:
    return _UNKNOWN if value is None else f"{value:,.{places}f}"


def _correct(place: int) -> Callable[["Scorecard"], str]:
    return lambda card: _UNKNOWN if card.correct is None else _counted(card.correct[place])


def _of_check(name: str) -> Callable[["Scorecard"], Estimate | None]:
    return lambda card: next((check.estimate for check in card.health.checks if check.name == name), None)


def _unscored(card: "Scorecard") -> str:
    lost = card.pairs - card.scored
    why = ", ".join(f"{reason} {n:,}" for reason, n in card.unscored.items())
    return f"{lost:,}" + (f" ({why})" if why else "")


def _macro(card: "Scorecard") -> str:
    found = (card.agreement.precision, card.agreement.recall, card.agreement.f1)
    return " / ".join(_UNKNOWN if value is None else f"{100 * value:.2f}" for value in found)


def _tokens(card: "Scorecard") -> str:
    read, written = card.usage.tokens_in_per_pair, card.usage.tokens_out_per_pair
    return _UNKNOWN if read is None or written is None else f"{read:,.0f} / {written:,.1f}"


_ROWS: Mapping[str, Callable[["Scorecard"], str]] = {
    "verdicts": lambda card: "probabilities" if card.soft else "words",
    "pairs": lambda card: f"{card.pairs:,}",
    "without a verdict": _unscored,
    "accuracy": lambda card: _share(card.agreement.accuracy),
    "  a constant answer": lambda card: _number(100 * card.agreement.accuracy.extra.get("baseline", 0.0), 2) + "%",
    "  the longer answer": lambda card: _share(card.longer_wins),
    "precision / recall / F1": _macro,
    "kappa with people": lambda card: _kappa(card.agreement.kappa),
    "ties": lambda card: f"{card.ties:,}",
    "right, answer 1 first": _correct(0),
    "right, answer 2 first": _correct(1),
    "right in both orders": _correct(2),
    "same in both orders": lambda card: _counted(card.consistency),
    "flips": lambda card: _counted(_of_check("flips")(card)),
    "first slot": lambda card: _share(_of_check("position")(card)),
    "kappa between orders": lambda card: _kappa(card.kappa_orders),
    "  coded answer 1 or not": lambda card: _number(card.kappa_orders_coded, 4),
    "longer answer preferred": lambda card: _share(_of_check("length")(card)),
    "seconds per pair": lambda card: _number(card.usage.seconds_per_pair, 1),
    "tokens per pair, in / out": _tokens,
    "cost": lambda card: _UNKNOWN if card.usage.cost_usd is None else format_usd(card.usage.cost_usd),
    "health": lambda card: "usable" if card.health.usable else "condemned",
}

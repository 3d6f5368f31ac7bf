"""Reads what events kept of their evidence; what is missing or of another kind is not known, and never an error.

A history outlives the versions that wrote it, so nothing of its evidence is taken for granted.
"""

import math
from collections.abc import Mapping

from harness.domain.json import Json
from harness.domain.rollout_report import ArmCount, CheckEntry, DecisionEntry


def number(value: Json) -> float | None:
    """A finite number, or ``None``."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def count(value: Json) -> int | None:
    """A whole number of things, or ``None``."""
    known = number(value)
    return int(known) if known is not None and known >= 0 and known == int(known) else None


def text(value: Json) -> str | None:
    """A text that says something, or ``None``."""
    return value if isinstance(value, str) and value.strip() else None


def mapping(value: Json) -> Mapping[str, Json]:
    """A JSON object; an empty one when it is something else."""
    return value if isinstance(value, Mapping) else {}


def checks(evidence: Mapping[str, Json]) -> tuple[CheckEntry, ...]:
    """The questions that were asked, in their order."""
    listed = evidence.get("checks")
    items = [mapping(item) for item in listed] if isinstance(listed, list | tuple) else []
    return tuple(
        CheckEntry(
            name=str(item["name"]),
            speaks_for=text(item.get("speaks_for")),
            sentence=text(item.get("sentence")) or "",
            figures=_figures(item.get("figures")),
        )
        for item in items
        if text(item.get("name")) is not None
    )


def lossy(evidence: Mapping[str, Json], read: tuple[CheckEntry, ...]) -> bool:
    """Whether the checks that were read say less than what was kept."""
    plain = [
        {"name": c.name, "speaks_for": c.speaks_for, "sentence": c.sentence, "figures": dict(c.figures)} for c in read
    ]
    return bool(evidence.get("checks", []) != plain)


def _figures(value: Json) -> dict[str, int | float]:
    return {str(name): item for name, item in mapping(value).items() if number(item) is not None}


def decision(evidence: Mapping[str, Json]) -> DecisionEntry | None:
    """The decision on the shadow pairs."""
    kept = mapping(evidence.get("decision"))
    found = DecisionEntry(
        verdict=text(kept.get("verdict")), sentence=text(kept.get("sentence")), run_id=text(kept.get("run_id"))
    )
    return found if found.verdict or found.sentence else None


def served(evidence: Mapping[str, Json]) -> dict[str, tuple[ArmCount | None, ArmCount | None]]:
    """The candidate's and the control's conversations, by phase."""
    return {
        str(phase): (_arm(mapping(arms).get("candidate")), _arm(mapping(arms).get("control")))
        for phase, arms in mapping(evidence.get("served")).items()
    }


def _arm(value: Json) -> ArmCount | None:
    kept = mapping(value)
    begun, failed = count(kept.get("begun")), count(kept.get("failed"))
    if begun is None or failed is None:
        return None
    return ArmCount(begun=begun, failed=failed, failed_share=failed / begun if begun else None)


def attempt(evidence: Mapping[str, Json]) -> int | None:
    """Which attempt of the candidate's family it is."""
    kept = count(mapping(evidence.get("alpha")).get("attempt"))
    return kept if kept is not None else count(evidence.get("attempt"))


def attempt_alpha(evidence: Mapping[str, Json]) -> float | None:
    """What the roll-back tests of the attempt share."""
    kept = number(mapping(evidence.get("alpha")).get("attempt_alpha"))
    return kept if kept is not None else number(evidence.get("attempt_alpha"))


def test_alphas(evidence: Mapping[str, Json]) -> dict[str, float]:
    """What each test may spend."""
    tests = mapping(mapping(evidence.get("alpha")).get("tests"))
    return {str(name): known for name, value in tests.items() if (known := number(value)) is not None}

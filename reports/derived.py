"""Numbers that the page shows and that follow from others by a sum, a difference or a share.

They stand in report.json under ``derived``, so that each number on the page can be looked up there and nobody has to
reckon along. ``load_json`` leaves them out: they are computed anew from the value.
"""

import math
from collections.abc import Mapping
from typing import Any

from harness.domain.report import CandidateReport, EvaluationReport, JudgeReport
from reports.deciding import deciding
from reports.page_glance import month_bounds
from reports.page_measures import asked_of

Numbers = Mapping[str, Any]


def derived_of(report: EvaluationReport) -> Numbers:
    """By candidate: sums, differences and shares, each under a name that says what it is."""
    return {candidate.arm: _candidate(candidate) for candidate in report.candidates}


def _candidate(candidate: CandidateReport) -> Numbers:
    funnel, terms, people = candidate.funnel, candidate.decision.terms, candidate.people
    low, high = month_bounds(candidate)
    production, own = (sum(counts[side] for counts in candidate.errors.values()) for side in (0, 1))
    errors, asked = dict(candidate.errors) | {"all": (production, own)}, asked_of(candidate)
    return {
        "failed": sum(funnel.failed.values()),
        "pairs_still_needed": _still(candidate.decision.n_needed, funnel.comparable),
        "pairs_still_needed_by_criterion": {
            result.criterion.metric: _still(result.n_needed, deciding(result).n)
            for result in candidate.decision.results
        },
        "confidence_of_a_bound": sorted({(1 + deciding(r).level) / 2 for r in candidate.decision.results}),
        "wrong_go_once_in": None if terms is None or terms.pass_alpha <= 0 else math.floor(1 / terms.pass_alpha + 1e-9),
        "month_low_usd": low,
        "month_high_usd": high,
        "errors_production": production,
        "errors_candidate": own,
        "requests_asked": asked,
        "error_shares": {kind: [_share(count, asked) for count in counts] for kind, counts in errors.items()},
        "requests_not_asked": candidate.stopping and candidate.stopping.sampled - candidate.stopping.asked,
        "judges": {judge.judge: _judge(judge) for judge in candidate.judges},
        "flip_share_by_band": {
            item.judge: {band.band: _share(band.flips, band.pairs) for band in item.bands} for item in candidate.health
        },
        "people": None
        if people is None
        else {
            **_shares(people.wins, people.ties, people.losses),
            "sums": {item.judge: _sums(item.confusion) for item in people.judges},
        },
        "slices_flagged": sum(test.flagged for test in candidate.slice_tests),
        "slices_tested": len(candidate.slice_tests),
    }


def _judge(judge: JudgeReport) -> Numbers:
    return {
        **_shares(judge.wins or 0, judge.ties or 0, judge.losses or 0),
        "flip_share": _share(judge.flips or 0, judge.both_orders or 0),
        "unscored": sum(judge.unscored.values()),
        "unscored_share": _share(sum(judge.unscored.values()), judge.pairs),
        "tokens": judge.tokens_in + judge.tokens_out,
    }


def _shares(wins: int, ties: int, losses: int) -> dict[str, float | None]:
    total = wins + ties + losses
    return {
        "win_share": _share(wins, total), "tie_share": _share(ties, total), "loss_share": _share(losses, total)
    }  # fmt: skip


def _sums(confusion: tuple[tuple[int, ...], ...]) -> dict[str, list[int]]:
    return {
        "people": [sum(row) for row in confusion],
        "judge": [sum(column) for column in zip(*confusion, strict=True)],
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _still(wanted: int | None, have: int) -> int | None:
    return None if wanted is None else max(0, wanted - have)

"""Several candidates side by side, as a table short enough for a comment."""

from collections.abc import Callable

from harness.domain.formatting import format_value
from harness.domain.report import EvaluationReport
from reports.deciding import decided_on
from reports.metrics import metric_of

_MARK = "\N{BLACK STAR}"
_MOST = 12


def table_of(report: EvaluationReport, escape: Callable[[str], str]) -> list[str]:
    """Heading, table and how to read it; empty without a comparison. ``escape`` makes a text literal."""
    beside = report.side_by_side
    if beside is None or not beside.headline:
        return []
    candidates = [c for c in report.candidates if c.arm in beside.arms][:_MOST]
    shown = {c.arm: {e.metric: e for e in c.estimates} | decided_on(c.decision) for c in candidates}
    heads = ["Metric", *(escape(arm) for arm in shown)]
    rows = []
    for name in beside.headline:
        metric, best = metric_of(report, name), beside.best_set(name)
        cells = [escape(metric.title)]
        for arm, own in shown.items():
            value = format_value(own[name].value, metric.unit) if name in own else "unknown"
            marked = best is not None and best.told and arm in best.best
            cells.append(f"{value} {_MARK}" if marked else value)
        rows.append(f"| {' | '.join(cells)} |")
    looks = "" if beside.looks == "one" else " at any look"
    left = len(beside.arms) - len(candidates)
    return [
        "### Side by side",
        "\n".join([f"| {' | '.join(heads)} |", f"|---{'|---:' * len(shown)}|", *rows]),
        f"{_MARK} no other candidate is shown to beat it; the best is among the marked ones with "
        f"{100 * beside.confidence:.4g}% confidence{looks}. Where none is marked it cannot be told."
        + (f" {left} more candidates are in the full report." if left else ""),
    ]

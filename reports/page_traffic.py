"""What was read, what became of it, and how the sample compares with everything usable."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from harness.domain.estimate import Unit
from harness.domain.formatting import UNKNOWN
from harness.domain.report import CandidateReport, Funnel
from harness.domain.run import IngestReport, Summary
from reports.metrics import amount
from reports.page_parts import table, words
from reports.text import plural
from reports.views import Cell, Fact, FunnelStep, Table, TrafficView

_MANY = 8
_UNASKED = {
    "settled": "not asked: the decision already stood",
    "out_of_reach": "not asked: they could not have settled it",
    "not_replayed": "not asked yet",
}
"""Losses that are none, by the reason the funnel gives."""


def funnel_of(ingest: IngestReport, candidate: CandidateReport) -> tuple[FunnelStep, ...]:
    """Every stage from the export to a scored pair, with its losses by reason and the sums written out."""
    judged = [(judge.judge, judge.scored, judge.pairs, judge.unscored) for judge in candidate.judges]
    return funnel_steps(ingest, candidate.funnel, judged)


def funnel_steps(
    ingest: IngestReport, funnel: Funnel, judged: Sequence[tuple[str, int, int, Mapping[str, int]]]
) -> tuple[FunnelStep, ...]:
    """The same from counts alone; ``judged`` is by judge: name, pairs scored, pairs given, and unscored by reason."""
    read, sampled = max(ingest.read, 1), max(ingest.sampled, 1)
    lost_reading = {
        "rejected as unreadable": ingest.rejected,
        "no model call": ingest.ignored,
        "duplicate": ingest.deduplicated,
        **ingest.skipped,
    }
    lost_sampling = {"left out by sampling": ingest.sampled_out, "outside the time window": ingest.out_of_window}
    lost_asking = {
        **{f"failed: {kind}": count for kind, count in funnel.failed.items()},
        **{f"dropped: {kind}": count for kind, count in funnel.dropped.items()},
        **{_UNASKED.get(kind, f"skipped: {kind}"): count for kind, count in funnel.skipped.items()},
    }
    unanswered = {"production had no answer": funnel.completed - funnel.comparable}
    steps = [
        funnel_step("Records read", ingest.read, ingest.read, {}, read, group="In the export"),
        funnel_step("Kept", ingest.kept, ingest.read, lost_reading, read),
        funnel_step("Sampled", ingest.sampled, ingest.kept, lost_sampling, read),
        funnel_step("Completed by the candidate", funnel.completed, ingest.sampled, lost_asking, sampled,
              group=f"Of the {plural(ingest.sampled, 'sampled request')}"),
        funnel_step("Comparable: both sides answered", funnel.comparable, funnel.completed, unanswered, sampled),
    ]  # fmt: skip
    steps += [funnel_step(f"Scored by {name}", scored, pairs, lost, sampled) for name, scored, pairs, lost in judged]
    return tuple(steps)


def funnel_step(
    label: str, count: int, before: int, losses: Mapping[str, int], widest: int, *, group: str = ""
) -> FunnelStep:
    """One stage: what is left of ``before``, measured against ``widest``, with the losses by reason."""
    # Sorted, because a value read back from JSON has its keys in another order and must give the same page.
    lost = {reason: n for reason, n in sorted(losses.items(), key=lambda item: (-item[1], item[0])) if n}
    parts = [f"{count:,}", *(f"{number:,} {words(reason)}" for reason, number in lost.items())]
    adds_up = before == count + sum(lost.values())
    equation = f"{before:,} = {' + '.join(parts)}" if adds_up else f"{before:,} is not {' + '.join(parts)}"
    return FunnelStep(
        group=group,
        label=label,
        count=f"{count:,}",
        width=round(100 * min(max(count, 0) / widest, 1), 2),
        losses=tuple(Fact(label=words(reason), value=f"{number:,}") for reason, number in lost.items()),
        equation=equation if lost or not adds_up else "",
        adds_up=adds_up,
    )


def traffic_of(ingest: IngestReport) -> TrafficView:
    """The export and the sample."""
    unlike = [file for file in ingest.files if file not in ingest.dialects]
    files = [(file, ingest.dialects[file]) for file in ingest.files if file in ingest.dialects]
    files += [(file, "") for file in unlike]
    return TrafficView(
        files=tuple(Fact(label=file, value=dialect) for file, dialect in files[:50]),
        rejects=_rejects(ingest),
        redaction=_redaction(ingest),
        redaction_off=not ingest.redaction_enabled,
        redactions=table(
            "Replaced before anything was stored",
            ["Kind", "Replacements"],
            [(Cell(text=words(kind)), Cell(text=f"{count:,}")) for kind, count in sorted(ingest.redactions.items())],
            numeric=(1,),
        )
        if ingest.redactions
        else None,
        comparison=_comparison(ingest.population, ingest.sample),
        warnings=ingest.warnings,
    )


def _rejects(ingest: IngestReport) -> str:
    if not ingest.rejected:
        return "No record was rejected."
    where = f" They are in {ingest.rejects_file} with file, line and reason." if ingest.rejects_file else ""
    return f"{plural(ingest.rejected, 'record')} could not be used.{where}"


def _redaction(ingest: IngestReport) -> str:
    if not ingest.redaction_enabled:
        return "Redaction was turned off. Users' text is stored and shown as it was recorded."
    total = sum(ingest.redactions.values())
    if not total:
        return "Redaction was on and found nothing to replace."
    return f"Redaction was on: {plural(total, 'replacement')} before anything was stored."


def _comparison(population: Summary, sample: Summary) -> Table:
    rows: list[tuple[Cell, ...]] = [_row("Requests", population.n, sample.n, Unit.COUNT)]
    rows += _shares("Model", population.models, sample.models, population.n, sample.n)
    rows += _shares("Stratum", population.strata, sample.strata, population.n, sample.n)
    for label, name in (("Production errors", "errors"), ("With tools", "with_tools")):
        rows.append(_row(label, _share(population, name), _share(sample, name), Unit.SHARE))
    for label, name, unit in (
        ("Mean turns", "mean_turns", Unit.COUNT),
        ("Mean prompt length", "mean_prompt_chars", Unit.CHARACTERS),
        ("Mean answer length", "mean_answer_chars", Unit.CHARACTERS),
        ("Latency P50", "latency_p50_ms", Unit.MILLISECONDS),
        ("Latency P95", "latency_p95_ms", Unit.MILLISECONDS),
        ("Mean tokens read", "mean_tokens_in", Unit.TOKENS),
        ("Mean tokens written", "mean_tokens_out", Unit.TOKENS),
        ("Recorded cost", "total_cost_usd", Unit.USD),
    ):
        rows.append(_row(label, getattr(population, name), getattr(sample, name), unit))
    for label, name in (("First request", "first"), ("Last request", "last")):
        rows.append(
            (Cell(text=label), Cell(text=_time(getattr(population, name))), Cell(text=_time(getattr(sample, name))))
        )
    return table(
        "Everything usable against the sample",
        ["", "All usable", "Sample"],
        rows,
        numeric=(1, 2),
        note="The result holds for the traffic the sample resembles. Unknown means that the export does not say.",
    )


def _row(label: str, population: float | None, sample: float | None, unit: Unit) -> tuple[Cell, ...]:
    return Cell(text=label), Cell(text=amount(population, unit)), Cell(text=amount(sample, unit))


def _share(summary: Summary, name: str) -> float | None:
    count: int = getattr(summary, name)
    return count / summary.n if summary.n else None


def _shares(
    label: str, population: Mapping[str, int], sample: Mapping[str, int], n_population: int, n_sample: int
) -> Sequence[tuple[Cell, ...]]:
    """The most frequent values; what is left out is said in a row of its own."""
    names = sorted({*population, *sample}, key=lambda name: (-population.get(name, 0), name))
    rows = [
        _row(
            f"{label}: {name}",
            population.get(name, 0) / n_population if n_population else None,
            sample.get(name, 0) / n_sample if n_sample else None,
            Unit.SHARE,
        )
        for name in names[:_MANY]
    ]
    if len(names) > _MANY:
        rows.append((Cell(text=f"{label}: {len(names) - _MANY} more"), Cell(text=""), Cell(text="")))
    return rows


def _time(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if moment else UNKNOWN

"""What readers outside get: nothing that anybody wrote, whatever report it is made from."""

import io
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reports
from harness.domain.decision import Objection
from harness.domain.report import EvaluationReport, Readers, SliceReport
from harness.pipeline.publishing.data import for_outside as table_for_outside
from reports import index, summary
from reports.outside import for_outside
from reports.outside_words import LEAST_PAIRS, MOST_VALUES
from tests.unit.reports import beside, factory, histories

CANARY = "zq7canary"

# Where our own code wrote, or the experiment's author chose a name that is the point of the report.
ALLOWED = {
    "run_id", "name", "harness_version", "arm", "judge", "kind", "metric", "fingerprint", "prompt_sha256", "sentence",
    "remedy", "reason", "title", "method", "unit", "direction", "help", "sequence", "family", "verdict", "looks",
    "profile", "bound", "outcome", "state", "band", "score_metric", "requests_per_month_source", "binding", "reasons",
    "notes", "warnings", "designs", "labels", "stop_reason", "begun_at", "arms", "best", "beaten_by", "first", "second",
    "quality", "against",
}  # fmt: skip


def poisoned(value: Any, path: str = "", counter: list[int] | None = None) -> Any:
    """A canary of its own in every text but those of the allowed fields, keys of mappings included."""
    counter = counter if counter is not None else [0]
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value,
            **{
                item.name: poisoned(getattr(value, item.name), item.name, counter)
                for item in fields(value)
                if item.name not in {"metrics", "distributions"}
            },
        )
    if isinstance(value, Enum | bool | int | float | datetime) or value is None:
        return value
    if isinstance(value, str):
        if path in ALLOWED:
            return value
        counter[0] += 1
        return f"{CANARY}{counter[0]} {value}"
    if isinstance(value, dict):
        keyed = path in {"errors", "figures", "prompts", "extra", "beaten_by", "estimates"}
        return {
            (key if keyed and path != "prompts" else poisoned(key, path, counter)): poisoned(item, path, counter)
            for key, item in value.items()
        }
    return type(value)(poisoned(item, path, counter) for item in value)


def everything(report: EvaluationReport) -> str:
    """All bytes that are published of a report, the page that compares and the index included."""
    from reports import comparing, comparison

    compared = comparing.compare(report, report)
    listed = histories.index((report,))
    return "\n".join(
        (
            reports.render_html(report),
            reports.render_json(report),
            reports.render_markdown(report),
            reports.render_junit(report),
            index.render_html(listed),
            index.render_json(listed),
            comparison.render_html(compared),
            comparison.render_json(compared),
            summary.render_summary(report, link="https://reports.example/r"),
            "\n".join(map(str, summary.chat_message(report))),
        )
    )


MADE = {name: getattr(factory, name) for name in ("report", "three", "full", "two", "empty", "hostile")}
MADE["several"] = partial(beside.several, 3)


@pytest.mark.parametrize("name", MADE)
def test_no_text_that_somebody_wrote_is_in_any_published_byte(name):
    report = poisoned(MADE[name]())
    assert everything(report).count(CANARY) > 5, "the canaries are on the page for readers inside"
    assert CANARY not in everything(for_outside(report))


TEXTS = st.text(min_size=6, max_size=40).filter(lambda text: text.strip())


@settings(max_examples=15, deadline=None)
@given(word=TEXTS)
def test_whatever_the_text_is_it_is_gone(word):
    """Texts that look like anything: paths, names, addresses, markup, one letter after another."""
    secret = f"{CANARY}{word}"
    report = factory.full()
    candidate = report.candidates[0]
    slices = tuple(
        SliceReport(attribute="metadata.user", value=f"{secret}{number}", n=400, estimates=())
        for number in range(MOST_VALUES + 1)
    )
    objection = Objection(
        kind="slice", sentence=f"1 slice loses: metadata.user {secret}0 (win rate 39.00% on 400 pairs)."
    )
    decision = replace(candidate.decision, objections=(objection,), sentence=f"It loses on metadata.user {secret}1.")
    candidate = replace(candidate, slices=slices, slice_tests=(), decision=decision, model=f"/data/{secret}.jsonl")
    report = replace(
        report,
        candidates=(candidate,),
        command=f"harness run {secret}.yaml",
        experiment_yaml=f"name: x\ncandidates:\n- system_prompt: {CANARY}\n  api_base: https://{CANARY}.example\n",
        production_models={f"{secret} model": 3},
        ingest=replace(report.ingest, files=(secret,), dialects={secret: secret}, warnings=(f"{secret}: odd",)),
    )
    assert CANARY not in everything(for_outside(report))


def test_figures_verdict_criteria_and_method_stay():
    report = factory.two()
    outside = for_outside(report)
    assert outside.readers is Readers.OUTSIDE
    for before, after in zip(report.candidates, outside.candidates, strict=True):
        assert after.decision.verdict is before.decision.verdict
        assert [result.estimate.value for result in after.decision.results] == [
            result.estimate.value for result in before.decision.results
        ]
        assert [e.method for e in after.estimates] == [e.method for e in before.estimates]
        assert (after.funnel, after.cost, after.distributions) == (before.funnel, before.cost, before.distributions)
        assert after.people == before.people
        assert [health.checks for health in after.health] == [health.checks for health in before.health]
        assert after.examples == ()
    assert outside.ingest.files == ("file 1", "file 2")
    assert outside.ingest.population.first == report.ingest.population.first
    page = reports.render_html(outside)
    assert "This report is for readers outside" in page
    assert "report.show_text is off" not in page


def test_who_may_be_the_best_stays_without_a_request():
    report = beside.several(3)
    outside = for_outside(report)
    assert report.side_by_side is not None
    assert report.side_by_side.requests
    slices = report.side_by_side.slices
    assert [item.value for item in slices if item.n < LEAST_PAIRS] == ["trial"]
    slices = tuple(replace(item, value="value 1") if item.value == "trial" else item for item in slices)
    assert outside.side_by_side == replace(report.side_by_side, requests=(), slices=slices)
    assert "Candidates side by side" in reports.render_html(outside)


def test_rules_of_the_experiment_stay_and_nothing_else_of_it():
    text = (
        "name: support\ntraffic:\n  source: [s3://bucket/secret]\n"
        "  sample: {size: 1200, seed: 7, stratify_by: [user]}\n"
        "candidates:\n- {name: small, model: openai/small, api_base: 'https://a.example', system_prompt: Be brief}\n"
        "judges:\n- {use: rubric, options: {criteria: [our secret rubric]}}\n"
        "decision:\n  looks: any\n  alpha: 0.05\n  cluster_by: metadata.user\n"
        "  criteria: [{metric: win_rate, above: 0.48}, {metric: 'a secret sentence', below: 1}]\n"
    )
    kept = for_outside(factory.report(experiment_yaml=text)).experiment_yaml
    assert kept == (
        "traffic:\n  sample:\n    size: 1200\n    seed: 7\ndecision:\n  criteria:\n  - metric: win_rate\n"
        "    above: 0.48\n  - below: 1\n  alpha: 0.05\n  looks: any\n"
    )


def test_yaml_that_multiplies_itself_is_kept_small():
    lines = ["a: &a [1,1,1,1,1,1,1,1,1]"] + [
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]" for n in range(9)
    ]
    text = "\n".join([*lines, "decision: {criteria: *j, alpha: 0.05}"])
    assert for_outside(factory.report(experiment_yaml=text)).experiment_yaml == "decision:\n  alpha: 0.05\n"
    assert for_outside(factory.report(experiment_yaml="[" * 5000)).experiment_yaml == ""


def slices(values: Iterator[tuple[str, int]], attribute: str = "metadata.plan") -> EvaluationReport:
    candidate = factory.candidate(
        slices=tuple(SliceReport(attribute=attribute, value=value, n=n, estimates=()) for value, n in values)
    )
    return for_outside(factory.report(candidate))


def shown(report: EvaluationReport) -> list[str]:
    return [item.value for item in report.candidates[0].slices]


@pytest.mark.parametrize(
    ("attribute", "values", "expected"),
    [
        ("metadata.plan", [("free", 600), ("team", 400)], ["free", "team"]),
        ("metadata.plan", [("free", 600), ("acme", LEAST_PAIRS - 1)], ["free", "value 1"]),
        ("metadata.user", [("ada@example.com", 600), ("free", 30)], ["value 1", "free"]),
        ("metadata.user", [(f"u{n}", 600) for n in range(13)], [f"value {n + 1}" for n in range(13)]),
        ("topic", [("invoice, refund", 600), ("login", 300)], ["value 1", "value 2"]),
        ("language", [("en", 5), ("de", 1)], ["en", "de"]),
        ("turns", [("1", 5), ("2-3", 1), ("4+", 9)], ["1", "2-3", "4+"]),
        ("prompt_length", [("under 500 characters", 5)], ["under 500 characters"]),
        ("model", [("openai/gpt-4o", 5), ("https://inner.example/v1", 5)], ["openai/gpt-4o", "value 1"]),
    ],
)
def test_values_that_may_name_somebody_are_numbered(attribute, values, expected):
    assert shown(slices(iter(values), attribute)) == expected


def test_twice_is_once_and_the_source_stays_what_it_was():
    report = factory.hostile()
    before = reports.render_json(report)
    outside = for_outside(report)
    assert for_outside(outside) == outside
    assert reports.render_json(report) == before
    plain = for_outside(factory.two())
    assert reports.load_json(reports.render_json(plain)) == plain


def test_sentences_lose_paths_addresses_and_commands():
    report = factory.report(
        warnings=(
            "Read /srv/exports/a.jsonl and s3://bucket/key from ada@example.com; see runs/x/rejects.jsonl, then run "
            "`harness run secret.yaml --store postgresql://me:pw@db/x`.",
        )
    )
    [said] = for_outside(report).warnings
    for secret in ("srv", "bucket", "ada@", "rejects", "secret", "pw@"):
        assert secret not in said, said


def test_the_table_of_pairs_loses_what_identifies_a_request(tmp_path):
    import pandas as pd

    report = factory.report(factory.candidate(slices=(
        SliceReport(attribute="metadata.plan", value="free", n=600, estimates=()),
        SliceReport(attribute="metadata.plan", value="acme-corp", n=3, estimates=()),
        SliceReport(attribute="metadata.user", value=CANARY, n=3, estimates=()),
    )))  # fmt: skip
    table = pd.DataFrame(
        {
            "arm": ["small-model"] * 3,
            "exchange_id": [f"{CANARY}{n}" for n in range(3)],
            "cluster": [1, 2, 3],
            "timestamp": pd.to_datetime([1, 2, 3], unit="s", utc=True),
            "candidate_status": ["completed"] * 3,
            "candidate_latency_ms": [30.0, 10.0, 20.0],
            "score_pairwise": [0.0, 1.0, 0.5],
            "slice_metadata.plan": ["free", "free", "acme-corp"],
            "slice_metadata.user": [CANARY, CANARY, "b"],
            "slice_prompt": ["a", "b", "c"],
            "remark": [CANARY] * 3,
        }
    )
    path = tmp_path / "pairs.parquet"
    table.to_parquet(path, index=False)
    content = table_for_outside(path, for_outside(report))
    found = pd.read_parquet(io.BytesIO(content))
    assert CANARY.encode() not in content
    assert b"acme" not in content
    assert list(found) == ["arm", "candidate_status", "candidate_latency_ms", "score_pairwise", "slice_metadata.plan"]
    assert list(found["candidate_latency_ms"]) == [10.0, 20.0, 30.0]
    assert list(found["score_pairwise"]) == [1.0, 0.5, 0.0]

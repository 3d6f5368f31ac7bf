"""Two runs held against each other: what changed, and whether the figures may be compared."""

import json
import math
import re
from dataclasses import replace

import pytest

from harness.domain.comparison import Intervals
from harness.domain.decision import Verdict
from harness.domain.report import EvaluationReport
from harness.errors import InputError
from reports import comparison
from reports.comparing import compare
from reports.outside import for_outside
from tests.unit.reports import factory, histories, rich
from tests.unit.reports.page_reader import Page

FIRST = histories.report(0)


def same(**more) -> EvaluationReport:
    """Another run on the same traffic."""
    return replace(FIRST, run_id="again", **more)


def kinds(before: EvaluationReport, after: EvaluationReport) -> list[str]:
    return [item.kind for item in compare(before, after).hindrances]


def test_two_runs_on_the_same_requests_can_be_compared():
    found = compare(FIRST, same())
    assert found.comparable
    assert all(not item.outcome_changed and item.difference in {0.0, None} for item in found.candidates[0].criteria)
    assert found.changes == ()
    assert found.experiment == ()
    assert "Comparable" in Page.of(comparison.render_html(found)).text


@pytest.mark.parametrize(
    ("after", "kind"),
    [
        (same(name="other"), "experiment"),
        (same(production_models={"gpt-5": 1200}), "production"),
        (same(seed=8), "traffic"),
        (histories.report(1), "traffic"),
        (histories.other_judge(same()), "judge"),
        (for_outside(same()), "readers"),
    ],
)
def test_what_cannot_be_compared_says_so_and_why(after, kind):
    assert kind in kinds(FIRST, after)
    found = compare(FIRST, after)
    sentence = next(item.sentence for item in found.hindrances if item.kind == kind)
    page = Page.of(comparison.render_html(found)).text
    assert sentence in page
    assert "Not comparable" in page


def test_another_judge_concerns_only_what_comes_from_it():
    found = compare(FIRST, histories.other_judge(same()))
    [hindrance] = found.hindrances
    assert hindrance.metrics == ("win_rate",)
    text = Page.of(comparison.render_html(found)).text
    assert "Comparable in part" in text
    assert text.count("Another judge: not comparable.") == 1
    assert "It concerns: Win rate." in text


def test_a_larger_sample_of_the_same_traffic_is_the_same_traffic():
    """The ledger's hash of the traffic says so, although other figures of the ingest differ."""
    before = factory.full()
    more = replace(before.ingest, sampled=5000, population=replace(before.ingest.population, n=99))
    assert "traffic" not in kinds(before, replace(before, ingest=more))
    attempts = tuple(replace(attempt, sequence="s2") for attempt in rich.attempts("small-model"))
    other = factory.full(factory.thorough(attempts=attempts))
    assert "traffic" in kinds(before, other)


def test_outcome_rule_and_interval_changes_are_told_apart():
    before, after = (
        factory.report(factory.candidate(verdict=Verdict.NO_GO)),
        factory.report(factory.candidate(verdict=Verdict.GO)),
    )
    results = tuple(
        replace(result, criterion=replace(result.criterion, threshold=1.1))
        if result.criterion.metric == "latency_p95_ratio"
        else result
        for result in after.candidates[0].decision.results
        if result.criterion.metric != "structure"
    )
    candidate = after.candidates[0]
    after = replace(after, candidates=(replace(candidate, decision=replace(candidate.decision, results=results)),))
    found = {item.metric: item for item in compare(before, after).candidates[0].criteria}
    assert found["win_rate"].outcome_changed
    assert found["win_rate"].difference == pytest.approx(0.153)
    assert found["win_rate"].intervals is Intervals.APART
    assert found["latency_p95_ratio"].rule_changed
    assert not found["latency_p95_ratio"].outcome_changed
    assert found["latency_p95_ratio"].intervals is Intervals.OVERLAP
    assert found["coverage"].intervals is Intervals.UNKNOWN
    assert (found["structure"].after, found["structure"].difference) == (None, None)
    text = Page.of(comparison.render_html(compare(before, after))).text
    for words in ("The verdict went from NO_GO to GO", "fail → pass", "+15.30 points", "The rule was changed.",
                  "The intervals share no value.", "Only in the earlier run."):  # fmt: skip
        assert words in text, words


def test_open_ends_reach_everywhere_and_infinite_values_have_no_difference():
    found = compare(FIRST, histories.endless(same()))
    latency = found.candidates[0].criteria[0]
    assert latency.intervals is Intervals.OVERLAP
    assert latency.after is not None
    assert math.isinf(latency.after.high or 0.0)
    assert comparison.load(comparison.render_json(found).encode()) == found


def test_candidates_are_matched_by_name_and_a_renamed_single_one_by_being_alone():
    single = compare(factory.report(), factory.report(factory.candidate("renamed")))
    assert [(item.arm, item.arm_before) for item in single.candidates] == [("renamed", "small-model")]
    assert "renamed, before: small-model" in Page.of(comparison.render_html(single)).text
    three = compare(factory.three(), factory.report(factory.candidate("cheap-model"), factory.candidate("new-one")))
    assert [(item.arm, item.verdict_before is not None, item.present_after) for item in three.candidates] == [
        ("cheap-model", True, True), ("new-one", False, True), ("small-model", True, False),
        ("new-prompt", True, False),
    ]  # fmt: skip


def test_changes_of_the_configuration_are_named_with_both_values():
    after = histories.other_judge(
        same(
            versions={"shadow-harness": "0.2.0", "python": "3.11.9"},
            experiment_yaml=FIRST.experiment_yaml.replace("size: 1200", "size: 5000"),
            seed=9,
        )
    )
    found = compare(FIRST, after)
    changed = {(item.area, item.name): (item.before, item.after) for item in found.changes}
    assert changed["version", "shadow-harness"] == ("0.1.0", "0.2.0")
    assert changed["version", "litellm"] == ("1.106.2", "")
    assert changed["run", "seed"] == ("7", "9")
    assert changed["prompt", "pairwise/v1"] == ("9f" * 32, "")
    assert changed["judge", "pairwise"][1].endswith("pairwise/v2 · ff00ff00ff00ff00")
    assert ("removed", "  sample: {size: 1200, seed: 7}") in [(line.kind, line.text) for line in found.experiment]
    assert ("added", "  sample: {size: 5000, seed: 7}") in [(line.kind, line.text) for line in found.experiment]
    assert "only after:" in Page.of(comparison.render_html(found)).text


def test_a_difference_without_end_is_cut_and_says_so():
    after = same(experiment_yaml="\n".join(f"- {number}" for number in range(5000)))
    found = compare(FIRST, after)
    assert found.experiment_cut
    assert len(found.experiment) <= 400
    assert "differ in more lines than are shown" in comparison.render_html(found)


@pytest.mark.parametrize("name", ["report", "three", "two", "empty", "hostile"])
def test_every_page_is_well_formed_inert_and_the_same_again(name):
    report = getattr(factory, name)()
    found = compare(factory.report(), report)
    html = comparison.render_html(found, published=True)
    assert html == comparison.render_html(found, published=True)
    page = Page.of(html)
    assert page.open == []
    assert not page.named("script", "img", "iframe", "link", "object", "base", "form")
    assert not [tag for tag in page.tags if any(name.startswith("on") or name == "style" for name in tag.attributes)]
    ids = [tag.attributes["id"] for tag in page.tags if "id" in tag.attributes]
    assert len(ids) == len(set(ids))
    for tag in page.tags:
        href = tag.attributes.get("href", "#")
        assert href.startswith("../") or href[1:] in [*ids, ""], href
    assert comparison.load(comparison.render_json(found).encode()) is not None


def test_every_number_of_the_table_is_in_the_json():
    found = compare(FIRST, histories.report(2))
    raw = json.loads(comparison.render_json(found))
    for item in raw["candidates"][0]["criteria"]:
        if item["difference"] is not None:
            assert item["difference"] == pytest.approx(item["after"]["value"] - item["before"]["value"])


@pytest.mark.parametrize("content", [b"", b"[1]", b"{}", b'{"schema": 99}', b'{"schema": 1}', b"[" * 100_000])
def test_what_is_no_comparison_is_refused(content):
    with pytest.raises(InputError):
        comparison.load(content)


def test_no_two_pairs_share_a_name_and_each_can_be_a_file():
    pairs = [("a", "b"), ("a--b", "c"), ("a", "b--c"), ("x" * 100, "y" * 100), ("ü" * 100, "y"), ("a-", "-b")]
    names = [comparison.name_of(*pair) for pair in pairs]
    assert len(set(names)) == len(names)
    assert names[0] == "a--b"
    assert all(len(f"{name}.html".encode()) <= 255 for name in names)
    assert not [name for name in names if re.search(r"[/\\]", name)]

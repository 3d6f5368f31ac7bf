"""The index of published runs, its trends, and the small values it is built from."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest

from harness.domain.decision import Bound, Outcome, Verdict
from harness.domain.published import LeftOut, PublishedIndex
from harness.errors import ConfigurationError, InputError
from reports import index, published
from reports.addresses import address, base_url
from reports.page_index import view_of
from reports.trends import MOST_POINTS, difference
from tests.unit.reports import factory, histories
from tests.unit.reports.page_reader import Page


def listed(count: int = 5) -> PublishedIndex:
    return histories.index(histories.weeks(count))


def trends(found: PublishedIndex) -> dict[str, object]:
    return {item.title: item for item in view_of(found).experiments[0].groups[0].trends}


def test_a_run_is_read_back_as_it_was_written():
    for report in (*histories.weeks(2), factory.three(), factory.hostile(), histories.endless(histories.report(1))):
        run = histories.small(report)
        content = published.render_json(run).encode()
        assert published.load(content, folder=json.loads(content)["run_id"]).candidates[0].criteria
        assert published.render_json(published.load(content, folder=json.loads(content)["run_id"])) == content.decode()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"run_id": "other"}, "of another run"),
        ({"schema": 2}, "schema 2"),
        ({"verdict": "MAYBE"}, "verdict"),
        ({"name": "x" * 3000}, "a text of more than 2,000"),
        ({"production_models": ["x"] * 600}, "a list of more than 500"),
        ({"candidates": [1]}, "candidates.0"),
        ({"decided_at": "yesterday"}, "decided_at"),
    ],
)
def test_what_is_not_ours_is_refused_and_the_place_is_named(change, said):
    raw = json.loads(published.render_json(histories.small(histories.report(0))))
    with pytest.raises(InputError, match=said):
        published.load(json.dumps(raw | change).encode(), folder="support-00c4d1")


def test_going_on_with_a_run_keeps_its_fingerprint_and_beginning_again_does_not():
    report = histories.report(0)
    assert published.fingerprint(replace(report, decided_at=report.created_at)) == published.fingerprint(report)
    for other in (replace(report, created_at=report.decided_at), replace(report, seed=8), replace(report, name="x")):
        assert published.fingerprint(other) != published.fingerprint(report)


def test_the_page_has_every_run_newest_first_with_its_verdict_and_links():
    page = Page.of(index.render_html(listed()))
    links = [tag.attributes["href"] for tag in page.named("a") if tag.attributes["href"].endswith("report.html")]
    assert links[1:] == [f"support-{week:02d}c4d1/report.html" for week in (4, 3, 2, 1, 0)]
    assert "5 runs of 1 experiment" in page.text
    assert page.text.count("with support-") == 4
    assert "the first one" in page.text
    assert page.text.count("not comparable: other traffic, other judge") == 1
    assert page.text.count("not comparable: other traffic") == 4


def test_a_trend_stands_on_its_figures_and_breaks_where_the_judge_changed():
    view = trends(listed())["Win rate"]
    assert [point.badge.word for point in view.points] == ["fail", "inconclusive", "inconclusive", "pass", "pass"]
    assert all(before.x < after.x for before, after in pairwise(view.points))
    assert view.points[3].y < view.points[1].y < view.points[0].y, "a larger value stands higher"
    assert all(point.high <= point.y <= point.low for point in view.points)
    assert len(view.breaks) == 1
    assert view.points[2].x < view.breaks[0] < view.points[3].x
    assert view.line.count("M") == 2
    assert view.threshold_label == "50%"
    assert trends(listed())["P95 latency"].breaks == ()
    assert view.change == "0.00 points since 2026-09-25"
    assert "5 runs since 2026-09-04, from 41.80% to 57.10%; newest" in view.desc


def test_what_cannot_be_compared_is_not_subtracted():
    view = trends(listed(4))["Win rate"]
    assert view.change == "Not comparable with 2026-09-18: production or the judge became another one."


def test_a_change_of_rule_is_a_step_of_the_threshold():
    weeks = histories.weeks(2)
    candidate = weeks[1].candidates[0]
    results = tuple(
        replace(result, criterion=replace(result.criterion, threshold=1.5, bound=Bound.AT_MOST))
        for result in candidate.decision.results
    )
    changed = replace(weeks[1], candidates=(replace(candidate, decision=replace(candidate.decision, results=results)),))
    view = trends(histories.index((weeks[0], changed)))["P95 latency"]
    assert view.threshold.count("H") == 2
    assert view.rule == "at most 1.5x"
    assert "the rule was below 1.2x" in view.change


def test_open_ends_and_missing_figures_are_said():
    weeks = histories.weeks(3)
    found = trends(histories.index((*weeks[:2], histories.endless(weeks[2]))))
    latency, similarity = found["P95 latency"], found["Similarity"]
    assert latency.points[-1].high_open
    assert latency.bounds.endswith("to no upper limit")
    assert (len(similarity.points), similarity.missing, similarity.value) == (2, "1 run without a figure", "unknown")
    assert similarity.badge.word == "no data"
    structure = found["Structure"]
    assert structure.points == ()
    assert "No run has a figure for it." in Page.of(index.render_html(histories.index(weeks))).text


def test_many_runs_stay_a_small_page_and_nothing_is_left_out_of_the_json():
    found = listed(120)
    html, raw = index.render_html(found), json.loads(index.render_json(found))
    assert len(html) < 300_000
    assert len(raw["runs"]) == 120
    view = view_of(found)
    assert len(trends(found)["Win rate"].points) == MOST_POINTS
    assert view.experiments[0].runs_note == "90 older runs in index.json."
    assert view.experiments[0].groups[0].note == f"The newest {MOST_POINTS} runs are drawn; all are in index.json."


def test_candidates_and_criteria_that_are_gone_are_still_shown_as_such():
    first, second = histories.weeks(2)
    other = replace(second, candidates=(factory.candidate("new-model", Verdict.GO),))
    groups = view_of(histories.index((first, other))).experiments[0].groups
    assert [group.title for group in groups] == ["new-model", "small-model"]
    assert groups[1].note == "Not a candidate of the newest run."
    assert groups[1].trends[0].change == "Not a criterion of the newest run; this is of 2026-09-04."


@pytest.mark.parametrize("name", ["report", "three", "full", "two", "empty", "hostile"])
def test_every_page_is_well_formed_inert_and_the_same_again(name):
    found = histories.index((getattr(factory, name)(),))
    found = replace(found, left_out=(LeftOut(folder=factory.HOSTILE, why=factory.HOSTILE),))
    html = index.render_html(found)
    assert html == index.render_html(found)
    page = Page.of(html)
    assert page.open == []
    assert not page.named("script", "img", "iframe", "link", "object", "base", "form")
    assert not [tag for tag in page.tags if any(name.startswith("on") or name == "style" for name in tag.attributes)]
    ids = [tag.attributes["id"] for tag in page.tags if "id" in tag.attributes]
    assert len(ids) == len(set(ids))
    for tag in page.tags:
        for label in tag.attributes.get("aria-labelledby", "").split():
            assert label in ids
        href = tag.attributes.get("href", "#")
        assert ":" not in href
        assert not href.startswith(("/", ".."))
    levels = [int(tag.name[1]) for tag in page.named("h1", "h2", "h3")]
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_an_empty_place_says_so():
    assert "Nothing has been published here yet." in Page.of(index.render_html(PublishedIndex(runs=()))).text


def test_every_figure_of_the_page_is_in_the_json():
    found = listed()
    raw = json.loads(index.render_json(found))
    values = {
        (run["run_id"], criterion["title"]): criterion
        for run in raw["runs"]
        for criterion in run["candidates"][0]["criteria"]
    }
    for title, view in trends(found).items():
        newest = values["support-04c4d1", title]
        assert (newest["outcome"] == Outcome.PASS.value) == (view.badge.word == "pass")
        assert (newest["value"] is None) == (view.value == "unknown")


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [(0.031, "share", "+3.10 points"), (-0.02, "points", "-2.00 points"), (0.05, "ratio", "+0.05x"),
     (0, "ratio", "0.00x"),
     (-3.0, "ms", "-3.0 ms"), (0.01, "score", "+0.010"), (12, "count", "+12")],
)  # fmt: skip
def test_differences_carry_their_sign_and_unit(value, unit, said):
    from harness.domain.estimate import Unit

    assert difference(value, Unit(unit)) == said


def test_no_name_leads_elsewhere():
    assert address("..") == "%2E%2E"
    assert address("a/../b") == "a%2F..%2Fb"
    assert address("javascript:alert(1)") == "javascript%3Aalert%281%29"
    assert base_url("https://a.example/x/") == "https://a.example/x"
    for text in ("javascript:x", "a.example", "https://a.example/)[x](", "https://a example"):
        with pytest.raises(ConfigurationError):
            base_url(text)

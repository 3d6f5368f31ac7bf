import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reports
from harness.domain.estimate import Unit
from harness.domain.side_by_side import BestSet
from reports import page_side_by_side, views_scatter
from reports.html import static_text
from reports.views_scatter import Axis, Place, label_boxes, scatter
from tests.unit.reports import beside, factory
from tests.unit.reports.page_reader import Page


@pytest.fixture(scope="module")
def view():
    return page_side_by_side.view_of(beside.several(3))


def row(view, title):
    return next(row for group in view.metrics.groups for row in group.rows if row.title == title)


def test_one_candidate_has_nobody_beside_it():
    assert page_side_by_side.view_of(factory.report()) is None
    assert 'id="beside"' not in reports.render_html(factory.report())


def test_an_older_report_of_several_has_no_comparison():
    assert 'id="beside"' not in reports.render_html(factory.three())


def test_what_may_be_the_best_is_marked_and_said(view):
    found = beside.several(3).side_by_side.best_set("win_rate")
    assert found.best == ("small-model", "new-prompt")
    cells = row(view, "Win rate").cells
    assert [cell.badge and cell.badge.word for cell in cells] == ["best set", None, "best set"]
    cost = row(view, "Cost of 1,000 requests").cells
    assert [cell.badge and cell.badge.word for cell in cost] == [None, "best", None]
    assert "Cost of 1,000 requests: the best of 3 is cheap-model." in view.lead
    assert "Win rate: the best of 3 is small-model or new-prompt." in view.lead


def test_where_all_may_be_the_best_nothing_is_marked(view):
    tokens = row(view, "Tokens read, ratio")
    assert not beside.several(3).side_by_side.best_set("tokens_in_ratio").told
    assert {cell.badge for cell in tokens.cells} == {None}
    assert tokens.note == "lower is better, the best cannot be told"
    assert row(view, "Tokens written, ratio").note == "neither side is better"


def test_every_metric_with_a_value_has_a_row_and_its_interval(view):
    titles = [row.title for group in view.metrics.groups for row in group.rows]
    assert len(titles) == len(set(titles))
    for wanted in ("Win rate", "Similarity", "95th percentile latency", "Error rate", "Cost, ratio", "Pairs compared"):
        assert wanted in titles
    [first, *_] = row(view, "95th percentile latency").cells
    assert re.fullmatch(r"[\d,]+ ms", first.text)
    assert re.fullmatch(r"[\d,]+ ms to [\d,]+ ms", first.sub)


def test_what_a_criterion_is_about_has_the_criterions_bounds():
    report = beside.several(2)
    decision = factory.candidate().decision
    report = replace(report, candidates=(replace(report.candidates[0], decision=decision), report.candidates[1]))
    shown = page_side_by_side.view_of(report)
    cells = row(shown, "Win rate").cells
    assert cells[0].sub.endswith("as decided on")
    assert "as decided on" not in cells[1].sub


def test_a_matrix_reads_the_same_from_both_sides(view):
    [matrix] = view.duels
    by_row = {cells[0].text: cells[1:] for cells in matrix.rows}
    one, other = by_row["small-model"][1], by_row["cheap-model"][0]
    assert float(one.text.rstrip("%")) + float(other.text.rstrip("%")) == pytest.approx(100)
    assert (one.badge.word, other.badge.word) == ("ahead", "behind")
    counts = re.search(r"better (\d+), same (\d+), worse (\d+)", one.sub).groups()
    assert re.search(r"better (\d+), same (\d+), worse (\d+)", other.sub).groups() == counts[::-1]
    assert by_row["small-model"][0].text == "\N{EN DASH}"
    assert "No judge read two candidates' answers beside each other" in view.duels_note


def test_slices_say_who_is_best_and_where_it_cannot_be_told(view):
    [table] = view.slices
    said = {cells[0].text: cells[2].text for cells in table.rows}
    assert said["free"] == "small-model or new-prompt"
    assert said["team"] == "small-model"
    assert said["trial"] == "too few requests"


def test_answers_stand_in_the_order_of_the_experiment(view):
    assert [group.title for group in view.groups] == [
        "Where the candidates differ most", "Where one falls behind", "Where one is ahead", "Where all failed",
    ]  # fmt: skip
    request = view.groups[0].requests[0]
    assert [answer.label for answer in request.answers] == [
        "Production", "Candidate small-model", "Candidate cheap-model", "Candidate new-prompt",
    ]  # fmt: skip
    assert request.scores == "Scored by pairwise: small-model 1, cheap-model 0, new-prompt 0.5."
    assert request.is_open
    assert not request.answers[1].runs[0].changed
    assert any(run.changed for run in request.answers[2].runs)


def test_candidates_that_were_not_asked_or_failed_say_so():
    shown = page_side_by_side.view_of(beside.several(12))
    answers = shown.groups[0].requests[0].answers
    assert answers[6].empty == "It was not asked."
    assert answers[5].error.startswith("timeout (HTTP 504)")


@pytest.mark.parametrize("k", [2, 3, 12])
def test_the_page_is_sound_with_any_number_of_candidates(k):
    html = reports.render_html(beside.several(k))
    page = Page.of(html)
    assert page.open == []
    ids = [tag.attributes["id"] for tag in page.tags if "id" in tag.attributes]
    assert len(ids) == len(set(ids))
    assert len(html) < 1_500_000
    assert html == reports.render_html(beside.several(k))


@pytest.mark.parametrize("k", [2, 12])
def test_the_comparison_is_in_the_json_and_comes_back(k):
    report = beside.several(k)
    saved = reports.render_json(report)
    assert reports.load_json(saved) == report
    found = json.loads(saved)["side_by_side"]
    assert {item["metric"] for item in found["best_sets"]} >= {"win_rate", "latency_p95", "error_rate", "cost_per_1k"}
    assert len(found["duels"]) == k * (k - 1)


def test_every_number_of_the_matrix_is_in_the_json(view):
    found = json.loads(reports.render_json(beside.several(3)))["side_by_side"]["duels"]
    by_row = {cells[0].text: cells[1:] for cells in view.duels[0].rows}
    arms = list(by_row)
    for duel in found:
        cell = by_row[duel["first"]][arms.index(duel["second"])]
        assert cell.text == f"{100 * duel['share']['value']:.2f}%"
        assert f"better {duel['first_better']}, same {duel['same']}, worse {duel['second_better']}" in cell.sub


def test_text_that_must_not_be_shown_is_in_no_rendering():
    report = replace(beside.several(3), show_text=False)
    for rendered in (reports.render_html(report), reports.render_json(report), reports.render_markdown(report)):
        for secret in ("refunded the second seat", "lists the same seat", "money arrives", "30 s elapsed"):
            assert secret not in rendered
    assert "Messages and answers are left out of this report." in reports.render_html(report)


def test_hostile_text_stays_text():
    report = beside.several(3)
    poisoned = replace(report, side_by_side=factory._poison(report.side_by_side))
    poisoned = replace(
        poisoned,
        candidates=tuple(replace(c, arm=factory.HOSTILE + c.arm) for c in report.candidates),
        side_by_side=replace(poisoned.side_by_side, requests=poisoned.side_by_side.requests),
    )
    html = reports.render_html(poisoned)
    page = Page.of(html)
    assert not page.named("img", "iframe")
    assert page.script == static_text("reports", "examples.js")
    assert page.open == []
    assert 'id="beside"' in html


def test_markdown_has_a_compact_table():
    text = reports.render_markdown(beside.several(3))
    table = text[text.index("### Side by side") : text.index("### ", text.index("### Side by side") + 5)]
    assert "| Metric | small-model | cheap-model | new-prompt |" in table
    assert re.search(r"\| Win rate \| [\d.]+% ★ \| [\d.]+% \| [\d.]+% ★ \|", table)
    assert "Side by side" not in reports.render_markdown(factory.report())


def test_a_judge_that_failed_its_health_is_named():
    report = beside.several(2)
    [health] = factory.failing().health
    report = replace(report, candidates=(replace(report.candidates[0], health=(health,)), report.candidates[1]))
    shown = page_side_by_side.view_of(report)
    assert any(f"Judge {health.judge} failed a check" in warning for warning in shown.warnings)


def test_nothing_known_is_said_and_not_drawn():
    report = beside.several(2)
    bare = replace(report.side_by_side, quality="", judge="", best_sets=(), frontiers=(), duels=(), slices=(),
                   slices_tested=0, requests=())  # fmt: skip
    shown = page_side_by_side.view_of(replace(report, side_by_side=bare))
    assert not any((shown.lead, shown.scatters, shown.picture, shown.duels, shown.slices, shown.groups))
    assert shown.picture_note.startswith("No picture")
    assert "cannot be compared" in shown.duels_note
    assert 'id="beside"' in reports.render_html(replace(report, side_by_side=bare))


def test_in_words():
    told = BestSet(metric="m", arms=("a", "b", "c"), best=("a", "c"), beaten_by={"b": "a"})
    assert page_side_by_side.best_words(told) == "a or c"
    assert page_side_by_side.best_words(replace(told, best=("a", "b", "c"), beaten_by={})) == "cannot be told"
    assert page_side_by_side.best_words(None) == "not compared"


# The picture.

COST, RATE = Axis(title="Cost", unit=Unit.USD), Axis(title="Win rate", unit=Unit.SHARE)


def drawn(places, frontier=()):
    return scatter(places, frontier, id="p", title="t", desc="d", along=COST, up=RATE, missing="")


def place(name, x, y, **more):
    return Place(name=name, label=more.pop("label", name), kind=more.pop("kind", "outdone"), x=x, y=y, **more)


def test_better_is_up_and_cheaper_is_left():
    found = drawn([place("a", 1.0, 0.6), place("b", 2.0, 0.4)], ("a",))
    a, b = found.points
    assert a.x < b.x
    assert a.y < b.y
    assert found.frontier == f"M{a.x:g} {found.bottom:g}V{a.y:g}H{found.right:g}"


def test_prices_far_apart_stand_on_a_logarithmic_axis():
    found = drawn([place("a", 0.05, 0.6), place("b", 0.5, 0.5), place("c", 5.0, 0.4)])
    a, b, c = found.points
    assert b.x - a.x == pytest.approx(c.x - b.x, abs=0.3)
    assert "logarithmic" in found.x_title
    assert "logarithmic" not in drawn([place("a", 1.0, 0.6), place("b", 2.0, 0.5)]).x_title


def test_an_unbounded_interval_runs_to_the_edge_without_an_end():
    found = drawn([place("a", 1.0, 0.6, x_ends=(0.9, None), y_ends=(0.5, 0.7)), place("b", 1.5, 0.5)])
    [a, b] = found.points
    assert b.whiskers == ""
    assert f"L{found.right:g} {a.y:g}" in a.whiskers
    assert f"M{found.right:g} " not in a.whiskers
    assert a.whiskers.count("V") == 1
    assert a.whiskers.count("H") == 2


def test_one_candidate_far_off_does_not_squeeze_the_others():
    wide = drawn([place("a", 1.0, 0.6, y_ends=(0.0, 1.0)), place("b", 1.1, 0.59), place("c", 1.2, 0.61)])
    ys = [point.y for point in wide.points]
    assert max(ys) - min(ys) > 20


def test_no_place_is_no_picture():
    with pytest.raises(ValueError, match="at least one"):
        drawn([])


SPOTS = st.lists(
    st.tuples(st.integers(views_scatter.LEFT, views_scatter.WIDTH - views_scatter.RIGHT),
              st.integers(views_scatter.TOP, views_scatter.HEIGHT - views_scatter.BOTTOM)),
    min_size=2, max_size=13,
)  # fmt: skip


def overlaps(one, two):
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]


@settings(max_examples=60, deadline=None)
@given(SPOTS)
def test_letters_never_lie_on_each_other_or_on_a_point(spots):
    check_labels(spots, ["production", *"ABCDEFGHIJKL"][: len(spots)])


@settings(max_examples=60, deadline=None)
@given(SPOTS)
def test_nor_do_names_of_up_to_five(spots):
    check_labels(spots[:6], ["m" * 20] * len(spots[:6]))


def check_labels(spots, labels):
    boxes = label_boxes(spots, labels)
    assert None not in boxes
    for at, box in enumerate(boxes):
        assert box[0] >= views_scatter.LEFT
        assert box[2] <= views_scatter.WIDTH
        assert box[1] >= views_scatter.TOP - 10
        assert box[3] <= views_scatter.HEIGHT - views_scatter.BOTTOM
        assert not any(overlaps(box, other) for other in boxes[at + 1 :])
        assert not any(overlaps(box, (x - 7, y - 7, x + 7, y + 7)) for x, y in spots)


def test_the_picture_and_its_table_say_the_same(view):
    by_name = {cells[0].text: cells for cells in view.picture.rows}
    for number, (drawing, frontier) in enumerate(
        zip(view.scatters, beside.several(3).side_by_side.frontiers, strict=True)
    ):
        assert {point.name for point in drawing.points} == set(by_name)
        for point in drawing.points:
            on_it = by_name[point.name][3 + 2 * number].text == "yes"
            assert on_it is (point.name in frontier.arms)
            assert point.kind == ("production" if point.name == "production" else "frontier" if on_it else "outdone")
            assert point.name in drawing.desc

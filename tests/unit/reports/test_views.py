import ast
import math
from dataclasses import replace
from pathlib import Path

import pytest

import reports
from harness.domain.decision import Bound, Outcome
from harness.domain.estimate import Direction, Metric, Unit
from harness.domain.report import Distribution
from reports import page_candidate
from reports.metrics import amount, answered_by, score
from reports.page import view_of
from reports.page_traffic import funnel_of
from reports.views_charts import BOTTOM, CHART_HEIGHT, LEFT, chart, stack
from reports.views_strips import STRIP_WIDTH, strip
from tests.unit.reports import factory
from tests.unit.reports.measures import PROBABILITIES, estimate

RATIO = Metric(name="latency_p95_ratio", title="P95 latency", unit=Unit.RATIO, direction=Direction.LOWER_IS_BETTER)


def view_classes() -> list[tuple[str, ast.ClassDef]]:
    folder = Path(reports.__file__).parent
    return [
        (f"{path.name}:{node.name}", node)
        for path in sorted(folder.glob("views*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    ]


@pytest.mark.parametrize(("name", "node"), view_classes())
def test_every_field_of_a_view_says_what_it_means(name, node):
    fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
    assert fields, name
    for item in fields:
        after = node.body[node.body.index(item) + 1]
        assert isinstance(after, ast.Expr), f"{name}.{ast.unparse(item.target)}"
        assert isinstance(after.value, ast.Constant), f"{name}.{ast.unparse(item.target)}"


def criterion(value, low, high, *, bound=Bound.BELOW, threshold=1.2, outcome=Outcome.PASS):
    of = estimate("latency_p95_ratio", value, low, high)
    return factory.result("latency_p95_ratio", bound, threshold, outcome, "why", of)


def test_strip_places_the_interval_on_its_side_of_the_threshold():
    view = strip(criterion(0.83, 0.78, 0.88), RATIO, None)
    assert view.low < view.value < view.high < view.threshold
    assert (view.pass_x, view.pass_width) == (0, view.threshold)
    assert view.noise_x is None


def test_strip_of_an_upper_bound_passes_to_the_right():
    view = strip(criterion(0.6, 0.55, 0.65, bound=Bound.AT_LEAST, threshold=0.5), RATIO, None)
    assert view.threshold < view.low
    assert view.pass_x == view.threshold
    assert view.pass_x + view.pass_width == pytest.approx(STRIP_WIDTH)


def test_strip_of_an_open_interval_runs_to_the_edge():
    view = strip(criterion(0.83, None, 0.9), RATIO, None)
    assert view.low_open
    assert not view.high_open
    assert view.low == 2
    infinite = strip(criterion(0.83, -math.inf, math.inf), RATIO, None)
    assert infinite.low is None
    assert infinite.high is None


@pytest.mark.parametrize(("value", "threshold"), [(None, 1.2), (math.nan, 1.2), (math.inf, 1.2), (0.8, math.inf)])
def test_nothing_is_drawn_without_numbers(value, threshold):
    assert strip(criterion(value, None, None, threshold=threshold), RATIO, None) is None


def test_strip_with_one_single_number_is_still_a_drawing():
    view = strip(criterion(1.2, None, None), RATIO, None)
    assert view.value == view.threshold == STRIP_WIDTH / 2
    assert view.low is None


def test_strip_draws_what_production_does_to_itself():
    view = strip(criterion(0.83, 0.78, 0.88), RATIO, estimate("latency_p95_ratio", 1.0, 0.95, 1.05))
    assert view.high < view.noise_x < view.threshold
    assert view.noise_width > 1


def test_the_whole_stack_is_a_hundred_percent():
    parts = stack((("win", "better", 402), ("tie", "tie", 391), ("loss", "worse", 375)))
    assert [part.text for part in parts] == ["402 (34.42%)", "391 (33.48%)", "375 (32.11%)"]
    assert parts[-1].x + parts[-1].width == pytest.approx(100, abs=0.01)
    assert stack((("win", "better", 0),)) == ()


def distribution(unit="ms", **more):
    values = tuple(10 * (1 + 99 * p) for p in PROBABILITIES)
    arguments = {"metric": "m", "title": "T", "unit": unit, "production": values, "candidate": values,
                 "probabilities": PROBABILITIES, "log_scale": unit == "ms"}  # fmt: skip
    return Distribution(**(arguments | more))


def points(path):
    return [tuple(float(number) for number in point.split(",")) for point in path[1:].split("L")]


def test_curves_rise_from_zero_to_all():
    view = chart(distribution(), "id", "candidate x")
    assert [line.arm for line in view.lines] == ["production", "candidate"]
    drawn = points(view.lines[1].path)
    assert drawn == sorted(drawn, key=lambda point: (point[0], -point[1]))
    assert drawn[0][1] == view.bottom
    assert drawn[-1][1] == view.top
    assert len(drawn) <= 162
    assert [tick.label for tick in view.x_ticks] == ["10 ms", "30 ms", "100 ms", "300 ms", "1 s"]


def test_curves_survive_infinite_and_zero_values_on_a_logarithmic_axis():
    values = (0.0, *(10.0 for _ in PROBABILITIES[2:]), math.inf)
    view = chart(distribution(candidate=values), "id", "candidate x")
    assert all(math.isfinite(number) for point in points(view.lines[1].path) for number in point)


def test_equal_values_are_drawn_in_one_place():
    same = tuple(5.0 for _ in PROBABILITIES)
    view = chart(distribution(production=same, candidate=same), "id", "x")
    assert {x for x, _ in points(view.lines[0].path)} != set()
    assert all(LEFT <= x <= view.right for x, _ in points(view.lines[0].path))


def test_scores_become_a_histogram_whose_bars_hold_everything():
    values = tuple(min(1.0, 0.5 + p) for p in PROBABILITIES)
    view = chart(distribution("score", candidate=values, production=(), replica=values), "id", "candidate x")
    assert view.lines[0].arm == "replica"
    top_label = float(view.y_ticks[-1].label.rstrip("%")) / 100
    full = CHART_HEIGHT - BOTTOM - view.top
    assert sum(bar.height for bar in view.bars) / full * top_label == pytest.approx(1, abs=0.02)
    assert view.x_ticks[-1].label == "1"


def test_nothing_is_drawn_of_nothing():
    assert chart(distribution(production=(), candidate=()), "id", "x") is None
    assert chart(distribution(production=(), candidate=(math.inf,) * len(PROBABILITIES)), "id", "x") is None


def test_every_stage_of_the_funnel_adds_up():
    steps = funnel_of(factory.ingest(), factory.candidate())
    assert [(step.label, step.count) for step in steps[:5]] == [
        ("Records read", "12,411"),
        ("Kept", "11,020"),
        ("Sampled", "1,200"),
        ("Completed by the candidate", "1,188"),
        ("Comparable: both sides answered", "1,182"),
    ]
    assert all(step.adds_up for step in steps)
    assert [step.label for step in steps[5:]] == [
        f"Scored by {name}" for name in ("pairwise", "similarity", "exact", "schema")
    ]


def test_slices_are_worst_first_and_the_too_small_last():
    view = page_candidate.view_of(factory.report(), factory.candidate(), "c1")
    plan = view.slices.tables[0]
    assert [row[0].text for row in plan.rows] == ["team", "enterprise", "free", "trial"]
    assert plan.rows[0][2].badge.word == "beyond the limit"
    assert plan.rows[1][2].badge is None
    assert [cell.text for cell in plan.rows[-1][2:]] == ["too few"] * 3


def test_a_judge_that_loses_pairs_or_follows_places_is_named():
    pairwise, *rest = factory.judges()
    bad = replace(pairwise, scored=1000, unscored={"parse_failed": 182}, flips=500, first_slot_share=0.8)
    view = page_candidate.view_of(factory.report(), factory.candidate(judges=(bad, *rest)), "c1")
    assert "Judge pairwise gave no score for 182 of 1,182 pairs (15.40%)." in view.warnings
    assert len(view.quality.preferences[0].warnings) == 2
    assert not [warning for warning in view.warnings if "schema" in warning], "not applicable is no loss"


def test_an_example_keeps_its_anchor_when_others_come_and_go():
    def anchors(candidate):
        view = page_candidate.view_of(factory.report(), candidate, "c1")
        return {item.id: item.anchor for item in view.examples.shown}

    whole = factory.candidate()
    assert anchors(replace(whole, examples=whole.examples[2:])).items() <= anchors(whole).items()


def test_glossary_explains_words_and_metrics():
    words = {fact.label: fact.value for _, fact in view_of(factory.report()).glossary}
    assert words["Similarity"].startswith("Cosine similarity")
    assert "Unscored" in words
    assert list(words) == sorted(words, key=str.casefold)


def test_classes_of_errors_that_did_not_happen_are_left_out():
    def rate(kind, production, candidate):
        return estimate(f"error_rate_{kind}difference", 0.0, -0.01, 0.01, production=production, candidate=candidate)

    candidate = factory.candidate(estimates=(rate("", 0.0, 0.0), rate("timeout_", 0.0, 0.01), rate("other_", 0.0, 0.0)))
    view = page_candidate.view_of(factory.report(), candidate, "c1")
    assert [row[0].text for row in view.errors.tables[0].rows] == ["Error rate", "error_rate_timeout_difference"]


def test_a_section_of_which_nothing_is_known_shows_no_table():
    unknown = estimate("latency_p50_ratio", None, n=0, n_missing=1182)
    view = page_candidate.view_of(factory.report(), factory.candidate(estimates=(unknown,), distributions=()), "c1")
    assert view.latency.tables == view.latency.charts == ()


def test_judges_that_ask_no_model_cost_nothing_and_an_unknown_price_is_unknown():
    pairwise, *rest = factory.judges()
    free = replace(factory.candidate().cost, judges_usd=None)

    def spent(judges):
        view = page_candidate.view_of(factory.report(), factory.candidate(cost=free, judges=judges), "c1")
        return view.cost.facts[-1].value

    assert spent(tuple(rest)) == "nothing"
    assert spent((replace(pairwise, cost_usd=None), *rest)) == "unknown"


@pytest.mark.parametrize(
    ("production", "candidate", "ratio", "shown"),
    [
        (math.inf, 900.0, 0.0, "production's is infinite"),
        (800.0, math.inf, math.inf, "the candidate's is infinite"),
        (800.0, 900.0, 1.125, ""),
    ],
)
def test_a_ratio_of_an_infinite_percentile_says_whose_it_is(production, candidate, ratio, shown):
    found = estimate("latency_p95_ratio", ratio, production=production, candidate=candidate)
    result = factory.result("latency_p95_ratio", Bound.BELOW, 1.2, Outcome.INCONCLUSIVE, "Open.", found)
    several = tuple(
        factory.candidate(arm=arm, decision=replace(factory.candidate().decision, results=(result,)))
        for arm in ("one", "two")
    )
    rows = {row[0].text: row for row in view_of(factory.report(*several)).overview.rows}
    assert [cell.sub for cell in rows[RATIO.title][1:]] == [shown, shown]


@pytest.mark.parametrize(
    ("usd", "shown"),
    [(None, "1,900,000 tokens"), (0.021, "1,900,000 tokens\nknown answers $0.021, once per run")],
)
def test_what_known_answers_cost_stands_beside_what_the_pairs_did(usd, shown):
    pairwise, *rest = factory.judges()
    judges = (replace(pairwise, tokens_in=1_800_000, tokens_out=100_000, canaries_usd=usd), *rest)
    view = page_candidate.view_of(factory.report(), factory.candidate(judges=judges), "c1")
    [cell] = [row[-1] for row in view.quality.coverage.rows if row[0].text == pairwise.judge]
    assert cell.sub == shown


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        ("openai/gpt-4o", "openai/gpt-4o"),
        ("/home/me/exports/candidate.jsonl.gz", "recorded answers: candidate.jsonl.gz"),
        ("s3://bucket/a.csv, C:\\logs\\b.parquet", "recorded answers: a.csv, b.parquet"),
    ],
)
def test_a_file_of_answers_is_named_without_its_folder(model, shown):
    assert answered_by(model) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "unknown"), (0.0, "0"), (-0.0001, "0"), (-72.0, "-72"), (0.8734512, "0.873"), (1234.5, "1,234.5")],
)
def test_scores_are_short(value, shown):
    assert score(value) == shown


def test_lengths_of_one_side_carry_no_sign():
    assert amount(1267.0, Unit.CHARACTERS) == "1,267 characters"
    comparison = view_of(factory.report()).traffic.comparison
    cells = {row[0].text: row[1].text for row in comparison.rows}
    assert cells["Mean prompt length"] == "1,810 characters"
    assert cells["Recorded cost"] == "$45.40"

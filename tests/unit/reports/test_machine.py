import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

import reports
from harness.domain.decision import Verdict
from harness.domain.report import REPORT_SCHEMA
from harness.errors import InputError
from tests.unit.reports import factory
from tests.unit.reports.measures import estimate

SCHEMA_1 = Path(__file__).with_name("schema_1.json")


@pytest.mark.parametrize("name", ["report", "three", "full", "two", "empty"])
def test_a_saved_value_is_the_same_value(name):
    original = getattr(factory, name)()
    saved = reports.render_json(original)
    again = reports.load_json(saved)
    assert again == original
    assert reports.render_json(again) == saved
    assert reports.render_html(again) == reports.render_html(original)
    assert reports.render_markdown(again) == reports.render_markdown(original)
    assert reports.render_junit(again) == reports.render_junit(original)


def test_keys_are_sorted_and_the_schema_is_named():
    saved = json.loads(reports.render_json(factory.report()))
    assert saved["schema"] == REPORT_SCHEMA
    assert list(saved) == sorted(saved)
    assert list(saved["candidates"][0]) == sorted(saved["candidates"][0])


def test_nan_is_unknown_and_infinity_keeps_its_name():
    odd = estimate("win_rate", math.nan, -math.inf, math.inf, extra={"deff": math.nan, "rho": 0.5})
    candidate = factory.candidate(estimates=(odd,))
    drawn = replace(candidate.distributions[0], candidate=(1.0, math.inf, math.nan))
    saved = reports.render_json(factory.report(replace(candidate, distributions=(drawn,))))
    raw = json.loads(saved, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    [kept] = raw["candidates"][0]["estimates"]
    assert (kept["value"], kept["low"], kept["high"]) == (None, "-Infinity", "Infinity")
    again = reports.load_json(saved)
    [estimated] = again.candidates[0].estimates
    assert (estimated.value, estimated.low, estimated.high) == (None, -math.inf, math.inf)
    assert estimated.extra == {"rho": 0.5}
    one, infinite, unknown = again.candidates[0].distributions[0].candidate
    assert (one, infinite) == (1.0, math.inf)
    assert math.isnan(unknown)
    assert "unknown" in reports.render_html(again)


def test_a_report_of_the_first_schema_is_still_read():
    saved = SCHEMA_1.read_text(encoding="utf-8")
    again = reports.load_json(saved)
    assert again.schema == 1
    [candidate] = again.candidates
    assert candidate.decision.verdict is Verdict.NO_GO
    assert (candidate.decision.terms, candidate.decision.objections, candidate.health) == (None, (), ())
    text = reports.render_html(again)
    assert "Win rate is 41.8%" in text
    assert "report schema 1" in text
    assert "How sure is this?" not in text, "what was not recorded is not claimed"
    assert 'id="c1-attempts"' not in text
    assert "cheap" not in reports.render_markdown(again)
    assert reports.render_junit(again).count("<testcase") == 2


def test_unknown_numbers_of_slices_and_judges_are_read_back():
    [first, *_] = factory.thorough().slice_tests
    [judge] = factory.thorough().health
    odd = factory.thorough(
        slice_tests=(replace(first, estimate=math.nan, evidence=math.nan),),
        health=(replace(judge, figures={"flips": math.nan, "ties": 0.5}),),
    )
    [again] = reports.load_json(reports.render_json(factory.full(odd))).candidates
    assert math.isnan(again.slice_tests[0].estimate)
    assert math.isnan(again.slice_tests[0].evidence)
    assert again.health[0].figures == {"ties": 0.5}
    assert "unknown" in reports.render_html(factory.full(odd))


def test_lone_surrogates_do_not_break_the_encoding():
    saved = reports.render_json(factory.hostile())
    saved.encode()
    assert reports.load_json(saved).name.startswith("</script>")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a saved report"),
        ("[]", "no schema number"),
        ('{"schema": "1"}', "no schema number"),
        (f'{{"schema": {REPORT_SCHEMA + 1}}}', "upgrade shadow-harness"),
        (f'{{"schema": {REPORT_SCHEMA}}}', "run_id"),
    ],
)
def test_what_is_no_report_is_refused_with_the_reason(text, message):
    with pytest.raises(InputError, match=message):
        reports.load_json(text)


def test_text_that_must_not_be_shown_is_not_saved_either():
    saved = reports.render_json(factory.report(show_text=False))
    for secret in ("double charge", "ticket 4100", "One answer solves the problem", "find_invoice", "30 s elapsed"):
        assert secret not in saved
    assert '"timeout"' in saved

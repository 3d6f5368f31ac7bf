import pytest

from reports import link_run, render_html
from tests.unit.reports import factory
from tests.unit.reports.page_reader import Page


@pytest.mark.parametrize("name", ["report", "three", "two", "hostile"])
def test_every_pair_that_is_linked_is_in_the_page_of_the_run(name):
    report = getattr(factory, name)()
    ids = {tag.attributes["id"] for tag in Page.of(render_html(report)).tags if "id" in tag.attributes}
    linked = 0
    for candidate in report.candidates:
        run = link_run(report, "../run/report.html", candidate=candidate.arm)
        assert (run.run_id, run.href) == (report.run_id, "../run/report.html")
        assert {pair.anchor for pair in run.pairs} <= ids
        linked += len(run.pairs)
    assert linked >= 3


def test_the_worst_pairs_come_first_and_another_candidate_has_none():
    report = factory.report()
    assert link_run(report, "x.html", candidate="small-model").pairs[0].title.startswith("worst: ")
    assert link_run(report, "x.html", candidate="stranger").pairs == ()


def test_what_users_wrote_stays_out_where_the_report_leaves_it_out():
    report = factory.report(show_text=False)
    titles = {pair.title for pair in link_run(report, "x.html", candidate="small-model").pairs}
    assert titles
    assert all(title.endswith(": Text is left out of this report") for title in titles)

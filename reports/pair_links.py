"""Where the pairs of a run's report are, for pages that lead there."""

from harness.domain.report import EvaluationReport
from harness.domain.rollout_report import PairLink, RunLink
from reports.page_examples import examples_of
from reports.privacy import publishable
from reports.text import one_line

_TITLE = 120


def link_run(report: EvaluationReport, href: str, *, candidate: str) -> RunLink:
    """A link to the report of a run and to every pair of one candidate that it shows, worst first.

    Args:
        report: Of the run.
        href: Where its page is, seen from the page that leads there.
        candidate: Name of the candidate's arm.
    """
    shown = publishable(report)
    examples = [
        example
        for number, arm in enumerate(shown.candidates, start=1)
        if arm.arm == candidate
        for example in examples_of(shown, arm, f"c{number}").shown
    ]
    return RunLink(
        run_id=report.run_id,
        href=href,
        pairs=tuple(
            PairLink(anchor=example.anchor, title=f"{example.why.word}: {one_line(example.title, _TITLE)}")
            for example in examples
        ),
    )

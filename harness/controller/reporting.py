"""Writes the report of a rollout beside those of its runs: after every event, and when somebody asks for it."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import reports
from harness.controller.hooks import Answer, Stage
from harness.controller.news import News
from harness.domain.rollout_report import RunLink
from harness.errors import HarnessError
from harness.pipeline.live.served import served_run_id
from harness.rollout.histories import attempt_policy
from harness.rollout.reporting import report_of
from harness.store import Store
from harness.store.rollouts import RolloutRecord

PAGE, DATA = "rollout.html", "rollout.json"


@dataclass(frozen=True)
class ReportHook:
    """Writes the report anew whenever something has happened."""

    store: Store
    runs_dir: Path
    run_id: str
    name: str = "report"

    def run(self, news: News, stage: Stage) -> Answer:
        """Write it."""
        del stage
        record = self.store.rollout(news.event.rollout_id)
        if record is None:
            return Answer(refused="the rollout is gone")
        try:
            write_report(self.store, record, self.runs_dir, run_id=self.run_id)
        except (HarnessError, OSError) as error:
            return Answer(refused=str(error))
        return Answer()


def write_report(store: Store, record: RolloutRecord, runs_dir: Path, *, run_id: str) -> Path:
    """Write page and data into the rollout's folder among the runs; returns the page.

    Raises:
        InfrastructureError: the store cannot be reached.
        OSError: the folder cannot be written.
    """
    events = store.rollout_events(record.id)
    report = report_of(
        record,
        attempt_policy(record, events),
        events,
        at=datetime.now(UTC),
        actions=store.rollout_actions(record.id),
        control=store.rollout_control(record.id),
        runs=_runs(record, runs_dir, run_id),
    )
    folder = runs_dir / record.id
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ((PAGE, reports.render_rollout_html(report)), (DATA, reports.render_rollout_json(report))):
        # As a whole or not at all: somebody may be reading it.
        draft = folder / f".{name}.new"
        draft.write_text(text, encoding="utf-8")
        draft.replace(folder / name)
    return folder / PAGE


def _runs(record: RolloutRecord, runs_dir: Path, run_id: str) -> list[RunLink]:
    """Links to the pairs of the shadow, and of what the candidate served, where their reports are at hand."""
    found = []
    for name in (run_id, served_run_id(run_id, record.candidate)):
        path = runs_dir / name / "report.json"
        try:
            report = reports.load_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError, json.JSONDecodeError, HarnessError):
            continue
        found.append(reports.link_run(report, f"../{name}/report.html", candidate=record.candidate))
    return found

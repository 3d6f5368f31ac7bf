"""From what is known to the parts of each page, each written by its own template."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jinja2 import ChoiceLoader, Environment, PackageLoader

from harness.web.dashboard_live import coverage_of, process_of
from harness.web.dashboard_overview import overview_of
from harness.web.dashboard_reading import Reading
from harness.web.dashboard_rollout import controller_of, rollout_url
from harness.web.dashboard_run import announced, criteria_of, head_of, pairs_of, run_url, spend_of
from harness.web.dashboard_views import NavItem
from harness.web.stream import Built, Key, NoSuchPageError, Part
from reports.html import environment
from reports.page_rollout import view_of
from reports.rollout_words import STATUS_BADGES
from reports.text import one_line

_TITLES: Mapping[str, str] = {
    "rollouts": "Rollouts",
    "alerts": "Alerts",
    "runs": "Runs",
    "head": "Result",
    "coverage": "Coverage",
    "spend": "Spend",
    "process": "Processes, alerts",
    "pairs": "Pairs",
    "result": "Result",
    "controller": "Controller",
    "ramp": "Shares over time",
    "phases": "Phases",
    "timeline": "Timeline",
    "people": "Approvals, users, spend",
}


@cache
def templates() -> Environment:
    """Our own templates, and the report's."""
    return environment(ChoiceLoader([PackageLoader("harness.web"), PackageLoader("reports")]))


def rendered(template: str, view: Any) -> str:
    """A template with its one view."""
    return templates().get_template(template).render(view=view)


def contents_of(built: Built) -> tuple[NavItem, ...]:
    """Leads to the parts of a page."""
    return tuple(
        NavItem(title=_TITLES.get(part.name) or "Criteria", href=f"#{_anchor(part.name)}") for part in built.parts
    )


def _anchor(name: str) -> str:
    return f"part-{name}" if name in _TITLES else name


def canonical(address: str) -> str:
    """The one address of a page, without what says nothing about it.

    Raises:
        NoSuchPageError: no page has such an address.
    """
    try:
        parts = urlsplit(address)
        query = parse_qs(parts.query, keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise NoSuchPageError("There is no such page.") from None
    match "" if parts.scheme or parts.netloc else parts.path:
        case "/":
            return "/"
        case "/run":
            return run_url(query.get("id", [""])[0])
        case "/rollout":
            return rollout_url(query.get("live", [""])[0])
    raise NoSuchPageError("There is no such page.")


@dataclass(frozen=True)
class Pages:
    """Every page that is told what is new."""

    reading: Reading

    def token(self) -> str:
        """Differs when a page may have become another.

        Raises:
            InfrastructureError: the store cannot be reached.
        """
        return self.reading.token()

    def build(self, key: Key) -> Built:
        """A page by its address.

        Raises:
            NoSuchPageError: there is none.
            InfrastructureError: the store cannot be reached.
        """
        address, may_read = key
        parts = urlsplit(address)
        query = parse_qs(parts.query, keep_blank_values=True)
        match parts.path:
            case "/":
                return self._overview()
            case "/run":
                return self._run(query.get("id", [""])[0], may_read=may_read)
            case "/rollout":
                return self._rollout(query.get("live", [""])[0])
        raise NoSuchPageError("There is no such page.")

    def _overview(self) -> Built:
        view, said = overview_of(self.reading)
        parts = [
            Part(name="rollouts", html=rendered("dash_overview_rollouts.html.j2", view)),
            Part(name="alerts", html=rendered("dash_alerts.html.j2", view)),
            Part(name="runs", html=rendered("dash_overview_runs.html.j2", view)),
        ]
        return Built(title="Experiments and rollouts", parts=tuple(parts), said=said)

    def _run(self, run_id: str, *, may_read: bool) -> Built:
        found = self.reading.run(run_id, may_read=may_read)
        parts = [Part(name="head", html=rendered("dash_head.html.j2", head_of(found)))]
        parts += [
            Part(name=f"criteria-{number}", html=rendered("dash_criteria.html.j2", criteria_of(found, name, number)))
            for number, name in enumerate(found.decisions)
        ]
        parts += [
            Part(name="coverage", html=rendered("dash_coverage.html.j2", coverage_of(found))),
            Part(name="spend", html=rendered("dash_spend.html.j2", spend_of(found))),
        ]
        if found.kind != "offline":
            parts.append(Part(name="process", html=rendered("dash_process.html.j2", process_of(found))))
        parts.append(Part(name="pairs", html=rendered("dash_pairs.html.j2", pairs_of(found))))
        return Built(title=one_line(found.run.id, 80), parts=tuple(parts), said=announced(found.decisions))

    def _rollout(self, live: str) -> Built:
        found = self.reading.rollout(live)
        view = view_of(found.report)
        parts = (
            Part(name="result", html=rendered("dash_rollout_head.html.j2", view)),
            Part(name="controller", html=rendered("dash_controller.html.j2", controller_of(found))),
            *(
                Part(name=name, html=rendered(f"dash_rollout_{name}.html.j2", view))
                for name in ("ramp", "phases", "timeline", "people")
            ),
        )
        badge = STATUS_BADGES[found.report.status]
        return Built(title=view.title, parts=parts, said=f"{view.title}: {badge.word}, {found.report.phase}")

"""What the documentation promises is what the code takes."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
import yaml
from pydantic import BaseModel

from harness import config
from harness.cli.app import app
from harness.config import live
from harness.config.rollout import DEFAULT_PHASES
from harness.controller import service
from harness.controller.control import Sight
from harness.domain.mirror import MirrorDrop, NotEligible, SkipReason
from harness.domain.observation import ErrorKind
from harness.domain.rollout import Action, Check, RolloutState, RolloutStatus, Ruling
from harness.gateway import state
from harness.ingest import detect
from harness.ops import metrics
from harness.ops.alerts import AlertKind
from harness.pipeline.checks import SLICES
from harness.pipeline.live import operations
from harness.pipeline.live.state import ArmState, WorkerState

ROOT = Path(__file__).parents[2]
SECTIONS = (
    config.Experiment, config.Traffic, config.Mapping_, config.Redaction, config.Sampling, config.Candidate,
    config.Replica, config.JudgeSection, config.Replay, config.Budget, config.DecisionSection, config.CriterionSection,
    config.ReportSection, config.PriceSection, config.RetentionSection, config.BatchSection,
)  # fmt: skip

LIVE_SECTIONS = (
    live.Live, live.GatewaySection, live.AdminSection, live.MirrorRule, live.Mirror, live.SpoolSection,
    live.BreakerSection, live.WorkerSection, live.CanarySection, live.AlertsSection,
)  # fmt: skip


def words_of(page: str) -> set[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`[^`]*`", text))))


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_key_of_the_experiment_is_documented(section: type[BaseModel]):
    assert set(section.model_fields) - words_of("experiment.md") == set()


@pytest.mark.parametrize("section", LIVE_SECTIONS, ids=lambda section: section.__name__)
def test_every_key_of_a_live_experiment_is_documented(section: type[BaseModel]):
    assert set(section.model_fields) - words_of("live-configuration.md") == set()


def test_the_sections_of_a_live_experiment_are_all_looked_at():
    own = {
        kind for kind in vars(live).values()
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__module__ == live.__name__
    }  # fmt: skip

    assert own == set(LIVE_SECTIONS)


@pytest.mark.parametrize(
    "reasons", [NotEligible, MirrorDrop, SkipReason, ErrorKind, AlertKind], ids=lambda reasons: reasons.__name__
)
def test_every_ending_of_a_request_and_every_alert_is_explained(reasons):
    assert {reason.value for reason in reasons} - words_of("live.md") == set()


def test_every_metric_is_explained(tmp_path):
    now = datetime.now(UTC)
    arm = ArmState(arm="cheap", role="candidate", model="openai/cheap")
    worker = operations.readings(WorkerState(run_id="exp", at=now, started_at=now, arms=(arm,)))
    for found in (state.readings(tmp_path), worker):
        names = re.findall(r"(?m)^# HELP (\S+)", metrics.render(found).decode())
        assert len(names) == len(found)
        assert set(names) - words_of("live.md") == set()


def test_every_metric_of_a_rollout_is_explained(tmp_path):
    now = datetime.now(UTC)
    phase = DEFAULT_PHASES[-1].phase()
    rollout = RolloutState(
        rollout_id="r", status=RolloutStatus.RUNNING, phase=phase, number=1, phase_since=now, since=now, asked_since=now
    )
    ruling = Ruling(action=Action.WAIT, reason="x", checks=(Check(name="gate", speaks_for=None, sentence="x"),))
    names = re.findall(
        r"(?m)^# HELP (\S+)",
        metrics.render(service.readings(Sight(at=now, state=rollout, ruling=ruling))).decode(),
    )
    assert len(names) == 7
    assert set(names) - words_of("rollout.md") == set()


def test_the_template_of_init_is_a_valid_experiment():
    raw = yaml.safe_load((ROOT / "harness" / "cli" / "experiment.yaml").read_text(encoding="utf-8"))

    experiment = config.parse_experiment(raw)

    assert experiment.decision.rules == config.PROFILES["non_inferiority"]


def test_every_attribute_to_slice_by_is_documented_and_the_defaults_are_known():
    for page in ("experiment.md", "database.md"):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        assert {name for name in SLICES if f"`{name}`" not in text} == set(), page
    assert set(config.ReportSection().slices) < set(SLICES)


def test_every_link_between_documents_leads_somewhere():
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_every_command_of_the_readme_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}

    assert set(re.findall(r"(?m)^harness ([a-z]+)", text)) <= commands


def parameters():
    def walk(command, path):
        if hasattr(command, "commands"):
            for name, child in command.commands.items():
                yield from walk(child, [*path, name])
        else:
            for parameter in command.params:
                if parameter.name not in {"help", "version"}:
                    yield " ".join(path), parameter

    yield from walk(typer.main.get_command(app), ["harness"])


@pytest.mark.parametrize(("command", "parameter"), [pytest.param(c, p, id=f"{c} {p.name}") for c, p in parameters()])
def test_every_option_has_a_help_text_and_an_environment_variable(command, parameter):
    assert parameter.help, f"{command}: {parameter.name} has no help text"
    assert (parameter.envvar or "").startswith("HARNESS_"), f"{command}: {parameter.name} has no environment variable"


SERVERS = {"harness models serve", "harness serve", "harness rollout control"}


@pytest.mark.parametrize("command", sorted({command for command, _ in parameters()}))
def test_every_command_can_answer_in_json(command):
    names = {parameter.name for name, parameter in parameters() if name == command}

    assert "as_json" in names or command in SERVERS, "a server has no result to print"


def test_every_dialect_is_documented():
    text = (ROOT / "docs" / "exports.md").read_text(encoding="utf-8")

    assert {name for name in detect.known() if f"`{name}`" not in text} == set()

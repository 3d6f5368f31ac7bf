"""Whole histories as a controller and people would have written them: every event by the rules, on made-up evidence."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import SimpleNamespace

from harness.domain.decision import Outcome, Verdict
from harness.domain.rollout import Event, EventKind, RolloutState
from harness.domain.rollout_report import PairLink, RolloutReport, RunLink
from harness.rollout import history
from harness.rollout.evidence import Assigned, Bounds, Conversations, PairCount, Recent, RolloutEvidence, Stage, Window
from harness.rollout.reporting import report_of
from harness.rollout.ruling import rule
from harness.store.rollouts import RolloutRecord
from tests.unit.rollout.factory import BEGIN, PHASES, POLICY, bounds, decision, result

RUN = "swap-live"
SENTENCES = {
    "calibration": "GO: production does not differ from itself on any of 4 criteria.",
    "shadow_5": "INCONCLUSIVE: 3 of 4 criteria pass; quality needs about 8,200 pairs more.",
    "shadow_25": "INCONCLUSIVE: 3 of 4 criteria pass; quality needs about 7,400 pairs.",
    "shadow_100": "GO: all 4 criteria pass on 10,412 pairs.",
}
PAIRS = {"calibration": 612, "shadow_5": 548, "shadow_25": 2_310, "shadow_100": 10_412}
ARMS = {"canary_5": 1_204, "canary_25": 5_731, "canary_50": 10_862, "full": 1_155}
"""Conversations of either arm when a phase passes; of `full`, the holdback's."""


def hours(n: float) -> timedelta:
    return timedelta(hours=n)


@dataclass
class Course:
    """A rollout that is driven by hand, one event at a time."""

    policy: object = POLICY.model_copy(update={"rollback": POLICY.rollback.model_copy(update={"alpha": 0.005})})
    """With what this attempt may spend."""
    at: datetime = BEGIN
    events: list[Event] = field(default_factory=list)
    actions: list[SimpleNamespace] = field(default_factory=list)
    rollout_id: str = "swap-20260302-080000"

    @property
    def record(self) -> RolloutRecord:
        return RolloutRecord(
            id=self.rollout_id,
            live="support-chat",
            candidate="small-model",
            fingerprint=hashlib.sha256(b"small-model").hexdigest(),
            configuration=POLICY.model_dump(mode="json"),
            started_at=self.events[0].at,
        )

    @property
    def state(self) -> RolloutState:
        return history.state_of(self.events, self.policy.steps)

    def start(self, actor="Ada Lindqvist", reason="The small model costs a fifth and answers sooner.") -> None:
        alpha = {"attempt": 1, "attempt_alpha": 0.005, "configured": 0.01}
        self.events = [history.start(self.rollout_id, PHASES, at=self.at, actor=actor, reason=reason)]
        kept = {"configuration_sha256": self.record.configuration_sha256, "attempt": 1, "alpha": alpha}
        self.events = [replace(self.events[0], evidence=kept)]
        self._done("alert:started")

    def rule(self, evidence: RolloutEvidence) -> Event:
        """The controller looks at the evidence and writes what follows."""
        state = self.state
        ruling = rule(state, evidence, self.policy, self.at)
        event = history.event_for(state, ruling, PHASES, at=self.at, evidence=self.kept(evidence))
        assert event is not None, (state.status, ruling.action, ruling.reason)
        self.events.append(event)
        if event.kind is EventKind.ADVANCED:
            self._done("hook:before:change-calendar")
        if event.kind in {EventKind.ADVANCED, EventKind.ROLLED_BACK, EventKind.COMPLETED}:
            self._done("route")
        self._done(f"alert:{event.kind}")
        return event

    def kept(self, evidence: RolloutEvidence) -> dict:
        latest = list(evidence.decisions.values())[-1:]
        return {
            "evidence_sha256": hashlib.sha256(repr(evidence).encode()).hexdigest(),
            "configuration_sha256": self.record.configuration_sha256,
            "alpha": {
                "attempt_alpha": 0.005,
                "tests": dict.fromkeys(
                    ("sequential.errors", "sequential.error_difference", "sequential.latency"), 0.005 / 3
                ),
            },
            "spend_usd": evidence.spend_usd,
            "served": {
                stage.phase: {
                    arm: {"begun": count.begun, "failed": count.failed}
                    for arm, count in (("candidate", stage.candidate), ("control", stage.control))
                }
                for stage in evidence.stages
            },
            "decision": next(
                ({"verdict": d.verdict.value, "sentence": d.sentence, "run_id": RUN} for d in latest), None
            ),
        }

    def bounds(self, value: float, width: float) -> Bounds:
        """At the levels that this attempt asks for."""
        made, section = bounds(value, width), self.policy.rollback
        return Bounds(
            gate=replace(made.gate, level=section.gate_level), strict=replace(made.strict, level=section.strict_level)
        )

    def people(self, what: str, actor: str, reason: str, **more) -> Event:
        event = getattr(history, what)(self.state, at=self.at, actor=actor, reason=reason, **more)
        self.events.append(event)
        self._done(f"alert:{event.kind}")
        return event

    def _done(self, name: str, outcome: str = "ok") -> None:
        last = self.events[-1]
        self.actions.append(
            SimpleNamespace(
                number=last.number, name=name, begun_at=last.at, done_at=last.at + timedelta(seconds=2), outcome=outcome
            )
        )

    def evidence(self, **changes) -> RolloutEvidence:
        """On which the present phase passes."""
        phase = self.state.phase
        names = [p.name for p in PHASES]
        spend = 2.1 + 6.35 * names.index(phase.name)
        values = {"at": self.at, "last_traffic": self.at, "spend_usd": spend}
        if phase.kind.serves_users:
            served = [p for p in PHASES if p.kind.serves_users]
            stages = tuple(stage(p.name) for p in served[: served.index(phase) + 1])
            values |= {
                "decisions": {phase.name: decided("shadow_100")},
                "stages": stages,
                "window": Window(
                    candidate=Recent(requests=412, errors=3, p95_ms=812.0),
                    control=Recent(requests=405, errors=4, p95_ms=1_020.0),
                    baseline_error_rate=0.008,
                    slow=4,
                ),
                "error_difference": self.bounds(-0.0004, 0.0031),
                "latency_p95_ratio": self.bounds(0.82, 0.06),
                "assigned": (Assigned(name="conversations", taken=stages[-1].candidate.begun,
                                      left=stages[-1].control.begun, share=stages[-1].share),),
            }  # fmt: skip
        else:
            n = PAIRS[phase.name]
            values |= {
                "decisions": {phase.name: decided(phase.name)},
                "pairs": PairCount(due=n + 3, complete=n),
                "assigned": (Assigned(name="requests", taken=5_008, left=95_113, share=0.05),)
                if phase.share < 1
                else (),
            }
        return RolloutEvidence(**(values | changes))


def stage(phase: str, *, candidate_failed: int | None = None) -> Stage:
    n = ARMS[phase]
    own = n * 19 if phase == "full" else n
    failed = round(own * 0.007) if candidate_failed is None else candidate_failed
    return Stage(
        phase=phase,
        share=own / (own + n),
        candidate=Conversations(begun=own, failed=failed),
        control=Conversations(begun=n, failed=round(n * 0.008)),
    )


def decided(phase: str):
    verdict = Verdict.INCONCLUSIVE if phase in {"shadow_5", "shadow_25"} else Verdict.GO
    return decision(
        verdict,
        sentence=SENTENCES[phase],
        n_needed=7_400 if verdict is Verdict.INCONCLUSIVE else None,
        results=(result("latency_p95_ratio", Outcome.PASS, low=0.95, high=1.1),),
    )


def _to_canary_25() -> Course:
    course = Course()
    course.start()
    course.at += hours(1.08)
    course.rule(course.evidence())
    course.at += hours(1.3)
    course.rule(course.evidence())
    course.at += hours(2.2)
    course.rule(course.evidence(pairs=PairCount(due=1_010, complete=961)))
    course.at += hours(0.7)
    course.rule(course.evidence())
    course.at += hours(4.4)
    course.rule(course.evidence())
    course.at += hours(24.2)
    course.rule(course.evidence())
    course.at += hours(2.6)
    course.people(
        "approve", "Grace Okafor", "Read the worst 20 pairs; two are shorter than I would like, none is wrong."
    )
    course.at += timedelta(seconds=1)
    course.rule(course.evidence())
    course.at += hours(4.1)
    course.rule(course.evidence())
    assert course.state.phase.name == "canary_25"
    return course


def completed() -> Course:
    """Every phase passes; one hold, one pause by a person, two approvals."""
    course = _to_canary_25()
    course.at += hours(5)
    course.people("pause", "Ada Lindqvist", "Change freeze over night.")
    course.at += hours(9)
    course.people("resume", "Ada Lindqvist", "The freeze is over.")
    course.at += hours(8)
    course.rule(course.evidence())
    course.at += hours(24.4)
    course.rule(course.evidence())
    course.at += hours(1.1)
    course.people("approve", "Grace Okafor", "Errors and latency are no worse at half of the traffic.")
    course.at += timedelta(seconds=1)
    course.rule(course.evidence())
    course.at += hours(72.3)
    course.rule(course.evidence())
    return course


def rolled_back() -> Course:
    """Fails in canary_25: too many of the conversations that fail are the candidate's."""
    course = _to_canary_25()
    course.at += hours(3.4)
    bad = (stage("canary_5"), stage("canary_25", candidate_failed=112))
    window = Window(
        candidate=Recent(requests=398, errors=9, p95_ms=840.0), control=Recent(requests=401, errors=3, p95_ms=1_011.0),
        baseline_error_rate=0.008, slow=9,
    )  # fmt: skip
    course.rule(course.evidence(stages=bad, window=window, error_difference=course.bounds(0.0116, 0.006)))
    return course


def waiting() -> Course:
    """In canary_25, with too few conversations yet."""
    return _to_canary_25()


def asked() -> Course:
    """Paused for an approval in canary_50."""
    course = _to_canary_25()
    course.at += hours(13)
    course.rule(course.evidence())
    course.at += hours(24.4)
    course.rule(course.evidence())
    return course


def long(n: int = 4_000) -> Course:
    """A controller that goes on hold and off it again, thousands of times."""
    course = _to_canary_25()
    low = stage("canary_25")
    held = course.evidence(stages=(stage("canary_5"), low), last_traffic=course.at - hours(30))
    course.at += hours(0.1)
    first = course.rule(replace(held, at=course.at, window=None))
    kinds = (EventKind.RESUMED, EventKind.HELD)
    for index in range(n):
        course.at += timedelta(minutes=3)
        course.events.append(
            replace(first, number=first.number + 1 + index, kind=kinds[index % 2], at=course.at,
                    reason=f"{first.reason} ({index})")
        )  # fmt: skip
        if not index % 4:
            course._done(f"alert:{kinds[index % 2]}")
    return course


HOSTILE = (
    "</style><script>document.title='owned'</script>\u202egnp.exe\x1b[31m{{ 7 * 7 }}`x`\n<img src=x onerror=alert(1)>"
)


def hostile() -> Course:
    """Every free text of a history that was rolled back attacks page, terminal and reader."""
    course = rolled_back()

    def poisoned(value):
        if isinstance(value, str):
            return HOSTILE + value
        if isinstance(value, dict):
            return {
                key: item if key in {"speaks_for", "run_id", "asks"} else poisoned(item) for key, item in value.items()
            }
        return [poisoned(item) for item in value] if isinstance(value, list) else value

    course.events = [
        replace(e, actor=HOSTILE + e.actor if e.actor != "controller" else e.actor, reason=HOSTILE * 40 + e.reason,
                evidence=poisoned(dict(e.evidence)))
        for e in course.events
    ]  # fmt: skip
    for action in course.actions:
        action.name, action.outcome = HOSTILE + action.name, HOSTILE
    course.rollout_id = HOSTILE
    return course


RUNS = (
    RunLink(
        run_id=RUN,
        href="../swap-live/report.html",
        pairs=(
            PairLink(anchor="c1-worst-0a1b2c3d4e", title="worst: Where is my refund for invoice 2026-03?"),
            PairLink(anchor="c1-failed-99aabbccdd", title="failed: Write the whole contract again"),
        ),
    ),
)


def report(course: Course, *, at: datetime | None = None, runs: Iterable[RunLink] = RUNS, **more) -> RolloutReport:
    return report_of(
        course.record, course.policy, course.events, at=at or course.at + hours(2), actions=course.actions,
        runs=tuple(runs), **more,
    )  # fmt: skip

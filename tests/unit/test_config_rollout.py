"""The file of a rollout: its defaults are the table of the design, and what makes no sense is refused."""

import pytest

from harness.config import Rollout, load_rollout, parse_rollout
from harness.config.rollout import DEFAULT_PHASES
from harness.domain.rollout import Gate, PhaseKind, WhenInconclusive
from harness.errors import ConfigurationError

MINIMAL = {"name": "swap", "live": "live.yaml", "candidate": "small"}
HOUR = 3_600.0


def phase(name: str = "canary", **changes):
    base = {"name": name, "kind": "canary", "share": 0.1, "gate": "safe", "min_pairs": 10, "min_bake_s": 0, "max_s": 9}
    return base | changes


SHADOW = phase("shadow", kind="shadow", share=1.0, gate="go")


def test_the_phases_are_those_of_the_design():
    found = [
        (p.name, p.kind, p.share, p.gate, p.min_pairs, p.min_bake_s / HOUR, p.approval)
        for p in parse_rollout(MINIMAL).steps
    ]
    assert found == [
        ("calibration", PhaseKind.CALIBRATION, 0.05, Gate.CALIBRATED, 500, 1, False),
        ("shadow_5", PhaseKind.SHADOW, 0.05, Gate.SAFE, 500, 1, False),
        ("shadow_25", PhaseKind.SHADOW, 0.25, Gate.REACHABLE, 2_000, 6, False),
        ("shadow_100", PhaseKind.SHADOW, 1.0, Gate.GO, 10_000, 24, True),
        ("canary_5", PhaseKind.CANARY, 0.05, Gate.SAFE, 1_000, 4, False),
        ("canary_25", PhaseKind.CANARY, 0.25, Gate.SAFE, 5_000, 12, False),
        ("canary_50", PhaseKind.CANARY, 0.5, Gate.SERVES_AS_WELL, 10_000, 24, True),
        ("full", PhaseKind.FULL, 0.95, Gate.SERVES_AS_WELL, 1_000, 72, False),
    ]
    assert [p.when_inconclusive for p in DEFAULT_PHASES] == [
        *[WhenInconclusive.WAIT] * 4, *[WhenInconclusive.HOLD] * 2, *[WhenInconclusive.ASK] * 2,
    ]  # fmt: skip
    assert DEFAULT_PHASES[6].ask_after_s == 72 * HOUR


def test_the_levels_of_the_bounds_come_of_alpha():
    rollout = parse_rollout(MINIMAL)
    assert rollout.rollback.gate_level == pytest.approx(0.9)
    assert rollout.rollback.strict_level == pytest.approx(1 - 0.02 / 3)
    assert rollout.rollback.cool_down_s == 24 * HOUR
    assert rollout.rollback.automatic


@pytest.mark.parametrize(
    ("changes", "reach"),
    [({}, 10_000), ({"horizon": 30_000}, 30_000), ({"phases": [SHADOW, phase()]}, 10)],
)
def test_what_is_within_reach(changes, reach):
    assert parse_rollout(MINIMAL | changes).reach == reach


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"phazes": []}, "phazes: Extra inputs"),
        ({"rollback": {"alfa": 0.1}}, "rollback.alfa: Extra inputs"),
        ({"rollback": {"breaker": {"ratio": 2}}}, "rollback.breaker.ratio: Extra inputs"),
        ({"phases": []}, "phases: "),
        ({"phases": [SHADOW, SHADOW]}, "more than one is named shadow"),
        ({"phases": [phase(), SHADOW]}, r"shadow \(shadow\) cannot follow canary \(canary\)"),
        ({"phases": [SHADOW, phase(share=0.5), phase("late", share=0.4)]}, "late has a smaller share than canary"),
        ({"phases": [SHADOW, phase(share=1)]}, "phases.1: a share below 1"),
        (
            {"phases": [SHADOW, phase(gate="go")]},
            "gate `go` says nothing about a canary phase; one of: safe, serves_as_well",
        ),
        ({"phases": [SHADOW, phase(min_bake_s=9)]}, "`max_s` is not longer"),
        ({"phases": [phase()]}, "needs the gate `go`"),
        ({"phases": [SHADOW | {"gate": "safe"}, phase()]}, "needs the gate `go`"),
        ({"phases": [SHADOW, phase(share=0)]}, "phases.1.share"),
        ({"approvals": {"people": [""]}}, "approvals.people.0"),
        ({"candidate": None}, "candidate: "),
        ({"live": ""}, "live: "),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_place(changes, said):
    with pytest.raises(ConfigurationError, match=said):
        parse_rollout(MINIMAL | changes)


def test_shadow_phases_alone_need_no_gate_to_users():
    assert len(parse_rollout(MINIMAL | {"phases": [SHADOW | {"gate": "safe"}]}).phases) == 1


def test_the_path_is_relative_to_the_file(tmp_path):
    file = tmp_path / "rollout.yaml"
    file.write_text("name: swap\nlive: conf/live.yaml\ncandidate: small\nbudget_usd: 5\n", encoding="utf-8")
    rollout = load_rollout(file)
    assert rollout.live == str(tmp_path / "conf" / "live.yaml")
    assert rollout == Rollout(name="swap", live=rollout.live, candidate="small", budget_usd=5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no such file"),
        ("[1, 2]", "expected a mapping with `name`, `live` and `candidate`"),
        ("name: [", "not valid YAML"),
        ("name: swap", "is not a valid rollout:\n  live: Field required\n  candidate: Field required"),
    ],
)
def test_an_unusable_file_is_named(tmp_path, text, said):
    file = tmp_path / "rollout.yaml"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=said) as error:
        load_rollout(file)
    assert str(error.value).startswith(str(file))


def test_an_unreadable_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_rollout(tmp_path)


HOOK = {"name": "gate", "command": ["./may.sh", "$HOME"]}
LITELLM = {"kind": "litellm", "url": "http://proxy:4000/", "key_env": "K", "production_id": "p", "candidate_id": "c"}


def test_hooks_and_actuators_as_they_are_written():
    hooks = {"before": [HOOK], "after": [{"name": "chat", "webhook_env": "CHAT_URL", "events": ["rolled_back"]}]}
    rollout = parse_rollout(MINIMAL | {"hooks": hooks, "actuators": [{"kind": "gateway"}, LITELLM]})
    assert rollout.hooks.before[0].command == ["./may.sh", "$HOME"]
    assert rollout.hooks.before[0].timeout_s == 30
    assert rollout.hooks.after[0].events == ["rolled_back"]
    assert [one.label for one in rollout.actuators] == ["gateway", "litellm.c"]
    assert rollout.actuators[1].url == "http://proxy:4000"
    assert [one.kind for one in parse_rollout(MINIMAL).actuators] == ["gateway"]
    assert parse_rollout(rollout.model_dump(mode="json")) == rollout


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hooks": {"before": [{"name": "a"}]}}, "hooks.before.0: either `command` or `webhook_env`"),
        ({"hooks": {"before": [HOOK | {"webhook_env": "X"}]}}, "hooks.before.0: either `command` or `webhook_env`"),
        ({"hooks": {"before": [HOOK | {"command": "rm -rf"}]}}, "hooks.before.0.command"),
        ({"hooks": {"before": [HOOK | {"command": [""]}]}}, "`command` begins with a program"),
        ({"hooks": {"before": [HOOK | {"command": ["a", "b\0"]}]}}, "no word of it holds a zero byte"),
        ({"hooks": {"before": [HOOK], "after": [HOOK]}}, "hooks: more than one hook is named gate"),
        (
            {"hooks": {"before": [HOOK | {"events": ["advanced", "rolled_back"]}]}},
            "gate would never be asked before rolled_back: only advanced, completed give the candidate more",
        ),
        ({"hooks": {"after": [HOOK | {"events": ["rolledback"]}]}}, "hooks.after.0.events.0"),
        ({"hooks": {"after": [{"name": "a", "webhook_env": "https://hooks.example/secret"}]}}, "after.0.webhook_env"),
        ({"hooks": {"after": [HOOK | {"timeout_s": 60}]}}, "hooks: gate: by its `timeout_s` it may take 60 s"),
        ({"hooks": {"before": [HOOK | {"name": "a b"}]}}, "hooks.before.0.name"),
        ({"actuators": [{"kind": "envoy"}]}, "actuators.0"),
        ({"actuators": [{"kind": "gateway", "url": "x"}]}, "actuators.0.gateway.url"),
        ({"actuators": [LITELLM | {"key": "sk-1"}]}, "actuators.0.litellm.key"),
        ({"actuators": [LITELLM | {"url": "ftp://proxy"}]}, "is not an http or https address"),
        ({"actuators": [LITELLM | {"url": "http://u:p@proxy"}]}, "without query, fragment and credentials"),
        ({"actuators": [LITELLM | {"candidate_id": "p"}]}, "name the same deployment"),
        ({"actuators": [LITELLM, LITELLM]}, "actuators: more than one is litellm.c"),
        ({"actuators": [LITELLM | {"timeout_s": 15}]}, "it may take 60 s, which is not below `lease_s` 60"),
    ],
)
def test_hooks_and_actuators_that_make_no_sense_are_refused(changes, said):
    with pytest.raises(ConfigurationError, match=said):
        parse_rollout(MINIMAL | changes)

"""At every step of a rollout somebody is killed: no step is taken twice, none is left out, and users are served."""

import os
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from harness.domain.rollout import EventKind
from tests.lines import Line, line_to
from tests.rollouts import PHASES, Fleet, Users, fleet


def processes(one: Fleet, module: str) -> list[int]:
    """Those of a module that the gateway keeps."""
    found = []
    for pid in one.gateways[0].children:
        with suppress(OSError):
            if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


pytestmark = pytest.mark.timeout(900)

PARTS = ("harness.rollout.agent", "harness.canary.process", "harness.gateway.process")


_WAVERS = {EventKind.HELD, EventKind.RESUMED}
"""What a worker that begins again may bring about: the evidence is old for a while."""


def kill_everybody(one: Fleet, line: Line) -> Counter[str]:
    """Kill whoever takes part, one of the serving processes included, and cut the store off; which parts there were."""
    line.cut()
    one.kill("control")
    one.kill("worker")
    victims = {module: found[0] for module in PARTS if (found := processes(one, module))}
    for pid in victims.values():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    one.control()
    one.work()
    time.sleep(1)
    line.mend()
    return Counter(victims.keys())


def test_a_controller_that_starts_while_the_store_is_away_waits_for_it(tmp_path, postgres):
    with (
        line_to(postgres) as (line, over, direct),
        fleet(tmp_path, store_url=over, direct_url=direct, phases=PHASES) as one,
    ):
        line.cut()
        one.control()
        # It has asked by now, and was refused.
        one.until(lambda: "is away" in one.said())
        line.mend()
        one.until(lambda: "controlling the rollouts" in one.said())
        assert one.processes["control"].poll() is None


def test_killed_at_every_step_of_the_way_up_and_down(tmp_path, postgres):
    quick = [{**phase, "min_bake_s": 1} for phase in PHASES]
    quick[-1] = {**quick[-1], "min_pairs": 1_000_000}  # until it is taken away
    with (
        line_to(postgres) as (line, over, direct),
        fleet(
            tmp_path,
            store_url=over,
            direct_url=direct,
            phases=quick,
            live={"gateway": {"processes": 2}},
            validity={"stale_s": 300},
        ) as one,
    ):
        one.work()
        one.control()
        assert one.command("start", "--by", "Ada", "--reason", "x").returncode == 0
        killed, seen = [], 0
        with Users([one.gateways[0].port]).talking() as users:
            end = time.monotonic() + 480
            while not (standing := one.standing()).state.status.is_over:
                assert time.monotonic() < end, one.said()
                transitions = sum(event.kind not in _WAVERS for event in standing.events)
                if transitions > seen:
                    seen = transitions
                    killed.append(kill_everybody(one, line))
                if standing.state.phase.name == "full" and users.seen[-1][2] == "small":
                    one.candidate.errors = 0.7
                if standing.state.asks_approval:
                    one.command("approve", "--by", "Grace", "--reason", "x")
                time.sleep(0.1)
            killed.append(kill_everybody(one, line))
            before = len(users.seen)
            one.until(lambda: len(users.seen) > before + 150, 120)
            last = {who for _, _, who in users.seen[before + 60 :]}
            # However often they were killed, the gateway has started them all again.
            one.until(lambda: all(processes(one, part) for part in PARTS))
        history = [item for item in one.history() if item[0] not in _WAVERS]
        assert len(set(history)) == len(history), one.said()
        assert [phase for kind, phase in history if kind == "advanced"] == [phase["name"] for phase in quick[1:]], (
            one.said()
        )
        assert history[-1] == ("rolled_back", "full")
        assert last == {"big"}
        # Everybody who was there died at every event of the history. When events come in quick succession a part may
        # still be dead at the next: one that ends again at once is started later each time.
        deaths = sum(killed, Counter())
        assert all(2 * deaths[part] >= len(killed) for part in PARTS), killed
        # Somebody agrees and the next phase begins within one look of ours.
        assert len(killed) >= len(history) - 1
        # A connection that the killed process held is lost with it, once per user; nobody gets a wrong answer.
        assert len(users.wrong) <= 8 * len(killed)
        assert not [wrong for wrong in users.wrong if wrong[:3].isdigit()], users.wrong

"""At every step of a rollout somebody is killed: no step is taken twice, none is left out, and users are served."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.gateways import until
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


def deaths(one: Fleet, line: Line) -> Iterator[str]:
    """Kill one after the other, and cut the store off, for as long as somebody asks."""
    while True:
        for module in ("harness.rollout.agent", "harness.canary.process", "harness.gateway.process"):
            one.kill("control")
            one.control()
            line.cut()
            time.sleep(1.5)
            line.mend()
            yield "control and store"
            for pid in processes(one, module)[:1]:
                os.kill(pid, signal.SIGKILL)
            yield module
            one.kill("worker")
            one.work()
            yield "worker"


def test_killed_at_every_step_of_the_way_up_and_down(tmp_path, postgres):
    quick = [{**phase, "min_bake_s": 1} for phase in PHASES]
    quick[-1] = {**quick[-1], "min_pairs": 1_000_000}  # until it is taken away
    with (
        line_to(postgres) as (line, over, _),
        fleet(tmp_path, store_url=over, phases=quick, live={"gateway": {"processes": 2}}) as one,
    ):
        one.work()
        one.control()
        assert one.command("start", "--by", "Ada", "--reason", "x").returncode == 0
        dying, killed, seen = deaths(one, line), [], 1
        with Users([one.gateways[0].port]).talking() as users:
            end = time.monotonic() + 400
            while not (standing := one.standing()).state.status.is_over:
                assert time.monotonic() < end, f"{one.history()} {one.logs()}"
                if len(standing.events) > seen:
                    seen = len(standing.events)
                    killed.append(next(dying))
                if standing.state.phase.name == "full" and users.seen[-1][2] == "small":
                    one.candidate.errors = 0.7
                if standing.state.asks_approval:
                    one.command("approve", "--by", "Grace", "--reason", "x")
                time.sleep(0.1)
            killed.append(next(dying))
            before = len(users.seen)
            until(lambda: len(users.seen) > before + 150, 60, one.logs())
            last = {who for _, _, who in users.seen[before + 60 :]}
        history = [item for item in one.history() if item[0] not in {"held", "resumed"}]
        assert len(set(history)) == len(history)
        assert [phase for kind, phase in history if kind == "advanced"] == [phase["name"] for phase in quick[1:]]
        assert history[-1] == ("rolled_back", "full")
        assert last == {"big"}
        assert len(killed) >= 6
        # A connection that the killed process held is lost with it, once per user; nobody gets a wrong answer.
        assert len(users.wrong) <= 4 * killed.count("harness.gateway.process")
        assert not [wrong for wrong in users.wrong if wrong[:3].isdigit()], users.wrong

"""A whole rollout against real local models in accelerated time, from the first shadow to everybody; its timeline.

    python -m tests.benchmarks.rollout_local [--rate 4] [--bad]

Production and the candidate are two servers of the bundled SmolLM2 on loopback, reached through a real gateway, worker,
canary process and controller. With ``--bad`` the candidate's server is stopped while it serves users. The phases are
those of the default plan, in seconds instead of hours; the decision is on errors and on the similarity of answers.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from harness.local.server import LocalServer, ServerOptions, local_server
from tests.rollouts import PHASES, Fleet, Users, approve_when_asked, fleet

LIVE = {
    "judges": ["similarity"],
    "worker": {"look_every_s": 3, "in_flight": 2, "deadline_s": 60},
    "canary": {"first_byte_s": 20, "deadline_s": 60, "lease_s": 15},
    "decision": {
        "looks": "any",
        "horizon": 300,
        "criteria": [{"metric": "similarity", "above": 0.6}, {"metric": "error_rate_difference", "below": 0.25}],
    },
}


def port_of(server: LocalServer) -> int:
    """Where it listens."""
    return int(server.base_url.rsplit(":", 1)[1])


def course(one: Fleet, users: Users, *, bad: LocalServer | None) -> None:
    """Let it go its way, and agree where somebody has to."""
    if bad is not None:
        one.until(lambda: users.by["small"] > 10, 900)
        bad.close()
    else:
        approve_when_asked(one, 900)
    one.until(lambda: one.standing().state.status.is_over, 900)
    end = time.monotonic() + 15
    while time.monotonic() < end:
        time.sleep(0.5)


def main() -> int:
    """Print the timeline; 1 when it did not end as it had to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=4.0, help="requests a second")
    parser.add_argument("--bad", action="store_true", help="take the candidate away while it serves")
    options = parser.parse_args()
    phases = [{**phase, "min_pairs": min(int(phase["min_pairs"]), 40), "max_s": 900} for phase in PHASES]
    with (
        tempfile.TemporaryDirectory() as name,
        local_server(ServerOptions(name="big", threads=1, context=1024)) as production,
        local_server(ServerOptions(name="small", threads=1, context=1024)) as candidate,
        fleet(
            Path(name), ports=(port_of(production), port_of(candidate)), live=LIVE, phases=phases,
            rollback={"latency_margin": 3.0, "breaker": {"latency_ratio": 4.0}},
        ) as one,
    ):  # fmt: skip
        one.work()
        one.control()
        begun = one.command("start", "--by", "Ada", "--reason", "the smaller one is enough")
        if begun.returncode:
            print(begun.stderr, file=sys.stderr)
            return 1
        with Users([one.gateways[0].port], rate=options.rate).talking() as users:
            course(one, users, bad=candidate if options.bad else None)
        print(one.command("history").stdout)
        print(f"answers users had: {dict(users.by)}; wrong: {len(users.wrong)}")
        end = one.history()[-1][0]
    return 0 if end == ("rolled_back" if options.bad else "completed") and not users.wrong else 1


if __name__ == "__main__":
    sys.exit(main())

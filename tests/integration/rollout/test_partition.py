"""Two gateways on one PostgreSQL follow one rollout, and one that is cut off falls back to production."""

import threading
import time

import pytest

from harness.spool import assignment
from tests.lines import line_to
from tests.rollouts import Users, fleet

pytestmark = pytest.mark.timeout(600)

LEASE_S = 5.0
FOLLOWED_S = 1.0
AT_MOST_S = 5.0
"""On a machine that does other things at that moment."""
SLOWLY = (
    {"name": "shadow", "kind": "shadow", "share": 1.0, "gate": "go", "min_pairs": 40, "min_bake_s": 1, "max_s": 120},
    {"name": "canary_50", "kind": "canary", "share": 0.5, "gate": "safe", "min_pairs": 1_000_000, "min_bake_s": 1,
     "max_s": 600},
)  # fmt: skip


def test_two_gateways_follow_within_a_second_and_one_that_is_cut_off_falls_back_at_its_lease(tmp_path, postgres):
    with (
        line_to(postgres) as (line, over, direct),
        fleet(tmp_path, store_url=direct, store_urls=[direct, over], gateways=2, phases=SLOWLY) as one,
    ):
        one.work()
        one.control()
        assert one.command("start", "--by", "Ada", "--reason", "x").returncode == 0
        spools = [gateway.spool for gateway in one.gateways]

        def shares() -> list[float]:
            return [assignment.read(spool, time.time()).share for spool in spools]

        with Users([gateway.port for gateway in one.gateways], rate=60).talking() as users:
            one.until(lambda: shares() == [0.5, 0.5], 240)
            took_s = [time.time() - one.standing().events[-1].at.timestamp()]
            one.until(lambda: users.by["small"] > 20, 30)

            cut_at = time.monotonic()
            line.cut()
            one.until(lambda: shares() == [0.5, 0.0], LEASE_S + 2)
            assert time.monotonic() - cut_at > LEASE_S - 2
            # It serves everybody from production; the other one goes on.
            only_second = Users([one.gateways[1].port], rate=60)
            with only_second.talking():
                one.until(lambda: sum(only_second.by.values()) > 60, 30)
            assert set(only_second.by) == {"big"}

            line.mend()
            one.until(lambda: shares() == [0.5, 0.5], 30)

            aborting = threading.Thread(target=one.command, args=("abort", "--by", "Ada", "--reason", "enough"))
            aborting.start()
            one.until(lambda: shares() == [0.0, 0.0], 30)
            followed_at = time.time()
            aborting.join()
            took_s.append(followed_at - one.standing().events[-1].at.timestamp())
            # To the candidate, and back to production.
            assert min(took_s) < FOLLOWED_S, took_s
            assert max(took_s) < AT_MOST_S, took_s
        assert users.wrong == []
        assert only_second.wrong == []


@pytest.mark.parametrize("what", ["controller", "store"])
def test_without_a_controller_or_a_store_production_serves_everybody_and_it_goes_on_with_them(tmp_path, postgres, what):
    with (
        line_to(postgres) as (line, over, direct),
        fleet(tmp_path, store_url=over, direct_url=direct, phases=SLOWLY) as one,
    ):
        one.work()
        one.control()
        assert one.command("start", "--by", "Ada", "--reason", "x").returncode == 0
        [spool] = [gateway.spool for gateway in one.gateways]
        with Users([one.gateways[0].port]).talking() as users:
            one.until(lambda: assignment.read(spool, time.time()).share == 0.5, 240)
            if what == "store":
                line.cut()
            else:
                one.kill("control")
            one.until(lambda: assignment.read(spool, time.time()).share == 0.0, LEASE_S + 8)
            if what == "store":
                line.mend()
            else:
                one.control()
            one.until(lambda: assignment.read(spool, time.time()).share == 0.5, 240)
        assert users.wrong == []
        assert [kind for kind, _ in one.history()] == ["started", "advanced"]

"""Whole rollouts in accelerated time: everything that takes part is a process of its own."""

import pytest

from tests.rollouts import PHASES, Users, approve_when_asked, fleet

pytestmark = pytest.mark.timeout(600)

GOOD = [
    ("started", "shadow_50"), ("advanced", "shadow_100"), ("advanced", "canary_25"), ("advanced", "canary_50"),
    ("paused", "canary_50"), ("approved", "canary_50"), ("advanced", "full"), ("completed", "full"),
]  # fmt: skip


def test_a_good_candidate_reaches_all_users_but_a_holdback(tmp_path, capsys):
    with fleet(tmp_path) as one:
        one.work()
        one.control()
        begun = one.command("start", "--by", "Ada", "--reason", "half the price")
        assert begun.returncode == 0, begun.stderr
        with Users([one.gateways[0].port]).talking() as users:
            approve_when_asked(one)
            one.until(lambda: one.standing().state.status.is_over, 240)
            before = len(users.seen)
            one.until(lambda: len(users.seen) > before + 330, 120)
            last = [who for _, _, who in users.seen[before + 30 :]]
        with capsys.disabled():
            print(f"\n{one.command('history').stdout}")
        assert [item for item in one.history() if item[0] not in {"held", "resumed"}] == GOOD
        assert users.wrong == []
        # Of some 150 conversations: five standard deviations.
        assert last.count("small") / len(last) == pytest.approx(0.8, abs=0.16)
        # Nobody changed from the candidate back to production: a larger share only adds conversations.
        served: dict[str, list[str]] = {}
        for _, name, who in users.seen:
            served.setdefault(name, []).append(who)
        assert not [name for name, answers in served.items() if answers == ["small", "big"]]
        assert one.command("status").returncode == 0


def test_a_candidate_that_fails_under_users_is_taken_away_within_seconds(tmp_path):
    _, shadow, _, canary, _ = PHASES
    with fleet(tmp_path, phases=[shadow, {**canary, "min_pairs": 1_000_000}]) as one:
        one.work()
        one.control()
        assert one.command("start", "--by", "Ada", "--reason", "half the price").returncode == 0
        with Users([one.gateways[0].port]).talking() as users:
            one.until(lambda: one.standing().state.served_share > 0, 240)
            one.until(lambda: users.by["small"] > 30, 120)
            one.candidate.errors = 0.7
            one.until(lambda: one.standing().state.status.is_over, 120)
            one.until(lambda: one.candidate.answered["small"] > 0)
            before = len(users.seen)
            one.until(lambda: len(users.seen) > before + 150, 120)
            last = {who for _, _, who in users.seen[before + 60 :]}
        assert one.history()[-1][0] == "rolled_back"
        assert last == {"big"}
        # Production answered whenever the candidate did not.
        assert users.wrong == []
        assert one.command("status").returncode == 1
        again = one.command("start", "--by", "Ada", "--reason", "once more")
        assert again.returncode == 2
        assert "this very candidate" in again.stderr

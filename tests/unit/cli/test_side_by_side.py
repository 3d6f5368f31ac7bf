from harness.cli.side_by_side import lines
from harness.domain.side_by_side import BestSet, SideBySide

ARMS = ("a", "b", "c")


def beside(*sets: BestSet, quality: str = "win_rate", looks: str = "any") -> SideBySide:
    return SideBySide(arms=ARMS, quality=quality, judge="judge", best_sets=sets, looks=looks)


def test_says_who_may_be_the_best_and_who_beats_the_others():
    win = BestSet(metric="win_rate", arms=ARMS, best=("a", "c"), beaten_by={"b": "a"}, n=120)
    cost = BestSet(metric="cost_per_1k", arms=ARMS, best=ARMS, n=1_200)
    other = BestSet(metric="similarity", arms=ARMS, best=("a",), beaten_by={"b": "a", "c": "a"}, n=120)
    assert list(lines(beside(cost, other, win))) == [
        "side by side, the best is among those named with 95% confidence at any look:",
        "  Win rate                a or c; beaten: b (by a)",
        "  Cost of 1,000 requests  cannot be told (1,200 shared requests)",
    ]


def test_one_look_is_not_said_to_be_more():
    win = BestSet(metric="win_rate", arms=ARMS, best=("a",), beaten_by={"b": "a", "c": "a"})
    assert "look" not in next(lines(beside(win, looks="one")))


def test_nothing_to_compare_is_said():
    assert list(lines(beside(quality=""))) == ["side by side: no metric is known for two candidates"]

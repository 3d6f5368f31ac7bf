"""Laws of a judge's health: which side is called the candidate does not matter, nor in which order pairs come."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.domain.health import JudgeHealth
from harness.judging.conduct import Conduct
from harness.judging.health import health_of
from harness.stats.evidence import Floats, LabelColumn, ScoreColumn

WORDS = st.sampled_from([0.0, 0.5, 1.0, np.nan])
SHARES = st.one_of(st.floats(0, 1).map(lambda x: round(x, 3)), st.just(np.nan))
ROWS = st.one_of(
    *(
        st.lists(
            st.tuples(kind, kind, st.sampled_from([0.0, 0.5, 1.0, np.nan]), st.integers(0, 9)),
            min_size=least, max_size=120,
        )
        for kind in (WORDS, SHARES)
        for least in (0, 60)
    )
)  # fmt: skip


def health(production_first: Floats, candidate_first: Floats, label: Floats, chars: Floats, clusters) -> JudgeHealth:
    both = np.stack([production_first, candidate_first])
    n = np.isfinite(both).sum(axis=0)
    value = np.divide(np.nansum(both, axis=0), n, out=np.full(both.shape[1], np.nan), where=n > 0)
    column = ScoreColumn(
        metric="win_rate", value=value, missing_order=n == 1, production_first=production_first,
        candidate_first=candidate_first,
    )  # fmt: skip
    people = LabelColumn(value=label, labellers=np.ones(len(label), dtype=int), probability=np.ones(len(label)))
    return health_of(
        Conduct(
            judge="j", scores=column, clusters=clusters, people=people, candidate_chars=chars,
            production_chars=np.full(len(chars), 5.0), unscored={"off_menu": int(np.sum(n == 0))},
        )
    )  # fmt: skip


def columns(rows) -> tuple[Floats, ...]:
    table = np.array(rows, dtype=float).reshape(-1, 4)
    return tuple(table[:, i].copy() for i in range(4))


@settings(deadline=None, max_examples=60)
@given(ROWS)
def test_calling_the_sides_by_each_others_name_changes_no_check(rows):
    production_first, candidate_first, label, chars = columns(rows)
    clusters = np.arange(len(label))
    one = health(production_first, candidate_first, label, chars, clusters)
    other = health(1 - candidate_first, 1 - production_first, 1 - label, 10 - chars, clusters)
    assert [(check.name, check.state) for check in one.checks] == [(check.name, check.state) for check in other.checks]
    for name, figure in one.figures.items():
        expected = -figure if name == "bias" else figure
        if not name.startswith(("bias_", "baseline_label")):
            assert other.figures[name] == pytest.approx(expected, abs=1e-9), name


@settings(deadline=None, max_examples=40)
@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_pairs_changes_nothing(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    found = [health(*columns(item), np.arange(len(item))).checks for item in (rows, shuffled)]
    assert [(check.name, check.state) for check in found[0]] == [(check.name, check.state) for check in found[1]]


@settings(deadline=None, max_examples=40)
@given(ROWS)
def test_every_check_says_something_and_what_is_wrong_has_a_remedy(rows):
    found = health(*columns(rows), np.arange(len(rows)))
    names = [check.name for check in found.checks]
    assert len(names) == len(set(names))
    for check in found.checks:
        assert check.sentence.endswith(".")
        assert "nan" not in check.sentence
        if check.state in {"fail", "warn"}:
            assert check.remedy
    assert found.usable == (not found.failed)
    assert all(np.isfinite(figure) for figure in found.figures.values())

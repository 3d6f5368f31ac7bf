"""Judges by name: options are checked before anything is spent, and messages name the remedy."""

from importlib.metadata import EntryPoint

import pytest

from harness import registry
from harness.config import JudgeSection
from harness.domain.judgment import Order
from harness.domain.model import ModelSpec, Price
from harness.errors import ConfigurationError
from harness.judging.protocol import Judge, fingerprint, orders_of, orders_read


def build(use="pairwise", **options):
    return registry.build_judge(JudgeSection(use=use, options=options))


def test_every_installed_judge_is_a_judge():
    assert {"pairwise", "rubric"} <= set(registry.judge_names())
    for name in registry.judge_names():
        cls = registry.judge_class(name)
        assert cls.name == name
        assert cls.version
        assert cls.metric.title


def test_a_model_is_a_name_a_mapping_or_a_name_with_settings_beside_it():
    settings = {
        "params": {"seed": 7},
        "api_base": "http://127.0.0.1:9/v1",
        "api_key_env": "JUDGE_KEY",
        "price": {"input_per_mtok": 1.0, "output_per_mtok": 2.0},
    }
    beside = build(model="openai/judge", **settings)
    nested = build(model={"model": "openai/judge", **settings})
    assert beside == nested
    assert isinstance(beside.model, ModelSpec)
    assert beside.model.price == Price(input_per_mtok=1.0, output_per_mtok=2.0)
    assert beside.model.params == {"temperature": 0, "seed": 7}
    assert build(model="openai/judge").model.api_base is None


def test_a_second_model_is_given_as_the_first_one_is():
    price = {"input_per_mtok": 1.0, "output_per_mtok": 2.0}
    strong = {"model": "openai/strong", "api_key_env": "STRONG_KEY", "price": price}
    judge = build(model="openai/judge", api_key_env="WEAK_KEY", escalate_to=strong, escalate_within=0.1)
    assert (judge.model.api_key_env, judge.escalate_to.api_key_env) == ("WEAK_KEY", "STRONG_KEY")
    assert judge.escalate_to.price == Price(**price)
    assert build(model="m", escalate_to="openai/strong").escalate_to.model == "openai/strong"
    assert build(model="m", escalate_to=None).escalate_to is None


def test_built_judges_are_judges_with_orders():
    judge = build(model="m")
    assert isinstance(judge, Judge)
    assert orders_of(judge) == (Order.PRODUCTION_FIRST, Order.CANDIDATE_FIRST)
    single = build(model="m", orders="single", audit_share=0.0)
    assert orders_of(single) == orders_of(judge)
    assert len(orders_read(single, "e1")) == 1
    assert orders_read(judge, "e1") == orders_of(judge)
    assert orders_of(build("rubric", model="m")) == (Order.NONE,)


@pytest.mark.parametrize(
    ("use", "options", "complaint"),
    [
        ("pairwise", {}, "judge 'pairwise' needs the option 'model'"),
        (
            "pairwise",
            {"model": "m", "colour": 1, "size": 2},
            "has no option 'colour', 'size'; options: audit_share, counting, criteria, ",
        ),
        ("pairwise", {"model": "m", "max_tokens": "many"}, "option max_tokens: Input should be a valid integer"),
        ("pairwise", {"model": "m", "max_tokens": "4096"}, "option max_tokens: Input should be a valid integer"),
        ("pairwise", {"model": "m", "max_tokens": 0}, "option max_tokens: Input should be greater than"),
        ("pairwise", {"model": "m", "hide_names": "yes"}, "option hide_names: Input should be a valid boolean"),
        (
            "pairwise",
            {"model": "m", "mode": "hard"},
            "option mode: Input should be 'auto', 'soft', 'structured' or 'plain'",
        ),
        ("pairwise", {"model": "m", "orders": "all"}, "option orders: Input should be 'both' or 'single'"),
        ("pairwise", {"model": "m", "prompt_file": "/no/such/file.md"}, "prompt file /no/such/file.md cannot be read"),
        ("pairwise", {"model": {"name": "m"}}, "option model.model: Field required"),
        ("pairwise", {"model": 7}, "option model"),
        ("pairwise", {"model": "m", "params": {"api_key": "sk-1"}}, "looks like a secret"),
        ("pairwise", {"model": "m", "params": {"n": 2}}, "the judge sets n itself"),
        ("pairwise", {"model": "m", "escalate_within": 0.6}, "option escalate_within: Input should be less than"),
        ("pairwise", {"model": "m", "escalate_to": {"name": "n"}}, "option escalate_to.model: Field required"),
        ("rubric", {"model": "m", "rubric": None}, "option rubric: Input should be a valid string"),
    ],
)
def test_options_that_cannot_be_used_are_refused(use, options, complaint):
    with pytest.raises(ConfigurationError) as refused:
        build(use, **options)
    assert complaint in str(refused.value)


def test_a_judge_that_is_not_installed_is_refused_with_those_that_are():
    with pytest.raises(ConfigurationError, match=r"judge 'oracle' is not installed; available: .*pairwise.*rubric"):
        build("oracle")


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("no_such_module:Judge", "cannot be imported: No module named"),
        ("harness.registry:judge_class", "is not a dataclass"),
        ("harness.domain.stop:StopSignal", "is not a dataclass"),
        ("harness.domain.model:Price", "has no name, version, metric, judge"),
    ],
)
def test_what_is_registered_but_is_no_judge_is_refused(monkeypatch, target, complaint):
    points = {"odd": [EntryPoint(name="odd", value=target, group=registry.GROUP)]}
    monkeypatch.setattr(registry, "_entry_points", lambda: points)
    registry.judge_class.cache_clear()
    with pytest.raises(ConfigurationError, match=complaint):
        build("odd")
    registry.judge_class.cache_clear()


def test_the_fingerprint_changes_with_what_changes_a_judgment_and_with_nothing_else(tmp_path):
    base = fingerprint(build(model="m"))
    assert base == fingerprint(build(model="m"))
    price = {"input_per_mtok": 1.0, "output_per_mtok": 2.0}
    assert base == fingerprint(build(model="m", price=price, api_key_env="OTHER_KEY"))
    changed = [
        build(model="n"),
        build(model="m", params={"seed": 1}),
        build(model="m", criteria="Be kind."),
        build(model="m", mode="soft"),
        build(model="m", orders="single"),
    ]
    assert len({base, *(fingerprint(judge) for judge in changed)}) == 6

    text = "# system\nJudge.\n\n# user\n{{ answer_a }}{{ answer_b }}{{ reply_format }}\n"
    (tmp_path / "one.md").write_text(text)
    (tmp_path / "two.md").write_text(text)
    (tmp_path / "three.md").write_text(text + "Hurry.\n")
    one, two, three = (
        fingerprint(build(model="m", prompt_file=str(tmp_path / f"{name}.md"))) for name in ("one", "two", "three")
    )
    assert one == two
    assert len({base, one, three}) == 3

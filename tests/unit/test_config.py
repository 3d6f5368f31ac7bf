from pathlib import Path

import pytest

from harness.config import Candidate, load_experiment, parse_experiment, spec_fingerprint
from harness.domain.decision import Bound
from harness.errors import ConfigurationError

MINIMAL = {
    "name": "swap",
    "traffic": {"source": "export.jsonl"},
    "candidates": [{"name": "small", "model": "openai/small"}],
}


def parse(**changes):
    return parse_experiment(MINIMAL | changes)


NON_INFERIORITY = [
    ("latency_p95_ratio", Bound.BELOW, 1.2),
    ("error_rate_difference", Bound.BELOW, 0.005),
    ("win_rate", Bound.ABOVE, 0.48),
    ("similarity_from_floor", Bound.ABOVE, -0.01),
]
SUPERIORITY = [
    ("latency_p95_ratio", Bound.BELOW, 1.2),
    ("error_rate_difference", Bound.BELOW, 0.0),
    ("win_rate", Bound.ABOVE, 0.5),
    ("similarity", Bound.ABOVE, 0.95),
    ("coverage", Bound.ABOVE, 10_000),
]


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        ({}, NON_INFERIORITY),
        ({"profile": "superiority"}, SUPERIORITY),
        ({"profile": "superiority", "criteria": [{"metric": "win_rate", "at_least": 0.4}]},
         [("win_rate", Bound.AT_LEAST, 0.4)]),
        ({"criteria": []}, []),
    ],
)  # fmt: skip
def test_own_criteria_take_the_place_of_the_profiles(decision, expected):
    criteria = [section.criterion() for section in parse(decision=decision).decision.rules]
    assert [(c.metric, c.bound, c.threshold) for c in criteria] == expected


def test_a_larger_sample_of_the_same_traffic_is_the_same_sequence():
    def sequence(**sample):
        return parse(traffic={"source": ["x.jsonl"], "sample": sample, "requests_per_month": 5}).sequence

    assert sequence(size=10) == sequence(size=500) == sequence(rate=0.5) == sequence()
    assert sequence(seed=1) != sequence()
    assert sequence(stratify_by=["model"]) != sequence()


def test_a_run_is_the_same_however_its_export_is_named(tmp_path, monkeypatch):
    (tmp_path / "x.jsonl").write_text("{}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    named = [parse(traffic={"source": [str(path)]}) for path in ("x.jsonl", tmp_path / "x.jsonl")]
    assert named[0].default_run_id == named[1].default_run_id
    assert named[0].sequence == named[1].sequence
    assert parse(traffic={"source": ["other.jsonl"]}).default_run_id != named[0].default_run_id


def test_the_replica_may_be_recorded_too():
    replica = parse(replica={"responses": "again.jsonl", "share": 1.0}).replica
    assert (replica.responses, replica.title) == (["again.jsonl"], "again.jsonl")
    with pytest.raises(ConfigurationError, match=r"replica needs exactly one of `model` and `responses`"):
        parse(replica={"share": 0.5})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"candidtes": []}, "candidtes"),
        ({"candidates": []}, "candidates"),
        ({"candidates": [{"name": "a"}]}, "exactly one of `model` and `responses`"),
        ({"candidates": [{"name": "a", "model": "m", "responses": "f"}]}, "exactly one of `model` and `responses`"),
        ({"candidates": [{"name": "production", "model": "m"}]}, "'production' is a reserved name"),
        ({"candidates": [{"name": "canary", "model": "m"}]}, "'canary' is a reserved name"),
        ({"canaries": "on"}, "Input should be 'stop', 'warn' or 'off'"),
        ({"candidates": [{"name": "a", "model": "m"}, {"name": "a", "model": "n"}]}, "two candidates are called 'a'"),
        ({"judges": ["exact", "exact"]}, "two judges are called 'exact'"),
        ({"traffic": {"source": "x", "sample": {"size": 1, "rate": 0.5}}}, "not both"),
        ({"traffic": {"source": "x", "dialect": "mapping"}}, "go together"),
        ({"traffic": {"source": []}}, "traffic.source"),
        ({"decision": {"criteria": [{"metric": "win_rate"}]}}, "exactly one of below, above"),
        ({"decision": {"criteria": [{"metric": "win_rate", "above": 1, "below": 2}]}}, "exactly one of below, above"),
        ({"candidates": [{"name": "a", "model": "m", "params": {"api_key": "sk-1"}}]}, "api_key_env"),
    ],
)
def test_a_wrong_experiment_says_where_and_why(changes, says):
    with pytest.raises(ConfigurationError, match="not a valid experiment") as caught:
        parse(**changes)

    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("line", "setting"),
    [("", "stop"), ("canaries: warn", "warn"), ("canaries: off", "off"), ('canaries: "off"', "off")],
)
def test_yaml_may_turn_the_canaries_off_without_quotes(tmp_path, line, setting):
    file = tmp_path / "x.yaml"
    file.write_text(
        f"name: swap\ntraffic: {{source: x}}\ncandidates: [{{name: a, model: m}}]\n{line}\n", encoding="utf-8"
    )

    assert load_experiment(file).canaries == setting


def test_a_secret_in_params_is_refused_without_repeating_it():
    with pytest.raises(ConfigurationError) as caught:
        parse(candidates=[{"name": "a", "model": "m", "params": {"api_key": "sk-very-secret"}}])

    assert "sk-very-secret" not in str(caught.value)


def test_a_missing_file_names_the_command_that_writes_one(tmp_path):
    with pytest.raises(ConfigurationError, match="harness init"):
        load_experiment(tmp_path / "none.yaml")


def test_paths_and_prompts_are_relative_to_the_experiment_file(tmp_path):
    (tmp_path / "prompt.txt").write_text("Be brief.", encoding="utf-8")
    file = tmp_path / "experiment.yaml"
    file.write_text(
        """
        name: swap
        traffic: {source: logs/*.jsonl}
        candidates:
          - {name: small, model: openai/small, system_prompt: "@prompt.txt"}
          - {name: old, responses: old.jsonl}
        judges:
          - use: recorded
            options: {file: labels.csv}
        """,
        encoding="utf-8",
    )

    experiment = load_experiment(file)

    assert experiment.traffic.source == [str(tmp_path / "logs/*.jsonl")]
    assert experiment.candidates[0].system_prompt == "Be brief."
    assert experiment.candidates[1].responses == [str(tmp_path / "old.jsonl")]
    assert experiment.judges[0].options["file"] == str(tmp_path / "labels.csv")


def test_urls_are_left_alone():
    assert parse(traffic={"source": "s3://bucket/logs/*.jsonl"}).traffic.source == ["s3://bucket/logs/*.jsonl"]


def experiment_on(file: Path, **traffic):
    return parse(traffic={"source": str(file)} | traffic)


def test_the_same_sample_has_the_same_run_id_and_any_change_of_it_another(tmp_path):
    file = tmp_path / "export.jsonl"
    file.write_text('{"a": 1}\n', encoding="utf-8")
    first = experiment_on(file).default_run_id

    assert experiment_on(file).default_run_id == first
    assert experiment_on(file, requests_per_month=5).default_run_id == first
    assert experiment_on(file, sample={"size": 10}).default_run_id != first
    assert experiment_on(file, redaction={"enabled": False}).default_run_id != first
    file.write_text('{"a": 2}\n', encoding="utf-8")
    assert experiment_on(file).default_run_id != first


def test_only_what_changes_the_answer_changes_a_candidates_fingerprint():
    base = {"name": "a", "model": "openai/m", "params": {"temperature": 0}}
    fingerprint = Candidate(**base).fingerprint

    price = {"input_per_mtok": 1, "output_per_mtok": 2}
    assert Candidate(**(base | {"name": "b", "price": price, "api_key_env": "K"})).fingerprint == fingerprint
    for change in (
        {"model": "openai/n"},
        {"params": {"temperature": 1}},
        {"system_prompt": "x"},
        {"api_base": "http://h"},
    ):
        assert Candidate(**(base | change)).fingerprint != fingerprint
    assert spec_fingerprint(Candidate(**base).spec()) == fingerprint


def test_a_file_of_responses_cannot_be_asked():
    with pytest.raises(ConfigurationError, match="cannot be asked"):
        Candidate(name="a", responses=["x.jsonl"]).spec()

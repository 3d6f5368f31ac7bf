import numpy as np
import pandas as pd
import pytest

from harness.domain.observation import ArmRole
from harness.pipeline.arms import Arm
from harness.pipeline.evaluation import ArmEvaluation
from harness.pipeline.table import pairs_table, write_table
from harness.stats.evidence import ArmColumns, Evidence, ScoreColumn


def columns(latency: list[float], status: list[str]) -> ArmColumns:
    n = len(latency)
    unknown = np.full(n, np.nan)
    return ArmColumns(
        status=np.array(status, dtype=object),
        error_kind=np.array(["timeout" if s == "failed" else "" for s in status], dtype=object),
        latency_ms=np.array(latency), ttft_ms=unknown, tokens_in=unknown, tokens_out=unknown, cost_usd=unknown,
        answer_chars=unknown, cache_hit=np.zeros(n, dtype=bool),
    )  # fmt: skip


def evaluation(arm: str = "small") -> ArmEvaluation:
    evidence = Evidence(
        arm=arm,
        exchange_ids=np.array(["e1", "e2"], dtype=object),
        clusters=np.array([0, 0]),
        timestamps=np.array([1_760_000_000.0, np.nan]),
        production=columns([100.0, np.nan], ["completed", "completed"]),
        candidate=columns([50.0, np.nan], ["completed", "failed"]),
        scores={"people": ScoreColumn.unordered("win_rate", np.array([0.75, np.nan]))},
        attributes={"model": np.array(["gpt", ""], dtype=object)},
    )
    spec = Arm(name=arm, role=ArmRole.CANDIDATE, fingerprint="f", title=arm, spec=None)
    return ArmEvaluation(arm=spec, evidence=evidence, estimates={})


def test_a_row_per_exchange_and_arm_with_unknown_as_null():
    table = pairs_table([evaluation("small"), evaluation("large")])

    assert table["arm"].tolist() == ["small", "small", "large", "large"]
    first, second = table.iloc[0], table.iloc[1]
    assert first["timestamp"] == pd.Timestamp(1_760_000_000, unit="s", tz="UTC")
    assert (first["production_latency_ms"], first["candidate_latency_ms"], first["score_people"]) == (100.0, 50.0, 0.75)
    assert (second["candidate_status"], second["candidate_error_kind"]) == ("failed", "timeout")
    assert pd.isna(second["production_latency_ms"])
    assert pd.isna(second["score_people"])
    assert pd.isna(second["slice_model"])
    assert pd.isna(second["timestamp"])


def test_the_file_reads_back_as_the_table(tmp_path):
    path = write_table([evaluation()], tmp_path)

    found = pd.read_parquet(path)

    assert found["exchange_id"].tolist() == ["e1", "e2"]
    assert found["score_people"].iloc[0] == pytest.approx(0.75)
    assert [item.name for item in tmp_path.iterdir()] == ["pairs.parquet"]
